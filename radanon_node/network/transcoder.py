"""Transcoding as the sender has it done: in a process of its own (`helper`), where a codec that crashes or hangs costs one delivery.

The sender's own process needs no codecs, and imports none (`lean`).
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from pydicom.uid import UID

from radanon_node.errors import DeliveryFailed
from radanon_node.helper import Helper, HelperDied
from radanon_node.network.contexts import EXPLICIT_LE, IMPLICIT_LE
from radanon_node.pipeline.released import Released

UNCOMPRESSED: Final = (EXPLICIT_LE, IMPLICIT_LE)
_JPEG_LS, _JPEG_2000, _RLE = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"
_DEFLATE = "1.2.840.10008.1.2.1.99"
TARGETS: Final = frozenset({*UNCOMPRESSED, _DEFLATE, _JPEG_LS, _JPEG_2000, _RLE})
"""What an instance can be turned into without loss."""

REQUEST: Final = Struct("<64s64sQ")
"""Transfer syntax UIDs, its own and the wanted one; bytes of the file, which follows."""
ANSWER: Final = Struct("<BQ")
"""`DONE` or `FAILED`; bytes of what follows: the file, or why not."""
DONE, FAILED = 0, 1


def time_allowed(size: int) -> float:
    """Seconds for a file of so many bytes: a hundred times what uncompressed ones take, and a process is started in it."""
    return 60.0 + size * 20e-6


class Transcoder(Helper):
    """The process and the way to it; started by the first instance that needs it, and again after `close`."""

    def __init__(self) -> None:
        super().__init__("radanon_node.network.transcode")

    def transcode(self, released: Released, target: str) -> bytearray:
        """`transcode.transcode` in the process.

        Parameters
        ----------
        released : Released
        target : str
            One of `TARGETS`.

        Returns
        -------
        bytearray
            A Part 10 file that reads back equal.

        Raises
        ------
        DeliveryFailed
            It cannot be transcoded, does not read back equal, or is what a codec died of or got stuck in.
        """
        source, size = released.transfer_syntax_uid, len(released.encoded)
        limit = time_allowed(size)
        with memoryview(released.encoded) as data:
            try:
                (outcome, _), body = self.ask([REQUEST.pack(source.encode(), target.encode(), size), data], ANSWER, limit)
            except TimeoutError:
                raise DeliveryFailed(f"transcoding from {_name(source)} to {_name(target)} took longer than {limit:.0f} s") from None
            except HelperDied:
                raise DeliveryFailed(f"the process that transcodes died of it (from {_name(source)} to {_name(target)})") from None
        if outcome == FAILED:
            raise DeliveryFailed(body.decode())
        return body


def _name(uid: str) -> str:
    return UID(uid).name
