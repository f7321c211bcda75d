"""Lanes: the folders of a spool that one process writes to, marked by a lock that it holds while it lives.

A start-up sweep, also one of another node on a shared file system, thereby tells files that are being written from the orphans of a dead
process.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from radanon_node.ledger.files import storage_errors

Known = Callable[[Sequence[str]], Collection[str]]
"""Given names of files, those that a row of the ledger refers to."""

BATCH = 500
"""Names that a ledger is asked about at once."""

_SHARDS = "0123456789abcdef"
_HALF_MADE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane of this process.

    Parameters
    ----------
    shards : tuple of (str, int)
        16 folders: path below the spool's root, open descriptor.
    lock : int
        Descriptor that holds the lock.
    """

    shards: tuple[tuple[str, int], ...]
    lock: int

    def close(self) -> None:
        """Give the lane up; its files stay."""
        for _, fd in self.shards:
            os.close(fd)
        os.close(self.lock)


def make_lane(root: Path, kind: str) -> Lane:
    """A new, locked lane below ``root/kind``, durable."""
    name = secrets.token_hex(8)
    # Locked under a hidden name first, so that no sweep ever meets a lane that is new but not yet locked.
    hidden, folder = root / kind / f".{name}", root / kind / name
    hidden.mkdir(mode=0o700)
    lock = os.open(hidden / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    for shard in _SHARDS:
        (hidden / shard).mkdir(mode=0o700)
    sync_folder(hidden)
    hidden.rename(folder)
    sync_folder(folder.parent)
    shards = ((f"{kind}/{name}/{shard}", os.open(folder / shard, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) for shard in _SHARDS)
    return Lane(tuple(shards), lock)


def sweep_lane(lane: Path, known: Known, readmit: Known) -> list[str]:
    """Remove and name the files of a lane whose process is dead, but for those that are `known` or that `readmit` takes."""
    if lane.name.startswith("."):
        # Left by a process that died while making it: empty. A young one may be in the making.
        if time.time() - lane.stat().st_mtime > _HALF_MADE_S:
            shutil.rmtree(lane, ignore_errors=True)
        return []
    try:
        lock = os.open(lane / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return []  # another sweep has just removed the lane
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return []
        names = [f"{lane.parent.name}/{lane.name}/{path.parent.name}/{path.name}" for path in lane.glob("[0-9a-f]/*")]
        orphans: list[str] = []
        for start in range(0, len(names), BATCH):
            batch = names[start:start + BATCH]
            kept = set(known(batch))
            if lane.parent.name == "in":
                kept |= set(readmit([name for name in batch if name not in kept]))
            orphans += [name for name in batch if name not in kept]
        for name in orphans:
            (lane.parent.parent / name).unlink(missing_ok=True)
        if len(orphans) == len(names):
            shutil.rmtree(lane, ignore_errors=True)
        return orphans
    finally:
        os.close(lock)


def sync_open_folder(folder: int) -> None:
    """Make a folder's entries durable, given its descriptor; StorageError."""
    with storage_errors("sync"):
        os.fsync(folder)


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable; OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
