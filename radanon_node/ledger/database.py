"""Connections and transactions of the ledger: one code path for SQLite (one machine) and PostgreSQL (many nodes)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    func,
    make_url,
    select,
    tuple_,
    union,
)
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from radanon_node.errors import ConfigError, LedgerUnavailable
from radanon_node.ledger import schema
from radanon_node.ledger.audit_chain import AuditChain, append
from radanon_node.ledger.gate import Gate
from radanon_node.ledger.prepared import compile_all
from radanon_node.ledger.schema import instances, releases
from radanon_node.ledger.seal import Seal
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.turns import Alternation

_BUSY_S = 30.0
_TEXT = 4000
_READ = "radanon_read"
_REVOCABLE = "radanon_revocable"
_SYNCED = "radanon_synced"


class Database:
    """Base of the ledger's parts: engine, transactions, seals. Safe for threads.

    Parameters
    ----------
    url : str
        SQLAlchemy URL: ``sqlite:///FILE`` or ``postgresql+psycopg://...``.
    seal : Seal or bytes
        Of the node's key (`seal.load_key`).
    spool : Spool
        Where the files of its rows are.
    attempts : int
        Claims of one instance before it is set aside.

    Raises
    ------
    ConfigError
        The URL is none, or ledger, key and spool do not belong together.
    LedgerUnavailable
        The database does not answer.
    """

    def __init__(self, url: str, seal: Seal | bytes, spool: Spool, attempts: int = 5) -> None:
        self.seal = Seal(seal) if isinstance(seal, bytes) else seal
        self.spool = spool
        self.attempts = attempts
        self._turns = Alternation()
        self._engine = open_engine(url)
        self._reader = self._engine.execution_options(**{_READ: True})
        # One moment for all statements of a transaction; SQLite's show that anyway.
        postgresql = self._engine.dialect.name == "postgresql"
        self._observer = self._engine.execution_options(isolation_level="REPEATABLE READ") if postgresql else self._reader
        self._claimer = self._engine.execution_options(**{_REVOCABLE: True})
        self._gate = Gate(Path(f"{self._engine.url.database}-turn"), _BUSY_S) if self._engine.dialect.name == "sqlite" else None
        with self._write() as connection:
            self.id = schema.prepare(connection, self.seal.check_value)
        self._audit_chain = AuditChain(self.seal.chain_key, self.id)
        spool.bind(self.id)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        if self._gate is not None:
            self._gate.close()

    def compile_statements(self) -> None:
        """Have the statements of the hot paths ready: for processes that wait at their start anyway."""
        compile_all(self._engine.dialect)

    @property
    def many_nodes(self) -> bool:
        """Whether nodes on several machines may share this ledger."""
        return self._engine.dialect.name == "postgresql"

    def require_writable(self) -> None:
        """Raise LedgerUnavailable unless a row could be written now: the write lock is taken and given back, nothing is written."""
        with self._write(urgent=True, revocable=True) as connection:
            connection.execute(select(instances.c.id).limit(1))

    def own_connection(self) -> Any:
        """A psycopg connection outside of the pool, for whoever listens on it; the caller closes it."""
        proxied = self._engine.raw_connection()
        connection = proxied.driver_connection
        proxied.detach()
        return connection

    def known_files(self, names: Sequence[str]) -> set[str]:
        """Those of the spool names that a row refers to (for `Spool.sweep`)."""
        query = union(*(select(column).where(column.in_(names)) for column in (instances.c.file, releases.c.file)))
        with self._read() as connection:
            return set(connection.scalars(query))

    def kept_files(self) -> set[str]:
        """Spool names of all files that rows refer to at this moment."""
        query = union(*(select(column).where(column.isnot(None)) for column in (instances.c.file, releases.c.file)))
        with self._read() as connection:
            return set(connection.scalars(query))

    @contextmanager
    def _write(self, urgent: bool = False, revocable: bool = False) -> Iterator[Connection]:
        """A writing transaction.

        Parameters
        ----------
        urgent : bool
            A peer waits for it.
        revocable : bool
            A power cut may take it back, as one that ends all processes of the machine anyway ends what it says: for claims. Whatever is
            committed after it and survives keeps it alive. (SQLite: no sync of its own. PostgreSQL makes no difference.)
        """
        # On SQLite BEGIN IMMEDIATE: a transaction that reads first and is then refused the write lock could not be waited for.
        engine = self._claimer if revocable else self._engine
        with unavailable(), self._gate.turn(urgent) if self._gate else nullcontext(), engine.begin() as connection:
            yield connection

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with unavailable(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        """A reading transaction all of whose statements see the same moment."""
        with unavailable(), self._observer.begin() as connection:
            yield connection

    def _audit(self, connection: Connection, who: str, action: str, reason: str, instance_id: int | None = None,
               delivery_id: int | None = None) -> None:
        append(connection, self._audit_chain, {"who": storable(who), "action": storable(action), "reason": storable(reason),
                                               "instance_id": instance_id, "delivery_id": delivery_id})


def in_index_order(connection: Connection) -> None:
    """For this transaction: no plan that sorts.

    PostgreSQL plans by statistics that a burst of arrivals overtakes: it would sort a queue that it believes to be short.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.set_config("enable_sort", "off", True)))


