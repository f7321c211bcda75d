"""Who may see which page: passwords (scrypt), sessions in signed cookies, a proxy's word where it is believed, roles, form tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from itsdangerous import BadData, URLSafeTimedSerializer

from radanon_node.errors import ConfigError
from radanon_node.settings import ProxySettings, WebSettings

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


Role = Literal["viewer", "reviewer", "admin"]
_RANK: dict[Role, int] = {"viewer": 0, "reviewer": 1, "admin": 2}


@dataclass(frozen=True, slots=True)
class Session:
    """A logged-in user.

    Parameters
    ----------
    name : str
    role : {"viewer", "reviewer", "admin"}
    id : str
        Of this log-in; what a form's token is bound to.
    started : float
        When it was logged in, seconds since 1970; 0 where a proxy vouches for each request.
    """

    name: str
    role: Role
    id: str
    started: float = 0.0

    def may(self, role: Role) -> bool:
        """Whether the user's role is `role` or a higher one."""
        return _RANK[self.role] >= _RANK[role]


class Sessions:
    """Log-ins. The cookie holds name, time and a tag of the password, signed with a key derived from the node's; a changed password or
    role counts at once, and a logged-out cookie is refused by this process.

    Parameters
    ----------
    key : bytes
        The node's key.
    settings : WebSettings
    """

    def __init__(self, key: bytes, settings: WebSettings) -> None:
        self._settings = settings
        self._users = {user.name: user for user in settings.auth}
        self._key = hmac.digest(key, b"radanon web session", "sha256")
        self._signer = URLSafeTimedSerializer(self._key.hex(), salt="session")
        self._failures: dict[str, list[float]] = {}
        self._ended: dict[str, float] = {}

    def log_in(self, name: str, password: str, address: str) -> Session | None:
        """A session for a right name and password, else None; after five wrong tries in a minute from one address always None."""
        now = time.monotonic()
        recent = [at for at in self._failures.get(address, []) if now - at < _WINDOW_S]
        self._failures = {where: times for where, times in self._failures.items() if times and now - times[-1] < _WINDOW_S}
        if len(recent) >= _TRIES:
            return None
        user = self._users.get(name)
        # An unknown name costs the same time as a wrong password.
        right = check_password(password, user.password_hash if user and user.password_hash else _DUMMY)
        if right and user is not None and user.password_hash is not None:
            return Session(user.name, user.role, secrets.token_hex(8), time.time())
        self._failures[address] = [*recent, now]
        return None

    def cookie(self, session: Session) -> str:
        """What the browser keeps of a session; made anew as it is used."""
        return str(self._signer.dumps([session.name, session.id, session.started, self._tag(session.name)]))

    def session(self, cookie: str | None) -> Session | None:
        """Whose cookie it is; None if there is none, it is forged, too old, was idle too long, or was logged out."""
        if not cookie:
            return None
        try:
            name, number, started, tag = self._signer.loads(cookie, max_age=int(self._settings.idle))
        except (BadData, TypeError, ValueError):
            return None
        user = self._users.get(name)
        if user is None or tag != self._tag(name) or time.time() - started > self._settings.session or number in self._ended:
            return None
        return Session(user.name, user.role, number, started)

    def end(self, session: Session) -> None:
        """Log out: the cookie is of no more use."""
        now = time.time()
        self._ended = {number: at for number, at in self._ended.items() if now - at < self._settings.session}
        self._ended[session.id] = now

    def vouched(self, headers: Mapping[str, str], address: str) -> Session | None:
        """Whom a trusted reverse proxy has logged in, by its header; None from anywhere else."""
        proxy = self._settings.proxy
        if proxy is None or not is_proxy(proxy, address):
            return None
        name = headers.get(proxy.user_header.lower(), "").strip()
        if not name or len(name) > 64 or not name.isprintable():
            return None
        user = self._users.get(name)
        role = user.role if user is not None else proxy.role
        return Session(name, role, f"proxy {name}") if role is not None else None

    def token(self, session: Session) -> str:
        """What a form of this session carries (against cross-site request forgery)."""
        return hmac.digest(self._key, f"form {session.id}".encode(), "sha256").hex()

    def is_token(self, session: Session, token: str) -> bool:
        """Whether `token` is this session's."""
        return hmac.compare_digest(self.token(session).encode(), token.encode("utf-8", "replace"))

    def _tag(self, name: str) -> str:
        user = self._users.get(name)
        secret = user.password_hash if user is not None and user.password_hash else ""
        return hmac.digest(self._key, f"password {secret}".encode(), "sha256").hex()[:16]


def is_proxy(proxy: ProxySettings | None, address: str) -> bool:
    """Whether `address` is one of the trusted proxy's."""
    if proxy is None:
        return False
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in ipaddress.ip_network(network, strict=False) for network in proxy.addresses)


_DUMMY = hash_password(os.urandom(16).hex())
