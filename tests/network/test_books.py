"""Outcomes are written while the next batch is sent; none is lost, and no claim is let go of before its outcome is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from radanon_node.errors import LedgerUnavailable
from radanon_node.ledger.types import DeliveryItem, DeliveryResult, ReleaseRecord
from radanon_node.network.books import Books
from radanon_node.network.claims import Bell, Claims
from radanon_node.settings import AuditSettings, DestinationSettings


class Ledger:
    def __init__(self) -> None:
        self.written: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.down = 0

    def finish_deliveries(self, results: Sequence[DeliveryResult]) -> list[int]:
        assert self.gate.wait(10)
        if self.down:
            self.down -= 1
            raise LedgerUnavailable("ledger: OperationalError")
        self.written.append([result.item.id for result in results])
        return []


class Place:
    def __init__(self) -> None:
        self.ledger, self.claims, self.bell = Ledger(), Claims(), Bell()
        ledger: Any = self.ledger
        settings = DestinationSettings(host="127.0.0.1", port=104, ae_title="A")
        self.books = Books("archive", settings, AuditSettings(), ledger, self.claims, self.bell)

    def done(self, *numbers: int) -> list[DeliveryItem]:
        items = [DeliveryItem(number, 1, number, "archive", 0, ReleaseRecord("1", "2", "3", "f", 1, "d", "s"), "k") for number in numbers]
        self.books.open(items)
        for item in items:
            self.books.add(DeliveryResult(item, "delivered"))
        return items

    def held(self) -> set[int]:
        return {item.id for item in self.claims.held()}


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr("radanon_node.network.books._PAUSE_S", 0.01)
    made = Place()
    yield made
    made.ledger.gate.set()
    made.books.close()


def test_the_lane_goes_on_while_its_last_batch_is_written(place: Place) -> None:
    place.ledger.gate.clear()
    place.books.forget(place.done(1, 2))
    place.books.write_beside()
    place.books.forget(place.done(3))
    assert place.held() == {1, 2, 3}
    assert place.ledger.written == []
    place.ledger.gate.set()
    place.books.write()
    assert place.ledger.written == [[1, 2], [3]]
    assert place.held() == set()


def test_what_has_no_outcome_is_let_go_of(place: Place) -> None:
    items = place.done(1)
    unknown = DeliveryItem(2, 1, 2, "archive", 0, items[0].release, "k")
    place.books.open([unknown])
    place.books.forget([*items, unknown])
    assert place.held() == {1}


def test_a_ledger_that_is_away_is_waited_for(place: Place) -> None:
    place.ledger.down = 3
    place.done(1, 2)
    place.books.write_beside()
    place.books.write()
    assert place.ledger.written == [[1, 2]]
    assert place.held() == set()


def test_a_stopping_sender_does_not_wait_for_it(place: Place) -> None:
    place.ledger.down = 100
    place.bell.close()
    place.done(1)
    place.books.write_beside()
    with pytest.raises(LedgerUnavailable):
        place.books.write()
    assert place.held() == {1}  # to be given back, not forgotten
    place.books.close()
