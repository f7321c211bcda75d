"""Writers of an SQLite ledger take turns at a file lock before they ask SQLite for its own.

SQLite lets one process write at a time, and who finds it taken sleeps and looks again: 1, 2, 5, 10 and soon 50 to 100 ms, while the
lock is held for one or two. Beside a busy worker the listener then loses most of its time asleep, and a writer that comes back at once
can starve the others. Here the look is repeated every few tenths of a millisecond. SQLite's lock stays what decides: a writer that does not
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


class Gate:
    """A lock among the threads of all processes that open the same ledger. Its file is empty and may be removed when no node runs.

    Parameters
    ----------
    path : Path
        Made if absent, for the node's user alone.
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
        except OSError as error:
            raise ConfigError(f"ledger.url: {path}: {error.strerror}") from None
        self._patience = patience
        self._threads = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Inside, no other writer that uses the gate writes."""
        until = time.monotonic() + self._patience
        if not self._threads.acquire(timeout=self._patience):
            yield
            return
        try:
            held = self._lock(until)
            try:
                yield
            finally:
                if held:
                    fcntl.flock(self._fd, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def close(self) -> None:
        """Close the file; who comes later gets no turns and goes on without."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _lock(self, until: float) -> bool:
        # No blocking flock: it has no time limit, and a stopped process would hold up all others for ever.
        pause = _FIRST_S
        while self._fd >= 0:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    return False
                time.sleep(pause)
                pause = min(1.5 * pause, _MOST_S)
            except OSError:
                break  # a file system without locks of this kind
            else:
                return True
        return False
