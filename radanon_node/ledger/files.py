"""Open files of the spool: one that is being received or stored, one that is read."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from radanon_node.errors import DiskLow, StorageError
from radanon_node.pipeline.types import Buffer


class SpoolAway(StorageError):
    """The place of all files does not answer now: says nothing about the one that was asked for."""


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turns an OSError into DiskLow (no space, no quota) or StorageError; `what` was being done."""
    # An OSError's text may carry a path; the spool's paths are random, but only the cause is of use to the reader.
    try:
        yield
    except OSError as error:
        kind = DiskLow if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
        raise kind(f"spool: {what}: {error.strerror}") from error


class Incoming:
    """A file that is being received; write to `fd`, then `seal` or `abort`.

    Attributes
    ----------
    fd : int
        Open for writing, at the end of the header.
    name : str
        Spool name; stays the same.
    size : int
        Bytes; the writer may count along, `seal` sets it to the file's.
    folder : int
        File descriptor of its folder, the spool's to close.
    name_is_durable : bool
        Whether the folder was synced after the file was made.
    """

    __slots__ = ("_path", "fd", "folder", "name", "name_is_durable", "size")

    def __init__(self, fd: int, name: str, size: int, path: str, folder: int) -> None:
        self.fd, self.name, self.size = fd, name, size
        self._path, self.folder = path, folder
        self.name_is_durable = False

    def mark(self, preamble: bytes) -> None:
        """Write the file's record (record.py) over its empty preamble, before `seal`; StorageError if that fails."""
        with storage_errors("write"):
            os.pwrite(self.fd, preamble, 0)

    def seal(self) -> None:
        """Put bytes and name on stable storage and close; StorageError or DiskLow if that fails (the file is removed then)."""
        try:
            with storage_errors("sync"):
                self.size = os.fstat(self.fd).st_size
                os.fdatasync(self.fd)  # the size is part of it, times are not
                if not self.name_is_durable:
                    os.fsync(self.folder)
        except StorageError:
            self.abort()
            raise
        os.close(self.fd)
        self.fd = -1

    def abort(self) -> None:
        """Close and remove; never raises. After `seal` it does nothing: the file is then the ledger's to keep or remove."""
        if self.fd < 0:
            return
        with suppress(OSError):
            os.close(self.fd)
        self.fd = -1
        with suppress(OSError):
            Path(self._path).unlink()


class SpoolFile:
    """A spool file mapped read-only: `data`, and `close` (or a ``with`` block).

    Attributes
    ----------
    data : mmap.mmap or bytes
        The bytes; not to be used after `close`.
    """

    __slots__ = ("data",)

    def __init__(self, data: mmap.mmap | bytes) -> None:
        self.data = data

    def close(self) -> None:
        """Give the mapping back; if somebody still holds a view of it, it goes with the last view."""
        if isinstance(self.data, mmap.mmap):
            with suppress(BufferError):
                self.data.close()

    def __enter__(self) -> SpoolFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def write_all(fd: int, data: Buffer) -> None:
    """All of `data`, however little the system takes at once."""
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.write(fd, view[done:])
