"""A large study goes through a whole node, and an urgent small one that comes in the middle of it does not wait for its end.

``RADANON_STUDY=10000 pytest -s tests/integration/test_large_study.py`` is the long form; it prints seconds and rates.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tests.integration.harness import NodeProcess, node_config, storescu, write_study
from tests.peers import storescp

pytestmark = pytest.mark.integration

SLICES = int(os.environ.get("RADANON_STUDY", "160"))
_AT_ONCE = 500


@pytest.mark.timeout(max(600, SLICES))
def test_a_large_study_arrives_whole_and_holds_up_nobody(tmp_path: Path) -> None:
    with storescp(tmp_path / "archive") as archive:
        destinations = {"archive": {"host": "127.0.0.1", "port": archive.port, "ae_title": "ARCHIVE"}}
        config = node_config(tmp_path / "node", destinations)
        config["routes"].append({"ae_title": "OTHER", "profile": "p", "destinations": ["archive"]})  # of the same priority
        node = NodeProcess(tmp_path / "node", config)
        large = write_study(tmp_path / "large", SLICES, seed=1)
        urgent = write_study(tmp_path / "urgent", 2, seed=2)
        port, begun = node.start(), time.monotonic()

        def push() -> None:
            for start in range(0, SLICES, _AT_ONCE):
                storescu(port, large[start:start + _AT_ONCE])

        pushing = threading.Thread(target=push)
        try:
            pushing.start()
            with node.ledger() as ledger:
                while ledger.status()["states"]["delivered"] < SLICES // 4:
                    assert time.monotonic() - begun < 600
                    time.sleep(0.05)
                came = time.monotonic()
                storescu(port, urgent, called="OTHER")
                while ledger.status()["routes"].get("OTHER", {}).get("delivered") != 2:
                    assert time.monotonic() - came < 600
                    time.sleep(0.05)
                waited = time.monotonic() - came
            pushing.join()
            node.wait_states(timeout=600, delivered=SLICES + 2)
            seconds = time.monotonic() - begun
            print(f"{SLICES} slices in {seconds:.1f} s, {SLICES / seconds:.0f}/s; two urgent films in the middle: {waited:.1f} s")
        finally:
            pushing.join()
            node.stop()
