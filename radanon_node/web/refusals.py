"""Refused log-ins in the audit trail, which never shrinks: one row at once, then counts, so that whoever tries passwords cannot fill it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from radanon_node.errors import StorageError

WINDOW_S = 60.0
MOST = 20
"""Names and addresses with rows of their own in one window; further ones share a row."""
_REST = ("unknown", "other addresses")


class Refusals:
    """Keeps who was refused, in at most ``2 * (MOST + 1)`` rows a window. Safe for threads.

    Parameters
    ----------
    record : callable
        ``(who, action, reason)``: appends a row to the audit trail.
    clock : callable
        Seconds, only going forward.

    Examples
    --------
    >>> rows = []; refusals = Refusals(lambda *row: rows.append(row))
    >>> for _ in range(1000): refusals.refused("vera", "10.0.0.9")
    >>> refusals.flush(all_of_them=True); rows
    [('vera', 'log-in refused', 'from 10.0.0.9'), ('vera', 'log-in refused', '999 more from 10.0.0.9 within a minute')]
    """

    def __init__(self, record: Callable[[str, str, str], Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._record, self._clock = record, clock
        self._open: dict[tuple[str, str], list[float]] = {}  # who and where -> begin of the window, how many more
        self._lock = threading.Lock()

    def refused(self, name: str, address: str) -> None:
        """Note one refusal; StorageError if the ledger does not answer."""
        self.flush()
        with self._lock:
            key = (name, address)
            if key not in self._open and len(self._open) >= MOST:
                key = _REST
            if key in self._open:
                self._open[key][1] += 1
                return
            self._open[key] = [self._clock(), 0]
        self._record(key[0], "log-in refused", f"from {key[1]}")

    def flush(self, all_of_them: bool = False) -> None:
        """Write the counts of the windows that have ended, or of all; what the ledger does not take now is tried again."""
        with self._lock:
            ended = {key: one for key, one in self._open.items() if all_of_them or self._clock() - one[0] >= WINDOW_S}
            for key in ended:
                del self._open[key]
        for key, (begun, more) in ended.items():
            if not more:
                continue
            try:
                self._record(key[0], "log-in refused", f"{int(more)} more from {key[1]} within a minute")
            except StorageError:
                with self._lock:
                    self._open.setdefault(key, [begun, 0])[1] += more
                raise