class Claimed(Protocol):
    """Anything that carries a claim's proof."""

    @property
    def id(self) -> int: ...
    @property
    def token(self) -> int: ...


def claimed(table: Table, claims: Sequence[Claimed]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Conditions for the rows of `table` whose claim still stands."""
    # The ids once more by themselves: SQLite looks pairs up in no index.
    return (table.c.id.in_([claim.id for claim in claims]),
            tuple_(table.c.id, table.c.token).in_([(claim.id, claim.token) for claim in claims]))


def storable(text: str) -> str:
    """`text` as every engine takes it: no NUL (PostgreSQL refuses it), no lone surrogates, of sane length."""
    return text[:_TEXT].replace("\0", "").encode("utf-8", "replace").decode()


@contextmanager
def unavailable() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        # The driver's own text is left out: PostgreSQL's DETAIL lines quote the row.
        cause = getattr(error, "orig", None) or error
        raise LedgerUnavailable(f"ledger: {_words(cause)}") from error


def _words(error: BaseException) -> str:
    """The type of a driver's error; of one that says there is no connection, that too."""
    lost = getattr(error, "sqlstate", "") is None and type(error).__name__ == "OperationalError"
    return f"{type(error).__name__}{': no connection to the database server' if lost else ''}{_sqlite_code(error)}"


def _sqlite_code(error: BaseException) -> str:
    return f" ({error.sqlite_errorname})" if isinstance(error, sqlite3.Error) and hasattr(error, "sqlite_errorname") else ""


def try_url(url: str) -> str:
    """Whether a ledger could be there, for a configuration that nothing has been started under yet; nothing is made.

    Returns
    -------
    str
        What was found, in words.

    Raises
    ------
    ConfigError
        The URL is none.
    LedgerUnavailable
        The database does not answer.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return "a file that the first start makes"
    engine = _postgresql(parsed)
    try:
        with unavailable(), engine.connect():
            return "the database answers"
    finally:
        engine.dispose()


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() in ("sqlite", "postgresql"):
            return parsed
    except ArgumentError:
        pass
    raise ConfigError("ledger.url: must begin with sqlite:/// or postgresql+psycopg://")


def open_engine(url: str) -> Engine:
    parsed = _parsed(url)
    return _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed)


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigError("ledger.url: a ledger in memory would lose what was acknowledged; name a file")
    path = Path(url.database)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite gives -wal and -shm the same mode
    except OSError as error:
        raise ConfigError(f"ledger.url: {path}: {error.strerror}") from None
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": _BUSY_S, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, record: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours, see below
        # FULL syncs the WAL at every commit: an acknowledgement depends on it.
        # auto_vacuum counts for a new file: it lets `Retention.vacuum` give space back bit by bit.
        for pragma in ("auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16000"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        reading = options.get(_READ, False)
        # To the driver itself: through SQLAlchemy this statement costs as much time as a whole row's insertion.
        driver: Any = connection.connection.driver_connection
        synced = not options.get(_REVOCABLE, False)
        if not reading and connection.info.get(_SYNCED, True) is not synced:
            driver.execute(f"PRAGMA synchronous={'FULL' if synced else 'NORMAL'}").close()
            connection.info[_SYNCED] = synced
        driver.execute("BEGIN" if reading else "BEGIN IMMEDIATE").close()

    return engine


# A server whose machine died is noticed in half a minute.
_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}


def _postgresql(url: URL) -> Engine:
    # synchronous_commit: a server set to `off` would acknowledge what a power cut can take back.
    # enable_bitmapscan: a look for one row must stop at the first, also when statistics that are out of date promise few.
    options = ("-c synchronous_commit=on -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s "
               "-c enable_bitmapscan=off")
    arguments = {"connect_timeout": 10, "options": options, "application_name": "radanon", **_KEEPALIVE}
    try:
        return create_engine(url.set(drivername="postgresql+psycopg"), hide_parameters=True, pool_size=8, max_overflow=32,
                             pool_recycle=1800, connect_args=arguments)
    except ImportError as error:
        raise ConfigError("ledger.url: PostgreSQL needs the package psycopg") from error
