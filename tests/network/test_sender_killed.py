"""kill -9 of the sender at each of its transitions, and a stop in the middle: nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from radanon_node.network.sender import Sender
from tests.network.sending import Bench, bench, network, picture
from tests.peers import StoreScp, storescp

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


def run_sender(folder: Path, port: int, owner: str, fault: str = "") -> int:
    """A sender process; its exit status."""
    command = [sys.executable, "-m", "tests.network.sender_process", str(folder), str(port), owner]
    environment = {**os.environ, "RADANON_FAULT": fault}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=600, check=False).returncode


def assert_all_there(node: Bench, archive: StoreScp, count: int) -> None:
    assert node.ledger.status()["states"]["delivered"] == count
    assert node.counts("archive") == {"waiting": 0, "delivered": count, "failed": 0, "up": True}
    assert len({str(ds.SOPInstanceUID) for ds in archive.instances()}) == len(archive.files()) == count


@pytest.mark.parametrize("fault", ["sender.after_claim:1", "sender.after_claim:2", "sender.after_send:7", "sender.before_finish:2",
                                   "sender.after_finish:2"])
def test_killed_sender_leaves_everything_to_the_next(tmp_path: Path, fault: str) -> None:
    """The supervisor gives back what the dead one had claimed; the archive ends up with each instance once."""
    with storescp(tmp_path / "store", "--fork") as archive, bench(tmp_path, {"archive": network(archive.port)}) as node:
        node.put([picture(number) for number in range(40)])
        assert run_sender(tmp_path, archive.port, "one", fault) == -9
        node.ledger.give_back("one")
        assert run_sender(tmp_path, archive.port, "two") == 0
        assert_all_there(node, archive, 40)


def test_stop_in_the_middle_gives_the_rest_back_at_once(tmp_path: Path) -> None:
    """What was being sent is finished, what was claimed beside it is due at once for the next sender."""
    slow = storescp(tmp_path / "store", "--fork", "--sleep-after", "1")
    with slow as archive, bench(tmp_path, {"archive": network(archive.port)}) as node:
        node.put([picture(number) for number in range(40)])
        stop = threading.Event()
        thread = threading.Thread(target=Sender(node.config, node.ledger, node.spool, node.seal, threading.Event()).run, args=(stop,))
        thread.start()
        node.wait(lambda: bool(archive.files()))
        stop.set()
        thread.join(30)
        assert not thread.is_alive()
        entries = node.ledger.deliveries_list()
        assert entries and {(entry.state, entry.attempts) for entry in entries} == {("waiting", 0)}
        assert len(node.ledger.claim_deliveries("next", "archive", 100, 60)) == len(entries)


def test_stop_does_not_wait_for_a_silent_archive(tmp_path: Path) -> None:
    """After ``drain_timeout`` the connection is cut; the instance is the next sender's."""
    slow = storescp(tmp_path / "store", "--fork", "--sleep-during", "60")
    with slow as archive, bench(tmp_path, {"archive": network(archive.port, timeout=60)}, drain=0.2) as node:
        node.put([picture()])
        stop = threading.Event()
        thread = threading.Thread(target=Sender(node.config, node.ledger, node.spool, node.seal, threading.Event()).run, args=(stop,))
        thread.start()
        node.wait(lambda: bool(archive.files()) or node.ledger.deliveries_list()[0].state == "sending")
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
        assert node.ledger.deliveries_list()[0].state == "waiting"
