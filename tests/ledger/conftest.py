"""A ledger on SQLite and on a real PostgreSQL, and a few hands that play listener, worker and sender."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.types import Arrival, ReleasedItem, ReleaseRecord, WorkItem
from radanon_node.pipeline.released import digest_of
from tests.postgres import Postgres, postgres_server

KEY = bytes(range(32))
EXPLICIT_LE = "1.2.840.10008.1.2.1"
_numbers = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL server for all tests of the ledger."""
    with postgres_server(durable=False) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    return fresh_schema(request.getfixturevalue("postgres"))


def fresh_schema(server: Postgres) -> str:
    """URL of an empty place on the server of `postgres`."""
    # A role with a schema of its own: a database each would be hundreds of files.
    name = f"ledger{next(_numbers)}"
    engine = create_engine(server.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN SUPERUSER"))
        connection.execute(text(f"CREATE SCHEMA {name} AUTHORIZATION {name}"))
    engine.dispose()
    return server.url_of(name)


@dataclass
class Hands:
    """Plays the rooms around a ledger."""

    url: str
    root: Path
    attempts: int = 5
    spool: Spool = field(init=False)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.spool = Spool(self.root)
        self.ledger = Ledger(self.url, KEY, self.spool, self.attempts)

    def again(self) -> Hands:
        """The same ledger, opened once more as another process would."""
        return Hands(self.url, self.root, self.attempts)

    def close(self) -> None:
        self.ledger.close()
        self.spool.close()

    def arrival(self, uid: str, body: bytes = b"the data set", route: str = "RESEARCH", syntax: str = EXPLICIT_LE) -> Arrival:
        """A sealed file that no row knows yet."""
        incoming = self.spool.begin(b"\0" * 128 + b"DICM")
        os.write(incoming.fd, body)
        incoming.seal()
        return Arrival(incoming.name, incoming.size, route, "MODALITY1", "1.2.840.10008.5.1.4.1.1.2", uid, syntax, time.time())

    def admit(self, *uids: str) -> list[int]:
        return [admission.id for admission in self.ledger.admit([self.arrival(uid) for uid in uids])]

    def released(self, item: WorkItem, destinations: Sequence[str] = ("archive",), study: str = "study") -> ReleasedItem:
        """A stored and signed release of an item; the new UID follows from the old one."""
        data = b"new " + item.sop_instance_uid.encode()
        record = ReleaseRecord(item.sop_class_uid, f"2.25.{item.sop_instance_uid}", EXPLICIT_LE, self.spool.store_released(data), len(data),
                               digest_of(data), "")
        record = replace(record, seal=self.ledger.seal.sign(record))
        return ReleasedItem(item.id, item.token, record, tuple(destinations), {"receipt_version": 1}, study)

    def release(self, *uids: str, destinations: Sequence[str] = ("archive",), study: str = "study") -> list[int]:
        """Instances that are admitted, worked on and waiting for delivery."""
        ids = self.admit(*uids)
        items = {item.id: item for item in self.ledger.claim("worker", len(uids), 60)}
        assert self.ledger.finish([self.released(items[one], destinations, study) for one in ids]) == []
        return ids

    def states(self) -> dict[str, int]:
        return {state: n for state, n in self.ledger.status()["states"].items() if n}

    def files(self) -> set[str]:
        """Files with something in them: the spool keeps a few empty ones ready."""
        return {path.relative_to(self.root).as_posix() for path in self.root.rglob("*.dcm") if path.stat().st_size}

    def state(self, instance_id: int) -> str:
        return str(self.sql("SELECT state FROM instances WHERE id = :id", id=instance_id)[0][0])

    def sql(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        """Rows straight from the database."""
        engine = create_engine(self.url)
        try:
            with engine.begin() as connection:
                result = connection.execute(text(statement), values)
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            engine.dispose()


@pytest.fixture
def hands(url: str, tmp_path: Path) -> Iterator[Hands]:
    """On each engine."""
    made = Hands(url, tmp_path / "spool")
    yield made
    made.close()


@pytest.fixture
def sqlite_hands(tmp_path: Path) -> Iterator[Hands]:
    """On SQLite alone, for what does not touch the engine."""
    made = Hands(f"sqlite:///{tmp_path / 'ledger.sqlite'}", tmp_path / "spool")
    yield made
    made.close()
