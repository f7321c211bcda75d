"""SIGTERM under load: a destination that is dead, or takes a connection and says nothing, holds nobody up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import NodeProcess, node_config, storescu, write_study
from tests.peers import free_port

pytestmark = pytest.mark.integration

DRAIN_S = 8.0


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where connections are accepted and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@pytest.mark.timeout(300)
def test_a_node_with_dead_destinations_stops_in_time_while_instances_come_in(silent: int, tmp_path: Path) -> None:
    peers = {"silent": silent, "dead": free_port()}
    destinations = {name: {"host": "127.0.0.1", "port": port, "ae_title": name.upper()} for name, port in peers.items()}
    config = node_config(tmp_path / "node", destinations)
    config["node"]["drain_timeout"] = DRAIN_S
    node = NodeProcess(tmp_path / "node", config)
    files = write_study(tmp_path / "in", 12, seed=5)
    stop = threading.Event()

    def send(port: int) -> None:
        while not stop.is_set() and storescu(port, files, check=False).returncode == 0:
            continue

    try:
        port = node.start()
        sender = threading.Thread(target=send, args=(port,))
        sender.start()
        with node.ledger() as ledger:
            limit = time.monotonic() + 120
            while not any(entry.state == "sending" for entry in ledger.deliveries_list(destination="silent")):
                assert time.monotonic() < limit, "nothing is being sent"
                time.sleep(0.05)
        begun = time.monotonic()
        assert node.stop() == 0
        seconds = time.monotonic() - begun
        stop.set()
        sender.join(60)
        assert seconds < 2 * DRAIN_S + 10, "".join(node.lines[-30:])  # the limit is one drain; the rest is for a machine that is busy
        assert not [event for event in node.events if event["event"] == "process did not drain in time"]
        with node.ledger() as ledger:
            entries = ledger.deliveries_list()
            assert {entry.state for entry in entries} == {"waiting"}  # nothing is left as a crash of its sender
            assert {entry.attempts for entry in entries} == {0}
    finally:
        stop.set()
        if node.process is not None and node.process.poll() is None:
            node.kill()
