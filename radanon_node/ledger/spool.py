"""The only owner of instance files: received originals and released instances, for the node's user alone.

Layout below the root: ``in/LANE/S/NAME.dcm`` (originals) and ``out/LANE/S/NAME.dcm`` (released), S one of 16 shards. A lane belongs to
one process (lanes.py).

A file's name says nothing about its state, the ledger's row does. A file without a row is removed by the next sweep, unless it carries
its own record (record.py): then it may have been acknowledged, and gets its row.
"""

from __future__ import annotations

import mmap
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from pathlib import Path

from radanon_node.errors import ConfigError, DiskLow, StorageError
from radanon_node.ledger.files import Incoming, SpoolFile, storage_errors, write_all
from radanon_node.ledger.lanes import BATCH, Known, Lane, make_lane, sweep_lane, sync_folder, sync_open_folder
from radanon_node.ledger.ready import ReadyFiles
from radanon_node.ledger.record import carries
from radanon_node.pipeline.types import Buffer

__all__ = ["Incoming", "Spool", "SpoolFile"]

_NAME = re.compile(r"(in|out)/[0-9a-f]{16}/[0-9a-f]/[0-9a-f]{32}\.dcm")
_FREE_CACHED_S = 0.25
_HELPERS = 8
_WHOLE = 64 * 2**20


