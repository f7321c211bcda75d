"""The tally says what a count of all rows would say: after every kind of statement, on both engines, and it mends what others did."""

from __future__ import annotations

import threading

import pytest

from radanon_node.errors import Reason
from radanon_node.ledger import counting, tally
from radanon_node.ledger.recalls import Suspicion
from radanon_node.ledger.types import HeldItem, RetryItem
from tests.ledger.conftest import Hands


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all counts were large."""
    monkeypatch.setattr(counting, "FEW", 0)


def fits(hands: Hands) -> bool:
    """Whether `status` and the tally say what the rows say."""
    status = hands.ledger.status()
    rows = hands.sql("SELECT route, state, count(*) FROM instances GROUP BY route, state")
    waits = hands.sql("SELECT destination, count(*) FROM deliveries WHERE state NOT IN ('delivered', 'failed') GROUP BY destination")
    return ({(route, state, n) for route, states in status["routes"].items() for state, n in states.items() if n} == set(rows)
            and {(name, place["waiting"]) for name, place in status["destinations"].items() if place["waiting"]} == set(waits)
            and hands.ledger.drift() == {})


def test_it_fits_after_every_act(hands: Hands) -> None:
    ledger = hands.ledger
    hands.admit("1.1", "1.2", "1.3", "1.4")
    ledger.admit([hands.arrival("1.1", route="OTHER"), hands.arrival("1.1", body=b"other"), hands.arrival("1.2")])  # conflict, duplicate
    assert fits(hands)
    items = {item.sop_instance_uid + item.route: item for item in ledger.claim("worker", 10, 60)}
    assert fits(hands)
    ledger.finish([hands.released(items["1.1RESEARCH"], ("archive", "copy")), hands.released(items["1.2RESEARCH"], ()),
                   HeldItem(items["1.3RESEARCH"].id, items["1.3RESEARCH"].token, Reason.VIDEO),
                   RetryItem(items["1.4RESEARCH"].id, items["1.4RESEARCH"].token)])
    assert fits(hands)
    (sending,) = ledger.claim_deliveries("sender", "archive", 5, 60)
    ledger.finish_deliveries([(sending, "delivered", 0.0, "")])
    assert fits(hands)
    (sending,) = ledger.claim_deliveries("sender", "copy", 5, 60)
    ledger.finish_deliveries([(sending, "failed", 0.0, "")])
    assert fits(hands)
    ledger.deliveries_retry("anna", "because")
    (sending,) = ledger.claim_deliveries("sender", "copy", 5, 60)
    ledger.finish_deliveries([(sending, "delivered", 0.0, "")])
    for entry in ledger.quarantine_list():
        ledger.quarantine_drop(entry.id, "anna", "because")
    assert fits(hands)
    ledger.purge()
    assert ledger.expire(0.0, None) > 0
    assert fits(hands)


def test_it_fits_after_a_recall_and_its_end(hands: Hands) -> None:
    ledger = hands.ledger
    hands.release("1.1", "1.2", "1.3")
    items = ledger.claim_deliveries("sender", "archive", 3, 60)
    ledger.finish_deliveries([(items[0], "delivered", 0.0, ""), (items[1], "delivered", 0.0, "")])
    hands.spool.remove(str(hands.sql("SELECT file FROM instances WHERE id = :id", id=items[0].instance_id)[0][0]))
    number = ledger.recall(Suspicion(instances=tuple(item.instance_id for item in items)), "anna", "because")
    assert fits(hands)
    assert ledger.recall_close(number, "anna", "deleted there") == {"cleaned again": 2, "forgotten": 1}
    assert fits(hands)
    assert hands.states() == {"received": 2}


def test_what_others_did_is_found_and_mended(hands: Hands) -> None:
    hands.release("1.1", "1.2", "1.3")
    hands.admit("1.4", "1.5")
    assert hands.ledger.recount() == {}
    for table, column in (("deliveries", "instance_id"), ("instances", "id")):
        hands.sql(f"DELETE FROM {table} WHERE {column} IN (SELECT min(id) FROM instances)")
    assert hands.ledger.drift() == {"route RESEARCH": -1, "destination archive": -1}
    assert hands.ledger.recount() == {"route RESEARCH": -1, "destination archive": -1}
    assert fits(hands)
    assert hands.ledger.recount() == {}


def test_it_is_mended_once_beside_writers_and_menders(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes find the same difference while a third one admits and merges."""
    monkeypatch.setattr(tally, "_MERGE_ROWS", 3)
    hands.admit("1.1")
    hands.sql("DELETE FROM instances")
    both = threading.Barrier(3)
    others = [hands.again() for _ in range(3)]

    def mend(mine: Hands) -> None:
        both.wait(60)
        mine.ledger.recount()

    def admit(mine: Hands) -> None:
        both.wait(60)
        for number in range(20):
            mine.admit(f"2.{number}")
            mine.ledger.merge_tally()

    threads = [threading.Thread(target=act, args=(mine,)) for act, mine in zip((mend, mend, admit), others, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for other in others:
        other.close()
    assert hands.states() == {"received": 20}
    assert fits(hands)
