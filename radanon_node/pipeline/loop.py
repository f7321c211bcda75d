"""The loop of a worker: claim a batch, clean and verify it, store what is released, write the outcomes; again.

Whatever goes wrong costs the instance that caused it and no other: an exception sends it to be retried alone, a crash or a hang of the
process brings back its whole batch one by one, and used-up attempts set it aside. A kill at any point loses nothing: until the one
transaction that writes the outcomes, the claims lapse and the work is done again, with the same result; released files without a row are
swept.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import structlog

from radanon_node.errors import ConfigError, HoldInstance, LedgerUnavailable, Reason, StorageError
from radanon_node.ledger.faults import point
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.peek import numbers
from radanon_node.ledger.sampling import Sampler
from radanon_node.ledger.spool import Spool, SpoolFile
from radanon_node.ledger.types import Finished, HeldItem, ReleasedItem, ReleaseRecord, RetryItem, SampleDraw, WorkItem
from radanon_node.pipeline.pace import Pace
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.reviewed import edits_from
from radanon_node.pipeline.shadow import Shadow
from radanon_node.pipeline.tools import Policy
from radanon_node.pipeline.types import Quarantined, Received
from radanon_node.pipeline.watchdog import Watchdog
from radanon_node.settings import Config
from radanon_node.stages import Stages

log = structlog.get_logger("radanon.worker")

Cleaner: TypeAlias = Callable[[Sequence[Received], Policy], list[Released | Quarantined]]
"""`clean_batch` with its tools."""

_POLL_S = 1.0
_REST_MOST_S = 15.0
_GATHER_S = 0.25  # claims that find little are so far apart: a claim costs as much for one instance as for sixteen
_BATCH_BYTES = 256 * 2**20
_RETRY_FIRST_S, _RETRY_MOST_S = 2.0, 300.0


@dataclass(frozen=True, slots=True)
class _Ready:
    """A verified instance that is still to be stored."""

    item: WorkItem
    file: SpoolFile
    released: Released
    receipt: dict[str, Any]
    destinations: tuple[str, ...]


class Signal(Protocol):
    """What is needed of `threading.Event` and `multiprocessing.Event`."""

    def is_set(self) -> bool: ...
    def set(self) -> None: ...
    def clear(self) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...


class Worker:
    """Claims and finishes work; everything it needs is given to it.

    Parameters
    ----------
    clean : Cleaner
        As `clean_batch`: one result per received instance, in order. An exception from it concerns an unknown one of them.
    shadow : Cleaner, optional
        The same for shadow policies: it remembers nothing. Default: `clean`.
    """

    def __init__(self, config: Config, ledger: Ledger, spool: Spool, owner: str, clean: Cleaner, shadow: Cleaner | None = None) -> None:
        self._shadow = Shadow(config, ledger, shadow or clean)
        self._config, self._ledger, self._spool, self._owner, self._clean = config, ledger, spool, owner, clean
        self._sampler = Sampler(config.sampling, ledger)
        self._watchdog = Watchdog(ledger, owner, config.worker.lease, config.worker.time_limit)
        self._pace = Pace(config.worker.batch_size)
        self._trouble = False  # the disk or the spool's store is in trouble, no instance is to blame
        self._all_taken = False  # the last claim took all that was there
        self.stages = Stages()  # seconds of claim, store and record, per batch

    def close(self) -> None:
        """Stop the watchdog."""
        self._watchdog.close()

    def run(self, stop: Signal, wake: Signal, released: Signal) -> None:
        """Work until `stop` is set."""
        pause = rest = 0.0
        while not stop.is_set():
            # Cleared before looking: what comes in after the look sets it again.
            wake.clear()
            began, used = time.monotonic(), time.process_time()
            self._trouble = False
            try:
                worked = self.work(stop, released)
                pause = 0.0
            except StorageError as error:
                pause = min(30.0, 2 * pause + 0.5)
                log.warning("no work can be had", error=str(error), delay=pause)
                stop.wait(pause)
                continue
            seconds = time.monotonic() - began
            rest = min(_REST_MOST_S, 2 * rest + 0.5) if self._trouble else 0.0
            if rest:
                log.warning("storage fails: work rests", delay=rest)
                stop.wait(rest)  # else all that waits would be put off one after the other, for nothing
            if not worked:
                wake.wait(_POLL_S)
            elif self._all_taken and seconds < _GATHER_S:
                stop.wait(_GATHER_S - seconds)
            self._pace.note(worked, time.process_time() - used)

    def work(self, stop: Signal, released: Signal) -> int:
        """Claim and finish one batch; returns how many instances were claimed.

        Raises
        ------
        StorageError
            Nothing could be claimed.
        """
        worker = self._config.worker
        begun = time.perf_counter()
        items = self._ledger.claim(self._owner, self._pace.limit, worker.lease)
        if not items:
            self.stages.write()
            return 0
        self.stages.observe("claim", time.perf_counter() - begun)
        # One that was claimed before comes alone, whatever waits behind it.
        self._all_taken = len(items) < self._pace.limit and items[0].attempts == 0
        point("worker.after_claim")
        with self._watchdog.holding(items):
            for batch in _batches(items):
                if stop.is_set():
                    outcomes: list[Finished] = [RetryItem(item.id, item.token, counted=False) for item in batch]
                else:
                    outcomes = self._process(batch)
                with self.stages.stage("record"):
                    self._finish(outcomes, stop)
                point("worker.after_finish")
                if any(isinstance(outcome, ReleasedItem) for outcome in outcomes):
                    released.set()
                if self._shadow.waiting:
                    with self._watchdog.working(()):  # no verdict on anything; only a hang ends the process
                        self._shadow.run()
        return len(items)

    def _process(self, batch: Sequence[WorkItem]) -> list[Finished]:
        """Outcomes of items of one route, their released files stored."""
        begun = time.monotonic()
        with ExitStack() as stack:
            outcomes: list[Finished] = []
            opened: list[tuple[WorkItem, SpoolFile]] = []
            for item in batch:
                try:
                    opened.append((item, stack.enter_context(self._spool.open(item.file))))
                except StorageError as error:
                    outcomes.append(self._not_now(item, error, counted=self._is_gone(item.file)))
            ready: list[_Ready] = []
            for result in self._clean_all(opened):
                if isinstance(result, _Ready):
                    ready.append(result)
                else:
                    outcomes.append(result)
            point("worker.after_clean")
            with self.stages.stage("store"):
                outcomes += self._store(ready)
            point("worker.after_store")
        self._report(batch, outcomes, time.monotonic() - begun)
        return outcomes

    def _clean_all(self, opened: Sequence[tuple[WorkItem, SpoolFile]]) -> Iterator[_Ready | Finished]:
        if not opened:
            return
        items = [item for item, _ in opened]
        try:
            policy = Policy.for_route(self._config, items[0].route)
        except ConfigError:  # its rules were taken out of the settings; nothing may guess them
            for item in items:
                yield HeldItem(item.id, item.token, Reason.RULE_MISSING, "its route is not configured any more")
            return
        received = [Received(file.data, str(item.id), item.sop_class_uid, item.sop_instance_uid, item.transfer_syntax_uid, item.waived,
                             edits_from(item.edits))
                    for item, file in opened]
        try:
            with self._watchdog.working(items):
                results = self._clean(received, policy)
            # A receipt that no database takes must show here, where it is one instance's fault, and not in the batch's transaction.
            receipts = [_json(result) for result in results]
        except Exception as error:  # noqa: BLE001  the edge of the core: whose fault it was shows when each is cleaned alone
            if len(items) > 1:
                for one in opened:
                    yield from self._clean_all([one])
            else:
                yield self._failed(items[0], error)
            return
        self._shadow.note(policy, items, received, results)
        for (item, file), result, receipt in zip(opened, results, receipts, strict=True):
            if isinstance(result, Released):
                yield _Ready(item, file, result, receipt, policy.destinations)
            else:
                yield self._held(item, file, result)

    def _held(self, item: WorkItem, file: SpoolFile, result: Quarantined) -> Finished:
        if result.reason is Reason.INTERNAL_ERROR and item.attempts + 1 < self._config.worker.attempts:
            return RetryItem(item.id, item.token, result.detail, _backoff(item.attempts))
        return HeldItem(item.id, item.token, result.reason, result.detail, *numbers(file.data))

    def _failed(self, item: WorkItem, error: Exception) -> Finished:
        """The outcome of an instance that was cleaned alone and raised."""
        if isinstance(error, HoldInstance):
            return HeldItem(item.id, item.token, error.reason, error.detail)
        if isinstance(error, StorageError):
            return self._not_now(item, error, counted=False)
        if isinstance(error, ConfigError):
            text = error.problems[0] if error.problems else ""
            reason = Reason.MODEL_MISSING if "weights" in text.partition(":")[0] else Reason.RULE_MISSING
            return HeldItem(item.id, item.token, reason, text)
        # Its text may quote the data set: the type says enough, and the log has the place.
        log.error("cleaning failed", id=item.id, attempts=item.attempts + 1, exc_info=error)
        if item.attempts + 1 < self._config.worker.attempts:
            return RetryItem(item.id, item.token, type(error).__name__, _backoff(item.attempts))
        return HeldItem(item.id, item.token, Reason.INTERNAL_ERROR, type(error).__name__)

    def _is_gone(self, name: str) -> bool:
        try:
            return not self._spool.exists(name)
        except StorageError:
            return False

    def _not_now(self, item: WorkItem, error: StorageError, counted: bool) -> RetryItem:
        self._trouble = self._trouble or not counted
        return RetryItem(item.id, item.token, str(error), _backoff(item.attempts), counted)

    def _store(self, ready: Sequence[_Ready]) -> list[Finished]:
        if not ready:
            return []
        try:
            names = self._spool.store_all([one.released.encoded for one in ready])
        except StorageError as error:
            return [self._not_now(one.item, error, counted=False) for one in ready]
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
        if lost:
            log.warning("results thrown away: claims lost", ids=lost)

    def _report(self, batch: Sequence[WorkItem], outcomes: Sequence[Finished], seconds: float) -> None:
        routes = {item.id: item.route for item in batch}
        for outcome in outcomes:
            if isinstance(outcome, HeldItem):
                log.warning("quarantined", id=outcome.id, route=routes[outcome.id], reason=str(outcome.reason), detail=outcome.detail)
            elif isinstance(outcome, RetryItem):
                log.warning("put off", id=outcome.id, route=routes[outcome.id], detail=outcome.detail, delay=round(outcome.delay, 1))
            else:
                log.info("released", id=outcome.id, route=routes[outcome.id], new_sop_instance_uid=outcome.release.sop_instance_uid)
        log.info("batch", batch=len(batch), seconds=round(seconds, 3))


def _json(result: Released | Quarantined) -> dict[str, Any]:
    receipt: dict[str, Any] = json.loads(json.dumps(result.receipt, allow_nan=False)) if isinstance(result, Released) else {}
    return receipt


def _batches(items: Sequence[WorkItem]) -> Iterator[list[WorkItem]]:
    """Split a claim by route, and so that the files of a batch stay below `_BATCH_BYTES` (at least one each)."""
    by_route: dict[str, list[WorkItem]] = {}
    for item in items:
        by_route.setdefault(item.route, []).append(item)
    for same in by_route.values():
        batch: list[WorkItem] = []
        for item in same:
            if batch and sum(other.size for other in batch) + item.size > _BATCH_BYTES:
                yield batch
                batch = []
            batch.append(item)
        yield batch


def _backoff(attempts: int) -> float:
    # With jitter, so that what failed together does not come back together.
    return min(_RETRY_MOST_S, _RETRY_FIRST_S * 2.0**attempts) * random.uniform(0.5, 1.0)
