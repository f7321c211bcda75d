"""Files kept ready: durable names, batches only in quick succession, nothing left when nobody sends."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from radanon_node.errors import StorageError
from radanon_node.ledger.spool import Spool


def files(root: Path) -> list[Path]:
    return sorted(root.rglob("*.dcm"))


def test_one_at_first_more_in_quick_succession_none_at_rest(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.begin(b"x").seal()
    assert len(files(tmp_path)) == 1
    for _ in range(40):
        spool.begin(b"x").seal()
    assert 41 < len(files(tmp_path)) <= 41 + 32
    spool.rest()
    assert len(files(tmp_path)) == 41
    assert all(path.stat().st_size == 1 for path in files(tmp_path))


def test_every_name_is_synced_before_its_file_is_given_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)
    spool.begin(b"x").seal()  # the lane's own folders
    synced: list[set[str]] = []
    fsync = os.fsync

    def watch(fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if path.is_dir():
            synced.append({item.name for item in path.iterdir()})
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watch)
    for _ in range(20):
        incoming = spool.begin(b"x")
        assert any(Path(incoming.name).name in names for names in synced)
        incoming.seal()
    assert len(synced) < 10


def test_a_folder_that_cannot_be_synced_gives_out_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)
    spool.begin(b"x").seal()

    def failing(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StorageError):
        spool.begin(b"x")
    assert len(files(tmp_path)) == 1


def test_many_threads_get_different_files(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    names: list[str] = []

    def take() -> None:
        for _ in range(25):
            incoming = spool.begin(b"x")
            names.append(incoming.name)
            incoming.seal()

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spool.rest()
    assert len(names) == len(set(names)) == len(files(tmp_path)) == 150
