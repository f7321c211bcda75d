"""The record of a received instance, in its own file: whoever has the file can write the ledger's row, and success costs one sync.

The 128 bytes of the preamble (PS3.10 7.1), which the standard leaves to the application, say who sent the instance, by what route and when;
the UIDs stand in the file meta information behind them. A keyed digest over both and over every byte that follows shows that the file is
whole: after a power cut a file system may have kept the record and not the end of the data set. Such a file was never acknowledged to
anybody, as the answer follows the sync, and it passes for no instance.
"""

from __future__ import annotations

import hmac
import struct
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from radanon_node.ledger.types import Arrival
from radanon_node.pipeline.types import Buffer

PREAMBLE: Final = 128
_MAGIC = b"RADANON\x01"
_FIELDS = struct.Struct("<8s16s16sdqi")  # magic, route, calling AE title, received at, size, round
_TAG_AT, _TAG = _FIELDS.size, 32
_PIECE = 1 << 24
_META = {b"\x02\x00\x02\x00": "sop_class_uid", b"\x02\x00\x03\x00": "sop_instance_uid", b"\x02\x00\x10\x00": "transfer_syntax_uid"}


class Digest:
    """Over what follows the preamble, as it arrives: GMAC (NIST SP 800-38D), a fifteenth of a millisecond for a CT slice.

    The constant nonce is sound because the tag never leaves this module: it goes into an HMAC.
    """

    __slots__ = ("_mac",)

    def __init__(self, key: bytes) -> None:
        self._mac: Any = Cipher(algorithms.AES(key), modes.GCM(bytes(12))).encryptor()

    def update(self, data: Buffer) -> None:
        """Take the next bytes."""
        self._mac.authenticate_additional_data(data)

    def finish(self) -> bytes:
        """The tag (16 bytes); nothing can be taken afterwards."""
        self._mac.finalize()
        tag: bytes = self._mac.tag
        return tag


class Records:
    """Writes and reads records. Safe for threads.

    Parameters
    ----------
    digest_key, key : bytes
        32 bytes each, of the node's key (`Seal`): the records of another node are none.
    """

    def __init__(self, digest_key: bytes, key: bytes) -> None:
        self._digest_key = digest_key
        self._key = key

    def digest(self) -> Digest:
        """For a file that begins: to be told every byte behind the preamble, the file meta information included."""
        return Digest(self._digest_key)

    def write(self, arrival: Arrival, digest: Digest) -> bytes | None:
        """The preamble (128 bytes) that carries `arrival`; None if its AE titles have no place in it.

        Parameters
        ----------
        arrival : Arrival
            With its `turn`.
        digest : Digest
            Told all of the file.
        """
        try:
            route, calling = arrival.route.encode("ascii"), arrival.calling_ae.encode("ascii")
        except UnicodeEncodeError:
            return None
        if len(route) > 16 or len(calling) > 16 or b"\0" in route + calling:
            return None
        fields = _FIELDS.pack(_MAGIC, route, calling, arrival.received_at, arrival.size, arrival.turn or 0)
        return (fields + self._tag(fields, arrival.file, digest)).ljust(PREAMBLE, b"\0")

    def read(self, name: str, data: Buffer) -> Arrival | None:
        """What the file `name` says of itself; None if it carries no record or is not whole."""
        with memoryview(data) as view:
            if not carries(view):
                return None
            fields = bytes(view[:_TAG_AT])
            _, route, calling, received_at, size, turn = _FIELDS.unpack(fields)
            if size != len(view):
                return None
            digest = self.digest()
            for start in range(PREAMBLE, size, _PIECE):
                with view[start:start + _PIECE] as piece:
                    digest.update(piece)
            if not hmac.compare_digest(self._tag(fields, name, digest), bytes(view[_TAG_AT:_TAG_AT + _TAG])):
                return None
            uids = _uids(view)
        return Arrival(file=name, size=size, route=route.rstrip(b"\0").decode(), calling_ae=calling.rstrip(b"\0").decode(),
                       received_at=received_at, turn=turn, **uids)

    def _tag(self, fields: bytes, name: str, digest: Digest) -> bytes:
        return hmac.digest(self._key, fields + name.encode() + digest.finish(), "sha256")


def carries(data: Buffer) -> bool:
    """Whether a file begins with a record, whole or not."""
    return len(data) > PREAMBLE and bytes(data[:len(_MAGIC)]) == _MAGIC


def _uids(view: memoryview) -> dict[str, str]:
    """UIDs of the file meta information as `storing.file_header` writes it: short explicit VR elements, but for the version's OB."""
    end = 144 + int.from_bytes(view[140:144], "little")
    found = dict.fromkeys(_META.values(), "")
    at = 144
    while at + 8 <= end:
        long = bytes(view[at + 4:at + 6]) == b"OB"
        length, start = (int.from_bytes(view[at + 8:at + 12], "little"), at + 12) if long else (
            int.from_bytes(view[at + 6:at + 8], "little"), at + 8)
        name = _META.get(bytes(view[at:at + 4]))
        if name:
            found[name] = bytes(view[start:start + length]).rstrip(b"\0 ").decode("ascii")
        at = start + length
    return found
