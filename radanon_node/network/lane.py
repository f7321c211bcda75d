"""One lane of the sender: a thread that claims deliveries of one destination and hands them to its courier, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import structlog

from radanon_node.errors import (
    DeliveryError,
    DeliveryFailed,
    DeliveryRefused,
    HoldInstance,
    LedgerUnavailable,
    StorageError,
    Unreachable,
    describe,
)
from radanon_node.ledger.faults import point
from radanon_node.ledger.files import SpoolAway
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.seal import Seal
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.types import DeliveryItem, DeliveryResult
from radanon_node.network.books import Books
from radanon_node.network.claims import Bell, Claims
from radanon_node.network.commitments import Commitments, awaits_commitment
from radanon_node.network.courier import Courier, FolderCourier, NetworkCourier
from radanon_node.network.health import Health, backoff
from radanon_node.network.schedule import Schedule
from radanon_node.network.share import Share
from radanon_node.pipeline.released import Released
from radanon_node.settings import Config
from radanon_node.stages import Stages

_log = structlog.get_logger("radanon.sender")

LEASE_S = 300.0
BATCH = 32
_MOST = 128  # of which quick destinations get batch by batch more, as far as
_QUICK_S = 0.5  # a batch takes less than that,
_SLOW_S = 2.0  # and fewer again past that
_POLL_S = 1.0  # how soon backoffs that are over, and releases of other nodes, are seen,
_IDLE_POLL_S = 3.0  # after that long
_IDLE_S = 10.0  # without work
_GATHER_S = 0.15  # claims that find little are so far apart: a claim costs as much for one instance as for a batch
_LINGER_S = 2.0  # an association is kept open that long for the next batch,
_LINGER_POLL_S = 0.25  # unless another lane wants one meanwhile
_FLUSH_S = 2.0  # what a slow destination has taken is written down at least that often
_LEDGER_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Services:
    """What all lanes work with."""

    config: Config
    ledger: Ledger
    spool: Spool
    seal: Seal
    owner: str
    claims: Claims
    stages: Stages = field(default_factory=Stages)


class Lane:
    """See the module; `run` is the thread's body.

    Parameters
    ----------
    name : str
        Of the destination.
    services : Services
    health : Health
    schedule : Schedule
        Shared by the destination's lanes, both.
    bell : Bell
        Shared by the destination's lanes.
    first : bool
        The first lane of a destination looks for work by the clock and asks for Storage Commitment; the others come when it is busy.
    """

    def __init__(self, name: str, services: Services, health: Health, schedule: Schedule, bell: Bell, first: bool) -> None:
        self._name = name
        self._services = services
        self._settings = services.config.destinations[name]
        self._health = health
        self._schedule = schedule
        self._bell = bell
        self._first = first
        self._commitments = Commitments(name, services.config, services.ledger, services.seal, services.owner, health)
        self._courier: Courier = (
            FolderCourier(self._settings) if self._settings.directory else NetworkCourier(self._settings, self._commitments.on_event))
        self._books = Books(name, self._settings, services.config.audit, services.ledger, services.claims, bell)
        self._batch = BATCH

    @classmethod
    def group(cls, name: str, services: Services, bell: Bell, share: Share) -> list[Lane]:
        """The lanes that a process has of a destination, which has as many as it takes associations, one for a folder."""
        settings = services.config.destinations[name]

        def on_change(up: bool, why: str) -> None:
            report = _log.info if up else _log.warning
            report("destination up" if up else "destination down", destination=name, up=up, why=why)
            if up:
                bell.call()  # the others waited for that
            try:
                services.ledger.destination_state(name, up)
            except LedgerUnavailable:
                _log.warning("destination state not recorded: ledger unavailable", destination=name)

        count = 1 if settings.directory else settings.max_associations
        numbers = share.lanes(name, count)
        health = Health(settings, on_change, helping=0 not in numbers)
        schedule = Schedule(name, settings, services.config.node.time_zone, services.ledger)
        return [cls(name, services, health, schedule, bell, first=number == 0) for number in numbers]

    def run(self) -> None:
        """Deliver until the bell is closed."""
        idle_since = time.monotonic()
        while not self._bell.closed:
            try:
                busy = self._round()
                if not busy:
                    self._books.write()
                if self._first:
                    busy = self._commitments.ask(self._courier) or busy
            except LedgerUnavailable:
                _log.warning("deliveries wait: ledger unavailable", destination=self._name)
                self._bell.sleep(_LEDGER_PAUSE_S)
                continue
            except Exception as error:  # noqa: BLE001  the thread's edge: claims lapse and come back, the destination lives on
                _log.error("delivery round failed", destination=self._name, exc_info=error)
                self._bell.sleep(_LEDGER_PAUSE_S)
                continue
            if busy:
                idle_since = time.monotonic()
                continue
            idle = time.monotonic() - idle_since
            lingering = idle < _LINGER_S and not self._health.crowded()
            if not lingering:
                self._courier.rest()
            pause = _LINGER_POLL_S if lingering else _POLL_S if idle < _IDLE_S else _IDLE_POLL_S
            self._bell.wait(min(self._health.wait() or pause, pause) if self._first or lingering else None)
        self._books.close()
        self._courier.rest()

    def cut(self) -> None:
        """From another thread: end what is being sent at once; it will be sent again by the next sender."""
        self._courier.cut()

    def _round(self) -> bool:
        if not self._schedule.is_open():
            return False
        permitted = self._health.permit(self._batch)
        if not permitted:
            return False
        began = time.monotonic()
        try:
            permitted = self._schedule.permit(permitted)
            if not permitted:
                return False
            items = self._services.ledger.claim_deliveries(self._services.owner, self._name, permitted, LEASE_S)
            if not items:
                return False
            self._schedule.claimed(items)
            point("sender.after_claim")
            if len(items) == permitted >= BATCH:
                self._bell.call()  # there is more than one lane's worth
            self._books.open(items)
            try:
                self._books.write_beside()  # what the last batch has come to, while this one is sent
                self._deliver(items)
            finally:
                self._books.forget(items)
            if len(items) < permitted:  # nothing follows at once that it could be written beside
                self._books.write()
        finally:
            self._health.nothing()
        seconds = time.monotonic() - began
        if permitted > 1 and len(items) < permitted:
            self._bell.sleep(_GATHER_S - seconds)
        elif len(items) == self._batch and seconds < _QUICK_S:
            self._batch = min(2 * self._batch, _MOST)
        if seconds > _SLOW_S:
            self._batch = BATCH
        return True

    def _deliver(self, items: Sequence[DeliveryItem]) -> None:
        started = flushed = time.monotonic()
        sent_bytes = 0
        tally = {"delivered": 0, "sent": 0, "retry": 0, "rejected": 0, "failed": 0}
        open_items = {item.id: item for item in items}
        for result in self._results_of(items):
            self._books.add(result)
            del open_items[result.item.id]
            tally[result.outcome] += 1
            sent_bytes += result.item.release.size if result.outcome in ("delivered", "sent") else 0
            if time.monotonic() - flushed > _FLUSH_S:
                self._books.write()
                flushed = time.monotonic()
        delay = self._health.wait()
        for item in open_items.values():
            self._books.add(DeliveryResult(item, "retry", delay, "the destination is down" if delay else ""))
        if any(tally.values()):
            _log.info("batch delivered" if not (tally["retry"] or tally["rejected"] or tally["failed"]) else "batch delivered in part",
                      destination=self._name, delivered=tally["delivered"] + tally["sent"], retried=tally["retry"] + tally["rejected"],
                      failed=tally["failed"], bytes=sent_bytes, seconds=round(time.monotonic() - started, 3))
        if tally["delivered"] + tally["sent"] and len(items) < BATCH:
            self._bell.call()  # a probe went well: there may be more

    def _results_of(self, items: Sequence[DeliveryItem]) -> Iterator[DeliveryResult]:
        """Deliver one after the other; ends early when the destination is down or the sender stops."""
        try:
            with self._health.connecting():
                self._courier.prepare([item.release for item in items])
        except Unreachable as error:
            if not self._health.surplus():
                yield self._verdict(items[0], error, "")
            return
        with self._health.delivering(), closing(self._opened(items)) as upcoming:
            step = next(upcoming, None)
            while step is not None and not self._bell.closed and self._schedule.is_open():
                item, released, problem = step
                if released is None:
                    yield self._local_problem(item, problem)
                    step = next(upcoming, None)
                    continue
                refusal, warning, following = self._send(released, upcoming)
                point("sender.after_send")
                yield self._verdict(item, refusal, warning)
                if isinstance(refusal, DeliveryRefused) and self._health.wait():
                    return
                step = following

    def _send(self, released: Released, upcoming: Iterator[_Step]) -> tuple[DeliveryError | None, str, _Step | None]:
        """Send one and open the next meanwhile: its digest is computed while the archive still writes."""
        problem: DeliveryError | None = None
        begun = time.perf_counter()
        warning = ""
        following: _Step | None = None
        try:
            self._courier.begin(released)
            following = next(upcoming, None)
            warning = self._courier.result()
            self._services.stages.observe("send", time.perf_counter() - begun)
        except DeliveryError as error:
            problem = error
        except Exception as error:  # noqa: BLE001  one instance's trouble, whatever it is, ends with that instance
            _log.error("delivery failed inside", destination=self._name, exc_info=error)
            self._courier.abandon()
            problem = DeliveryFailed(f"internal error ({type(error).__name__})")
        return problem, warning, following or next(upcoming, None)

    def _opened(self, items: Sequence[DeliveryItem]) -> Generator[_Step]:
        """Each item with its verified instance, or with what is wrong with the file."""
        for item in items:
            if item.attempts >= self._settings.attempts:
                yield item, None, DeliveryFailed("the attempts are used up")
                continue
            try:
                file = self._services.spool.open(item.release.file, whole=True)
                # The mapping is given back with its last reference.
                yield item, Released.reopen(item.release, file.data, self._services.seal), None
            except (HoldInstance, StorageError) as error:
                yield item, None, error

    def _local_problem(self, item: DeliveryItem, problem: Exception | None) -> DeliveryResult:
        detail = describe(problem) if problem is not None else ""
        if isinstance(problem, SpoolAway):  # no instance and no destination is to blame: costs no attempt
            return self._logged(DeliveryResult(item, "retry", self._health.instance_delay(item.id), detail))
        if isinstance(problem, StorageError) and item.attempts + 1 < self._settings.attempts:
            return self._logged(DeliveryResult(item, "rejected", backoff(self._settings, item.attempts + 1), detail))
        return self._logged(DeliveryResult(item, "failed", 0.0, detail))

    def _verdict(self, item: DeliveryItem, error: DeliveryError | None, warning: str) -> DeliveryResult:
        """What becomes of one delivery; tells the destination's health."""
        if error is None:
            self._health.good()
            self._health.forget(item.id)
            return DeliveryResult(item, "sent" if awaits_commitment(self._settings) else "delivered", 0.0, warning)
        if isinstance(error, Unreachable):
            self._health.trouble(str(error), whole=True)
            return DeliveryResult(item, "retry", self._health.wait(), str(error))
        if isinstance(error, DeliveryRefused):
            self._health.trouble(str(error), whole=False)
            return self._logged(DeliveryResult(item, "retry", self._health.instance_delay(item.id), str(error)))
        self._health.good()
        if item.attempts + 1 < self._settings.attempts:
            return self._logged(DeliveryResult(item, "rejected", backoff(self._settings, item.attempts + 1), str(error)))
        self._health.forget(item.id)
        return self._logged(DeliveryResult(item, "failed", 0.0, str(error)))

    def _logged(self, result: DeliveryResult) -> DeliveryResult:
        _log.warning("instance not delivered", destination=self._name, id=result.item.id, state=result.outcome, detail=result.detail,
                     attempts=result.item.attempts, delay=round(result.delay, 1),
                     new_sop_instance_uid=result.item.release.sop_instance_uid)
        return result


_Step = tuple[DeliveryItem, Released | None, Exception | None]
