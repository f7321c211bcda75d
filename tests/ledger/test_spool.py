"""The spool keeps what is sealed, for its owner alone, and removes only what nobody was promised."""

from __future__ import annotations

import errno
import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.errors import ConfigError, DiskLow, StorageError
from radanon_node.ledger.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def files(root: Path) -> set[str]:
    """Files with something in them: a few empty ones are kept ready."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*.dcm") if path.stat().st_size}


def in_child(act: Callable[[], None]) -> None:
    """Run `act` in a process that then dies by SIGKILL."""
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_sealed_file_is_what_was_written(spool: Spool) -> None:
    incoming = spool.begin(b"header ")
    os.write(incoming.fd, b"and data")
    incoming.seal()
    assert incoming.size == 15
    with spool.open(incoming.name) as opened:
        assert opened.data[:] == b"header and data"


def test_files_and_folders_are_private(tmp_path: Path, spool: Spool) -> None:
    previous = os.umask(0)
    try:
        spool.begin(b"x").seal()
        spool.store_released(b"y")
    finally:
        os.umask(previous)
    for path in (tmp_path / "spool").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


def test_an_open_root_is_closed(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir(mode=0o755)
    Spool(tmp_path / "spool")
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700


def test_an_aborted_file_is_gone_and_a_sealed_one_stays(tmp_path: Path, spool: Spool) -> None:
    aborted, sealed = spool.begin(b"x"), spool.begin(b"x")
    aborted.abort()
    aborted.abort()
    sealed.seal()
    sealed.abort()
    assert files(tmp_path / "spool") == {sealed.name}


@given(st.lists(st.binary(max_size=5000), max_size=8))
@settings(max_examples=30, deadline=None)
def test_released_files_are_stored_whole_and_in_order(datas: list[bytes]) -> None:
    shared = _shared_spool()
    names = shared.store_all(datas)
    for name, data in zip(names, datas, strict=True):
        with shared.open(name) as opened:
            assert bytes(opened.data) == data
        shared.remove(name)


_made: list[Spool] = []


def _shared_spool() -> Spool:
    if not _made:
        import tempfile

        _made.append(Spool(Path(tempfile.mkdtemp(prefix="radanon-spool-")) / "spool"))
    return _made[0]


def test_removing_twice_is_no_error_and_reading_what_is_gone_is(spool: Spool) -> None:
    name = spool.store_released(b"x")
    assert spool.exists(name)
    spool.remove(name)
    spool.remove(name)
    assert not spool.exists(name)
    with pytest.raises(StorageError, match="No such file"):
        spool.open(name)


@pytest.mark.parametrize("name", ["../ledger.sqlite", "/etc/passwd", "in/../../x", "", "in/0123456789abcdef/0/..", "in/x/0/y.dcm"])
def test_names_cannot_leave_the_spool(spool: Spool, name: str) -> None:
    for act in (spool.open, spool.remove, spool.exists):
        with pytest.raises(StorageError, match="not a name"):
            act(name)


@pytest.mark.parametrize("size", [0, 1, 10_000, 70 * 2**20])
def test_a_file_that_is_mapped_at_once_reads_the_same(spool: Spool, size: int) -> None:
    name = spool.store_released(bytes(size))
    for whole in (False, True):
        with spool.open(name, whole) as opened:
            assert len(opened.data) == size
            assert not any(opened.data[start] for start in range(0, size, 4096))
    spool.remove(name)


def test_a_view_may_outlive_the_file_object(spool: Spool) -> None:
    opened = spool.open(spool.store_released(b"abc"))
    view = memoryview(opened.data)
    opened.close()
    assert bytes(view) == b"abc"


def test_low_disk_refuses_new_files(tmp_path: Path) -> None:
    with pytest.raises(DiskLow, match="min_free_disk"):
        Spool(tmp_path / "spool", min_free=2**62).begin(b"x")


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, DiskLow), (errno.EDQUOT, DiskLow), (errno.EIO, StorageError)])
@pytest.mark.parametrize("call", ["write", "fsync", "open"])
def test_a_failing_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type, call: str) -> None:
    spool = Spool(tmp_path / "spool")
    spool.store_released(b"the lane exists now")
    before = files(tmp_path / "spool")

    def failing(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(kind):
        spool.store_all([b"x", b"y"])
    monkeypatch.undo()
    assert files(tmp_path / "spool") == before


def test_the_sweep_removes_a_dead_process_orphans_alone(tmp_path: Path, spool: Spool) -> None:
    root = tmp_path / "spool"
    mine = spool.begin(b"still being received")
    note = tmp_path / "known"

    def die() -> None:
        other = Spool(root)
        kept = other.begin(b"has a row")
        kept.seal()
        note.write_text(kept.name)
        other.begin(b"half received")
        other.begin(b"sealed, never admitted").seal()
        other.store_released(b"released, never recorded")

    in_child(die)
    assert len(files(root)) == 5
    known = note.read_text()
    Spool(root).sweep(lambda names: {name for name in names if name == known})
    assert files(root) == {mine.name, known}
    assert Spool(root).sweep(lambda names: set()) == [known]
    assert sum(1 for lane in root.glob("*/*") if lane.is_dir()) == 1  # the dead lanes are gone, the living one stays


def test_files_are_kept_ready_while_many_come_and_not_for_long(tmp_path: Path, spool: Spool) -> None:
    received = [spool.begin(b"x") for _ in range(20)]
    assert all(incoming.name_is_durable for incoming in received)
    assert len({incoming.name for incoming in received}) == 20
    assert len(list((tmp_path / "spool").rglob("*.dcm"))) > 20
    spool.rest()
    assert {path.relative_to(tmp_path / "spool").as_posix() for path in (tmp_path / "spool").rglob("*.dcm")} == {
        incoming.name for incoming in received}
    assert spool.begin(b"y").fd >= 0


def test_the_sweep_spares_the_living(tmp_path: Path, spool: Spool) -> None:
    spool.begin(b"x").seal()
    assert Spool(tmp_path / "spool").sweep(lambda names: set()) == []
    spool.close()
    assert len(Spool(tmp_path / "spool").sweep(lambda names: set())) == 1


def test_a_half_made_lane_is_removed_when_old(tmp_path: Path, spool: Spool) -> None:
    hidden = tmp_path / "spool" / "in" / ".0123456789abcdef"
    hidden.mkdir()
    spool.sweep(lambda names: set())
    assert hidden.exists()
    os.utime(hidden, (time.time() - 7200, time.time() - 7200))
    spool.sweep(lambda names: set())
    assert not hidden.exists()


def test_a_spool_belongs_to_one_ledger(spool: Spool) -> None:
    spool.bind("one")
    spool.bind("one")
    with pytest.raises(ConfigError, match="another ledger"):
        spool.bind("two")


def test_files_come_back_under_their_names(tmp_path: Path) -> None:
    source, spool = tmp_path / "source", Spool(tmp_path / "spool")
    source.write_bytes(b"the data set")
    name = "in/0123456789abcdef/0/" + "0" * 32 + ".dcm"
    for _ in range(2):
        spool.put_back(name, source)
    assert stat.S_IMODE((tmp_path / "spool" / name).stat().st_mode) == 0o600
    with spool.open(name) as opened:
        assert bytes(opened.data) == b"the data set"
    incoming = spool.begin(b"")  # empty, and so none
    assert [found for batch in spool.originals() for found in batch] == [name]
    incoming.abort()
    with pytest.raises(StorageError):
        spool.put_back("in/../../else.dcm", source)
    spool.close()
