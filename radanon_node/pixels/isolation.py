"""Decoders written in C and C++ run in a process of their own: a crash, a hang or a memory bomb costs one frame's instance.

One child per process, started when it is first needed and again after it has died. It reads requests from its standard input,
writes the decoded values to its standard output, and ends when its input does, so it cannot outlive the process it works for.
"""

from __future__ import annotations

import atexit
import os
import resource
import select
import subprocess
import sys
import threading
import time
from struct import Struct
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pixels.decoders import decode

ISOLATED = frozenset({"jpeg", "jpeg_ls", "jpeg_2000"})
"""Decoders that go to the child; libturbojpeg, the RLE decoder (Rust) and zlib run in place."""

_REQUEST = Struct("<16s4LdQ")  # decoder, rows, columns, samples, depth, memory in bytes, length of the codestream
_REPLY = Struct("<B8sQ")  # 0 values | 1 held; dtype or reason's first characters; length of what follows
_BASE_MEMORY = 2**30
_PER_VALUE = 64  # bytes of address space per decoded value: OpenJPEG's 32-bit planes, their transforms and copies


def time_allowed(values: int) -> float:
    """Seconds a frame of so many values may take: about a hundred times what it takes."""
    return 20.0 + values * 20e-6


class _Died(Exception):
    """The child ended in the middle of an answer."""


class DecoderProcess:
    """The child and the pipes to it; use from several threads is serialised."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    def decode(self, name: str, data: bytes, rows: int, columns: int, samples: int, depth: int) -> NDArray[Any]:
        """`decoders.decode` in the child.

        Raises
        ------
        HoldInstance
            ``undecodable_pixels``, also when the child dies of the frame; ``time_limit``; ``pixel_limit``.
        """
        values = rows * columns * samples
        limit = time_allowed(values)
        with self._lock:
            child = self._started()
            deadline = time.monotonic() + limit
            try:
                request = _REQUEST.pack(
                    name.encode(), rows, columns, samples, depth, float(_BASE_MEMORY + _PER_VALUE * values), len(data)
                )
                self._write(child, request, deadline)
                self._write(child, data, deadline)
                status, kind, length = _REPLY.unpack(self._read(child, _REPLY.size, deadline))
                body = self._read(child, length, deadline)
            except TimeoutError:
                self._stop()
                raise HoldInstance(Reason.TIME_LIMIT, f"the {name} decoder took longer than {limit:.0f} s for a frame") from None
            except (_Died, OSError):
                self._stop()
                raise HoldInstance(Reason.UNDECODABLE_PIXELS, f"the {name} decoder died of a frame") from None
            except BaseException:
                self._stop()  # an interrupted exchange leaves the pipes out of step
                raise
        if status:
            reason, _, detail = body.decode().partition("\n")
            raise HoldInstance(Reason(reason), detail)
        shape = (rows, columns) if samples == 1 else (rows, columns, samples)
        return np.frombuffer(body, kind.rstrip(b"\0").decode()).reshape(shape)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # forked: the pipes belong to the other process
            self._child, self._owner = None, os.getpid()
        if self._child is None or self._child.poll() is not None:
            self._stop()
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            self._child = subprocess.Popen(
                [sys.executable, "-m", "radanon_node.pixels.isolation"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, env=environment,
                start_new_session=True,
            )
            for pipe in (self._child.stdin, self._child.stdout):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
        return self._child

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None or self._owner != os.getpid():
            return
        child.kill()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        child.wait()

    @staticmethod
    def _write(child: subprocess.Popen[bytes], data: bytes, deadline: float) -> None:
        assert child.stdin is not None
        view, number = memoryview(data), child.stdin.fileno()
        while view:
            _wait([], [number], deadline)
            try:
                view = view[os.write(number, view) :]
            except BlockingIOError:
                continue

    @staticmethod
    def _read(child: subprocess.Popen[bytes], length: int, deadline: float) -> bytearray:
        assert child.stdout is not None
        number, out = child.stdout.fileno(), bytearray(length)
        view = memoryview(out)
        while view:
            _wait([number], [], deadline)
            try:
                count = os.readv(number, [view])
            except BlockingIOError:
                continue
            if count == 0:
                raise _Died
            view = view[count:]
        return out


def _wait(read: list[int], write: list[int], deadline: float) -> None:
    remaining = deadline - time.monotonic()
    poller = select.poll()
    for number in read:
        poller.register(number, select.POLLIN | select.POLLHUP)
    for number in write:
        poller.register(number, select.POLLOUT | select.POLLERR)
    if remaining <= 0 or not poller.poll(remaining * 1000):
        raise TimeoutError


_PROCESS = DecoderProcess()
atexit.register(_PROCESS.close)


def decode_safely(name: str, data: bytes, rows: int, columns: int, samples: int, depth: int) -> NDArray[Any]:
    """Decode one frame, in the child if the decoder is one of `ISOLATED`; see ``decoders.decode``."""
    if name in ISOLATED:
        return _PROCESS.decode(name, data, rows, columns, samples, depth)
    return decode(name, data, rows, columns, samples, depth)


def _exactly(stream: IO[bytes], length: int) -> bytes:
    parts = []
    while length:
        part = stream.read(length)
        if not part:
            sys.exit(0)
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def serve() -> None:
    """The child: answer requests until the input ends."""
    requests = os.fdopen(os.dup(0), "rb", buffering=1 << 16)
    replies = os.dup(1)
    silent = os.open(os.devnull, os.O_RDWR)
    os.dup2(silent, 0)
    os.dup2(silent, 1)  # what a library prints must not get between the replies
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    while True:
        name, rows, columns, samples, depth, memory, length = _REQUEST.unpack(_exactly(requests, _REQUEST.size))
        data = _exactly(requests, length)
        soft = int(memory) + 2 * length
        resource.setrlimit(resource.RLIMIT_AS, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
        try:
            values = np.ascontiguousarray(decode(name.rstrip(b"\0").decode(), data, rows, columns, samples, depth))
            status, kind, body = 0, values.dtype.str.encode(), memoryview(values.data).cast("B")
        except HoldInstance as hold:
            status, kind, body = 1, b"", memoryview(f"{hold.reason}\n{hold.detail}".encode())
        except MemoryError:
            status, kind, body = 1, b"", memoryview(f"{Reason.PIXEL_LIMIT}\na decoder asked for too much memory".encode())
        for part in (memoryview(_REPLY.pack(status, kind, len(body))), body):
            while part:
                part = part[os.write(replies, part) :]


if __name__ == "__main__":
    serve()
