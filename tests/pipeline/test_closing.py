"""Batches are closed beside the cleaning of the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from radanon_node.errors import DiskLow, StorageError
from radanon_node.pipeline import loop
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.tools import Policy
from radanon_node.pipeline.types import Quarantined, Received
from tests.pipeline.test_worker import Site, events, make_site, site

__all__ = ["events", "make_site", "site"]


class _Running:
    """A worker's loop on a thread of its own."""

    def __init__(self, site: Site, clean: Any = None) -> None:
        self.site, self.worker = site, site.worker(clean)
        self.raised: list[BaseException] = []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.worker.run(self.site.stop, self.site.wake, self.site.released)
        except BaseException as error:  # noqa: BLE001  the thread's edge: shown by the test
            self.raised.append(error)

    def end(self) -> None:
        self.site.stop.set()
        self.site.wake.set()
        self.thread.join(60)
        assert not self.thread.is_alive()
        self.worker.close()


def test_the_next_batch_is_cleaned_while_one_is_stored(make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> None:
    """... and no third one, and what is being stored keeps its claim."""
    site = make_site(batch_size=2, lease=0.3)
    second, storing, third = threading.Event(), threading.Event(), threading.Event()
    store, renew = site.spool.store_all, site.ledger.renew
    renewed: set[int] = set()
    both = threading.Event()

    def slow(data: Sequence[Any]) -> list[str]:
        if not storing.is_set():
            storing.set()
            assert second.wait(60)
            assert both.wait(60)
            assert not third.is_set()
        return store(data)

    def clean(received: Sequence[Received], policy: Policy) -> list[Released | Quarantined]:
        found = site.clean(received, policy)
        if len(site.batches) == 2:
            assert storing.wait(60)
            second.set()
        elif len(site.batches) == 3:
            third.set()
        return found

    def note(items: Sequence[Any], lease: float) -> list[int]:
        renewed.update(item.id for item in items)
        if renewed >= set(ids[:4]):
            both.set()
        return renew(items, lease)

    monkeypatch.setattr(site.spool, "store_all", slow)
    monkeypatch.setattr(site.ledger, "renew", note)
    ids = site.admit(*(b"good %d" % k for k in range(6)))
    running = _Running(site, clean)
    try:
        assert third.wait(60)
    finally:
        running.end()
    assert running.raised == []
    assert site.states() == {"released": 6}


def test_one_that_was_claimed_before_is_cleaned_when_nothing_else_is_in_hand(make_site: Callable[..., Site]) -> None:
    site = make_site(batch_size=2)
    ids = site.admit(b"good 1", b"good 2", b"suspect")
    states: list[dict[str, int]] = []

    def clean(received: Sequence[Received], policy: Policy) -> list[Released | Quarantined]:
        if received[0].label == str(ids[2]):
            states.append(site.states())
        return site.clean(received, policy)

    site.ledger.claim("dead", 3, 60)
    site.ledger.give_back("dead")
    running = _Running(site, clean)
    try:
        while not states and running.thread.is_alive():
            running.thread.join(0.05)
    finally:
        running.end()
    assert states == [{"released": 2, "processing": 1}]
    assert site.states() == {"released": 3}


def test_a_failing_disk_makes_the_loop_rest(site: Site, monkeypatch: pytest.MonkeyPatch, events: list[Any]) -> None:
    failed = threading.Event()
    store = site.spool.store_all

    def full(data: Sequence[Any]) -> list[str]:
        if failed.is_set():
            return store(data)
        failed.set()
        raise DiskLow("spool: write: No space left on device")

    monkeypatch.setattr(site.spool, "store_all", full)
    monkeypatch.setattr(loop, "_POLL_S", 0.05)
    site.admit(b"good")
    running = _Running(site)
    try:
        assert site.released.wait(60)
    finally:
        running.end()
    assert site.states() == {"released": 1}
    assert "storage fails: work rests" in [event["event"] for event in events]


def test_what_it_cannot_foresee_ends_the_worker(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another takes its place; the claim comes back."""
    monkeypatch.setattr(site.ledger, "finish", lambda outcomes: 1 / 0)
    monkeypatch.setattr(loop, "_POLL_S", 0.05)
    site.admit(b"good")
    running = _Running(site)
    running.thread.join(60)
    running.end()
    assert [type(error) for error in running.raised] == [ZeroDivisionError]
    assert site.states() == {"processing": 1}


def test_files_that_cannot_be_removed_are_no_reason_to_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(outcomes: Sequence[Any]) -> list[int]:
        raise StorageError("spool: remove: Input/output error")

    site.admit(b"good")
    with monkeypatch.context() as patch:
        patch.setattr(site.ledger, "finish", away)
        assert site.work() == 1
    assert site.states() == {"processing": 1}
