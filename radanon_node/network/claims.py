"""What the lanes of the sender share: the deliveries that are claimed, and a bell that wakes an idle lane."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from radanon_node.ledger.types import DeliveryItem


class Claims:
    """The deliveries this process holds, so that one thread can renew them all; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: dict[int, DeliveryItem] = {}

    def hold(self, items: Sequence[DeliveryItem]) -> None:
        """Hold `items` until they are released."""
        with self._lock:
            self._items.update({item.id: item for item in items})

    def release(self, items: Sequence[DeliveryItem]) -> None:
        """Hold them no more."""
        with self._lock:
            for item in items:
                self._items.pop(item.id, None)

    def held(self) -> list[DeliveryItem]:
        """All of them now."""
        with self._lock:
            return list(self._items.values())


class Bell:
    """Wakes one idle lane per ring; a ring that nobody waits for is kept for the next who does.

    Parameters
    ----------
    elsewhere : callable, optional
        Wakes the lanes that the destination has in other processes.
    """

    def __init__(self, elsewhere: Callable[[], None] = lambda: None) -> None:
        self._elsewhere = elsewhere
        self._changed = threading.Condition()
        self._rung = False
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the lanes are to end."""
        return self._closed

    def ring(self) -> None:
        """There may be work."""
        with self._changed:
            self._rung = True
            self._changed.notify()

    def call(self) -> None:
        """There is more than the caller can take: wake one here and one in each other process."""
        self.ring()
        self._elsewhere()

    def close(self) -> None:
        """The lanes are to end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, seconds: float | None) -> None:
        """Until it rings or is closed, at most that long."""
        with self._changed:
            if not (self._rung or self._closed):
                self._changed.wait(seconds)
            self._rung = False

    def sleep(self, seconds: float) -> None:
        """That long, rings or not, unless it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)
