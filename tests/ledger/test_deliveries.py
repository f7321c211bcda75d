"""One delivery per instance and destination: claimed by study, finished once, failed or committed for itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

Hands = Any


def claim(hands: Hands, limit: int = 100, destination: str = "archive", lease: float = 60) -> list[Any]:
    found: list[Any] = hands.ledger.claim_deliveries("sender", destination, limit, lease)
    return found


def finish(hands: Hands, items: list[Any], outcome: str, delay: float = 0.0, detail: str = "") -> list[int]:
    lost: list[int] = hands.ledger.finish_deliveries([(item, outcome, delay, detail) for item in items])
    return lost


def test_the_oldest_study_goes_first_and_together(hands: Hands) -> None:
    ids = {}
    for number, study in enumerate(["a", "b", "a", "c", "a"]):
        (ids[number],) = hands.release(f"1.{number}", study=study)
    assert [item.instance_id for item in claim(hands, 4)] == [ids[0], ids[2], ids[4], ids[1]]
    assert [item.study_key for item in claim(hands)] == ["c"]


def test_a_delivery_carries_the_sealed_record(hands: Hands) -> None:
    hands.release("1.1")
    (item,) = claim(hands)
    assert hands.ledger.seal.check(item.release)
    assert item.release.sop_instance_uid == "2.25.1.1"
    with hands.spool.open(item.release.file) as opened:
        assert opened.data[:] == b"new 1.1"


def test_destinations_are_independent(hands: Hands) -> None:
    (one,) = hands.release("1.1", destinations=("archive", "copy"))
    finish(hands, claim(hands), "delivered")
    assert hands.state(one) == "released"
    finish(hands, claim(hands, destination="copy"), "delivered")
    assert hands.state(one) == "delivered"


def test_a_destination_named_twice_gets_one_delivery(hands: Hands) -> None:
    hands.release("1.1", destinations=("archive", "archive"))
    assert len(claim(hands)) == 1


def test_retry_costs_nothing_and_rejection_an_attempt(hands: Hands) -> None:
    hands.release("1.1")
    for outcome, attempts in (("retry", 0), ("rejected", 0), ("retry", 1), ("rejected", 1), ("retry", 2)):
        (item,) = claim(hands)
        assert item.attempts == attempts
        finish(hands, [item], outcome, detail="busy")
    finish(hands, claim(hands), "retry", delay=60)
    assert claim(hands) == []
    (entry,) = hands.ledger.deliveries_list()
    assert (entry.state, entry.attempts, entry.sop_instance_uid) == ("waiting", 2, "2.25.1.1")


def test_failed_at_one_destination_fails_the_instance_once_all_are_done(hands: Hands) -> None:
    (one,) = hands.release("1.1", destinations=("archive", "copy"))
    finish(hands, claim(hands), "failed", detail="status 0xA900")
    assert hands.state(one) == "released"
    finish(hands, claim(hands, destination="copy"), "delivered")
    assert hands.state(one) == "failed"
    assert hands.ledger.purge() == 0


@pytest.mark.parametrize("way", ["deliveries", "quarantine"])
def test_a_failed_delivery_is_tried_again_on_demand(hands: Hands, way: str) -> None:
    (one,) = hands.release("1.1", destinations=("archive", "copy"))
    finish(hands, claim(hands, destination="copy"), "delivered")
    (item,) = claim(hands)
    finish(hands, [item], "failed")
    if way == "deliveries":
        assert hands.ledger.deliveries_retry("anna", "archive repaired", ids=[item.id]) == 1
    else:
        hands.ledger.quarantine_retry(one, "anna", "archive repaired")
    assert hands.ledger.audit_trail()[0].reason == "archive repaired"
    assert claim(hands, destination="copy") == []
    finish(hands, claim(hands), "delivered")
    assert hands.state(one) == "delivered"


def test_all_of_a_destination_are_tried_again(hands: Hands) -> None:
    hands.release(*(f"1.{k}" for k in range(5)), destinations=("archive", "copy"))
    finish(hands, claim(hands), "failed")
    finish(hands, claim(hands, destination="copy"), "retry", delay=3600)
    assert hands.ledger.deliveries_retry("anna", "", destination="copy") == 5
    assert (len(claim(hands)), len(claim(hands, destination="copy"))) == (0, 5)


def test_a_stale_sender_changes_nothing(hands: Hands) -> None:
    (one,) = hands.release("1.1")
    (stale,) = claim(hands, lease=0.0)
    (current,) = claim(hands)
    assert finish(hands, [stale], "failed") == [stale.id]
    assert hands.state(one) == "released"
    assert finish(hands, [current], "delivered") == []


def test_a_delivery_that_kills_its_senders_comes_alone_and_then_fails(hands: Hands) -> None:
    (poison, _) = hands.release("1.1", "1.2")
    assert len(claim(hands)) == 2
    hands.ledger.give_back("sender")
    done = []
    for _ in range(2 * hands.attempts):
        items = claim(hands)
        assert len(items) <= 1
        if items and items[0].instance_id == poison:
            hands.ledger.give_back("sender")
        else:
            finish(hands, items, "delivered")
            done += items
    assert len(done) == 1
    assert hands.state(poison) == "failed"


def test_the_last_two_destinations_finishing_at_once_deliver_the_instance(hands: Hands) -> None:
    ids = hands.release(*(f"1.{k}" for k in range(40)), destinations=("archive", "copy"))

    def send(destination: str) -> None:
        while items := hands.ledger.claim_deliveries(destination, destination, 3, 60):
            finish(hands, items, "delivered")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, ["archive", "copy", "archive", "copy"]))
    assert hands.states() == {"delivered": len(ids)}


def test_commitment_is_awaited_before_it_counts(hands: Hands) -> None:
    ids = hands.release("1.1", "1.2", "1.3")
    finish(hands, claim(hands), "sent", delay=0.0)
    assert claim(hands) == []
    asked = hands.ledger.claim_commitments("sender", "archive", 10, 60)
    assert sorted(item.instance_id for item in asked) == ids
    assert hands.ledger.claim_commitments("sender", "archive", 10, 60) == []
    assert hands.ledger.committed_by_archive("copy", ["2.25.1.1"]) == 0
    assert hands.ledger.committed_by_archive("archive", ["2.25.1.1", "2.25.9"], ["2.25.1.2"], delay=0.0) == 2
    assert [hands.state(one) for one in ids] == ["delivered", "released", "released"]
    (again,) = claim(hands)
    assert (again.instance_id, again.attempts) == (ids[1], 1)
    # The third was asked for without an answer: it is asked for again.
    (third,) = [item for item in asked if item.instance_id == ids[2]]
    finish(hands, [third], "sent", delay=0.0)
    assert [item.instance_id for item in hands.ledger.claim_commitments("sender", "archive", 10, 60)] == [ids[2]]
