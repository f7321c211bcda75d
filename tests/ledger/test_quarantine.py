"""A person's acts on instances set aside are possible, audited and permanent."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from radanon_node.errors import Reason
from radanon_node.ledger.quarantine import UnknownEntry
from radanon_node.ledger.types import HeldItem

Hands = Any


def held(hands: Hands, reason: Reason = Reason.POLICY_HOLD, uid: str = "1.1") -> int:
    (one,) = hands.admit(uid)
    (item,) = hands.ledger.claim("worker", 1, 60)
    hands.ledger.finish([HeldItem(item.id, item.token, reason, "a detail", series_number=2, instance_number=7)])
    return int(one)


def test_an_entry_tells_how_to_find_it_and_no_identity(hands: Hands) -> None:
    one = held(hands)
    (entry,) = hands.ledger.quarantine_list()
    assert (entry.id, entry.state, entry.reason, entry.detail) == (one, "quarantined", "policy_hold", "a detail")
    assert (entry.route, entry.series_number, entry.instance_number, entry.attempts) == ("RESEARCH", 2, 7, 1)
    assert hands.ledger.identity(one) == {"sop_instance_uid": "1.1", "calling_ae": "MODALITY1"}


def test_the_list_is_filtered_and_paged(hands: Hands) -> None:
    ids = [held(hands, reason, f"1.{n}") for n, reason in enumerate((Reason.VIDEO, Reason.POLICY_HOLD, Reason.VIDEO))]
    entries = hands.ledger.quarantine_list
    assert [entry.id for entry in entries(reason="video")] == [ids[0], ids[2]]
    assert [entry.id for entry in entries(limit=2)] == ids[:2]
    assert [entry.id for entry in entries(after=ids[1])] == [ids[2]]
    assert entries(route="OTHER") == []


def test_retry_gives_fresh_attempts(hands: Hands) -> None:
    one = held(hands)
    hands.ledger.quarantine_retry(one, "anna")
    (item,) = hands.ledger.claim("worker", 1, 60)
    assert (item.id, item.attempts, item.waived) == (one, 0, "")


def test_release_waives_the_verdict_with_a_reason(hands: Hands) -> None:
    one = held(hands)
    with pytest.raises(ValueError, match="reason"):
        hands.ledger.quarantine_release(one, "anna", "  ")
    hands.ledger.quarantine_release(one, "anna", "looked at it")
    (item,) = hands.ledger.claim("worker", 1, 60)
    assert item.waived == "policy_hold"


def test_not_everything_may_be_waived(hands: Hands) -> None:
    one = held(hands, Reason.UID_MISMATCH)
    with pytest.raises(ValueError, match="uid_mismatch cannot be waived"):
        hands.ledger.quarantine_release(one, "anna", "please")
    assert hands.state(one) == "quarantined"
    assert hands.ledger.audit_trail() == []


def test_a_conflict_is_released_or_dropped_but_not_retried(hands: Hands) -> None:
    hands.admit("1.1")
    (conflict,) = hands.ledger.admit([hands.arrival("1.1", body=b"other")])
    with pytest.raises(ValueError, match="uid_conflict"):
        hands.ledger.quarantine_retry(conflict.id, "anna")
    hands.ledger.quarantine_release(conflict.id, "anna", "corrected by the PACS")
    assert len(hands.ledger.claim("worker", 2, 60)) == 2


def test_drop_removes_the_file_and_still_knows_a_resend(hands: Hands) -> None:
    one = held(hands)
    hands.ledger.quarantine_drop(one, "anna", "scanned paper")
    assert hands.state(one) == "dropped"
    assert hands.files() == set()
    assert hands.ledger.quarantine_list() == []
    assert hands.ledger.admit([hands.arrival("1.1")])[0].outcome == "duplicate"


def test_a_drop_cut_short_is_finished_by_the_purge(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    one = held(hands)
    monkeypatch.setattr(hands.spool, "remove", lambda name: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        hands.ledger.quarantine_drop(one, "anna", "scanned paper")
    monkeypatch.undo()
    assert len(hands.files()) == 1
    hands.ledger.purge()
    assert hands.files() == set()


def test_what_is_not_set_aside_cannot_be_touched(hands: Hands) -> None:
    (one,) = hands.admit("1.1")
    for act in (hands.ledger.quarantine_retry, hands.ledger.quarantine_release, hands.ledger.quarantine_drop):
        with pytest.raises(UnknownEntry):
            act(one, "anna", "because")
    with pytest.raises(UnknownEntry):
        hands.ledger.quarantine_show(one)
    with pytest.raises(UnknownEntry):
        hands.ledger.quarantine_file(one)


def test_who_did_what_and_why_stays(hands: Hands) -> None:
    one = held(hands)
    hands.ledger.quarantine_retry(one, "anna")
    (item,) = hands.ledger.claim("worker", 1, 60)
    hands.ledger.finish([HeldItem(item.id, item.token, Reason.VIDEO)])
    entry, acts = hands.ledger.quarantine_show(one)
    assert entry.reason == "video"
    assert [(act.who, act.action, act.instance_id) for act in acts] == [("anna", "quarantine retry", one)]
    for statement in ("UPDATE audit SET who = 'nobody'", "DELETE FROM audit"):
        with pytest.raises(DBAPIError, match="permanent"):
            hands.sql(statement)
    assert [act.who for act in hands.ledger.audit_trail()] == ["anna"]
