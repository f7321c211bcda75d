"""A recall names all that left the same way, lets nothing of it out any more, and opens the way for a clean copy once it is closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from radanon_node.errors import Reason
from radanon_node.ledger.recalls import Suspicion, UnknownRecall
from radanon_node.ledger.types import SampleDraw

Hands = Any


def released(hands: Hands, uid: str, device: str = "dev", policy: str = "p1", destinations: Sequence[str] = ("archive",), rule: str = "",
             sample: SampleDraw | None = None) -> int:
    (one,) = hands.admit(uid)
    (item,) = hands.ledger.claim("worker", 1, 60)
    receipt = {"policy": {"hash": policy}, "looked": {"rule": "screen"}, "boxes": [{"why": f"rule:{rule}"}] if rule else []}
    outcome = replace(hands.released(item, destinations), device=device, receipt=receipt, patient="ANON1", study="2.25.9", sample=sample)
    assert hands.ledger.finish([outcome]) == []
    return int(one)


def deliver(hands: Hands, destination: str = "archive") -> None:
    items = hands.ledger.claim_deliveries("sender", destination, 16, 60)
    hands.ledger.finish_deliveries([(item, "delivered", 0.0, "") for item in items])


def ids(hands: Hands, suspicion: Suspicion) -> list[int]:
    return [one.instance_id for one in hands.ledger.suspects(suspicion)]


def test_suspects_share_what_is_given(hands: Hands) -> None:
    one, two = released(hands, "1.1"), released(hands, "1.2", policy="p2", rule="acme")
    three = released(hands, "1.3", device="other")
    old = released(hands, "1.4", device="")
    assert ids(hands, Suspicion(device="dev")) == [one, two]
    assert ids(hands, Suspicion(device="dev", policy="p2")) == [two]
    assert ids(hands, Suspicion((three,), device="dev", policy="p1")) == [one, three]
    assert ids(hands, Suspicion(rule="acme")) == [two] and len(ids(hands, Suspicion(rule="screen"))) == 4
    assert ids(hands, Suspicion(device="dev", until=1.0)) == [] and ids(hands, Suspicion((old,))) == [old]
    assert hands.ledger.suspicion_of(two) == Suspicion((two,), "dev", "p2", route="RESEARCH")
    assert hands.ledger.suspicion_of(99) is None and hands.ledger.without_device() == 1


def test_a_recall_names_what_left_and_takes_back_what_waits(hands: Hands) -> None:
    one, two = released(hands, "1.1", destinations=("archive", "backup")), released(hands, "1.2", destinations=("backup",))
    deliver(hands)
    (sending,) = [item for item in hands.ledger.claim_deliveries("sender", "backup", 1, 60) if item.instance_id == one]
    number = hands.ledger.recall(Suspicion(device="dev"), "anna", "a name on the screen")
    assert [(entry.instance_id, entry.left) for entry in hands.ledger.recalled_list(number)] == [(one, ["archive", "backup"]), (two, [])]
    assert hands.ledger.finish_deliveries([(sending, "delivered", 0.0, "")]) == [sending.id]
    assert hands.ledger.claim_deliveries("sender", "backup", 16, 60) == []
    assert hands.ledger.deliveries_retry("vera", "again") == 0 and hands.ledger.claim_deliveries("sender", "backup", 16, 60) == []
    assert hands.states() == {"quarantined": 2}
    assert {entry.reason for entry in hands.ledger.quarantine_list()} == {"recalled"}
    for act in (hands.ledger.quarantine_retry, hands.ledger.quarantine_release):
        with pytest.raises(ValueError, match="recalled"):
            act(one, "vera", "why not")
    assert [(entry.who, entry.action) for entry in hands.ledger.audit_trail()] == [("anna", "recall")]
    assert ids(hands, Suspicion(device="dev")) == []
    with pytest.raises(ValueError, match="no released"):
        hands.ledger.recall(Suspicion(device="dev"), "anna", "once more")
    with pytest.raises(ValueError, match="reason"):
        hands.ledger.recall(Suspicion(device="dev"), "anna", " ")


def test_a_delivered_instance_is_forgotten_at_the_close_and_its_resend_is_new(hands: Hands) -> None:
    one = released(hands, "1.1")
    deliver(hands)
    while hands.ledger.purge():
        pass
    assert hands.states() == {"delivered": 1} and not hands.files()
    number = hands.ledger.recall(Suspicion((one,)), "anna", "a name")
    assert hands.states() == {"quarantined": 1}
    assert hands.ledger.admit([hands.arrival("1.1")])[0].outcome == "duplicate"  # the archive still has the old one
    assert hands.ledger.recall_close(number, "anna", "deleted, says its manager") == {"forgotten": 1}
    assert hands.states() == {} and hands.ledger.status()["destinations"]["archive"]["delivered"] == 0
    assert hands.ledger.admit([hands.arrival("1.1")])[0].outcome == "new"
    (entry,) = hands.ledger.recalled_list(number)
    assert (entry.outcome, entry.sop_instance_uid, entry.left) == ("forgotten", "2.25.1.1", ["archive"])
    (head,) = hands.ledger.recalls_list()
    assert head.instances == 1 and head.closed_at is not None and head.suspicion == {"instances": [one]}
    assert hands.ledger.recalls_list(opened=True) == []
    for unknown in (number, 77):
        with pytest.raises(UnknownRecall):
            hands.ledger.recall_close(unknown, "anna", "again")


def test_what_is_still_here_is_cleaned_again_under_a_new_number(hands: Hands) -> None:
    draw = SampleDraw(0.1, 0.0, 5, 3600.0, "RESEARCH")
    one = released(hands, "1.1", sample=draw)
    number = hands.ledger.recall(Suspicion((one,)), "anna", "a name")
    assert hands.ledger.claim("worker", 5, 60) == []
    assert hands.ledger.recall_close(number, "anna", "nothing had left") == {"cleaned again": 1}
    (item,) = hands.ledger.claim("worker", 5, 60)
    assert item.id != one and item.sop_instance_uid == "1.1" and (item.waived, item.edits) == ("", None)
    assert hands.ledger.finish([replace(hands.released(item), device="dev", sample=draw)]) == []
    deliver(hands)
    assert hands.states() == {"delivered": 1} and hands.ledger.verify_receipts()[1] == []
    assert [acted.action for acted in hands.ledger.audit_trail()] == ["recall closed", "recall"]
    assert hands.ledger.verify_audit()[1] == []


def test_a_recalled_instance_may_be_dropped(hands: Hands) -> None:
    one = released(hands, "1.1")
    number = hands.ledger.recall(Suspicion((one,)), "anna", "a name")
    hands.ledger.quarantine_drop(one, "anna", "not wanted any more")
    assert hands.ledger.recall_close(number, "anna", "done") == {"dropped": 1}
    assert hands.states() == {"dropped": 1} and not hands.files()


def test_a_number_that_is_given_anew_breaks_no_receipt(sqlite_hands: Hands) -> None:
    hands = sqlite_hands
    one = released(hands, "1.1")
    deliver(hands)
    while hands.ledger.purge():
        pass
    hands.ledger.recall_close(hands.ledger.recall(Suspicion((one,)), "anna", "a name"), "anna", "deleted")
    assert released(hands, "1.2", policy="another") == one  # SQLite numbers on from the largest there is
    assert hands.ledger.verify_receipts()[1] == []
    hands.sql("UPDATE releases SET receipt = '{}'")
    assert [broken.what for broken in hands.ledger.verify_receipts()[1]] == ["receipt"]


def test_arrivals_during_a_recall_are_not_touched(hands: Hands) -> None:
    one = released(hands, "1.1")
    waiting = hands.admit("1.2")
    hands.ledger.recall(Suspicion(route="RESEARCH"), "anna", "all of it")
    assert hands.state(one) == "quarantined" and hands.state(waiting[0]) == "received"
    assert Reason.RECALLED not in {entry.reason for entry in hands.ledger.quarantine_list() if entry.id != one}
