"""Injection points for kill tests: ``RADANON_FAULT=worker.after_store:3`` kills the process at the third passage.

A point stands at every transition between stable states, so that the tests can prove that a ``kill -9`` there loses nothing.
Unless armed, `point` does nothing.
"""

from __future__ import annotations

import os
import signal
import threading

_lock = threading.Lock()
_name, _left = "", 0


def arm(text: str) -> None:
    """Arm the point ``NAME`` or ``NAME:N`` of this process; empty disarms. Done at import from ``RADANON_FAULT``."""
    global _name, _left
    _name, _, count = text.partition(":")
    _left = int(count) if count else 1


def point(name: str) -> None:
    """Pass the injection point `name`; the n-th passage of the armed one ends the process with SIGKILL."""
    global _left
    if name != _name:
        return
    with _lock:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ.get("RADANON_FAULT", ""))
