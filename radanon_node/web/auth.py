"""Passwords and sessions of the web pages: scrypt hashes in the configuration, signed cookies, slow answers to guessers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Sequence

from itsdangerous import BadSignature, TimestampSigner

from radanon_node.errors import ConfigError
from radanon_node.settings import UserSettings

SESSION_SECONDS = 8 * 3600
_N, _R, _P = 2**15, 8, 1  # OWASP's parameters for interactive log-in; 32 MiB and about 0.1 s each
_MEMORY = 64 * 2**20
_TRIES, _WINDOW_S = 5, 60.0


def hash_password(password: str) -> str:
    """What goes into ``web.auth[].password_hash``.

    Examples
    --------
    >>> check_password("correct horse", hash_password("correct horse"))
    True
    """
    salt = os.urandom(16)
    digest = hashlib.scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P, maxmem=_MEMORY)
    return "$".join(("scrypt", str(_N), str(_R), str(_P), base64.b64encode(salt).decode(), base64.b64encode(digest).decode()))


def check_password(password: str, hashed: str) -> bool:
    """Whether `password` is the one that `hashed` was made from; ConfigError if `hashed` is no hash of `hash_password`."""
    try:
        kind, n, r, p, salt, digest = hashed.split("$")
        if kind != "scrypt":
            raise ValueError(kind)
        found = hashlib.scrypt(password.encode(), salt=base64.b64decode(salt), n=int(n), r=int(r), p=int(p), maxmem=_MEMORY)
        return hmac.compare_digest(found, base64.b64decode(digest))
    except ValueError:
        raise ConfigError("web.auth[].password_hash: not as `radanon hash-password` prints it") from None


class Sessions:
    """Who is logged in: the cookie holds name and time, signed with a key derived from the node's; nothing is kept on this side.

    Parameters
    ----------
    key : bytes
        The node's key.
    users : sequence of UserSettings
    """

    def __init__(self, key: bytes, users: Sequence[UserSettings]) -> None:
        self._users = {user.name: user for user in users}
        self._signer = TimestampSigner(hmac.digest(key, b"radanon web session", "sha256"))
        self._failures: dict[str, list[float]] = {}

    def log_in(self, name: str, password: str, address: str) -> str | None:
        """The cookie for a right name and password, else None; after five wrong tries in a minute from one address always None."""
        now = time.monotonic()
        recent = [at for at in self._failures.get(address, []) if now - at < _WINDOW_S]
        self._failures = {where: times for where, times in self._failures.items() if times and now - times[-1] < _WINDOW_S}
        if len(recent) >= _TRIES:
            return None
        user = self._users.get(name)
        # An unknown name costs the same time as a wrong password.
        if check_password(password, user.password_hash if user else _DUMMY) and user is not None:
            return self._signer.sign(name).decode()
        self._failures[address] = [*recent, now]
        return None

    def user(self, cookie: str | None) -> UserSettings | None:
        """Whose cookie it is; None if there is none, it is forged or older than eight hours."""
        if not cookie:
            return None
        try:
            return self._users.get(self._signer.unsign(cookie, max_age=SESSION_SECONDS).decode())
        except BadSignature:
            return None


_DUMMY = hash_password(os.urandom(16).hex())
