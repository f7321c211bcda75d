"""A ledger of the first release is upgraded in place, with what is in it, and is then the same as a new one; a newer one is refused."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from radanon_node.errors import ConfigError, LedgerUnavailable
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.schema import VERSION
from radanon_node.ledger.seal import Seal
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.upgrade import ledger_version, upgrade
from tests.ledger.conftest import KEY

DATA = Path(__file__).parent / "data"
UID = "1.2.3"
# Rows of each table of version 1, in the order of their foreign keys.
ROWS: dict[str, list[dict[str, Any]]] = {
    "instances": [
        {"id": 1, "state": "received", "due": 1.0, "route": "IN", "size": 5, "sop_class_uid": "1.2", "transfer_syntax_uid": "1.2.1",
         "identity": b"", "sop_index": b"", "received_at": 10.0},
        {"id": 2, "state": "delivered", "route": "IN", "size": 5, "sop_class_uid": "1.2", "transfer_syntax_uid": "1.2.1",
         "identity": b"", "sop_index": b"2", "received_at": 10.0, "closed_at": 11.0, "content": b"x"},
        {"id": 3, "state": "quarantined", "route": "IN", "size": 5, "sop_class_uid": "1.2", "transfer_syntax_uid": "1.2.1",
         "identity": b"", "sop_index": b"3", "received_at": 10.0, "reason": "video", "detail": "d"},
    ],
    "releases": [{"instance_id": 2, "sop_class_uid": "1.2", "sop_instance_uid": "2.25.1", "transfer_syntax_uid": "1.2.1", "size": 4,
                  "digest": "d", "seal": "s", "study_key": "k", "receipt": '{"receipt_version": 1}', "released_at": 10.5}],
    "receipt_chain": [{"id": 1, "day": "2026-01-01", "instance_id": 2, "digest": "d", "link": "l"}],
    "studies": [{"study_key": "k", "patient_key": "p"}],
    "deliveries": [{"id": 1, "instance_id": 2, "destination": "archive", "state": "delivered", "study_key": "k", "changed_at": 11.0}],
    "destinations": [{"name": "archive", "up": True, "changed_at": 11.0}],
    "tally": [{"id": 1, "kind": "route", "name": "IN", "change": 1}, {"id": 2, "kind": "destination", "name": "archive", "change": 1}],
    "audit": [{"id": 1, "at": 12.0, "who": "anna", "action": "quarantine retry", "instance_id": 3, "reason": "why"}],
    "meta": [{"name": "version", "value": "1"}, {"name": "key_check", "value": Seal(KEY).check_value}, {"name": "id", "value": "ab" * 16}],
}


@pytest.fixture
def old(url: str) -> str:
    """A ledger as the first release made it, with rows in each table."""
    engine = create_engine(url)
    seal = Seal(KEY)
    with engine.begin() as connection:
        for statement in (DATA / f"version1.{engine.dialect.name}.sql").read_text().split(";\n--\n"):
            connection.exec_driver_sql(statement.rstrip().removesuffix(";") if " END" not in statement else statement)
        for table, rows in ROWS.items():
            for row in rows:
                values = dict(row)
                if values.get("id") == 1 and table == "instances":
                    values |= {"identity": seal.encrypt('{"sop_instance_uid": "1.2.3", "calling_ae": "CT1"}'),
                               "sop_index": seal.index("sop", "IN", UID), "file": "in/" + "a" * 16 + "/a/" + "b" * 32 + ".dcm"}
                columns = ", ".join(values)
                connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({', '.join(':' + name for name in values)})"), values)
        if engine.dialect.name == "postgresql":
            for table in ("instances", "receipt_chain", "deliveries", "tally", "audit"):
                connection.execute(text(f"SELECT setval('{table}_id_seq', 100)"))
    engine.dispose()
    return url


def shape(url: str) -> dict[str, Any]:
    """Everything that makes up a schema: columns, indexes, triggers."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                found: dict[str, Any] = {}
                for kind, name, sql in connection.execute(text("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")):
                    if kind == "table":
                        found[name] = {tuple(row)[1:] for row in connection.execute(text(f"PRAGMA table_info({name})"))}
                        found[f"{name} keys"] = {tuple(row)[2:] for row in connection.execute(text(f"PRAGMA foreign_key_list({name})"))}
                    else:
                        found[name] = " ".join(sql.split()).replace(" IF NOT EXISTS", "")
                return found
            columns = connection.execute(text(
                "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns "
                "WHERE table_schema = current_schema()"))
            indexes = connection.execute(text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()"))
            schema = connection.scalar(text("SELECT current_schema()"))
            triggers = connection.execute(text(
                "SELECT tgname, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid "
                "WHERE NOT tgisinternal AND c.relnamespace = current_schema()::regnamespace"))
            constraints = connection.execute(text(
                "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = current_schema()::regnamespace"))
            return {"columns": {tuple(row) for row in columns},
                    "others": {str(tuple(row)).replace(f"{schema}.", "") for rows in (indexes, triggers, constraints) for row in rows}}
    finally:
        engine.dispose()


@pytest.fixture
def new(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Iterator[str]:
    """A new ledger on the same engine."""
    if url.startswith("sqlite"):
        place = f"sqlite:///{tmp_path / 'new.sqlite'}"
    else:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            user = connection.scalar(text("SELECT current_user"))
            connection.execute(text(f"CREATE ROLE {user}new LOGIN SUPERUSER"))
            connection.execute(text(f"CREATE SCHEMA {user}new AUTHORIZATION {user}new"))
        engine.dispose()
        place = url.replace(f"//{user}@", f"//{user}new@")
    Ledger(place, KEY, Spool(tmp_path / "new")).close()
    yield place


def test_an_old_ledger_becomes_the_same_as_a_new_one(old: str, new: str, tmp_path: Path) -> None:
    assert ledger_version(old) == "1"
    done = upgrade(old)
    assert done.changed and (done.found, done.now) == ("1", VERSION)
    assert ledger_version(old) == VERSION
    assert shape(old) == shape(new)
    assert not upgrade(old).changed


def test_what_was_in_it_is_still_there_and_works(old: str, tmp_path: Path) -> None:
    upgrade(old)
    ledger = Ledger(old, KEY, Spool(tmp_path / "spool"))
    states = ledger.status()["states"]
    assert (states["received"], states["delivered"], states["quarantined"]) == (1, 1, 1)
    assert ledger.status()["destinations"]["archive"]["delivered"] == 1
    (item,) = ledger.claim("worker", 5, 60)
    assert (item.id, item.sop_instance_uid) == (1, UID)
    assert ledger.receipt(2) == {"receipt_version": 1}
    ledger.quarantine_retry(3, "anna", "again")
    assert ledger.verify_audit() == (2, [])
    assert [entry.action for entry in ledger.audit_trail()] == ["quarantine retry", "quarantine retry"]
    ledger.close()


def test_it_is_not_used_before_it_is_upgraded(old: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="radanon ledger upgrade"):
        Ledger(old, KEY, Spool(tmp_path / "spool"))


def test_an_sqlite_ledger_is_copied_first(old: str, tmp_path: Path) -> None:
    done = upgrade(old)
    if not old.startswith("sqlite"):
        assert done.copy is None
        return
    assert done.copy is not None and done.copy.stat().st_mode & 0o077 == 0
    connection = sqlite3.connect(done.copy)
    assert connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone() == ("1",)
    assert connection.execute("SELECT count(*) FROM instances").fetchone() == (3,)
    connection.close()


def test_a_newer_ledger_is_refused_by_both(old: str, tmp_path: Path) -> None:
    engine = create_engine(old)
    with engine.begin() as connection:
        connection.execute(text("UPDATE meta SET value = '99' WHERE name = 'version'"))
    engine.dispose()
    for deed in (lambda: upgrade(old), lambda: Ledger(old, KEY, Spool(tmp_path / "spool"))):
        with pytest.raises(ConfigError, match="version 99, this program knows versions up to"):
            deed()


def test_a_step_that_fails_leaves_it_as_it_was(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shape(old)
    from radanon_node.ledger import upgrade as module

    real = module._run

    def fails(connection: Any, steps: Any) -> None:
        real(connection, steps)
        connection.execute(text("SELECT no_such_column FROM meta"))

    monkeypatch.setattr(module, "_run", fails)
    with pytest.raises(LedgerUnavailable):
        upgrade(old)
    assert shape(old) == before
    assert ledger_version(old) == "1"


def _start(url: str, results: Any) -> None:
    try:
        results.put(upgrade(url).changed)
    except Exception as error:  # noqa: BLE001  the process edge
        results.put(repr(error))


def test_nodes_that_start_at_once_take_turns(old: str) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_start, args=(old, results)) for _ in range(3)]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=170) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(outcomes) == [False, False, True]


def test_without_a_ledger_there_is_nothing_to_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'none.sqlite'}"
    assert ledger_version(url) == "" and not upgrade(url).changed
    assert not (tmp_path / "none.sqlite").exists()
