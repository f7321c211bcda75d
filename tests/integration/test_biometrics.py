"""A node whose profile anonymises the anatomy: storescu pushes a film, a deformed one arrives, everything else is held."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import yaml

from tests.biometrics.made import write_generator
from tests.biometrics.test_stage import PERSON, film, picture
from tests.integration.harness import NodeProcess, assert_clean, ct, node_config, storescu
from tests.peers import storescp

pytestmark = pytest.mark.integration


def test_film_in_deformed_film_out(tmp_path: Path) -> None:
    weights, digest = write_generator(tmp_path / "weights")
    chest, slice_ = tmp_path / "chest.dcm", tmp_path / "slice.dcm"
    chest.write_bytes(film())
    slice_.write_bytes(ct(PERSON, 1))
    profile = {
        "tags": {"options": ["clean_pixel_data"]},
        "biometrics": {"method": "deformation", "mu": 0.02, "weights": str(weights), "weights_sha256": digest},
    }
    with storescp(tmp_path / "archive") as archive:
        destination = {"archive": {"host": "127.0.0.1", "port": archive.port, "ae_title": "ARCHIVE"}}
        node = NodeProcess(tmp_path / "node", node_config(tmp_path / "node", destination, profile))
        try:
            storescu(node.start(), [chest, slice_])
            node.wait_states(delivered=1, quarantined=1)
            (held,) = node.quarantine()
            assert held["reason"] == "policy_hold" and "not_a_radiograph" in held["detail"]
            (arrived,) = [path for path in archive.folder.iterdir() if not path.name.startswith(".")]
            found = json.loads(node.command("doctor", "--json", check=False).stdout)
            assert next(line for line in found if line["check"] == "biometrics of profile p")["result"] == "ok"
        finally:
            assert node.stop() == 0
    ds, source = pydicom.dcmread(arrived), pydicom.dcmread(chest)
    assert_clean(arrived.read_bytes(), source)
    assert ds.ImageType[0] == "DERIVED" and "mu=0.02" in ds.DerivationDescription
    before, after = picture(), ds.pixel_array
    assert after.shape == before.shape
    moved = np.abs(after[150:].astype(int) - before[150:])
    assert 0 < moved.mean() < 400  # the same film, moved a little


def test_doctor_finds_weights_that_are_not_the_named_ones(tmp_path: Path) -> None:
    weights, _ = write_generator(tmp_path / "weights")
    profile = {"biometrics": {"method": "deformation", "weights": str(weights), "weights_sha256": "0" * 64}}
    config = node_config(tmp_path / "node", {"out": {"directory": str(tmp_path / "out")}}, profile)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "radanon_node", "doctor", "--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "another hash" in done.stdout + done.stderr
