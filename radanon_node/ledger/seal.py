"""The node's key and what is derived from it for ledger and spool: sealed columns, look-up indexes, signatures of released files.

Subkeys are derived with HKDF-SHA256 (RFC 5869) under distinct labels, so that no two uses share a key.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from radanon_node.errors import ConfigError, StorageError
from radanon_node.ledger.record import Records
from radanon_node.ledger.types import ReleaseRecord
from radanon_node.pipeline.types import Buffer

KEY_BYTES = 32
_NONCE = 12
_PIECE = 1 << 30  # the cipher takes less than 2 GiB at once


def load_key(path: Path, create: bool) -> bytes:
    """The node's key: 32 bytes, kept as 64 hexadecimal digits in a file for the node's user alone.

    Parameters
    ----------
    path : Path
        The key file.
    create : bool
        Make it with fresh random bytes if it is absent. Processes that race to do so all return the winner's key.

    Returns
    -------
    bytes
        32 bytes.

    Raises
    ------
    ConfigError
        Absent and not to be made, unreadable, readable by others than its owner, or no key in it.
    """
    try:
        if create and not path.exists():
            _create(path)
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(1024).strip()
    except FileNotFoundError:
        raise ConfigError(f"node.key_file: {path}: does not exist; restore it from its backup") from None
    except OSError as error:
        raise ConfigError(f"node.key_file: {path}: {error.strerror}") from None
    if mode & 0o077:
        raise ConfigError(f"node.key_file: {path}: others than its owner may read it; chmod 600 it (and think who has read it)")
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"node.key_file: {path}: must hold {2 * KEY_BYTES} hexadecimal digits")
    return key


def _create(path: Path) -> None:
    # Written whole and synced under a private name first: a reader never sees half a key, and link() lets one racer win.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    private = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(private, path)
    finally:
        private.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Seal:
    """Encrypts, indexes and signs with subkeys of the node's key. Safe for threads.

    Parameters
    ----------
    key : bytes
        As from `load_key`.

    Examples
    --------
    >>> seal = Seal(bytes(32))
    >>> seal.decrypt(seal.encrypt("1.2.3"))
    '1.2.3'
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a node key has {KEY_BYTES} bytes")
        self._cipher = AESGCM(_subkey(key, b"columns"))
        self._index_key = _subkey(key, b"index")
        self._signer = hmac.new(_subkey(key, b"release"), digestmod="sha256")  # copied for each record: half the time of a key anew
        self._content_key = _subkey(key, b"content")
        self._content = AESGCM(_subkey(key, b"content pieces"))
        self.chain_key = _subkey(key, b"receipt chain")
        self.records = Records(_subkey(key, b"record digest"), _subkey(key, b"record"))
        self.check_value = _subkey(key, b"check value").hex()

    def encrypt(self, text: str) -> bytes:
        """AES-256-GCM with a random nonce (NIST SP 800-38D): nonce, ciphertext, tag."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, text.encode(), None)

    def decrypt(self, sealed: bytes) -> str:
        """The text of `encrypt`; `StorageError` if it was altered or made with another key."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], None).decode()
        except (InvalidTag, ValueError):
            raise StorageError("a sealed column does not open with this key") from None

    def index(self, *parts: str) -> bytes:
        """Keyed HMAC-SHA256 of the parts (32 bytes): equal values can be found, none can be guessed without the key."""
        return hmac.digest(self._index_key, "\0".join(parts).encode(), "sha256")

    def sign(self, record: ReleaseRecord) -> str:
        """HMAC-SHA256 (hexadecimal) over everything in `record` but its seal: what the verifier's pipeline puts on a released file."""
        fields = (record.sop_class_uid, record.sop_instance_uid, record.transfer_syntax_uid, record.file, str(record.size), record.digest)
        signer = self._signer.copy()
        signer.update("\0".join(fields).encode())
        return signer.hexdigest()

    def check(self, record: ReleaseRecord) -> bool:
        """Whether `record` carries this node's signature."""
        return hmac.compare_digest(self.sign(record), record.seal)

    def content_digest(self, data: Buffer, transfer_syntax_uid: str) -> bytes:
        """What recognises the same content resent: a keyed digest (32 bytes) of transfer syntax and data set, meta information left out.

        GMAC (NIST SP 800-38D) over pieces, then HMAC-SHA256 over the tags: ten times the speed of an unkeyed hash, on the way of every
        instance. The constant nonce is sound here because the tags, the only thing a forger could learn from, never leave this method.
        """
        tags = [transfer_syntax_uid.encode()]
        with memoryview(data) as view:
            for start in range(dataset_offset(view), len(view), _PIECE):
                with view[start:start + _PIECE] as piece:
                    tags.append(self._content.encrypt(bytes(_NONCE), b"", piece))
        return hmac.digest(self._content_key, b"\0".join(tags), "sha256")


def dataset_offset(data: memoryview) -> int:
    """Where the data set begins in a Part 10 file: after preamble, prefix and the group 0002 its length element spans (PS3.10 7.1).

    0 for anything else.
    """
    # (0002,0000) UL, length 4, then the number of bytes of the group that follow.
    if bytes(data[128:140]) != b"DICM\x02\x00\x00\x00UL\x04\x00" or len(data) < 144:
        return 0
    end = 144 + int.from_bytes(data[140:144], "little")
    return end if end <= len(data) else 0


def _subkey(key: bytes, label: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"radanon ledger: " + label).derive(key)


def object_key(key: bytes) -> bytes:
    """The subkey (32 bytes) that seals a spool's objects in an object store."""
    return _subkey(key, b"objects")
