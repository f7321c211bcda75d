"""A disk that is really full: what is answered 0xA700 is not kept, what is acknowledged is, and the rest comes when there is room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from tests.network.kit import Peer, encoded, make_config, make_instance, running

pytestmark = pytest.mark.integration


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB in memory."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", folder]).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_loses_nothing_that_was_acknowledged(small_disk: Path, tmp_path: Path) -> None:
    config = make_config(small_disk, {"min_free_disk": 0})
    sent = {f"1.2.3.{number}": encoded(make_instance(700_000, uid=f"1.2.3.{number}")) for number in range(16)}
    with running(config) as node:
        with Peer(node.port) as peer:
            peer.associate()
            answers = {uid: peer.store(data, uid, message_id=number) for number, (uid, data) in enumerate(sent.items(), 1)}
            assert set(answers.values()) == {0, 0xA700}
            taken = [uid for uid, status in answers.items() if status == 0]
            node.settle()
        files = node.files()
        assert len(files) == len(taken)  # nothing is left of the refused ones
        items = node.items()
        assert {item.sop_instance_uid for item in items} == set(taken)
        for item in items:
            assert node.data_set(item) == sent[item.sop_instance_uid]
        # Room is made: what was refused is sent again, and taken.
        for item in items[:6]:
            node.spool.remove(item.file)
        again = next(uid for uid, status in answers.items() if status)
        with Peer(node.port) as peer:
            peer.associate()
            assert peer.store(sent[again], again) == 0
            node.settle()


def test_a_worker_on_a_full_disk_puts_its_work_off(small_disk: Path) -> None:
    """A batch that does not fit leaves no file behind, and nobody is told that it was stored."""
    from radanon_node.errors import DiskLow

    spool = Spool(small_disk / "spool")
    ledger = Ledger(f"sqlite:///{small_disk / 'ledger.sqlite'}", bytes(32), spool)
    try:
        with pytest.raises(DiskLow):
            spool.store_all([bytes(1_000_000)] * 12)
        assert not [path for path in (small_disk / "spool" / "out").rglob("*.dcm") if path.stat().st_size]
        (name,) = spool.store_all([bytes(1_000_000)])
        assert spool.exists(name)
    finally:
        ledger.close()
        spool.close()
