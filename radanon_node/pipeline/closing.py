"""The second half of a batch: its released files are stored and its outcomes written, while the worker cleans the next batch.

Both are waits, for the disk and for the ledger, in which the processor is free. Nothing changes in their order: a batch's outcomes are
written after its files are on stable storage, one batch after the other, and a worker that is told to stop finishes what was handed over.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

import structlog

from radanon_node.bell import Signal
from radanon_node.errors import LedgerUnavailable, StorageError
from radanon_node.ledger.faults import point
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.sampling import Sampler
from radanon_node.ledger.spool import Spool, SpoolFile
from radanon_node.ledger.types import Finished, HeldItem, ReleasedItem, ReleaseRecord, RetryItem, SampleDraw, WorkItem
from radanon_node.pipeline.pace import backoff
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.watchdog import Watchdog
from radanon_node.stages import Stages

log = structlog.get_logger("radanon.worker")


@dataclass(frozen=True, slots=True)
class Ready:
    """A verified instance that is still to be stored."""

    item: WorkItem
    file: SpoolFile
    released: Released
    receipt: dict[str, Any]
    destinations: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What cleaning has come to.

    Parameters
    ----------
    items : sequence of WorkItem
        All of them; their claims are held until the outcomes are written.
    outcomes : sequence of Finished
        Of those that are not released.
    ready : sequence of Ready
        The others.
    files : ExitStack
        Closes the received files; they are needed until the released ones are stored.
    begun : float
        When work on it began, on the monotonic clock.
    """

    items: Sequence[WorkItem]
    outcomes: Sequence[Finished]
    ready: Sequence[Ready]
    files: ExitStack
    begun: float


class Closing:
    """Closes batches one at a time, on a thread of its own; for one worker.

    Parameters
    ----------
    ledger : Ledger
    spool : Spool
    sampler : Sampler
        Which released instances are kept for a look.
    watchdog : Watchdog
        Holds the claims of what was handed over.
    trouble : Event
        Set when the disk or the spool's store fails.
    stages : Stages
        Takes the seconds of store and record, per batch.
    """

    def __init__(self, ledger: Ledger, spool: Spool, sampler: Sampler, watchdog: Watchdog, trouble: Event, stages: Stages) -> None:
        self._ledger, self._spool, self._sampler, self._watchdog, self._trouble = ledger, spool, sampler, watchdog, trouble
        self._clerk = ThreadPoolExecutor(1, thread_name_prefix="closing")
        self._clerk.submit(int)  # the thread is there from the beginning: none comes later, under load
        self._pending: Future[None] | None = None
        self._stages = stages

    def begin(self, batch: Batch, stop: Signal, released: Signal) -> None:
        """Close `batch` beside what the caller does next, once the one before is closed; raises what that one raised.

        Parameters
        ----------
        batch : Batch
        stop : Signal
            While it is set, a ledger that is down is not waited for.
        released : Signal
            Set when there is something to deliver.
        """
        self._watchdog.hold(batch.items)
        try:
            self.settle()
        except BaseException:
            self._watchdog.let_go(batch.items)
            batch.files.close()
            raise
        self._pending = self._clerk.submit(self._close, batch, stop, released)

    def settle(self) -> None:
        """Wait until all that was handed over is closed; raises what that raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def check(self) -> None:
        """Raise what the last batch raised, without a wait for one that is still being closed."""
        if self._pending is not None and self._pending.done():
            self.settle()

    def shutdown(self) -> None:
        """End the thread once it is idle."""
        self._clerk.shutdown()

    def _close(self, batch: Batch, stop: Signal, released: Signal) -> None:
        try:
            with batch.files:
                with self._stages.stage("store"):
                    outcomes = [*batch.outcomes, *self._store(batch.ready)]
                point("worker.after_store")
            self._report(batch, outcomes)
            with self._stages.stage("record"):
                self._finish(outcomes, stop)
            point("worker.after_finish")
        finally:
            self._watchdog.let_go(batch.items)
        if any(isinstance(outcome, ReleasedItem) for outcome in outcomes):
            released.set()

    def _store(self, ready: Sequence[Ready]) -> list[Finished]:
        if not ready:
            return []
        try:
            names = self._spool.store_all([one.released.encoded for one in ready])
        except StorageError as error:
            self._trouble.set()
            return [RetryItem(one.item.id, one.item.token, str(error), backoff(one.item.attempts), counted=False) for one in ready]
        outcomes: list[Finished] = []
        for one, name in zip(ready, names, strict=True):
            item, new, seal = one.item, one.released, self._ledger.seal
            record = ReleaseRecord(new.sop_class_uid, new.sop_instance_uid, new.transfer_syntax_uid, name, len(new.encoded), new.digest, "")
            content = seal.content_digest(one.file.data, item.transfer_syntax_uid)
            counted, sample = self._drawn(new, item)
            outcomes.append(ReleasedItem(item.id, item.token, replace(record, seal=seal.sign(record)), one.destinations, one.receipt,
                                         new.study_key, new.patient_key, content, *new.folder[:2], new.device_key, counted, sample))
        return outcomes

    def _drawn(self, released: Released, item: WorkItem) -> tuple[bool, SampleDraw | None]:
        """Whether it is counted and kept for a look; not where nothing is sampled, or a reviewer has just looked."""
        if not self._sampler.on or item.edits or item.waived:
            return False, None
        return True, self._sampler.draw(released.device_key, item.route)

    def _finish(self, outcomes: Sequence[Finished], stop: Signal) -> None:
        """Write the outcomes; while the ledger is down, again and again: the work is done and may still be in time."""
        pause = 0.5
        while True:
            try:
                lost = self._ledger.finish(outcomes)
                break
            except LedgerUnavailable as error:
                log.warning("outcomes not written yet", error=str(error), delay=pause, batch=len(outcomes))
                if stop.wait(pause):
                    return  # the claims lapse, the next start does it again
                pause = min(30.0, 2 * pause)
            except StorageError as error:
                log.warning("files of lost claims not removed: the next start does", error=str(error))
                return
        if lost:
            log.warning("results thrown away: claims lost", ids=lost)

    def _report(self, batch: Batch, outcomes: Sequence[Finished]) -> None:
        routes = {item.id: item.route for item in batch.items}
        for outcome in outcomes:
            if isinstance(outcome, HeldItem):
                log.warning("quarantined", id=outcome.id, route=routes[outcome.id], reason=str(outcome.reason), detail=outcome.detail)
            elif isinstance(outcome, RetryItem):
                log.warning("put off", id=outcome.id, route=routes[outcome.id], detail=outcome.detail, delay=round(outcome.delay, 1))
            else:
                log.info("released", id=outcome.id, route=routes[outcome.id], new_sop_instance_uid=outcome.release.sop_instance_uid)
        log.info("batch", batch=len(batch.items), seconds=round(time.monotonic() - batch.begun, 3))
