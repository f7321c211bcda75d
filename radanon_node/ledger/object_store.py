"""An S3-compatible object store as the spool needs it: put, get in pieces, remove, list; errors in this package's words.

The library is obstore (the Rust ``object_store`` crate behind a thin wrapper): no telemetry, SHA-256 of every body in the signed request,
so that a store that got other bytes refuses them. Credentials come from a file or the environment alone: instance metadata services are
never asked.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radanon_node.errors import ConfigError, StorageError
from radanon_node.ledger.files import SpoolAway
from radanon_node.settings import S3Settings

if TYPE_CHECKING:
    from obstore.store import S3Store

PIECE = 16 * 2**20
"""Bytes per request of a large object."""

AT_ONCE = 4 * PIECE
"""A larger object is moved in pieces."""

_PLACE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9/_.-]*))?")
_DOWN_S = 2.0
_RETRIES = 2


class MissingObject(StorageError):
    """The object store says that it has no such object."""


class ObjectStore:
    """One prefix of one bucket. Safe for threads; not to be used across a fork.

    Parameters
    ----------
    place : str
        ``s3://BUCKET/PREFIX``.
    settings : S3Settings

    Raises
    ------
    ConfigError
        The place is none, credentials are missing or open to other users, or the extra ``[s3]`` is not installed.
    """

    def __init__(self, place: str, settings: S3Settings) -> None:
        self._obstore, self._store = _connect(place, settings)
        self._down_until = 0.0

    def check(self) -> None:
        """SpoolAway while the store is known not to answer, so that nobody waits for it once per instance."""
        if time.monotonic() < self._down_until:
            raise SpoolAway("spool: the object store did not answer a moment ago")

    def put(self, name: str, data: bytes, new: bool = False) -> bool:
        """Keep `data` (whole or not at all; durable on return). With `new`, False if `name` is there already."""
        with self._errors("put"):
            try:
                self._obstore.put(self._store, name, data, mode="create" if new else None, use_multipart=False)
            except self._obstore.exceptions.AlreadyExistsError:
                return False
        return True

    def put_pieces(self, name: str, pieces: Iterator[bytes]) -> None:
        """Keep what `pieces` give, which is too much for one request."""
        with self._errors("put"):
            self._obstore.put(self._store, name, pieces, chunk_size=PIECE, max_concurrency=2)

    def get(self, name: str) -> tuple[int, bytes | None]:
        """Size of an object, and its bytes if it is not larger than `AT_ONCE`; MissingObject if there is none."""
        with self._errors("get"):
            found = self._obstore.get(self._store, name)
            size = int(found.meta["size"])
            return size, bytes(found.bytes()) if size <= AT_ONCE else None

    def get_range(self, name: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end` of an object."""
        with self._errors("get"):
            return bytes(self._obstore.get_range(self._store, name, start=start, end=end))

    def changed_at(self, name: str) -> datetime:
        """The store's own time of an object's last change; MissingObject if there is none."""
        with self._errors("head"):
            changed: datetime = self._obstore.head(self._store, name)["last_modified"]
        return changed

    def remove(self, name: str) -> None:
        """Remove; what is already gone is no error."""
        try:
            with self._errors("remove"):
                self._obstore.delete(self._store, name)
        except MissingObject:
            return

    def remove_all(self, names: Sequence[str]) -> None:
        """Remove many, a thousand per request where the store can; what is already gone is no error."""
        try:
            with self._errors("remove"):
                self._obstore.delete(self._store, [*names])
        except MissingObject:  # a store that says so has stopped there
            for name in names:
                self.remove(name)

    def list(self, prefix: str) -> Iterator[list[tuple[str, datetime]]]:
        """Names and times of all objects below `prefix`, in batches."""
        with self._errors("list"):
            for batch in self._obstore.list(self._store, prefix=prefix, chunk_size=500):
                yield [(str(found["path"]), found["last_modified"]) for found in batch]

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        # A library's text may quote URLs and keys: only the kind of error goes on.
        errors = self._obstore.exceptions
        try:
            yield
        except (errors.NotFoundError, FileNotFoundError) as error:
            raise MissingObject(f"spool: {what}: the object store has no such object") from error
        except (errors.PermissionDeniedError, errors.UnauthenticatedError) as error:
            raise SpoolAway(f"spool: {what}: the object store refuses the credentials") from error
        except (errors.BaseError, OSError) as error:
            self._down_until = time.monotonic() + _DOWN_S
            raise SpoolAway(f"spool: {what}: the object store fails ({type(error).__name__})") from error


def _connect(place: str, settings: S3Settings) -> tuple[Any, S3Store]:
    found = _PLACE.fullmatch(place)
    if not found:
        raise ConfigError("ledger.spool: must be a folder or s3://BUCKET/PREFIX")
    try:
        import obstore
        from obstore.store import S3Store
    except ImportError as error:
        raise ConfigError("ledger.spool: s3:// needs the extra [s3]: pip install 'radanon-node[s3]'") from error
    access, secret, token = _credentials(settings.credentials)
    timeout = timedelta(seconds=settings.timeout)
    options: dict[str, Any] = {"endpoint": settings.endpoint.rstrip("/")} if settings.endpoint else {}
    if token:
        options["session_token"] = token
    store = S3Store(
        found[1], prefix=(found[2] or "").strip("/") or None, region=settings.region, access_key_id=access, secret_access_key=secret,
        virtual_hosted_style_request=not settings.path_style,
        client_options={"timeout": timeout, "connect_timeout": min(timeout, timedelta(seconds=5)),
                        "allow_http": bool(settings.endpoint and settings.endpoint.startswith("http://"))},
        retry_config={"max_retries": _RETRIES, "retry_timeout": timeout,
                      "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2}},
        **options)
    return obstore, store


def _credentials(file: Path | None) -> tuple[str, str, str]:
    """(access key, secret key, session token or empty)."""
    if file is None:
        found: Callable[[str], str | None] = {name.removeprefix("AWS_").lower(): value for name, value in os.environ.items()
                                              if name.startswith("AWS_")}.get
        where = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be in the environment, or ledger.s3.credentials set"
    else:
        where = f"ledger.s3.credentials: {file}: must have lines access_key_id=... and secret_access_key=..."
        try:
            if stat.S_IMODE(file.stat().st_mode) & 0o077:
                raise ConfigError(f"ledger.s3.credentials: {file}: others than its owner may read it; chmod 600 it")
            lines = [line.partition("=") for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"ledger.s3.credentials: {file}: {getattr(error, 'strerror', None) or 'not text'}") from None
        found = {name.strip().removeprefix("aws_"): value.strip() for name, _, value in lines}.get
    access, secret = found("access_key_id"), found("secret_access_key")
    if not access or not secret:
        raise ConfigError(where)
    return access, secret, found("session_token") or ""
