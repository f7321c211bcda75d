"""`radanon healthcheck`, as a container's health check calls it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from radanon_node.errors import Unreachable
from radanon_node.network.check import knock
from tests.integration.harness import NodeProcess, node_config
from tests.peers import free_port, mute_port, wait_listening

pytestmark = pytest.mark.integration


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    sections = {
        "listener": {"port": free_port(), "allowed_callers": ["SOMEBODY"]},
        "web": {"enabled": True, "host": "127.0.0.1", "port": free_port()},
    }
    config = node_config(tmp_path / "node", {"folder": {"directory": str(tmp_path / "out")}}, **sections)
    found = NodeProcess(tmp_path / "node", config)
    yield found
    found.stop()


def test_a_running_node_is_alive_and_a_hanging_one_is_not(node: NodeProcess) -> None:
    node.start()
    assert node.process is not None
    wait_listening(node.config["web"]["port"], node.process, 60)  # a process of its own, ready a little later
    done = node.command("healthcheck", "--timeout", "20")
    assert done.stdout.splitlines() == ["listener: ok", "worker: ok", "sender: ok", "web: ok"]
    node.process.send_signal(signal.SIGSTOP)  # the kernel goes on accepting connections for it
    try:
        hanging = node.command("healthcheck", "--role", "listener", "--timeout", "1", check=False)
    finally:
        node.process.send_signal(signal.SIGCONT)
    assert hanging.returncode == 1
    assert hanging.stdout.startswith("listener: ")


def test_a_node_that_is_not_there_is_not_alive(node: NodeProcess) -> None:
    node.start()
    node.stop()
    assert node.command("healthcheck", "--role", "listener", check=False).returncode == 1
    assert node.command("healthcheck", "--role", "web", check=False).returncode == 1


def test_a_connection_without_an_answer_is_no_answer() -> None:
    with mute_port() as port, pytest.raises(Unreachable):
        knock("127.0.0.1", port, "RADANON", tls=False, timeout=0.2)
    with mute_port() as port, pytest.raises(Unreachable):
        knock("127.0.0.1", port, "RADANON", tls=True, timeout=0.2)
