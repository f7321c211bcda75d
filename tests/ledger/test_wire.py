"""Two nodes on one PostgreSQL hear each other without looking by the clock."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from radanon_node.bell import Bell, EchoBell
from radanon_node.ledger.wire import Wire
from tests.postgres import Postgres

Hands = Any


@pytest.fixture
def two(postgres: Postgres, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """(hands, bells and wire of one node, bells and wire of another)."""
    from tests.ledger.conftest import Hands as RealHands
    from tests.ledger.conftest import fresh_schema

    hands = RealHands(fresh_schema(postgres), tmp_path / "spool")
    ends = []
    for _ in range(2):
        bells = {"received": EchoBell(), "released": EchoBell()}
        ends.append((bells, Wire(hands.ledger, bells).start()))
    for bells, wire in ends:
        assert wire.connected.wait(30)
        for bell in bells.values():
            assert bell.wait(30)  # the first look
            bell.clear()
    yield hands, *ends
    for _, wire in ends:
        wire.stop()
    hands.close()


def test_a_ring_is_heard_at_the_other_node_and_not_at_ones_own(two: Any) -> None:
    _, (ours, _), (theirs, _) = two
    began = time.monotonic()
    ours["received"].set()
    assert theirs["received"].wait(30)
    print(f"heard after {1000 * (time.monotonic() - began):.1f} ms")
    assert not theirs["released"].is_set()
    ours["received"].clear()
    theirs["received"].clear()
    theirs["released"].set()
    assert ours["released"].wait(30)
    assert not ours["received"].is_set()  # its own word did not come back


def test_after_the_connection_broke_it_listens_again_and_looks_at_once(two: Any) -> None:
    hands, (ours, _), (theirs, wire) = two
    hands.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND application_name = 'radanon'")
    for bells in (ours, theirs):
        for bell in bells.values():
            assert bell.wait(60)
            bell.clear()
    ours["received"].set()
    assert theirs["received"].wait(60)


def test_sqlite_has_no_other_nodes(sqlite_hands: Hands) -> None:
    bells = {"received": EchoBell()}
    wire = Wire(sqlite_hands.ledger, bells).start()
    bells["received"].set()
    wire.stop()
    assert not wire.connected.is_set()


def _ring(bell: EchoBell) -> None:
    bell.set()


def test_a_bell_with_an_echo_goes_to_other_processes() -> None:
    bell = EchoBell()
    process = multiprocessing.get_context("spawn").Process(target=_ring, args=(bell,))
    process.start()
    assert bell.wait(60) and bell.echo.wait(60)
    process.join()
    bell.clear()
    bell.echo.clear()
    bell.ring()
    assert bell.is_set() and not bell.echo.is_set()
    assert isinstance(bell.echo, Bell)
