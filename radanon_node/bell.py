"""A wake-up between the processes of a node that survives the death of any of them.

`multiprocessing.Event` does not: its ``set`` waits for each sleeper to confirm that it woke, so after a ``kill -9`` of a waiting worker the
listener would hang in it for ever. A bell is one eventfd (eventfd(2)): nobody holds a lock, nobody waits for anybody.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress
from multiprocessing.reduction import DupFd
from typing import Any, Protocol


class Signal(Protocol):
    """What `threading.Event` and `Bell` have in common."""

    def is_set(self) -> bool: ...
    def set(self) -> None: ...
    def clear(self) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...


class Bell:
    """Like `threading.Event`, for threads and for processes it is handed to when they are started (any start method).

    Examples
    --------
    >>> bell = Bell()
    >>> bell.wait(0.0)
    False
    >>> bell.set()
    >>> bell.wait()
    True
    """

    __slots__ = ("_fd",)

    def __init__(self, fd: int | None = None) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) if fd is None else fd

    def set(self) -> None:
        """Ring: all who wait go on, and all who will, until it is cleared."""
        with suppress(BlockingIOError):  # rung 2**64 times: it rings
            os.eventfd_write(self._fd, 1)

    def ring(self) -> None:
        """As `set`."""
        self.set()

    def clear(self) -> None:
        """Silence it."""
        with suppress(BlockingIOError):  # it was silent
            os.eventfd_read(self._fd)

    def is_set(self) -> bool:
        """Whether it rings."""
        return self.wait(0.0)

    def wait(self, timeout: float | None = None) -> bool:
        """Until it rings, at most `timeout` seconds; whether it does."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        # poll(2) counts in milliseconds: round up, so that a short wait is not a busy one.
        return bool(poll.poll(None if timeout is None else -(-timeout * 1000 // 1)))

    def fileno(self) -> int:
        """For `select.poll`: readable while it rings."""
        return self._fd

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            os.close(self._fd)

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (DupFd(self._fd),)


class EchoBell(Bell):
    """A bell that is heard in one more place: `set` rings `echo` too, `ring` does not.

    So what this node's processes say to each other can be passed on to other nodes, and what those say does not come back to them.
    """

    __slots__ = ("echo",)

    def __init__(self, fd: int | None = None, echo: Bell | None = None) -> None:
        super().__init__(fd)
        self.echo = Bell() if echo is None else echo

    def set(self) -> None:
        super().set()
        self.echo.set()

    def ring(self) -> None:
        """As `set`, but without the echo."""
        super().set()

    def __reduce__(self) -> tuple[Any, ...]:
        return _echo_received, (DupFd(self._fd), self.echo)


def _echo_received(handed: Any, echo: Bell) -> EchoBell:
    fd: int = handed.detach()
    os.set_inheritable(fd, False)
    return EchoBell(fd, echo)


def _received(handed: Any) -> Bell:
    fd: int = handed.detach()
    os.set_inheritable(fd, False)
    return Bell(fd)
