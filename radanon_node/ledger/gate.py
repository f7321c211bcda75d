"""Writers of an SQLite ledger take turns at a file lock before they ask SQLite for its own.

SQLite lets one process write at a time, and who finds it taken sleeps and looks again: 1, 2, 5, 10 and soon 50 to 100 ms, while the
lock is held for one or two. Beside a busy worker the listener then loses most of its time asleep, and a writer that comes back at once
can starve the others. Here the look is repeated every few tenths of a millisecond. A writer that a peer waits for (an admission) waits
for one other writer at most: all the rest queue up at a second lock first. SQLite's lock stays what decides: a writer that does not
get its turn here within the time limit goes on and is told by SQLite.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from radanon_node.errors import ConfigError

_FIRST_S, _MOST_S = 0.0002, 0.002
_MOST_URGENT_S = 0.0004


class Gate:
    """A lock among the threads of all processes that open the same ledger. Its files are empty and may be removed when no node runs.

    Parameters
    ----------
    path : Path
        Made if absent, for the node's user alone; and another, PATH-queue, beside it.
    patience : float
        Seconds after which a writer goes on without its turn.

    Raises
    ------
    ConfigError
        The file cannot be made.
    """

    def __init__(self, path: Path, patience: float) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._queue = os.open(f"{path}-queue", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"ledger.url: {path}: {error.strerror}") from None
        self._patience = patience
        self._threads = threading.Lock()

    @contextmanager
    def turn(self, urgent: bool = False) -> Iterator[None]:
        """Inside, no other writer that uses the gate writes.

        Parameters
        ----------
        urgent : bool
            A peer waits for this one: it does not queue.
        """
        until = time.monotonic() + self._patience
        if not self._threads.acquire(timeout=self._patience):
            yield
            return
        taken: list[int] = []
        try:
            for each in (self._fd,) if urgent else (self._queue, self._fd):
                if not _lock(each, until, _MOST_URGENT_S if urgent else _MOST_S):
                    break
                taken.append(each)
            yield
        finally:
            for each in reversed(taken):
                fcntl.flock(each, fcntl.LOCK_UN)
            self._threads.release()

    def close(self) -> None:
        """Close the files; who comes later gets no turns and goes on without."""
        for each in (self._fd, self._queue):
            if each >= 0:
                os.close(each)
        self._fd = self._queue = -1


def _lock(file: int, until: float, most: float) -> bool:
    """Take the lock, or not: no blocking flock, which has no time limit; a stopped process would hold up all others for ever."""
    pause = _FIRST_S
    while file >= 0:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(pause)
            pause = min(1.5 * pause, most)
        except OSError:
            break  # a file system without locks of this kind
        else:
            return True
    return False
