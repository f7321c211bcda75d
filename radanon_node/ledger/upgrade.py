"""Brings the ledger of an older release to this one's schema: in place, in one transaction, with a copy beside it where it is a file.

A ledger of a newer release is refused: what that release added would be lost on its way through this one.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, inspect, select, text, update

from radanon_node.errors import ConfigError
from radanon_node.ledger import schema
from radanon_node.ledger.database import open_engine, unavailable

_LOCK_WAIT = "60s"  # how long old nodes that still hold its tables are waited for


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What `upgrade` did.

    Parameters
    ----------
    found, now : str
        Schema versions before and after; `found` is empty where there was no ledger yet.
    copy : Path or None
        Copy of the ledger as it was before (SQLite); None where nothing was changed or the server keeps it.
    """

    found: str
    now: str
    copy: Path | None = None

    @property
    def changed(self) -> bool:
        return bool(self.found) and self.found != self.now


def ledger_version(url: str) -> str:
    """Schema version of a ledger; empty if there is none at `url` yet. Nothing is changed or made.

    Raises
    ------
    ConfigError
        The URL is none.
    LedgerUnavailable
        The database does not answer.
    """
    path = _file(url)
    if path is not None and not path.exists():
        return ""
    engine = open_engine(url)
    try:
        with unavailable(), engine.connect() as connection:
            return _version(connection)
    finally:
        engine.dispose()


def upgrade(url: str, folder: Path | None = None) -> Upgrade:
    """Bring the ledger at `url` to `schema.VERSION`. Several nodes that start at once take turns; all but the first find it done.

    Parameters
    ----------
    url : str
        As `Database` takes it.
    folder : Path, optional
        Where the copy of an SQLite ledger goes; default: beside it.

    Returns
    -------
    Upgrade

    Raises
    ------
    ConfigError
        The ledger is of a newer release, or there is no room for the copy. Nothing was changed.
    LedgerUnavailable
        The database does not answer, or old nodes still use it. Nothing was changed.
    """
    if ledger_version(url) in ("", schema.VERSION):
        return Upgrade(ledger_version(url), schema.VERSION)
    engine = open_engine(url)
    try:
        with unavailable(), engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(schema.PREPARE_LOCK)))
                connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'"))
                connection.execute(text("SET LOCAL statement_timeout = 0"))
            found = _version(connection)
            if found == schema.VERSION:  # another node was faster
                return Upgrade(found, found)
            steps = _steps(found)
            path = _file(url)
            # On SQLite the transaction holds the write lock already: the copy is of exactly what is changed next.
            copy = _copy(path, folder or path.parent, found) if path is not None else None
            _run(connection, steps)
            connection.execute(update(schema.meta).where(schema.meta.c.name == "version").values(value=schema.VERSION))
            return Upgrade(found, schema.VERSION, copy)
    finally:
        engine.dispose()


def _version(connection: Connection) -> str:
    if not inspect(connection).has_table("meta"):
        return ""
    return str(connection.scalar(select(schema.meta.c.value).where(schema.meta.c.name == "version")) or "")


def _steps(found: str) -> list[Any]:
    """Modules of the revisions after `found`, in order."""
    from alembic.script import ScriptDirectory  # half a second that only an upgrade pays

    scripts = ScriptDirectory(str(Path(__file__).parent / "migrations"))
    line = [revision.module for revision in scripts.walk_revisions()][::-1]
    known = [module.revision for module in line]
    if found not in known:
        raise ConfigError(schema.newer(found))
    return line[known.index(found) + 1:]


def _run(connection: Connection, steps: list[Any]) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    with Operations.context(MigrationContext.configure(connection)):
        for step in steps:
            step.upgrade()


def _file(url: str) -> Path | None:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError("ledger.url: ArgumentError: cannot be used") from None
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def _copy(path: Path, folder: Path, version: str) -> Path:
    """A copy of an SQLite ledger that others may be reading, for the node's user alone."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    target = folder / f"{path.stem}.v{version}.{stamp}{path.suffix}"
    need, free = path.stat().st_size, shutil.disk_usage(folder).free
    if free < 2 * need:
        raise ConfigError(f"ledger.url: {path}: no room for the copy that is made before an upgrade ({need} bytes, {free} free); "
                          "make room, or back it up elsewhere and move old copies away")
    backup_sqlite(path, target)
    return target


def backup_sqlite(path: Path, target: Path) -> None:
    """Copy a live SQLite database, with what its write-ahead log holds, into a new file of mode 0600 on stable storage.

    Raises
    ------
    ConfigError
        `target` exists or cannot be written, or `path` is no database.
    """
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30.0)
        try:
            made = sqlite3.connect(target)
            try:
                source.backup(made)
                # Out of WAL mode: the copy is one file, complete by itself.
                made.execute("PRAGMA journal_mode=DELETE").close()
            finally:
                made.close()
        finally:
            source.close()
        with target.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(f"{target}: {error.strerror}") from None
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot be copied: {type(error).__name__}") from None


def files_in_copy(path: Path) -> set[str]:
    """Spool names that a copy of an SQLite ledger refers to; the copy is only read."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        return {str(name) for (name,) in connection.execute(
            "SELECT file FROM instances WHERE file IS NOT NULL UNION SELECT file FROM releases WHERE file IS NOT NULL")}
    finally:
        connection.close()
