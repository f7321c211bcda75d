"""Keeps a worker's claims alive while it works, and ends the process when an instance takes too long.

Python cannot interrupt a codec that spins in C. So past the time limit the process records what it can and leaves; should it be unable
even to do that (a library that holds the interpreter's lock), the kernel's alarm ends it a little later. Its supervisor starts another.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from radanon_node.errors import Reason, StorageError
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.types import HeldItem, WorkItem

log = structlog.get_logger("radanon.worker")

EXIT_TIME_LIMIT = 75  # EX_TEMPFAIL: start me again
_GRACE_S = 30.0


class Watchdog:
    """One per worker process. Claims are held and let go by any thread; work is watched of one at a time.

    Parameters
    ----------
    ledger : Ledger
    owner : str
        Name of the claims.
    lease : float
        Seconds a claim lasts; it is renewed each third of it.
    time_limit : float
        Seconds for one batch. A batch that takes longer is given back, its instances are then claimed alone; an instance alone that
        takes longer is quarantined with ``time_limit``.
    leave : callable
        Ends the process; not expected to return.
    """

    def __init__(self, ledger: Ledger, owner: str, lease: float, time_limit: float, leave: Callable[[int], None] = os._exit) -> None:
        self._ledger, self._owner, self._lease, self._time_limit, self._leave = ledger, owner, lease, time_limit, leave
        self._changed = threading.Condition()
        self._held: dict[int, WorkItem] = {}
        self._working: Sequence[WorkItem] = ()
        self._until = 0.0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def hold(self, items: Sequence[WorkItem]) -> None:
        """From now on the claims of `items` are renewed."""
        with self._changed:
            self._held.update({item.id: item for item in items})
            self._changed.notify()

    def let_go(self, items: Sequence[WorkItem]) -> None:
        """They are renewed no more."""
        with self._changed:
            for item in items:
                self._held.pop(item.id, None)
            self._changed.notify()

    @contextmanager
    def working(self, batch: Sequence[WorkItem]) -> Iterator[None]:
        """While inside, at most the time limit may pass; `batch` are the items being cleaned."""
        self._watch(batch)
        signal.setitimer(signal.ITIMER_REAL, self._time_limit + _GRACE_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._watch(())

    def _watch(self, working: Sequence[WorkItem]) -> None:
        with self._changed:
            self._working = working
            self._until = time.monotonic() + self._time_limit
            self._changed.notify()

    def _run(self) -> None:
        renewed = time.monotonic()
        while True:
            with self._changed:
                now = time.monotonic()
                if not (self._held or self._working):
                    self._changed.wait_for(lambda: self._closed or self._held or self._working)
                    renewed = time.monotonic()
                else:
                    next_at = renewed + self._lease / 3
                    self._changed.wait(max(0.01, (min(next_at, self._until) if self._working else next_at) - now))
                if self._closed:
                    return
                items, working, until = list(self._held.values()), self._working, self._until
            now = time.monotonic()
            if working and now >= until:
                self._give_up(working)
                return
            if items and now >= renewed + self._lease / 3:
                renewed = now
                self._renew(items)

    def _renew(self, items: Sequence[WorkItem]) -> None:
        try:
            lost = self._ledger.renew(items, self._lease)
            if lost:
                log.warning("claims lost", ids=lost)
        except StorageError as error:
            log.warning("claims not renewed", error=str(error))

    def _give_up(self, working: Sequence[WorkItem]) -> None:
        log.error("time limit", ids=[item.id for item in working], seconds=self._time_limit)
        try:
            if len(working) == 1:
                detail = f"not done after {self._time_limit:g} s"
                self._ledger.finish([HeldItem(working[0].id, working[0].token, Reason.TIME_LIMIT, detail)])
            self._ledger.give_back(self._owner)
        except StorageError as error:
            log.error("claims not given back: their leases will run out", error=str(error))
        self._leave(EXIT_TIME_LIMIT)
