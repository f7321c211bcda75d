"""``kill -9`` at every transition of an instance: nothing acknowledged is lost, nothing is delivered under two names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from tests.integration.harness import NodeProcess, node_config, storescu, write_study
from tests.peers import storescp

pytestmark = pytest.mark.integration

IN_THE_NODE = ["listener.after_first_bytes", "listener.after_write", "listener.after_seal", "listener.after_admit",
               "listener.after_response", "listener.before_rows", "listener.after_rows",
               "purge.before_remove", "purge.after_remove", "purge.after_mark"]  # fmt: skip
IN_A_CHILD = ["worker.after_claim", "worker.after_clean", "worker.after_store", "worker.after_finish",
              "sender.after_claim", "sender.after_send", "sender.before_finish", "sender.after_finish"]  # fmt: skip
IN_AN_ACCEPTOR = ["listener.after_seal", "listener.after_response", "listener.before_rows"]
"""Where several processes receive: the node lives on, without one of them."""


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    with storescp(tmp_path / "archive", "+uf") as peer:
        yield peer.folder, peer.port


CASES = [*((point, 1) for point in IN_THE_NODE + IN_A_CHILD), *((point, 2) for point in IN_AN_ACCEPTOR)]


@pytest.mark.parametrize(("point", "processes"), CASES)
def test_killed_there_nothing_is_lost_or_doubled(point: str, processes: int, archive: tuple[Path, int], tmp_path: Path) -> None:
    destinations = {"archive": {"host": "127.0.0.1", "port": archive[1], "ae_title": "ARCHIVE"}}
    node = NodeProcess(tmp_path / "node", node_config(tmp_path / "node", destinations, listener={"processes": processes}))
    files = write_study(tmp_path / "in", 4, seed=21)
    try:
        port = node.start({"RADANON_FAULT": f"{point}:2" if point.startswith("listener") and not point.endswith("rows") else point})
        acknowledged = storescu(port, files, check=False, options=["-v"])
        if processes == 1 and point in IN_THE_NODE:
            assert node.process is not None
            node.process.wait(60)
            assert node.process.returncode == -9
        else:
            node.wait_event("process died")
            node.kill()
        promised = (acknowledged.stdout + acknowledged.stderr).count("Received Store Response (Success)")
        port = node.start()
        states = node.wait_settled()
        assert states["delivered"] >= promised
        storescu(port, files)  # the sender's own retry of what it had no answer for, and of all the rest
        node.wait_states(delivered=4)
        assert node.stop() == 0
    finally:
        node.stop()
    arrived = [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in archive[0].iterdir()]
    assert len(set(arrived)) == 4


def test_killed_while_it_enters_what_a_killed_one_left_nothing_is_lost_or_doubled(archive: tuple[Path, int], tmp_path: Path) -> None:
    destinations = {"archive": {"host": "127.0.0.1", "port": archive[1], "ae_title": "ARCHIVE"}}
    node = NodeProcess(tmp_path / "node", node_config(tmp_path / "node", destinations, listener={"processes": 1}))
    files = write_study(tmp_path / "in", 4, seed=22)
    try:
        port = node.start({"RADANON_FAULT": "listener.before_rows"})
        acknowledged = storescu(port, files, check=False, options=["-v"])
        assert node.process is not None
        node.process.wait(60)
        promised = (acknowledged.stdout + acknowledged.stderr).count("Received Store Response (Success)")
        assert promised
        with node.ledger() as ledger:
            assert sum(ledger.status()["states"].values()) == 0  # what was promised is in its files alone
        with pytest.raises(AssertionError):
            node.start({"RADANON_FAULT": "sweep.after_readmit"})
        assert node.process.wait(60) == -9
        port = node.start()
        assert node.wait_settled()["delivered"] >= promised
        storescu(port, files)
        node.wait_states(delivered=4)
        assert node.stop() == 0
    finally:
        node.stop()
    arrived = [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in archive[0].iterdir()]
    assert len(set(arrived)) == 4
