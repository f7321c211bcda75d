"""What else lies in the database of a ledger: a backup of the ledger leaves it alone."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from radanon_node.ledger import schema, schema_audit, schema_review
from radanon_node.ledger.database import open_engine, unavailable

_OWN = frozenset(name for declaring in (schema, schema_audit, schema_review) for name in declaring.metadata.tables)

_SCHEMAS = text("SELECT nspname FROM pg_namespace WHERE nspname <> current_schema() AND nspname !~ '^pg_' "
                "AND nspname <> 'information_schema' ORDER BY 1")
_RELATIONS = text("SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                  "WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 2")


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Schemas, and tables and views (schema, name) beside the ledger's own."""

    schemas: tuple[str, ...]
    relations: tuple[tuple[str, str], ...]

    def pg_dump_options(self) -> list[str]:
        """Options of pg_dump that leave them out.

        Examples
        --------
        >>> Neighbours(("billing",), (("public", "Odd name"),)).pg_dump_options()
        ['--exclude-schema="billing"', '--exclude-table="public"."Odd name"']
        """
        return [f"--exclude-schema={_quoted(name)}" for name in self.schemas] + [
            f"--exclude-table={_quoted(schema)}.{_quoted(name)}" for schema, name in self.relations]


def neighbours(url: str) -> Neighbours:
    """What is in the PostgreSQL database at `url` and does not belong to the ledger there.

    Raises
    ------
    LedgerUnavailable
        The database does not answer.
    """
    engine = open_engine(url)
    try:
        with unavailable(), engine.connect() as connection:
            schemas = tuple(str(name) for name in connection.scalars(_SCHEMAS))
            relations = tuple((str(schema), str(name)) for schema, name in connection.execute(_RELATIONS) if name not in _OWN)
    finally:
        engine.dispose()
    return Neighbours(schemas, relations)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