class Spool:
    """Instance files below `root`. Safe for threads; any number of processes and nodes may share a root.

    Attributes
    ----------
    keeps_records : bool
        Whether what lies in a received file when its process dies is found by `sweep`.

    Parameters
    ----------
    root : Path
        Made with mode 0700; an existing one is set to it.
    min_free : int
        Bytes of free space below which `begin` refuses with DiskLow.

    Raises
    ------
    StorageError
        The root cannot be made or written.
    """

    keeps_records = True

    def __init__(self, root: Path, min_free: int = 0) -> None:
        self._root = root
        self._min_free = min_free
        self._lock = threading.Lock()
        self._lanes: dict[str, Lane] = {}
        self._free = (0.0, 0)
        self._pool: ThreadPoolExecutor | None = None
        self._ready = ReadyFiles(partial(self._create, "in"), sync_open_folder)
        with storage_errors("cannot be set up"):
            for folder in (root, root / "in", root / "out"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            root.chmod(0o700)
            sync_folder(root)

    def require_free(self, min_free: int) -> None:
        """From now on refuse new files below this free space."""
        self._min_free = min_free

    def bind(self, ledger_id: str) -> None:
        """Tie the spool to one ledger for good: with any other, every file would be an orphan and the next sweep would remove it.

        Raises
        ------
        ConfigError
            It belongs to another ledger, for instance because the ledger's file was lost or `ledger.url` was changed.
        """
        mark = self._root / "ledger"
        with storage_errors("mark"):
            if not mark.exists():
                private = self._root / f".ledger.{secrets.token_hex(8)}"
                with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
                    file.write(ledger_id)
                    file.flush()
                    os.fsync(file.fileno())
                with suppress(FileExistsError):
                    os.link(private, mark)
                private.unlink()
                sync_folder(self._root)
            found = mark.read_text(encoding="ascii")
        if found != ledger_id:
            raise ConfigError(f"ledger.spool: {self._root}: its files belong to another ledger; restore that ledger or use an empty folder")

    def begin(self, header: bytes) -> Incoming:
        """Start a file for an instance that is being received.

        Parameters
        ----------
        header : bytes
            Preamble, prefix and file meta information (PS3.10 7.1).

        Raises
        ------
        DiskLow
            Free space is below the floor, or the disk or quota is full.
        StorageError
            The file cannot be made.
        """
        if self._min_free and self.free() < self._min_free:
            raise DiskLow("spool: free space is below listener.min_free_disk")
        incoming = self._ready.take()
        try:
            with storage_errors("write"):
                write_all(incoming.fd, header)
        except StorageError:
            incoming.abort()
            raise
        incoming.size = len(header)
        return incoming

    def store_released(self, data: Buffer) -> str:
        """Write a released instance durably; returns its name."""
        return self.store_all([data])[0]

    def store_all(self, released: Sequence[Buffer]) -> list[str]:
        """Like `store_released` for a batch: all are written before the first is synced, which lets the file system sync them together."""
        files: list[Incoming] = []
        try:
            files += self._create("out", len(released))
            for file, data in zip(files, released, strict=True):
                with storage_errors("write"):
                    write_all(file.fd, data)
            if files:
                self._sync_together(files)
        except StorageError:
            for file in files:
                file.abort()
                self.remove(file.name)
            raise
        return [file.name for file in files]

    def _sync_together(self, files: Sequence[Incoming]) -> None:
        """At once, from as many threads: a journalling file system then makes them durable together, in a tenth of the time."""
        helpers = self._helpers()
        tasks = [helpers.submit(sync_open_folder, files[0].folder)]  # for the names of all
        for file in files:
            file.name_is_durable = True
            tasks.append(helpers.submit(file.seal))
        wait(tasks)  # all of them, also after an error: nobody closes a file that is being synced
        for task in tasks:
            task.result()

    def _helpers(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_HELPERS, thread_name_prefix="spool")
                together = threading.Barrier(_HELPERS)  # all threads from the beginning: none comes later, under load
                wait([self._pool.submit(together.wait) for _ in range(_HELPERS)])
            return self._pool

    def open(self, name: str, whole: bool = False) -> SpoolFile:
        """Map a file; StorageError if it is not there or cannot be read.

        Parameters
        ----------
        whole : bool
            All of it is going to be read: its pages are mapped at once and not one by one as they are touched, which takes a third of
            the time of a digest. Not done for files above 64 MiB, which might not fit into memory beside others.
        """
        with storage_errors("read"):
            fd = os.open(self._checked(name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                size = os.fstat(fd).st_size
                if size == 0:
                    return SpoolFile(b"")
                populate = mmap.MAP_POPULATE if whole and size <= _WHOLE else 0
                return SpoolFile(mmap.mmap(fd, size, mmap.MAP_SHARED | populate, mmap.PROT_READ))
            finally:
                os.close(fd)

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        return self._path(name).exists()

    def hold(self, name: str, target: Path) -> None:
        """Give a file a second name on the same file system, or copy it: it outlives its removal here. StorageError if it is gone."""
        with storage_errors("hold"):
            try:
                os.link(self._path(name), target)
                return
            except OSError as error:
                if isinstance(error, FileNotFoundError) and type(self) is Spool:
                    raise
        with self.open(name) as opened, storage_errors("hold"):
            target.write_bytes(opened.data)

    def remove(self, name: str) -> None:
        """Remove a file; one that is already gone is no error."""
        with storage_errors("remove"):
            self._path(name).unlink(missing_ok=True)

    def remove_all(self, names: Sequence[str]) -> None:
        """Remove many files; those that are already gone are no error."""
        if len(names) <= 2:
            for name in names:
                self.remove(name)
            return
        tasks = [self._helpers().submit(self.remove, name) for name in names]  # the file system makes each wait for its journal
        wait(tasks)
        for task in tasks:
            task.result()

    def put_back(self, name: str, source: Path) -> None:
        """Keep a copy of `source` durably under the `name` that it had in a spool of the same ledger; one that is there is replaced."""
        target = self._path(name)
        with storage_errors("put back"):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            private = target.with_name(f".{target.name}")
            with source.open("rb") as reading, os.fdopen(
                    os.open(private, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as out:
                shutil.copyfileobj(reading, out, 1 << 20)
                out.flush()
                os.fsync(out.fileno())
            private.rename(target)
            sync_folder(target.parent)

    def originals(self) -> Iterator[list[str]]:
        """Names of all received files, whoever wrote them, in batches; while a node runs, also of those that are coming in."""
        batch: list[str] = []
        for path in (self._root / "in").glob("[0-9a-f]*/[0-9a-f]/*.dcm"):
            if not path.name.startswith(".") and path.stat().st_size:
                batch.append(path.relative_to(self._root).as_posix())
            if len(batch) >= BATCH:
                yield batch
                batch = []
        yield batch

    def free(self) -> int:
        """Bytes free for this user, at most a quarter of a second old."""
        now = time.monotonic()
        if now - self._free[0] > _FREE_CACHED_S or not self._free[0]:
            with storage_errors("free space"):
                found = os.statvfs(self._root)
            self._free = (now, found.f_bavail * found.f_frsize)
        return self._free[1]

    def sweep(self, known: Known, readmit: Known | None = None) -> list[str]:
        """Remove the files of dead processes that no row knows and that nobody was ever told are kept.

        Parameters
        ----------
        known : callable
            `Ledger.known_files`.
        readmit : callable, optional
            `Ledger.readmit`: writes the rows of files that carry their own record, and names those. Without it such files stay.

        Returns
        -------
        list of str
            Names of the removed files.
        """
        removed: list[str] = []
        for kind in ("in", "out"):
            with storage_errors("sweep"):
                lanes = sorted((self._root / kind).iterdir())
            for lane in lanes:
                with storage_errors("sweep"):
                    removed += sweep_lane(lane, known, readmit or self._marked)
        return removed

    def _marked(self, names: Sequence[str]) -> list[str]:
        found = []
        for name in names:
            with self.open(name) as opened:
                if carries(opened.data):
                    found.append(name)
        return found

    def tidy(self, known: Known) -> list[str]:
        """Housekeeping beside `sweep`, of what only time can tell to be orphans; there are none in a folder."""
        return []

    def rest(self) -> None:
        """Nobody sends at the moment: remove the empty files that are kept ready."""
        self._ready.drop()

    def close(self) -> None:
        """Give up this process's lanes; files stay."""
        self.rest()
        if self._pool is not None:
            self._pool.shutdown()
        with self._lock:
            for lane in self._lanes.values():
                lane.close()
            self._lanes = {}

    def _path(self, name: str) -> Path:
        return Path(self._checked(name))

    def _checked(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise StorageError("spool: not a name of this spool")
        return f"{self._root}/{name}"

    def _create(self, kind: str, count: int = 1) -> list[Incoming]:
        """New empty files, all in one folder."""
        files: list[Incoming] = []
        digit = secrets.randbelow(16)
        try:
            with storage_errors("create"):
                shard, folder = self._lane(kind).shards[digit]
                for _ in range(count):
                    name = f"{digit:x}{secrets.token_hex(16)[1:]}.dcm"
                    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
                    files.append(Incoming(fd, f"{shard}/{name}", 0, f"{self._root}/{shard}/{name}", folder))
        except StorageError:
            for file in files:
                file.abort()
            raise
        return files

    def new_name(self, kind: str) -> str:
        """A name in this process's lane that no file has."""
        digit = secrets.randbelow(16)
        shard, _ = self._lane(kind).shards[digit]
        return f"{shard}/{digit:x}{secrets.token_hex(16)[1:]}.dcm"

    def _lane(self, kind: str) -> Lane:
        found = self._lanes.get(kind)
        if found is None:
            with self._lock:
                found = self._lanes.get(kind) or make_lane(self._root, kind)
                self._lanes[kind] = found
        return found
