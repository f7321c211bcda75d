"""Injection points for kill tests: ``RADANON_FAULT=worker.after_store:3`` kills the process at the third passage.

A point stands at every transition between stable states, so that the tests can prove that a ``kill -9`` there loses nothing.
Without the environment variable `point` does nothing.
"""

from __future__ import annotations

import os
import signal
import threading

_lock = threading.Lock()


def _armed(text: str) -> tuple[str, int]:
    name, _, count = text.partition(":")
    return name, int(count) if count else 1


_name, _left = _armed(os.environ.get("RADANON_FAULT", ""))


def point(name: str) -> None:
    """Pass the injection point `name`; the n-th passage of the armed one ends the process with SIGKILL."""
    global _left
    if name != _name:
        return
    with _lock:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
