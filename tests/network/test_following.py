"""Rows that follow the answer: many in one transaction, none forgotten, none taken in vain."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from radanon_node.errors import LedgerUnavailable, StorageError
from radanon_node.ledger.seal import Seal
from radanon_node.ledger.types import Admission, Arrival
from radanon_node.network.following import Following
from radanon_node.stages import Stages

CT, SYNTAX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
RECORDS = Seal(bytes(32)).records


class Ledger:
    """Takes rows unless told not to."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.batches: list[int] = []
        self.error: Exception | None = None
        self.mute: LedgerUnavailable | None = None
        self.asked = 0
        self.bad = ""
        self.gate = threading.Event()
        self.gate.set()

    def turn(self, arrival: Arrival) -> int:
        return 0

    def require_writable(self) -> None:
        self.asked += 1
        if self.mute is not None:
            raise self.mute

    def admit(self, arrivals: Sequence[Arrival], urgent: bool = True) -> list[Admission]:
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        if self.bad in {arrival.file for arrival in arrivals}:
            raise StorageError("spool: read: Input/output error")
        self.batches.append(len(arrivals))
        self.rows += [arrival.file for arrival in arrivals]
        return [Admission(len(self.rows), "new") for _ in arrivals]


class NoFiles:
    def __init__(self) -> None:
        self.removed: list[str] = []

    def remove(self, name: str) -> None:
        self.removed.append(name)


class Place:
    def __init__(self) -> None:
        self.ledger, self.spool = Ledger(), NoFiles()
        self.told: list[int] = []
        self.rung: list[int] = []
        self.following = Following(self.ledger, self.spool, RECORDS, self.rung.append, Stages())

    def admit(self, name: str) -> None:
        self.following.admit(Arrival(name, 1, "R", "C", CT, "1.2", SYNTAX, 0.0), lambda admission: self.told.append(admission.id))


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    made.following.start()
    yield made
    made.ledger.gate.set()
    made.following.stop(10)


def test_rows_of_a_burst_share_transactions_and_flush_waits_for_them(place: Place) -> None:
    place.ledger.gate.clear()
    for number in range(40):
        place.admit(f"in/{number}")
    assert not place.following.flush(0.01)
    place.ledger.gate.set()
    assert place.following.flush(10)
    assert place.ledger.rows == [f"in/{number}" for number in range(40)]
    assert len(place.ledger.batches) <= 3
    assert len(place.told) == 40
    assert sum(place.rung) == 40


def test_processes_that_share_a_port_share_the_bound_on_what_has_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radanon_node.network.following._PATIENCE_S", 0.05)
    ledger, removed = Ledger(), NoFiles()
    following = Following(ledger, removed, RECORDS, lambda _: None, Stages(), processes=32)
    ledger.gate.clear()
    following.start()
    taken = 0
    with pytest.raises(LedgerUnavailable):
        while taken < 200:
            following.admit(Arrival(f"in/{taken}", 1, "R", "C", CT, "1.2", SYNTAX, 0.0), lambda _: None)
            taken += 1
    assert taken == 128 // 32
    assert removed.removed == [f"in/{taken}"]
    ledger.gate.set()
    assert following.flush(10)
    following.stop(10)
    assert len(ledger.rows) == taken


def test_while_the_ledger_is_down_nothing_more_is_taken_and_nothing_is_forgotten(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radanon_node.network.following._PAUSE_S", 0.05)
    place.ledger.error = LedgerUnavailable("ledger: OperationalError")
    place.admit("in/1")
    while not place.following._is_down():
        time.sleep(0.001)
    with pytest.raises(LedgerUnavailable):
        place.following.check()
    with pytest.raises(LedgerUnavailable):
        place.admit("in/2")
    assert place.spool.removed == ["in/2"]  # it was not acknowledged
    place.ledger.error = None
    assert place.following.flush(10)
    place.following.check()
    assert place.ledger.rows == ["in/1"]


def test_a_ledger_that_went_down_while_nobody_sent_is_noticed_before_success(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radanon_node.network.following._PAUSE_S", 0.05)
    place.ledger.mute = LedgerUnavailable("ledger: OperationalError")
    with pytest.raises(LedgerUnavailable):
        place.following.check()
    with pytest.raises(LedgerUnavailable):
        place.admit("in/1")
    assert place.spool.removed == ["in/1"]
    assert place.ledger.asked == 1  # not by each who comes meanwhile
    place.ledger.mute = None
    while place.following._is_down():
        time.sleep(0.001)
    place.following.check()
    place.admit("in/2")
    assert place.following.flush(10)
    assert place.ledger.asked == 2
    assert place.ledger.rows == ["in/2"]


def test_one_that_cannot_be_compared_keeps_no_other_from_its_row(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radanon_node.network.following._PAUSE_S", 0.05)
    place.ledger.gate.clear()
    place.ledger.bad = "in/3"
    for number in range(6):
        place.admit(f"in/{number}")
    place.ledger.gate.set()
    while len(place.ledger.rows) < 5:
        time.sleep(0.001)
    place.admit("in/6")  # the ledger as a whole is not to blame
    place.ledger.bad = ""
    assert place.following.flush(10)
    assert sorted(place.ledger.rows) == [f"in/{number}" for number in range(7)]


def test_a_bug_in_the_ledger_is_no_reason_to_forget(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radanon_node.network.following._PAUSE_S", 0.05)
    place.ledger.error = ValueError("whatever")
    place.admit("in/1")
    assert not place.following.flush(0.2)
    place.ledger.error = None
    assert place.following.flush(10)
    assert place.ledger.rows == ["in/1"]


def test_what_could_not_be_written_at_the_end_is_left_to_the_files() -> None:
    place = Place()
    place.following.start()
    place.ledger.error = LedgerUnavailable("ledger: OperationalError")
    place.admit("in/1")
    place.following.stop(10)
    assert place.told == []
    assert place.spool.removed == []
