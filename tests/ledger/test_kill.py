"""A process killed at any transition loses nothing and doubles nothing."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from typing import Any

import pytest

from radanon_node.ledger import faults

Hands = Any
UIDS = tuple(f"1.{k}" for k in range(6))
_fork = multiprocessing.get_context("fork")


def run(hands: Hands, act: Callable[[Hands], None], fault: str = "") -> int:
    """`act` in a process with its own connections; returns its exit code."""

    def child() -> None:
        faults.arm(fault)
        act(hands.again())

    process = _fork.Process(target=child)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def work(hands: Hands) -> None:
    """A worker's transitions, four instances at a time."""
    while items := hands.ledger.claim("worker", 4, 60):
        faults.point("worker.after_claim")
        outcomes = [hands.released(item, ("archive", "copy")) for item in items]
        faults.point("worker.after_store")
        assert hands.ledger.finish(outcomes) == []
        faults.point("worker.after_finish")


def send(hands: Hands) -> None:
    for destination in ("archive", "copy"):
        while items := hands.ledger.claim_deliveries("sender", destination, 4, 60):
            faults.point("sender.after_claim")
            assert hands.ledger.finish_deliveries([(item, "delivered", 0.0, "") for item in items]) == []
            faults.point("sender.after_finish")


def purge(hands: Hands) -> None:
    hands.ledger.purge()


def recover(hands: Hands) -> None:
    """What the supervisor does when a process has died."""
    hands.ledger.give_back("worker")
    hands.ledger.give_back("sender")
    hands.spool.sweep(hands.ledger.known_files)


@pytest.mark.parametrize("fault", [f"{name}:{n}" for name in ("worker.after_claim", "worker.after_store", "worker.after_finish")
                                   for n in (1, 2)])
def test_a_killed_worker(hands: Hands, fault: str) -> None:
    ids = hands.admit(*UIDS)
    assert run(hands, work, fault) == -signal.SIGKILL
    recover(hands)
    assert run(hands, work) == 0
    assert hands.states() == {"released": len(ids)}
    rows = hands.sql("SELECT instance_id, file FROM releases ORDER BY instance_id")
    assert [row[0] for row in rows] == ids
    assert {name for name in hands.files() if name.startswith("out/")} == {row[1] for row in rows}
    assert hands.sql("SELECT count(*) FROM deliveries") == [(2 * len(ids),)]


@pytest.mark.parametrize("fault", ["sender.after_claim:1", "sender.after_claim:2", "sender.after_finish:1", "sender.after_finish:2"])
def test_a_killed_sender(hands: Hands, fault: str) -> None:
    hands.release(*UIDS, destinations=("archive", "copy"))
    assert run(hands, send, fault) == -signal.SIGKILL
    recover(hands)
    assert run(hands, send) == 0
    assert hands.states() == {"delivered": len(UIDS)}


@pytest.mark.parametrize("fault", ["purge.before_remove", "purge.after_remove", "purge.after_mark"])
def test_a_killed_purge(hands: Hands, fault: str) -> None:
    hands.release(*UIDS)
    run(hands, send)
    assert run(hands, purge, fault) == -signal.SIGKILL
    assert run(hands, purge) == 0
    assert hands.files() == set()
    assert hands.sql("SELECT count(*) FROM instances WHERE file IS NOT NULL OR content IS NULL") == [(0,)]
    assert [admission.outcome for admission in hands.ledger.admit([hands.arrival(uid) for uid in UIDS])] == ["duplicate"] * len(UIDS)


def test_a_receiver_killed_between_seal_and_row_leaves_only_an_orphan(hands: Hands) -> None:
    def receive(other: Hands) -> None:
        other.admit("1.1")
        other.arrival("1.2")
        faults.arm("here")
        faults.point("here")

    assert run(hands, receive) == -signal.SIGKILL
    assert len(hands.files()) == 2
    recover(hands)
    assert len(hands.files()) == 1
    assert hands.states() == {"received": 1}
