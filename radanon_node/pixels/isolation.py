"""Decoders written in C and C++ run in a process of their own (`helper`): a crash, a hang or a memory bomb costs one frame's instance."""

from __future__ import annotations

import atexit
import resource
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import HoldInstance, Reason
from radanon_node.helper import Helper, HelperDied, channel, exactly, reply
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


class DecoderProcess(Helper):
    """The process that decodes, and the pipes to it."""

    def __init__(self) -> None:
        super().__init__("radanon_node.pixels.isolation")

    def decode(self, name: str, data: bytes, rows: int, columns: int, samples: int, depth: int) -> NDArray[Any]:
        """`decoders.decode` in the child.

        Raises
        ------
        HoldInstance
            ``undecodable_pixels``, also when the child dies of the frame; ``time_limit``; ``pixel_limit``.
        """
        values = rows * columns * samples
        limit = time_allowed(values)
        memory = float(_BASE_MEMORY + _PER_VALUE * values)
        try:
            (status, kind, _), body = self.ask([_REQUEST.pack(name.encode(), rows, columns, samples, depth, memory, len(data)), data],
                                               _REPLY, limit)
        except TimeoutError:
            raise HoldInstance(Reason.TIME_LIMIT, f"the {name} decoder took longer than {limit:.0f} s for a frame") from None
        except HelperDied:
            raise HoldInstance(Reason.UNDECODABLE_PIXELS, f"the {name} decoder died of a frame") from None
        if status:
            reason, _, detail = body.decode().partition("\n")
            raise HoldInstance(Reason(reason), detail)
        shape = (rows, columns) if samples == 1 else (rows, columns, samples)
        return np.frombuffer(body, kind.rstrip(b"\0").decode()).reshape(shape)


_PROCESS = DecoderProcess()
atexit.register(_PROCESS.close)


def decode_safely(name: str, data: bytes, rows: int, columns: int, samples: int, depth: int) -> NDArray[Any]:
    """Decode one frame, in the child if the decoder is one of `ISOLATED`; see ``decoders.decode``."""
    if name in ISOLATED:
        return _PROCESS.decode(name, data, rows, columns, samples, depth)
    return decode(name, data, rows, columns, samples, depth)


def serve() -> None:
    """The child: answer requests until the input ends."""
    requests, replies = channel()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    while True:
        name, rows, columns, samples, depth, memory, length = _REQUEST.unpack(exactly(requests, _REQUEST.size))
        data = exactly(requests, length)
        soft = int(memory) + 2 * length
        resource.setrlimit(resource.RLIMIT_AS, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
        try:
            values = np.ascontiguousarray(decode(name.rstrip(b"\0").decode(), data, rows, columns, samples, depth))
            status, kind, body = 0, values.dtype.str.encode(), memoryview(values.data).cast("B")
        except HoldInstance as hold:
            status, kind, body = 1, b"", memoryview(f"{hold.reason}\n{hold.detail}".encode())
        except MemoryError:
            status, kind, body = 1, b"", memoryview(f"{Reason.PIXEL_LIMIT}\na decoder asked for too much memory".encode())
        reply(replies, _REPLY.pack(status, kind, len(body)), body)


if __name__ == "__main__":
    serve()
