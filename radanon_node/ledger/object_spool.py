"""The spool on object storage: instances come in to a staging folder of this machine and are kept in the store.

An instance is sealed, and may be acknowledged, once the store has confirmed all of it; what lies in the staging folder counts for nothing
and goes with the next start. So any number of nodes on any number of machines share one spool, and none of them can take an instance with
it when it dies.

A process cannot tell the orphans of a dead one from what another node is about to enter into the ledger. So an object without a row is
removed only when it is a day old by the store's own clock, far longer than any claim lives.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from itertools import chain
from pathlib import Path

from radanon_node.errors import ConfigError, StorageError
from radanon_node.ledger.faults import point
from radanon_node.ledger.files import Incoming, SpoolFile, storage_errors, write_all
from radanon_node.ledger.lanes import Known
from radanon_node.ledger.object_store import AT_ONCE, PIECE, MissingObject, ObjectStore
from radanon_node.ledger.sealed_objects import open_object, seal_object
from radanon_node.ledger.spool import Spool
from radanon_node.pipeline.types import Buffer

_ORPHAN = timedelta(days=1)
_TIDY_EVERY_S = 6 * 3600.0
_PARALLEL = 8


class ObjectSpool(Spool):
    """A `Spool` whose files are kept in an object store; see there for the methods.

    Parameters
    ----------
    staging : Path
        Local folder; `min_free` and `free` speak of it.
    store : ObjectStore
    key : bytes or None
        Seals the objects (sealed_objects.py); None leaves them as they are.
    min_free : int
    orphan_after : timedelta
        Age by the store's clock at which an object without a row is one.

    Raises
    ------
    StorageError
        The staging folder cannot be made or written.
    """

    keeps_records = False  # the staging folder is no place for what was acknowledged

    def __init__(self, staging: Path, store: ObjectStore, key: bytes | None, min_free: int = 0, orphan_after: timedelta = _ORPHAN) -> None:
        super().__init__(staging, min_free)
        self._staging = staging
        self._store = store
        self._object_key = key
        self._orphan_after = orphan_after
        self._tidied = time.monotonic()
        self._senders = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="objects")

    def bind(self, ledger_id: str) -> None:
        """Tie prefix and ledger together for good, as `Spool.bind`."""
        super().bind(ledger_id)
        try:
            found = self._store.get("ledger")[1]
        except MissingObject:
            self._store.put("ledger", ledger_id.encode(), new=True)
            found = self._store.get("ledger")[1]
        if found != ledger_id.encode():
            raise ConfigError("ledger.spool: the objects of this prefix belong to another ledger; restore that one or use another prefix")

    def begin(self, header: bytes) -> Incoming:
        self._store.check()
        incoming = super().begin(header)
        return _Staged(incoming, self._staging / incoming.name, self._keep)

    def store_all(self, released: Sequence[Buffer]) -> list[str]:
        self._store.check()
        names = [self.new_name("out") for _ in released]
        try:
            list(self._senders.map(self._keep, names, released))
        except StorageError:
            for name in names:
                with suppress(StorageError):  # what is left has no row: `tidy` removes it
                    self._store.remove(name)
            raise
        return names

    def open(self, name: str, whole: bool = False) -> SpoolFile:
        self._path(name)
        size, data = self._store.get(name)
        if data is not None:
            return SpoolFile(b"".join(self._opened(name, size, lambda start, end: data[start:end])) if self._object_key else data)
        with storage_errors("read"):
            fd = os.open(self._staging, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            for piece in self._opened(name, size, _Pieces(self._store, name, size).read):
                with storage_errors("read"):
                    write_all(fd, piece)
            with storage_errors("read"):
                return SpoolFile(mmap.mmap(fd, 0, access=mmap.ACCESS_READ))
        finally:
            os.close(fd)

    def exists(self, name: str) -> bool:
        self._path(name)
        try:
            self._store.changed_at(name)
        except MissingObject:
            return False
        return True

    def remove(self, name: str) -> None:
        self._path(name)
        self._store.remove(name)

    def remove_all(self, names: Sequence[str]) -> None:
        for name in names:
            self._path(name)
        if names:
            self._store.remove_all(names)

    def put_back(self, name: str, source: Path) -> None:
        self._path(name)
        with storage_errors("put back"), source.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return self._keep(name, b"")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return self._keep(name, data)

    def originals(self) -> Iterator[list[str]]:
        for batch in self._store.list("in"):
            yield [name for name, _ in batch]

    def sweep(self, known: Known, readmit: Known | None = None) -> list[str]:
        """Remove what dead processes of this machine left in the staging folder: nobody was ever told that it is kept."""
        return super().sweep(lambda names: (), lambda names: ())

    def tidy(self, known: Known, at_once: bool = False) -> list[str]:
        """Remove the objects that are a day old and that no row knows; a look every six hours."""
        if not at_once and time.monotonic() - self._tidied < _TIDY_EVERY_S:
            return []
        self._tidied = time.monotonic()
        self._store.put("clock", b"")
        before = self._store.changed_at("clock") - self._orphan_after
        removed: list[str] = []
        for batch in chain(self._store.list("in"), self._store.list("out")):
            old = [name for name, changed in batch if changed <= before]
            kept = set(known(old)) if old else set()
            for name in old:
                if name not in kept:
                    self._store.remove(name)
                    removed.append(name)
        return removed

    def close(self) -> None:
        super().close()
        self._senders.shutdown()

    def _keep(self, name: str, data: Buffer) -> None:
        """Put an object; returns when the store has confirmed it."""
        with memoryview(data) as view:
            size = len(view)
            if size <= AT_ONCE:
                self._store.put(name, b"".join(seal_object(self._object_key, name, view)) if self._object_key else bytes(view))
                return
            if self._object_key:
                self._store.put_pieces(name, seal_object(self._object_key, name, view))
            else:
                self._store.put_pieces(name, (bytes(view[start:start + PIECE]) for start in range(0, size, PIECE)))

    def _opened(self, name: str, size: int, read: Callable[[int, int], bytes]) -> Iterator[bytes]:
        if self._object_key:
            return open_object(self._object_key, name, size, read)
        return (read(start, min(start + PIECE, size)) for start in range(0, size, PIECE))


class _Pieces:
    """Reads an object from the beginning to the end, a request per `PIECE`."""

    def __init__(self, store: ObjectStore, name: str, size: int) -> None:
        self._store, self._name, self._size = store, name, size
        self._start, self._piece = 0, b""

    def read(self, start: int, end: int) -> bytes:
        while self._start + len(self._piece) < end:
            left = self._piece[start - self._start:]
            after = self._start + len(self._piece)
            self._piece = left + self._store.get_range(self._name, after, min(after + PIECE, self._size))
            self._start = start
        return self._piece[start - self._start:end - self._start]


class _Staged(Incoming):
    """A file in the staging folder that goes to the store when it is sealed."""

    __slots__ = ("_keep",)

    def __init__(self, begun: Incoming, path: Path, keep: Callable[[str, Buffer], None]) -> None:
        super().__init__(begun.fd, begun.name, begun.size, str(path), begun.folder)
        self._keep = keep

    def seal(self) -> None:
        """Keep it in the object store; StorageError if that cannot be done now. The local file is gone either way."""
        try:
            with storage_errors("read"):
                self.size = os.fstat(self.fd).st_size
                with open(self._path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    self._keep(self.name, data)
            point("objects.after_put")
        finally:
            self.abort()
