"""The loop of a worker: claim a batch, clean and verify it, hand it over to be stored and recorded (closing.py); again.

Whatever goes wrong costs the instance that caused it and no other: an exception sends it to be retried alone, a crash or a hang of the
process brings back its whole batch one by one, and used-up attempts set it aside. A kill at any point loses nothing: until the one
transaction that writes the outcomes, the claims lapse and the work is done again, with the same result; released files without a row are
swept.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, TypeAlias

import structlog

from radanon_node.bell import Signal
from radanon_node.errors import ConfigError, HoldInstance, Reason, StorageError
from radanon_node.ledger.faults import point
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.peek import numbers
from radanon_node.ledger.sampling import Sampler
from radanon_node.ledger.spool import Spool, SpoolFile
from radanon_node.ledger.types import Finished, HeldItem, RetryItem, WorkItem
from radanon_node.pipeline.closing import Batch, Closing, Ready
from radanon_node.pipeline.pace import Pace, backoff
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
_GATHER_S = 0.15  # claims that find little are so far apart: a claim costs as much for one instance as for sixteen
_BATCH_BYTES = 256 * 2**20


class Worker:
    """Claims and finishes work; everything it needs is given to it.

    Parameters
    ----------
    clean : Cleaner
        As `clean_batch`: one result per received instance, in order. An exception from it concerns an unknown one of them.
    shadow : Cleaner, optional
        The same for shadow policies: it remembers nothing. Default: `clean`.
    stages : Stages, optional
        Takes the seconds of claim, store and record, per batch.
    """

    def __init__(self, config: Config, ledger: Ledger, spool: Spool, owner: str, clean: Cleaner, shadow: Cleaner | None = None,
                 stages: Stages | None = None) -> None:
        self._shadow = Shadow(config, ledger, shadow or clean)
        self._config, self._ledger, self._spool, self._owner, self._clean = config, ledger, spool, owner, clean
        self._watchdog = Watchdog(ledger, owner, config.worker.lease, config.worker.time_limit)
        self._pace = Pace(config.worker.batch_size)
        self._trouble = threading.Event()  # the disk or the spool's store is in trouble, no instance is to blame
        self._all_taken = False  # the last claim took all that was there
        self._stages = stages or Stages()
        self._closing = Closing(ledger, spool, Sampler(config.sampling, ledger), self._watchdog, self._trouble, self._stages)

    def close(self) -> None:
        """Finish what was handed over, and stop the watchdog."""
        self._closing.shutdown()
        self._watchdog.close()

    def run(self, stop: Signal, wake: Signal, released: Signal) -> None:
        """Work until `stop` is set: one batch is cleaned while the one before is stored and recorded."""
        pause = rest = 0.0
        while not stop.is_set():
            # Cleared before looking: what comes in after the look sets it again.
            wake.clear()
            began, used = time.monotonic(), time.process_time()
            self._closing.check()
            try:
                worked = self._advance(stop, released)
                pause = 0.0
            except StorageError as error:
                pause = min(30.0, 2 * pause + 0.5)
                log.warning("no work can be had", error=str(error), delay=pause)
                stop.wait(pause)
                continue
            seconds = time.monotonic() - began
            if self._trouble.is_set():
                self._trouble.clear()
                rest = min(_REST_MOST_S, 2 * rest + 0.5)
                log.warning("storage fails: work rests", delay=rest)
                stop.wait(rest)  # else all that waits would be put off one after the other, for nothing
            elif worked:
                rest = 0.0
            if not worked:
                wake.wait(_POLL_S)
            elif self._all_taken and seconds < _GATHER_S:
                stop.wait(_GATHER_S - seconds)
            self._pace.note(worked, time.process_time() - used)
        self._closing.settle()

    def work(self, stop: Signal, released: Signal) -> int:
        """Claim and finish one batch; returns how many instances were claimed.

        Raises
        ------
        StorageError
            Nothing could be claimed.
        """
        claimed = self._advance(stop, released)
        self._closing.settle()
        return claimed

    def _advance(self, stop: Signal, released: Signal) -> int:
        """Claim and clean one batch, and hand it over to be closed."""
        begun = time.perf_counter()
        items = self._ledger.claim(self._owner, self._pace.limit, self._config.worker.lease)
        if not items:
            self._stages.write()
            return 0
        self._stages.observe("claim", time.perf_counter() - begun)
        # One that was claimed before comes alone, whatever waits behind it.
        self._all_taken = len(items) < self._pace.limit and items[0].attempts == 0
        point("worker.after_claim")
        if items[0].attempts:
            self._closing.settle()  # should it end this process, it shall take no other down
        waiting = list(_batches(items))
        self._watchdog.hold(items)
        try:
            while waiting:
                self._closing.begin(self._cleaned(waiting[0], stop), stop, released)
                del waiting[0]
                if self._shadow.waiting:
                    self._closing.settle()
                    with self._watchdog.working(()):  # no verdict on anything; only a hang ends the process
                        self._shadow.run()
        finally:
            for batch in waiting:
                self._watchdog.let_go(batch)
        return len(items)

    def _cleaned(self, items: Sequence[WorkItem], stop: Signal) -> Batch:
        """Items of one route, read, cleaned and verified."""
        begun = time.monotonic()
        if stop.is_set():
            given_back = [RetryItem(item.id, item.token, counted=False) for item in items]
            return Batch(items, given_back, (), ExitStack(), begun)
        with ExitStack() as stack:
            outcomes: list[Finished] = []
            opened: list[tuple[WorkItem, SpoolFile]] = []
            for item in items:
                try:
                    opened.append((item, stack.enter_context(self._spool.open(item.file, whole=True))))
                except StorageError as error:
                    outcomes.append(self._not_now(item, error, counted=self._is_gone(item.file)))
            ready: list[Ready] = []
            for result in self._clean_all(opened):
                if isinstance(result, Ready):
                    ready.append(result)
                else:
                    outcomes.append(result)
            point("worker.after_clean")
            return Batch(items, outcomes, ready, stack.pop_all(), begun)

    def _clean_all(self, opened: Sequence[tuple[WorkItem, SpoolFile]]) -> Iterator[Ready | Finished]:
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
                yield Ready(item, file, result, receipt, policy.destinations)
            else:
                yield self._held(item, file, result)

    def _held(self, item: WorkItem, file: SpoolFile, result: Quarantined) -> Finished:
        if result.reason is Reason.INTERNAL_ERROR and item.attempts + 1 < self._config.worker.attempts:
            return RetryItem(item.id, item.token, result.detail, backoff(item.attempts))
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
            return RetryItem(item.id, item.token, type(error).__name__, backoff(item.attempts))
        return HeldItem(item.id, item.token, Reason.INTERNAL_ERROR, type(error).__name__)

    def _is_gone(self, name: str) -> bool:
        try:
            return not self._spool.exists(name)
        except StorageError:
            return False

    def _not_now(self, item: WorkItem, error: StorageError, counted: bool) -> RetryItem:
        if not counted:
            self._trouble.set()
        return RetryItem(item.id, item.token, str(error), backoff(item.attempts), counted)


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
