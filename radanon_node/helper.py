"""A process that does risky work for this one: what is written in C may crash, hang or ask for all memory, and costs one request then.

Started when it is first needed and again after it has died. It reads requests from its standard input, writes replies to its standard
output and ends when its input does, so it cannot outlive the process it works for. `Helper` is this side; the helper's own module is run as
a script and uses `channel`, `exactly` and `reply`.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from struct import Struct
from typing import IO, Any


class HelperDied(Exception):
    """It ended in the middle of an answer."""


class Helper:
    """This side of the process and the pipes to it; use from several threads is serialised.

    Parameters
    ----------
    module : str
        What the process runs.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    def ask(self, parts: Sequence[bytes | memoryview], head: Struct, seconds: float) -> tuple[tuple[Any, ...], bytearray]:
        """Send a request, wait for its answer.

        Parameters
        ----------
        parts : sequence of bytes or memoryview
            The request.
        head : Struct
            What the reply begins with; its last field is the number of bytes that follow.
        seconds : float
            The time limit.

        Returns
        -------
        tuple
            The fields of the head.
        bytearray
            What follows it.

        Raises
        ------
        TimeoutError, HelperDied
            There is no answer; the process is ended, if it has not ended by itself.
        OSError
            It cannot be started.
        """
        with self._lock:
            child = self._started()
            deadline = time.monotonic() + seconds
            try:
                for part in parts:
                    _write(child, part, deadline)
                fields = head.unpack(_read(child, head.size, deadline))
                return fields, _read(child, fields[-1], deadline)
            except TimeoutError:
                self._stop()
                raise
            except OSError:
                self._stop()
                raise HelperDied from None
            except BaseException:
                self._stop()  # an interrupted exchange leaves the pipes out of step
                raise

    def close(self) -> None:
        """End the process; the next request starts another."""
        with self._lock:
            self._stop()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # forked: the pipes belong to the other process
            self._child, self._owner = None, os.getpid()
        if self._child is None or self._child.poll() is not None:
            self._stop()
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            self._child = subprocess.Popen(
                [sys.executable, "-m", self._module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
                env=environment, start_new_session=True,
            )
            for pipe in (self._child.stdin, self._child.stdout):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
        return self._child

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None or self._owner != os.getpid():
            return
        child.kill()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        child.wait()


def _write(child: subprocess.Popen[bytes], data: bytes | memoryview, deadline: float) -> None:
    assert child.stdin is not None
    number = child.stdin.fileno()
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            _wait(number, select.POLLOUT | select.POLLERR, deadline)
            try:
                done += os.write(number, view[done:])
            except BlockingIOError:
                continue


def _read(child: subprocess.Popen[bytes], length: int, deadline: float) -> bytearray:
    assert child.stdout is not None
    number, out = child.stdout.fileno(), bytearray(length)
    view = memoryview(out)
    while view:
        _wait(number, select.POLLIN | select.POLLHUP, deadline)
        try:
            count = os.readv(number, [view])
        except BlockingIOError:
            continue
        if count == 0:
            raise HelperDied
        view = view[count:]
    return out


def _wait(number: int, events: int, deadline: float) -> None:
    remaining = deadline - time.monotonic()
    poller = select.poll()
    poller.register(number, events)
    if remaining <= 0 or not poller.poll(remaining * 1000):
        raise TimeoutError


def channel() -> tuple[IO[bytes], int]:
    """The helper's own side: where requests come from, and the descriptor that replies go to.

    What a library reads or prints does not get between them: standard input and output are nothing from here on.
    """
    requests = os.fdopen(os.dup(0), "rb", buffering=1 << 16)
    replies = os.dup(1)
    silent = os.open(os.devnull, os.O_RDWR)
    os.dup2(silent, 0)
    os.dup2(silent, 1)
    return requests, replies


def exactly(requests: IO[bytes], length: int) -> bytes:
    """That many bytes of a request; the process ends where the requests do."""
    parts = []
    while length:
        part = requests.read(length)
        if not part:
            sys.exit(0)
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def reply(replies: int, *parts: bytes | memoryview) -> None:
    """Write a reply."""
    for part in parts:
        with memoryview(part) as view:
            done = 0
            while done < len(view):
                done += os.write(replies, view[done:])
