"""The core that evaluation judges is the node's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from radanon_node.markers.yolov5 import YoloV5  # noqa: E402
from radanon_node.training.export import export  # noqa: E402
from radanon_node.training.through_node import CleaningCore  # noqa: E402


def test_a_film_comes_back_unchanged_where_nothing_is_found(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save({"state_dict": YoloV5("n").state_dict()}, tmp_path / "w.pt")
    floors = dict.fromkeys(("side_letter", "text", "symbol"), 0.99)
    weights = export(tmp_path / "w.pt", tmp_path, thresholds=floors, input_size=256)
    core = CleaningCore(weights, hashlib.sha256(weights.read_bytes()).hexdigest(), threads=1)
    gone = core.blackened(np.tile(np.arange(0, 200, 2, dtype=np.uint8), (100, 1)))
    assert gone is not None
    assert gone.shape == (100, 100)
    assert not gone.any()
