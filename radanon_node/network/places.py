"""Places of associations, counted over all processes that receive on one port: their limit is the node's, not each process's.

The counts lie in memory that the processes share. Each process writes its own ones alone, so that one that is killed leaves nothing
half written, and nobody waits for a lock that a dead process holds: the kernel takes it from it (fcntl(2), record locks).
"""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.reduction import DupFd
from typing import Any

_PATIENCE_S, _PAUSE_S = 1.0, 0.0005


class Places:
    """Counts of one process among `slots`. Safe for threads.

    Handed to a child when it is started; `of` says which one's it is there.

    Parameters
    ----------
    slots : int
        Processes that receive.
    slot : int
        This one's number, from 0.

    Examples
    --------
    >>> places = Places()
    >>> places.take(1), places.take(1), places.taken
    (True, False, 1)
    """

    __slots__ = ("_counts", "_fd", "_lock", "_slot", "slots")

    def __init__(self, slots: int = 1, slot: int = 0, fd: int | None = None) -> None:
        self.slots, self._slot = slots, slot
        self._fd = os.memfd_create("radanon-places", os.MFD_CLOEXEC) if fd is None else fd
        if fd is None:
            os.ftruncate(self._fd, 16 * slots)
        # First of each slot how many associations are open, then of each how many connections it has done with.
        self._counts = memoryview(mmap.mmap(self._fd, 16 * slots)).cast("q")
        self._lock = threading.Lock()

    def of(self, slot: int) -> Places:
        """The same counts, to be written by another process."""
        return Places(self.slots, slot, os.dup(self._fd))

    def take(self, limit: int) -> bool:
        """Take a place, if fewer than `limit` are taken by all processes together."""
        with self._lock, self._turn():
            if self.taken >= limit:
                return False
            self._counts[self._slot] += 1
            return True

    def give(self) -> None:
        """Give one back."""
        with self._lock:
            self._counts[self._slot] -= 1

    def done(self) -> None:
        """This process has done with a connection that it was given."""
        with self._lock:
            self._counts[self.slots + self._slot] += 1

    @property
    def taken(self) -> int:
        """How many are taken, over all processes."""
        return sum(self._counts[:self.slots])

    def done_by(self, slot: int) -> int:
        """How many connections a process has done with."""
        return self._counts[self.slots + slot]

    def clear(self, slot: int) -> None:
        """Its process is dead: what it held is free."""
        self._counts[slot] = self._counts[self.slots + slot] = 0

    def close(self) -> None:
        """Give up the file; the counts stay readable."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            self.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Alone among the processes. One that was stopped (SIGSTOP) inside holds the others up for a second, no longer."""
        until = time.monotonic() + _PATIENCE_S
        while self.slots > 1:
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= until:
                    break
                time.sleep(_PAUSE_S)
        try:
            yield
        finally:
            if self.slots > 1:
                fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self.slots, self._slot, DupFd(self._fd))


def _received(slots: int, slot: int, handed: Any) -> Places:
    fd: int = handed.detach()
    os.set_inheritable(fd, False)
    return Places(slots, slot, fd)


@dataclass(frozen=True, slots=True)
class Link:
    """A child's end of what `acceptors.Acceptors` hands it when it is started: where connections come from, and its counts."""

    sock: socket.socket
    places: Places
