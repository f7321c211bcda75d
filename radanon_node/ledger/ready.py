"""Empty files kept ready for instances to come, whose names are on stable storage before the first byte is written.

A received instance needs its bytes and its name synced before it is acknowledged: two syncs of the disk, of which the second
(the folder's) takes as long as the first. Names made in batches share one. Batches grow only while instances come in quick succession,
and nothing is kept ready while nobody sends; leftovers of a crash have no row in the ledger, so the sweep removes them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from radanon_node.errors import StorageError

if TYPE_CHECKING:
    from radanon_node.ledger.files import Incoming

_MOST = 32
_QUICK_S = 2.0


class ReadyFiles:
    """A stock of files. Safe for threads.

    Parameters
    ----------
    create : callable
        Makes that many files in one folder; StorageError if it cannot.
    sync : callable
        Puts a folder, given as file descriptor, on stable storage; StorageError if it cannot.
    """

    def __init__(self, create: Callable[[int], list[Incoming]], sync: Callable[[int], None]) -> None:
        self._create = create
        self._sync = sync
        self._stock: deque[Incoming] = deque()
        self._lock = threading.Lock()
        self._batch = 1
        self._last = 0.0

    def take(self) -> Incoming:
        """A file to write to, with a durable name; StorageError if none can be made."""
        while True:
            try:
                return self._stock.popleft()
            except IndexError:
                with self._lock:
                    if not self._stock:
                        self._refill()

    def drop(self) -> None:
        """Remove what is in stock; files given out are not concerned."""
        while True:
            try:
                self._stock.popleft().abort()
            except IndexError:
                return

    def _refill(self) -> None:
        now = time.monotonic()
        self._batch = min(2 * self._batch, _MOST) if now - self._last < _QUICK_S else 1
        self._last = now
        files = self._create(self._batch)
        try:
            self._sync(files[0].folder)
        except StorageError:
            for file in files:
                file.abort()
            raise
        for file in files:
            file.name_is_durable = True
        self._stock.extend(files)
