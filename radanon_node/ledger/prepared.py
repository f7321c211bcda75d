"""Statements of the hot paths, compiled once and given to the database's driver itself.

SQLAlchemy's own execution takes a multiple of the time that SQLite needs for a row: it looks the statement up in its cache, processes
parameters and results, and counts rows. What is written down here is still SQLAlchemy's, for either engine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any, TypeAlias

from sqlalchemy import ARRAY, ColumnElement, Connection, Dialect, any_, bindparam, column, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import ClauseElement

_ALL: list[Prepared] = []


def compile_all(dialect: Dialect) -> None:
    """Work out every statement there is for an engine: some ten milliseconds, which the first instance would have to wait for."""
    for each in _ALL:
        each.compile(dialect)


class Prepared:
    """A statement with bound parameters of plain types: numbers, text and bytes; lists where `Among` made the condition.

    Parameters
    ----------
    statements : mapping of str to ClauseElement
        By the name of the dialect, ``sqlite`` and ``postgresql``.
    """

    def __init__(self, statements: Mapping[str, ClauseElement]) -> None:
        _ALL.append(self)
        self._statements = statements
        self._compiled: dict[str, tuple[str, list[str] | None, dict[str, Any]]] = {}

    def rows(self, connection: Connection, parameters: Iterable[Mapping[str, Any]]) -> list[Any]:
        """Execute once per set of parameters, in the connection's transaction; all rows that come back, as tuples.

        Raises
        ------
        DBAPIError
            The driver's error inside it.
        """
        found: list[Any] = []
        text, bound = self._bound(connection, parameters)
        with _cursor(connection) as cursor:
            if len(bound) > 1 and connection.dialect.name == "postgresql":
                cursor.executemany(text, bound, returning=True)  # one way there and back for all of them
                found += _fetched(cursor)
                while cursor.nextset():
                    found += _fetched(cursor)
                return found
            for values in bound:
                cursor.execute(text, values)
                found += _fetched(cursor)
        return found

    def many(self, connection: Connection, parameters: Iterable[Mapping[str, Any]]) -> None:
        """Execute once per set of parameters, sent together; no rows come back. Raises as `rows`."""
        text, bound = self._bound(connection, parameters)
        with _cursor(connection) as cursor:
            cursor.executemany(text, bound)

    def compile(self, dialect: Dialect) -> tuple[str, list[str] | None, dict[str, Any]]:
        """Text, order of positional parameters and constants for an engine; worked out once."""
        found = self._compiled.get(dialect.name)
        if found is None:
            compiled: Any = self._statements[dialect.name].compile(dialect=dialect)
            fixed = {key: value.value if isinstance(value, Enum) else value for key, value in compiled.params.items()}
            found = self._compiled[dialect.name] = (str(compiled), compiled.positiontup, fixed)
        return found

    def _bound(self, connection: Connection, parameters: Iterable[Mapping[str, Any]]) -> tuple[str, list[Any]]:
        name = connection.dialect.name
        text, order, fixed = self.compile(connection.dialect)
        plain = json.dumps if name == "sqlite" else list
        bound: list[Any] = []
        for given in parameters:
            values = {**fixed, **{key: plain(value) if isinstance(value, list) else value for key, value in given.items()}}
            bound.append(values if order is None else [values[key] for key in order])
        return text, bound


def _fetched(cursor: Any) -> list[Any]:
    return list(cursor.fetchall()) if cursor.description is not None else []


@contextmanager
def _cursor(connection: Connection) -> Iterator[Any]:
    cursor: Any = connection.connection.cursor()
    try:
        yield cursor
    except connection.dialect.loaded_dbapi.Error as error:
        raise DBAPIError(None, None, error) from error
    finally:
        cursor.close()


Among: TypeAlias = Callable[[ColumnElement[Any], str], ColumnElement[bool]]
"""The condition that a column's value is in the list bound to a name: one parameter, so that the statement stays the same."""


def prepared(build: Callable[[Among], ClauseElement]) -> Prepared:
    """A statement for either engine, built with the engine's own way to look for one of many."""
    return Prepared({"sqlite": build(_among_sqlite), "postgresql": build(_among_postgresql)})


def _among_sqlite(where: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    return where.in_(select(column("value")).select_from(func.json_each(bindparam(name))))


def _among_postgresql(where: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    return where == any_(bindparam(name, type_=ARRAY(where.type)))
