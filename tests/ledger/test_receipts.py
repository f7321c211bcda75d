"""The chain of receipts: it holds for what was released, and shows what was changed or taken out."""

from __future__ import annotations

import pytest

from tests.ledger.conftest import Hands


def test_an_untouched_chain_holds(hands: Hands) -> None:
    assert hands.ledger.verify_receipts() == (0, [])
    hands.release("1.1", "1.2")
    hands.release("1.3")
    assert hands.ledger.verify_receipts() == (3, [])
    assert hands.again().ledger.verify_receipts() == (3, [])


def test_a_changed_receipt_shows(hands: Hands) -> None:
    first, second = hands.release("1.1", "1.2")
    hands.sql("UPDATE releases SET receipt = :text WHERE instance_id = :id", text='{"receipt_version": 2}', id=second)
    _, broken = hands.ledger.verify_receipts()
    assert [(item.instance_id, item.what) for item in broken] == [(second, "receipt")]


@pytest.mark.parametrize(
    "act",
    [
        "DELETE FROM receipt_chain WHERE instance_id = :id",
        "UPDATE receipt_chain SET digest = 'x' WHERE instance_id = :id",
        "UPDATE receipt_chain SET instance_id = 99 WHERE instance_id = :id",
    ],
)
def test_a_changed_or_missing_entry_shows(hands: Hands, act: str) -> None:
    ids = hands.release("1.1", "1.2", "1.3")
    hands.sql(act, id=ids[1])
    _, broken = hands.ledger.verify_receipts()
    assert broken[0].what == "link"


def test_cleared_receipts_stay_checked_by_their_digests(hands: Hands) -> None:
    hands.release("1.1", "1.2")
    hands.ledger.expire(None, 0.0)
    assert hands.ledger.verify_receipts() == (2, [])


def test_a_new_day_opens_with_the_last_link_of_the_day_before(hands: Hands) -> None:
    hands.release("1.1")
    hands.sql("UPDATE receipt_chain SET day = '2001-01-01'")
    hands.release("1.2")
    _, broken = hands.ledger.verify_receipts()
    assert [item.day for item in broken] == ["2001-01-01"]  # the changed day itself; the new day's opening binds to its link
