"""Several sender processes divide the associations of the destinations."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radanon_node.bell import Bell, EchoBell
from radanon_node.errors import Unreachable
from radanon_node.ledger.ledger import Ledger
from radanon_node.network.health import Health
from radanon_node.network.sender import Sender
from radanon_node.network.share import Share, shares
from radanon_node.settings import DestinationSettings
from tests.integration.harness import NodeProcess, node_config, storescu, write_study
from tests.network.sending import KEY, Bench, bench, network, picture
from tests.peers import storescp


@given(st.text(min_size=1, max_size=20), st.integers(1, 32), st.integers(1, 8))
def test_each_lane_belongs_to_one_process(name: str, lanes: int, processes: int) -> None:
    found = [number for index in range(processes) for number in Share(index, processes).lanes(name, lanes)]
    assert sorted(found) == list(range(lanes))


def test_a_call_wakes_the_others_and_no_other_node() -> None:
    first = EchoBell()
    parts = shares(3, first)
    parts[1][0].call()
    assert [bell.is_set() for _, bell in parts] == [True, False, True]
    assert not first.echo.is_set()


def test_who_helps_says_nothing_about_the_destination_and_is_left_out_when_it_gets_no_association() -> None:
    told: list[bool] = []
    now = [0.0]
    settings = DestinationSettings(host="127.0.0.1", port=104, ae_title="A", retry_initial=1.0, retry_max=1.0)
    health = Health(settings, lambda up, why: told.append(up), lambda: now[0], helping=True)
    assert health.permit(32) == 32
    assert health.surplus()
    health.nothing()
    assert health.permit(32) == 0
    now[0] = 61.0
    assert health.permit(32) == 32
    health.good()
    health.trouble(str(Unreachable("gone")), whole=True)
    assert health.permit(32) == 0
    now[0] = 63.0
    assert health.permit(32) == 1
    assert told == []


class _Part:
    """One sender of several, with a ledger of its own as in a process of its own."""

    def __init__(self, node: Bench, share: Share, bell: Bell) -> None:
        self.ledger = Ledger(node.config.ledger_url, KEY, node.spool)
        self.stop = threading.Event()
        self.sender = Sender(node.config, self.ledger, node.spool, node.seal, bell, f"part-{share.index}", share)
        self.thread = threading.Thread(target=self.sender.run, args=(self.stop,))
        self.thread.start()

    def close(self) -> None:
        self.stop.set()
        self.thread.join(60)
        assert not self.thread.is_alive()
        self.ledger.close()


def _parts(stack: ExitStack, node: Bench, count: int) -> list[_Part]:
    made = [_Part(node, share, bell) for share, bell in shares(count, EchoBell())]
    for part in made:
        stack.callback(part.close)
    return made


@pytest.mark.integration
def test_both_send_and_each_instance_arrives_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owners: set[str] = set()
    claim = Ledger.claim_deliveries

    def note(ledger: Ledger, owner: str, *rest: Any) -> Any:
        found = claim(ledger, owner, *rest)
        if found:
            owners.add(owner)
        return found

    monkeypatch.setattr(Ledger, "claim_deliveries", note)
    with (storescp(tmp_path / "store", "--fork") as archive, bench(tmp_path, {"archive": network(archive.port)}) as node,
          ExitStack() as stack):
        node.put([picture(number) for number in range(400)])
        _parts(stack, node, 2)
        node.wait_delivered("archive", 400, 120)
        assert len(archive.files()) == len({str(ds.SOPInstanceUID) for ds in archive.instances()}) == 400
    assert owners == {"part-0", "part-1"}


@pytest.mark.integration
def test_a_destination_that_takes_one_association_gets_all_over_it(tmp_path: Path) -> None:
    """The process that finds no place leaves it to the other, and the destination counts as up."""
    with (storescp(tmp_path / "store") as archive, bench(tmp_path, {"archive": network(archive.port, timeout=2)}) as node,
          ExitStack() as stack):
        node.put([picture(number) for number in range(150)])
        _parts(stack, node, 2)
        node.wait_delivered("archive", 150, 120)
        assert node.counts("archive") == {"waiting": 0, "delivered": 150, "failed": 0, "up": True}


def _child(node: NodeProcess, name: str) -> psutil.Process:
    """The node's process of that name, which it takes a moment after its start. Not by its number: numbers begin again at the lowest."""
    assert node.process is not None
    until = time.monotonic() + 120
    while True:
        found = [child for child in psutil.Process(node.process.pid).children() if child.name() == name]
        if found:
            return found[0]
        assert time.monotonic() < until, f"no process {name}"
        time.sleep(0.05)


@pytest.mark.integration
def test_a_node_whose_second_sender_is_killed_delivers_everything_once(tmp_path: Path) -> None:
    with storescp(tmp_path / "archive", "--fork") as archive:
        config = node_config(tmp_path / "node", {"archive": {"host": "127.0.0.1", "port": archive.port, "ae_title": "ARCHIVE"}})
        node = NodeProcess(tmp_path / "node", {**config, "sender": {"processes": 2}})
        try:
            port = node.start()
            assert {"sender-1", "sender-2"} <= set(node.wait_event("ready")["processes"])
            storescu(port, write_study(tmp_path / "one", 20, seed=5))
            _child(node, "sender-2").kill()
            assert node.wait_event("process died")["name"] == "sender-2"
            storescu(port, write_study(tmp_path / "two", 20, seed=6))
            node.wait_states(delivered=40)
            assert node.stop() == 0
        finally:
            node.stop()
        assert len(archive.files()) == len({str(ds.SOPInstanceUID) for ds in archive.instances()}) == 40
