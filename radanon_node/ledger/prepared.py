"""Statements of the hot paths, compiled once and given to the database's driver itself.

SQLAlchemy's own execution takes a multiple of the time that SQLite needs for a row: it looks the statement up in its cache, processes
parameters and results, and counts rows. What is written down here is still SQLAlchemy's, for either engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import ClauseElement


class Prepared:
    """A statement with bound parameters of plain types: numbers, text and bytes.

    Parameters
    ----------
    statements : mapping of str to ClauseElement
        By the name of the dialect, ``sqlite`` and ``postgresql``.
    """

    def __init__(self, statements: Mapping[str, ClauseElement]) -> None:
        self._statements = statements
        self._compiled: dict[str, tuple[str, list[str] | None, dict[str, Any]]] = {}

    def rows(self, connection: Connection, parameters: Iterable[Mapping[str, Any]]) -> list[Any]:
        """Execute once per set of parameters, in the connection's transaction; all rows that come back, as tuples.

        Raises
        ------
        DBAPIError
            The driver's error inside it.
        """
        name = connection.dialect.name
        text, order, fixed = self._compiled.get(name) or self._compile(name, connection)
        found: list[Any] = []
        cursor: Any = connection.connection.cursor()
        try:
            for given in parameters:
                values = {**fixed, **given}
                cursor.execute(text, values if order is None else [values[key] for key in order])
                found += cursor.fetchall()
        except connection.dialect.loaded_dbapi.Error as error:
            raise DBAPIError(None, None, error) from error
        finally:
            cursor.close()
        return found

    def _compile(self, name: str, connection: Connection) -> tuple[str, list[str] | None, dict[str, Any]]:
        compiled: Any = self._statements[name].compile(dialect=connection.dialect)
        fixed = {key: value.value if isinstance(value, Enum) else value for key, value in compiled.params.items()}
        made = (str(compiled), compiled.positiontup, fixed)
        self._compiled[name] = made
        return made
