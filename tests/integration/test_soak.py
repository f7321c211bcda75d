"""Instance after instance, no process of the node grows: memory, file descriptors and threads stay as they were.

The short form is a part of the tests; ``RADANON_SOAK=50000 pytest tests/integration/test_soak.py`` is the long one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.integration.harness import NodeProcess, node_config, storescu, write_study
from tests.peers import storescp

pytestmark = pytest.mark.integration

INSTANCES = int(os.environ.get("RADANON_SOAK", "240"))
ROUND = 60 if INSTANCES < 1000 else 1000
WARM_ROUNDS = 2
_GROWTH = 48 * 2**20
_SETTLE_S, _LINGER_S = 60.0, 8.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one process; `own` is the memory it shares with no other."""

    name: str
    resident: int
    own: int
    descriptors: int
    threads: int

    def __str__(self) -> str:
        return f"{self.resident / 2**20:.1f} MiB ({self.own / 2**20:.1f} its own), {self.descriptors} descriptors, {self.threads} threads"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    with storescp(tmp_path / "archive") as archive:
        destinations = {"archive": {"host": "127.0.0.1", "port": archive.port, "ae_title": "ARCHIVE"}}
        found = NodeProcess(tmp_path / "node", node_config(tmp_path / "node", destinations))
        yield found
        found.stop()


def figures(node: NodeProcess) -> dict[int, Figures]:
    assert node.process is not None
    first = psutil.Process(node.process.pid)
    return {process.pid: Figures(process.name(), process.memory_info().rss, process.memory_full_info().uss, process.num_fds(),
                                 process.num_threads()) for process in (first, *first.children(recursive=True))}


def at_rest(node: NodeProcess, limits: dict[int, Figures], patience: float = _SETTLE_S) -> dict[int, Figures]:
    """The figures once descriptors and threads are back within `limits`, or as they are when time is up: associations end lingering."""
    until = time.monotonic() + patience
    while True:
        now = figures(node)
        back = all(pid in limits and one.descriptors <= limits[pid].descriptors and one.threads <= limits[pid].threads
                   for pid, one in now.items())
        if back or time.monotonic() > until:
            return now
        time.sleep(0.5)


@pytest.mark.timeout(max(600, INSTANCES))
def test_nothing_grows(node: NodeProcess, tmp_path: Path) -> None:
    port, sent = node.start(), 0
    before: dict[int, Figures] = {}
    for number in range(WARM_ROUNDS + -(-INSTANCES // ROUND)):
        folder = tmp_path / "in"
        files = write_study(folder, ROUND, seed=number + 1)
        storescu(port, files)
        sent += ROUND
        node.wait_states(timeout=600, delivered=sent)
        for path in files:
            path.unlink()
        if number + 1 == WARM_ROUNDS:
            before = at_rest(node, {}, _LINGER_S)
        if ROUND == 1000:  # the course of the long form tells a leak from a plateau
            print(f"{sent}:", "; ".join(f"{one.name} {one}" for one in figures(node).values()), flush=True)
    after = at_rest(node, before)
    assert set(after) == set(before), "a process was replaced"
    for pid, one in after.items():
        print(f"{one.name}: {before[pid]} -> {one}")
        assert one.descriptors <= before[pid].descriptors + 2
        assert one.threads <= before[pid].threads + 1
        assert one.resident <= before[pid].resident + _GROWTH
