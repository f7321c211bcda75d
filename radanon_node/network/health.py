"""When a destination is tried: backoff with jitter, and one probe at a time while it is down."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from radanon_node.settings import DestinationSettings

TROUBLES = 3
"""Refusals or lost connections in a row, over all instances, after which the destination itself counts as down."""
_REMEMBERED = 10_000
_RECENT_S = 60.0
_LEFT_OUT_S = 60.0
_CROWDED_S = 0.25


def backoff(settings: DestinationSettings, failures: int) -> float:
    """Seconds to wait after that many failures in a row: doubles up to `retry_max`, give or take a quarter (so that nodes spread out)."""
    delay = min(settings.retry_initial * 2.0 ** min(max(failures - 1, 0), 30), settings.retry_max)
    return min(delay * random.uniform(0.75, 1.25), settings.retry_max)


class Health:
    """Shared by the lanes of one destination; safe for threads.

    Unknown at first: one lane tries, the others follow when that went well. A lane that gets no association while another one
    delivers says nothing about the destination: it takes fewer associations than there are lanes, and that lane is left out for a while.

    Parameters
    ----------
    settings : DestinationSettings
    on_change : callable
        Called with (up, why) when it goes up or down; not under the lock.
    clock : callable
        Seconds, monotonic.
    helping : bool
        The lanes help those of another process, which says whether the destination is up: one that gets no association is left out for
        a while, and nothing is told.
    """

    def __init__(
        self, settings: DestinationSettings, on_change: Callable[[bool, str], None], clock: Callable[[], float] = time.monotonic,
        helping: bool = False,
    ) -> None:  # fmt: skip
        self._helping = helping
        self._settings = settings
        self._on_change = on_change
        self._clock = clock
        self._lock = threading.Lock()
        self._up: bool | None = None
        self._failures = 0
        self._not_before = 0.0
        self._prober: int | None = None  # the thread that probes
        self._refused: dict[int, int] = {}
        self._busy = 0
        self._good_at = -_RECENT_S
        self._connecting: dict[int, float] = {}
        self._left_out: dict[int, float] = {}

    def permit(self, batch: int) -> int:
        """How many instances a lane may take now: `batch` if it is up or not yet known, 1 as the one probe if that is due, else 0.

        Whoever was permitted anything must report back: `good`, `trouble` or `nothing`.
        """
        with self._lock:
            left_out = self._left_out.get(threading.get_ident(), 0.0) > self._clock()
            if self._up or (self._helping and left_out):
                return 0 if left_out else batch
            if self._prober is not None or self._clock() < self._not_before:
                return 0
            self._prober = threading.get_ident()
            return 1 if self._up is False else batch

    def wait(self) -> float:
        """Seconds until the next probe is due; 0.0 when up or when it is due."""
        with self._lock:
            return 0.0 if self._up else max(self._not_before - self._clock(), 0.0)

    def nothing(self) -> None:
        """Nothing was tried."""
        with self._lock:
            self._probed()

    def _probed(self) -> None:
        if self._prober == threading.get_ident():
            self._prober = None

    def good(self) -> None:
        """It answered, be it with a verdict on one instance."""
        with self._lock:
            changed = not self._up
            self._up, self._failures, self._prober, self._not_before = True, 0, None, 0.0
            self._good_at = self._clock()
        if changed and not self._helping:
            self._on_change(True, "")

    def surplus(self) -> bool:
        """The calling lane got no association: is it one too many? It is then left out for a while; else that is `trouble`."""
        with self._lock:
            alone = not self._up or self._busy == 0 or self._clock() - self._good_at > _RECENT_S
            if alone and not self._helping:
                return False
            self._left_out[threading.get_ident()] = self._clock() + _LEFT_OUT_S
            return True

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """For the time in which the calling lane waits for an association."""
        with self._lock:
            self._connecting[threading.get_ident()] = self._clock()
        try:
            yield
        finally:
            with self._lock:
                del self._connecting[threading.get_ident()]

    @contextmanager
    def delivering(self) -> Iterator[None]:
        """For the time in which the calling lane has an association and instances to send."""
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def crowded(self) -> bool:
        """Whether another lane waits for an association: an idle one is then better given back."""
        with self._lock:
            return any(self._clock() - since > _CROWDED_S for since in self._connecting.values())

    def trouble(self, why: str, whole: bool) -> bool:
        """It did not take an instance; `whole` if no instance is to blame. Returns whether it counts as down now."""
        with self._lock:
            self._failures += 1
            self._probed()
            was_up = self._up
            if whole or self._failures >= TROUBLES or not was_up:
                self._up = False
                self._not_before = self._clock() + backoff(self._settings, self._failures - (0 if whole else TROUBLES - 1))
            down, changed = not self._up, was_up is not False and self._up is False
        if changed and not self._helping:
            self._on_change(False, why)
        return down

    def instance_delay(self, delivery: int) -> float:
        """Backoff of one instance that was refused for now: grows with each time; forgotten when the process ends."""
        with self._lock:
            times = self._refused.pop(delivery, 0) + 1
            self._refused[delivery] = times
            if len(self._refused) > _REMEMBERED:
                del self._refused[next(iter(self._refused))]
        return backoff(self._settings, times)

    def forget(self, delivery: int) -> None:
        """It was taken or given up."""
        with self._lock:
            self._refused.pop(delivery, None)
