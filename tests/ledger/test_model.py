"""Whatever the order of arrivals, claims, crashes, outcomes and acts of people: every instance is in one state and has what it needs."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from radanon_node.errors import Reason
from radanon_node.ledger import counting, tally
from radanon_node.ledger.types import DeliveryItem, HeldItem, RetryItem, WorkItem

DESTINATIONS = ("archive", "copy")


class Life(RuleBasedStateMachine):
    """The ledger beside the simplest thing that could be it: a dictionary."""

    hands_class: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="radanon-model-"))
        self.hands = self.hands_class(f"sqlite:///{self.folder / 'ledger.sqlite'}", self.folder / "spool", attempts=3)
        self.states: dict[int, str] = {}
        self.first: dict[str, tuple[bytes, int]] = {}
        self.conflicts: dict[tuple[str, bytes], int] = {}
        self.claims: dict[int, WorkItem] = {}
        self.sending: dict[int, DeliveryItem] = {}
        self.delivered: Counter[tuple[int, str]] = Counter()

    def teardown(self) -> None:
        self.hands.close()
        shutil.rmtree(self.folder)

    @rule(uid=st.sampled_from(["1.1", "1.2", "1.3", "1.4"]), body=st.sampled_from([b"a", b"a", b"b"]))
    def arrive(self, uid: str, body: bytes) -> None:
        (admission,) = self.hands.ledger.admit([self.hands.arrival(uid, body=body)])
        if uid not in self.first:
            assert admission.outcome == "new"
            self.first[uid] = body, admission.id
            self.states[admission.id] = "received"
        elif self.first[uid][0] == body or (uid, body) in self.conflicts:
            known = self.first[uid][1] if self.first[uid][0] == body else self.conflicts[uid, body]
            assert (admission.outcome, admission.id) == ("duplicate", known)
        else:
            assert admission.outcome == "conflict"
            self.conflicts[uid, body] = admission.id
            self.states[admission.id] = "quarantined"

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        for item in self.hands.ledger.claim("worker", limit, 3600):
            assert self.states[item.id] == "received"
            assert item.id not in self.claims
            self.claims[item.id] = item
            self.states[item.id] = "processing"
        self.note_spent()

    def note_spent(self) -> None:
        for entry in self.hands.ledger.quarantine_list():
            if entry.reason == Reason.WORKER_KILLED and self.states[entry.id] == "received":
                assert entry.attempts == 3
                self.states[entry.id] = "quarantined"

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), outcome=st.sampled_from(["released", "released", "held", "retry", "later"]), stale=st.booleans())
    def finish(self, data: st.DataObject, outcome: str, stale: bool) -> None:
        item = data.draw(st.sampled_from(sorted(self.claims.values(), key=lambda item: item.id)))
        token = item.token - stale
        result: Any
        if outcome == "released":
            result = self.hands.released(WorkItem(*(getattr(item, name) if name != "token" else token for name in WorkItem.__slots__)),
                                         DESTINATIONS)
        elif outcome == "held":
            result = HeldItem(item.id, token, Reason.VIDEO)
        else:
            result = RetryItem(item.id, token, counted=outcome == "retry")
        assert self.hands.ledger.finish([result]) == ([item.id] if stale else [])
        if stale:
            return
        del self.claims[item.id]
        self.states[item.id] = {"released": "released", "held": "quarantined"}.get(outcome, "received")
        if outcome == "retry" and item.attempts + 1 >= 3:
            self.states[item.id] = "failed"

    @rule()
    def worker_dies(self) -> None:
        assert self.hands.ledger.give_back("worker") == len(self.claims)
        self.states |= dict.fromkeys(self.claims, "received")
        self.claims.clear()

    @rule(destination=st.sampled_from(DESTINATIONS), limit=st.integers(1, 4))
    def claim_deliveries(self, destination: str, limit: int) -> None:
        for item in self.hands.ledger.claim_deliveries("sender", destination, limit, 3600):
            assert self.states[item.instance_id] == "released"
            assert item.id not in self.sending
            assert self.hands.spool.exists(item.release.file)
            self.sending[item.id] = item

    @precondition(lambda self: self.sending)
    @rule(data=st.data(), outcome=st.sampled_from(["delivered", "delivered", "retry", "rejected"]))
    def finish_delivery(self, data: st.DataObject, outcome: str) -> None:
        item = self.sending.pop(data.draw(st.sampled_from(sorted(self.sending))))
        assert self.hands.ledger.finish_deliveries([(item, outcome, 0.0, "")]) == []
        if outcome == "delivered":
            self.delivered[item.instance_id, item.destination] += 1
            if all(self.delivered[item.instance_id, destination] for destination in DESTINATIONS):
                self.states[item.instance_id] = "delivered"

    @precondition(lambda self: set(self.states.values()) & {"quarantined", "failed"})
    @rule(data=st.data(), act=st.sampled_from(["retry", "drop"]))
    def person_acts(self, data: st.DataObject, act: str) -> None:
        entry = data.draw(st.sampled_from(self.hands.ledger.quarantine_list()))
        if act == "drop":
            self.hands.ledger.quarantine_drop(entry.id, "anna", "because")
            self.states[entry.id] = "dropped"
        elif entry.reason != Reason.UID_CONFLICT:
            self.hands.ledger.quarantine_retry(entry.id, "anna")
            self.states[entry.id] = "received"

    @rule()
    def purge(self) -> None:
        self.hands.ledger.purge()

    @rule()
    def expire(self) -> None:
        self.hands.ledger.purge()
        self.hands.ledger.expire(0.0, None)
        left = {row[0] for row in self.hands.sql("SELECT id FROM instances")}
        for gone in set(self.states) - left:
            assert self.states.pop(gone) in ("delivered", "dropped")
        self.first = {uid: first for uid, first in self.first.items() if first[1] in left}
        self.conflicts = {key: one for key, one in self.conflicts.items() if one in left}
        self.delivered = Counter({key: n for key, n in self.delivered.items() if key[0] in left})

    @invariant()
    def the_status_counts_what_is_there(self) -> None:
        status = self.hands.ledger.status()
        assert {state: n for state, n in status["states"].items() if n} == Counter(self.states.values())
        counted = {name: place["delivered"] for name, place in status["destinations"].items() if place["delivered"]}
        assert counted == Counter(destination for (_, destination), n in self.delivered.items() if n)

    @invariant()
    def the_tally_fits_the_rows(self) -> None:
        assert self.hands.ledger.drift() == {}

    @invariant()
    def every_instance_is_in_its_state_and_has_its_files(self) -> None:
        rows = self.hands.sql("SELECT i.id, i.state, i.file, r.file, i.content IS NOT NULL FROM instances i"
                              " LEFT JOIN releases r ON r.instance_id = i.id")
        assert {row[0]: row[1] for row in rows} == self.states
        assert max(self.delivered.values(), default=1) == 1
        files = self.hands.files()
        for _, state, original, released, digest in rows:
            if state not in ("delivered", "dropped"):
                assert original in files
                assert released in files or state not in ("released", "failed") or released is None
            if original is None:
                assert digest
        assert files == {name for row in rows for name in (row[2], row[3]) if name}


def test_life(sqlite_hands: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "_MERGE_ROWS", 3)
    monkeypatch.setattr(counting, "FEW", 0)  # one state of each route, and of each destination, is what the tally leaves
    Life.hands_class = type(sqlite_hands)
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Life, settings=settings(max_examples=8, stateful_step_count=25, deadline=None,
                                                      suppress_health_check=list(HealthCheck)))
