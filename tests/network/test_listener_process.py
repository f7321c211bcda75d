"""The listener as a process: what it costs in memory, and that a kill at any instant takes nothing back that was acknowledged."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from tests.network.kit import CT, Peer, encoded, make_config, make_instance, served, sleeps

pytestmark = pytest.mark.integration


def high_water(pid: int) -> int:
    """Largest resident set of a process so far, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_32_associations_of_10_mb_instances_stay_under_500_mb(tmp_path: Path) -> None:
    template = encoded(make_instance(10_000_000, uid="1.2.3.1000"))
    with served(tmp_path) as (process, port):
        assert process.pid is not None
        before = high_water(process.pid)
        together = threading.Barrier(32)
        statuses: list[int] = []

        def send(number: int) -> None:
            with Peer(port, timeout=240) as peer:
                peer.associate()
                together.wait(120)
                uid = f"1.2.3.{1000 + number}"
                statuses.append(peer.store(template.replace(b"1.2.3.1000", uid.encode(), 1), uid, step=100_000))

        threads = [threading.Thread(target=send, args=(number,)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        after = high_water(process.pid)
    assert statuses == [0] * 32
    assert after < 500e6, f"{before / 1e6:.0f} MB before, {after / 1e6:.0f} MB at most"


@pytest.mark.timeout(300)
def test_an_idle_listener_does_nothing(tmp_path: Path) -> None:
    """With associations open and silent none of its threads is woken: nothing polls."""
    with served(tmp_path) as (process, port):
        assert process.pid is not None
        peers = [Peer(port) for _ in range(8)]
        for peer in peers:
            peer.associate()
        assert sleeps(process.pid)
        for peer in peers:
            peer.sock.close()


@pytest.mark.timeout(300)
def test_kill_9_at_random_takes_nothing_back_that_was_acknowledged(tmp_path: Path) -> None:
    dice = random.Random(7)
    sent: dict[str, bytes] = {}
    acknowledged: set[str] = set()

    def send(port: int, name: int) -> None:
        try:
            with Peer(port) as peer:
                peer.associate()
                for number in range(1000):
                    uid = f"1.2.3.{name}.{number}"
                    sent[uid] = encoded(make_instance(60_000, uid=uid))
                    if peer.store(sent[uid], uid, message_id=number) == 0:
                        acknowledged.add(uid)
        except (OSError, AssertionError):
            return  # the listener is gone

    for round_number in range(4):
        with served(tmp_path) as (process, port):
            threads = [threading.Thread(target=send, args=(port, 10 * round_number + index)) for index in range(3)]
            for thread in threads:
                thread.start()
            time.sleep(dice.uniform(0.1, 1.0))
            process.kill()
            for thread in threads:
                thread.join()
    config = make_config(tmp_path)
    spool = Spool(config.spool_dir)
    ledger = Ledger(config.ledger_url, bytes(32), spool)
    spool.sweep(ledger.known_files, ledger.readmit)
    rows = ledger.claim("test", 100_000, 60.0)
    assert acknowledged
    assert acknowledged <= {row.sop_instance_uid for row in rows}
    assert len({row.sop_instance_uid for row in rows}) == len(rows)
    for row in rows:
        with spool.open(row.file) as opened:
            assert bytes(opened.data).endswith(sent[row.sop_instance_uid])
        assert row.sop_class_uid == CT
    on_disk = {path.relative_to(config.spool_dir).as_posix() for path in config.spool_dir.glob("in/*/?/*") if path.stat().st_size}
    assert on_disk == {row.file for row in rows}
