"""Objects sealed with a key of the node's own, so that whoever runs the object store sees no pixel and no name.

AES-256-GCM (NIST SP 800-38D) in segments of 1 MiB, in the manner of the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015):
each object has a key of its own (HKDF of the node's key, a random salt and the object's name), the segments' nonces count, and the last
one is marked. So no segment can be left out, moved, or taken from another object without being noticed.

Layout: 8 bytes ``RDNOBJ01``, 32 bytes salt, then the segments, each with its tag of 16 bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from radanon_node.errors import StorageError
from radanon_node.pipeline.types import Buffer

SEGMENT = 2**20
_MAGIC = b"RDNOBJ01"
_SALT, _TAG = 32, 16
HEAD = len(_MAGIC) + _SALT
"""Bytes before the first segment."""


def sealed_size(size: int) -> int:
    """Size of the sealed object that holds `size` bytes."""
    return HEAD + size + _TAG * max(1, -(-size // SEGMENT))


def seal_object(key: bytes, name: str, data: Buffer) -> Iterator[bytes]:
    """`data` as it lies in the store, in pieces.

    Parameters
    ----------
    key : bytes
        32 bytes, of the node.
    name : str
        Of the object: it opens under no other.
    """
    salt = os.urandom(_SALT)
    cipher = _cipher(key, salt, name)
    yield _MAGIC + salt
    with memoryview(data) as view:
        count = max(1, -(-len(view) // SEGMENT))
        for number in range(count):
            with view[number * SEGMENT:(number + 1) * SEGMENT] as segment:
                yield cipher.encrypt(_nonce(number, number == count - 1), segment, None)


def open_object(key: bytes, name: str, size: int, read: Callable[[int, int], bytes]) -> Iterator[bytes]:
    """The bytes of a sealed object, segment by segment.

    Parameters
    ----------
    size : int
        Of the sealed object.
    read : callable
        Gives its bytes from, to.

    Raises
    ------
    StorageError
        It was altered, or sealed with another key or under another name.
    """
    head = read(0, min(HEAD, size))
    if len(head) < HEAD or head[:len(_MAGIC)] != _MAGIC:
        raise StorageError("spool: an object is not sealed as the settings say")
    cipher = _cipher(key, head[len(_MAGIC):], name)
    start, number = HEAD, 0
    while True:
        end = min(start + SEGMENT + _TAG, size)
        try:
            yield cipher.decrypt(_nonce(number, end == size), read(start, end), None)
        except (InvalidTag, ValueError):
            raise StorageError("spool: an object does not open with this key") from None
        if end == size:
            return
        start, number = end, number + 1


def _cipher(key: bytes, salt: bytes, name: str) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"radanon object: " + name.encode()).derive(key))


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
