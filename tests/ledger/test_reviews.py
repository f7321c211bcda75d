"""A reviewer's decisions reach the worker, stay on record, and never let out what nobody can see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from radanon_node.errors import UNSEEABLE, Reason
from radanon_node.ledger.quarantine import UnknownEntry
from radanon_node.ledger.reviews import DECIDABLE, Review
from radanon_node.ledger.types import HeldItem, SampleDraw

Hands = Any
EDITS = {"added": [{"box": [1, 2, 30, 40], "frames": "all", "kind": "text"}], "removed": []}


def held(hands: Hands, reason: Reason = Reason.POLICY_HOLD, uid: str = "1.1") -> int:
    (one,) = hands.admit(uid)
    (item,) = hands.ledger.claim("worker", 1, 60)
    hands.ledger.finish([HeldItem(item.id, item.token, reason, "a detail", series_number=2, instance_number=7)])
    return int(one)


def sampled(hands: Hands, uid: str = "2.1", device: str = "dev", priority: float = 0.1, per_device: int = 5, keep: float = 3600.0) -> int:
    (one,) = hands.admit(uid)
    (item,) = hands.ledger.claim("worker", 1, 60)
    draw = SampleDraw(priority, 0.0, per_device, keep, "RESEARCH")
    assert hands.ledger.finish([replace(hands.released(item), device=device, sample=draw, patient="ANON1", study="2.25.9")]) == []
    return int(one)


def delivered(hands: Hands) -> None:
    items = hands.ledger.claim_deliveries("sender", "archive", 16, 60)
    hands.ledger.finish_deliveries([(item, "delivered", 0.0, "") for item in items])


def acts(hands: Hands) -> list[tuple[str, str]]:
    return [(entry.who, entry.action) for entry in reversed(hands.ledger.audit_trail())]


def test_a_release_hands_boxes_and_waiver_to_the_next_claim(hands: Hands) -> None:
    one = held(hands)
    source = hands.ledger.review_source(one)
    assert (source.source, source.reason, source.can_be_released, source.sop_instance_uid) == ("quarantine", "policy_hold", True, "1.1")
    label = {"frame": 0, "bbox": [1, 2, 30, 40], "kind": "text"}
    hands.ledger.review(Review(one, "rosa", "release", "looked at", EDITS, [label], "a: rule", 60))
    (item,) = hands.ledger.claim("worker", 1, 60)
    assert (item.waived, item.edits) == ("policy_hold", EDITS)
    (entry,) = hands.ledger.reviews_list()
    assert (entry.who, entry.decision, entry.code, entry.note, entry.rule) == ("rosa", "release", "policy_hold", "looked at", "a: rule")
    assert entry.edits == EDITS and entry.labels[0]["kind"] == "text" and entry.file
    assert acts(hands) == [("rosa", "review release")]
    assert b"a: rule" not in bytes(hands.sql("SELECT rule FROM reviews")[0][0])


def test_verdicts_that_were_let_pass_add_up_until_a_retry(hands: Hands) -> None:
    one = held(hands)
    hands.ledger.review(Review(one, "rosa", "release", "looked at"))
    (item,) = hands.ledger.claim("worker", 1, 60)
    hands.ledger.finish([HeldItem(item.id, item.token, Reason.TOO_MUCH_TEXT)])
    hands.ledger.review(Review(one, "rosa", "release", "a page of text, but clean"))
    (item,) = hands.ledger.claim("worker", 1, 60)
    assert item.waived.split() == ["policy_hold", "too_much_text"]
    hands.ledger.finish([HeldItem(item.id, item.token, Reason.IDENTITY_LEFT)])
    hands.ledger.review(Review(one, "rosa", "retry", "rules changed"))
    (item,) = hands.ledger.claim("worker", 1, 60)
    assert (item.waived, item.edits) == ("", None)


@pytest.mark.parametrize("reason", sorted(UNSEEABLE | {Reason.INVALID_OUTPUT, Reason.UNKNOWN_PATIENT}))
def test_what_nobody_can_see_or_no_look_can_mend_is_not_released_on_a_page(sqlite_hands: Hands, reason: Reason) -> None:
    one = held(sqlite_hands, reason)
    assert reason not in DECIDABLE and not sqlite_hands.ledger.review_source(one).can_be_released
    with pytest.raises(ValueError, match="let pass"):
        sqlite_hands.ledger.review(Review(one, "rosa", "release", "please"))
    assert sqlite_hands.state(one) == "quarantined" and sqlite_hands.ledger.reviews_list() == []


def test_a_decision_needs_a_reason_and_fits_its_subject(sqlite_hands: Hands) -> None:
    one = held(sqlite_hands)
    for review in (Review(one, "rosa", "release", " "), Review(one, "rosa", "clean", "x"), Review(one, "rosa", "residual", "x")):
        with pytest.raises(ValueError):
            sqlite_hands.ledger.review(review)
    with pytest.raises(UnknownEntry):
        sqlite_hands.ledger.review(Review(one + 1, "rosa", "release", "x"))


def test_a_dropped_instance_leaves_its_decision(hands: Hands) -> None:
    one = held(hands)
    hands.ledger.review(Review(one, "rosa", "drop", "a test film"))
    assert hands.state(one) == "dropped" and hands.files() == set()
    assert [(entry.decision, entry.file) for entry in hands.ledger.reviews_list()] == [("drop", "")]


def test_a_sample_is_kept_from_the_purge_until_it_was_looked_at(hands: Hands) -> None:
    one = sampled(hands)
    delivered(hands)
    hands.ledger.purge()
    assert len(hands.files()) == 2
    (entry,) = hands.ledger.sample_list()
    assert (entry.instance_id, entry.device, entry.route) == (one, "dev", "RESEARCH")
    assert hands.ledger.review_source(one).source == "sample"
    hands.ledger.review(Review(one, "rosa", "clean", "nothing left"))
    assert hands.ledger.sample_list() == []
    with pytest.raises(UnknownEntry):
        hands.ledger.review(Review(one, "rosa", "clean", "again"))
    hands.ledger.purge()
    assert hands.files() == set()
    (row,) = hands.ledger.residual_bounds()
    assert (row.device, row.released, row.kept, row.looked, row.found) == ("dev", 1, 1, 1, 0)
    assert row.upper == pytest.approx(0.95)


def test_an_original_marked_as_label_stays_its_time(hands: Hands) -> None:
    one = sampled(hands)
    delivered(hands)
    label = [{"frame": 0, "bbox": [1, 2, 3, 4], "kind": "text"}]
    hands.ledger.review(Review(one, "rosa", "residual", "a name at the top", EDITS, label, keep=3600))
    hands.ledger.purge()
    (entry,) = hands.ledger.reviews_list()
    assert entry.file and hands.spool.exists(entry.file)
    (row,) = hands.ledger.residual_bounds()
    assert (row.looked, row.found, row.upper) == (1, 1, 1.0)


def test_a_sample_that_nobody_looked_at_goes_at_its_age(hands: Hands) -> None:
    sampled(hands, keep=0.0)
    delivered(hands)
    hands.ledger.purge()
    assert hands.files() == set() and hands.ledger.sample_list() == []


def test_the_smallest_numbers_of_a_device_are_kept_and_looked_ones_stay_in_the_figures(hands: Hands) -> None:
    ids = [sampled(hands, f"3.{n}", priority=number, per_device=2) for n, number in enumerate((0.9, 0.5, 0.7))]
    assert [entry.instance_id for entry in hands.ledger.sample_list()] == ids[1:]
    hands.ledger.review(Review(ids[2], "rosa", "clean", "nothing left"))
    fourth = sampled(hands, "3.9", priority=0.1, per_device=2)
    assert [entry.instance_id for entry in hands.ledger.sample_list()] == [ids[1], fourth]
    (row,) = hands.ledger.residual_bounds()
    assert (row.released, row.looked) == (4, 1)
    assert hands.ledger.sample_threshold("dev", SampleDraw(0.0, 0.0, 2, 1.0, "R")) == 0.5
    assert hands.ledger.sample_threshold("dev", SampleDraw(0.0, 0.6, 2, 1.0, "R")) == 0.6
    assert hands.ledger.sample_threshold("other", SampleDraw(0.0, 0.0, 2, 1.0, "R")) == 1.0


def test_instances_are_found_by_what_they_left_as(hands: Hands) -> None:
    one = sampled(hands, "1.2.3.canary")
    for wanted in ("ANON1", "2.25.9", "2.25.1.2.3.canary", str(one)):
        (found,) = hands.ledger.search(wanted)
        assert (found.instance_id, found.destinations) == (one, {"archive": "waiting"})
    assert hands.ledger.search("1.2.3.canary") == []


def test_a_paused_destination_gets_nothing_until_it_is_resumed(hands: Hands) -> None:
    hands.release("1.1")
    hands.ledger.pause_destination("archive", True, "anna", "maintenance")
    assert hands.ledger.claim_deliveries("sender", "archive", 16, 60) == []
    assert hands.ledger.paused_destinations() == {"archive"}
    hands.ledger.destination_state("archive", True)
    hands.ledger.pause_destination("archive", False, "anna", "done")
    assert len(hands.ledger.claim_deliveries("sender", "archive", 16, 60)) == 1
    assert acts(hands) == [("anna", "destination paused"), ("anna", "destination resumed")]
    with pytest.raises(ValueError):
        hands.ledger.pause_destination("archive", True, "anna", " ")


def test_who_saw_an_original_is_on_record(hands: Hands) -> None:
    one = held(hands)
    hands.ledger.original_seen(one, "rosa")
    (entry,) = hands.ledger.audit_trail()
    assert (entry.who, entry.action, entry.instance_id) == ("rosa", "original seen", one)
