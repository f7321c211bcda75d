"""Files encrypted for keeping elsewhere: AES-256-GCM in pieces, so that a backup of any size passes through constant memory.

Layout: ``radanon vault 1``, newline, a JSON line (how the key is derived), then pieces of `PIECE` bytes, each with its tag. A piece's nonce
is a random prefix, its number and a flag that only the last one carries (the STREAM construction of Hoang, Reyhanitabar, Rogaway
and Vizar, 2015): pieces cannot be left out, moved, or cut off at the end without its showing. The key comes from a pass phrase by scrypt
(RFC 7914), or by X25519 from the public key of a recipient (RFC 7748, HKDF-SHA256): a node that makes its backups for a recipient cannot
read them.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from radanon_node.errors import ConfigError

PIECE = 1 << 20
_MAGIC = b"radanon vault 1\n"
_TAG = 16
_SCRYPT = {"n": 2**17, "r": 8, "p": 1}  # 128 MiB, some tenths of a second
_MOST_N = 2**20
_PUBLIC, _SECRET = "radanon-public-", "radanon-secret-"


class WriteVault:
    """A file object that encrypts what is written to it; `close` writes the last piece, and without it nothing can be read.

    Parameters
    ----------
    out : binary file
        Stays open.
    passphrase : str, optional
    recipient : str, optional
        Public key from `new_recipient`. Exactly one of the two must be given.
    """

    def __init__(self, out: BinaryIO, passphrase: str = "", recipient: str = "") -> None:
        if bool(passphrase) == bool(recipient):
            raise ValueError("either a pass phrase or a recipient")
        prefix = os.urandom(7)
        header: dict[str, Any] = {"prefix": _text(prefix)}
        if passphrase:
            salt = os.urandom(16)
            header |= {"scrypt": _SCRYPT, "salt": _text(salt)}
            key = _from_passphrase(passphrase, salt, _SCRYPT)
        else:
            once = X25519PrivateKey.generate()
            theirs = X25519PublicKey.from_public_bytes(_key(recipient, _PUBLIC))
            mine = once.public_key().public_bytes_raw()
            header |= {"x25519": _text(mine)}
            key = _agreed(once.exchange(theirs), mine, theirs.public_bytes_raw())
        line = json.dumps(header).encode() + b"\n"
        self._cipher, self._prefix, self._bound = AESGCM(key), prefix, _MAGIC + line
        self._out, self._rest, self._number = out, bytearray(), 0
        out.write(self._bound)

    def write(self, data: bytes) -> int:
        """Take bytes; they are written in whole pieces."""
        self._rest += data
        while len(self._rest) > PIECE:
            self._piece(bytes(self._rest[:PIECE]), last=False)
            del self._rest[:PIECE]
        return len(data)

    def flush(self) -> None:
        self._out.flush()

    def close(self) -> None:
        """Write the last piece."""
        self._piece(bytes(self._rest), last=True)
        self._rest.clear()
        self._out.flush()

    def _piece(self, data: bytes, last: bool) -> None:
        self._out.write(self._cipher.encrypt(_nonce(self._prefix, self._number, last), data, self._bound))
        self._number += 1


class ReadVault:
    """A file object that decrypts a vault.

    Parameters
    ----------
    source : binary file
    secret : callable
        Asked once what opens it: called with ``"passphrase"`` or ``"recipient"``, returns the pass phrase or the secret key.

    Raises
    ------
    ConfigError
        It is no vault, the secret does not open it, or (also while reading) it was changed or cut off.
    """

    def __init__(self, source: BinaryIO, secret: Callable[[str], str]) -> None:
        if source.read(len(_MAGIC)) != _MAGIC:
            raise ConfigError("backup: this file is none, or was made by another release")
        line = source.readline(4096)
        try:
            header = json.loads(line)
            self._prefix = _bytes(header["prefix"])
            if "x25519" in header:
                mine = X25519PrivateKey.from_private_bytes(_key(secret("recipient"), _SECRET))
                theirs = _bytes(header["x25519"])
                shared = mine.exchange(X25519PublicKey.from_public_bytes(theirs))
                key = _agreed(shared, theirs, mine.public_key().public_bytes_raw())
            else:
                if header["scrypt"]["n"] > _MOST_N:
                    raise ValueError
                key = _from_passphrase(secret("passphrase"), _bytes(header["salt"]), header["scrypt"])
        except (ValueError, KeyError, TypeError):
            raise ConfigError("backup: its header is damaged") from None
        self._cipher, self._bound = AESGCM(key), _MAGIC + line
        self._source, self._number, self._rest, self._done = source, 0, b"", False
        self._next = source.read(PIECE + _TAG)
        self._fill()

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, fewer only at the end."""
        while not self._done and (size < 0 or len(self._rest) < size):
            self._fill()
        size = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def _fill(self) -> None:
        piece, self._next = self._next, self._source.read(PIECE + _TAG)
        last = not self._next
        try:
            self._rest += self._cipher.decrypt(_nonce(self._prefix, self._number, last), piece, self._bound)
        except InvalidTag:
            why = "the pass phrase or key does not open it" if self._number == 0 else "it is damaged or was cut off"
            raise ConfigError(f"backup: {why}") from None
        self._number += 1
        self._done = last


def new_recipient() -> tuple[str, str]:
    """(public key, secret key) for backups that only the holder of the secret can read."""
    key = X25519PrivateKey.generate()
    return _PUBLIC + _text(key.public_key().public_bytes_raw()), _SECRET + _text(key.private_bytes_raw())


def _nonce(prefix: bytes, number: int, last: bool) -> bytes:
    return prefix + number.to_bytes(4, "big") + bytes([last])


def _from_passphrase(passphrase: str, salt: bytes, cost: dict[str, int]) -> bytes:
    return Scrypt(salt=salt, length=32, n=cost["n"], r=cost["r"], p=cost["p"]).derive(passphrase.encode())


def _agreed(shared: bytes, once: bytes, recipient: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=once + recipient, info=b"radanon vault x25519").derive(shared)


def _key(text: str, prefix: str) -> bytes:
    try:
        if not text.startswith(prefix):
            raise ValueError
        found = _bytes(text.removeprefix(prefix))
        if len(found) != 32:
            raise ValueError
    except ValueError:
        raise ConfigError(f"backup: a key that begins with {prefix} is needed") from None
    return found


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
