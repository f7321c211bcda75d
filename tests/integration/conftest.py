"""A node process and the archive that it sends to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import NodeProcess, node_config
from tests.peers import storescp


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    with storescp(tmp_path / "archive") as peer:
        yield peer.folder, peer.port


@pytest.fixture
def node(tmp_path: Path, archive: tuple[Path, int]) -> Iterator[NodeProcess]:
    destinations = {"archive": {"host": "127.0.0.1", "port": archive[1], "ae_title": "ARCHIVE"}}
    found = NodeProcess(tmp_path / "node", node_config(tmp_path / "node", destinations))
    yield found
    found.stop()
