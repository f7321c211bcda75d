"""What is exported computes what was trained."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
ort = pytest.importorskip("onnxruntime")

from torch import nn  # noqa: E402

from radanon_node.errors import ConfigError  # noqa: E402
from radanon_node.markers.checkpoint import read_checkpoint  # noqa: E402
from radanon_node.markers.yolov5 import YoloV5  # noqa: E402
from radanon_node.training.export import export  # noqa: E402

_FLOORS = {"side_letter": 0.1, "text": 0.2, "symbol": 0.3}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    net = YoloV5("n").eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 1.5)
    folder = tmp_path_factory.mktemp("export")
    torch.save({"state_dict": net.state_dict()}, folder / "best.pt")
    return export(folder / "best.pt", folder / "out", thresholds=_FLOORS, card={"recipe": {"seed": 1}})


def test_the_graph_gives_the_networks_boxes_at_any_size_and_batch(exported: Path) -> None:
    session = ort.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    net = read_checkpoint(exported.with_suffix(".pt")).build()
    for shape in ((1, 1, 64, 96), (3, 1, 128, 64)):
        x = np.random.default_rng(0).random(shape, np.float32)
        (rows,) = session.run(None, {"images": x})
        with torch.no_grad():
            want = net.decode(net(torch.from_numpy(x).expand(-1, 3, -1, -1)))
        np.testing.assert_allclose(rows, want.numpy(), rtol=2e-3, atol=2e-3)


def test_the_description_names_hashes_classes_and_floors(exported: Path) -> None:
    card = json.loads(exported.with_suffix(".json").read_text())
    for name, digest in card["sha256"].items():
        assert hashlib.sha256((exported.parent / name).read_bytes()).hexdigest() == digest
    assert card["classes"] == list(_FLOORS)
    assert card["thresholds"] == _FLOORS
    assert card["recipe"] == {"seed": 1}


def test_the_node_loads_what_was_exported(exported: Path) -> None:
    from radanon_node.markers.detector import MarkerDetector

    detector = MarkerDetector.load(exported, hashlib.sha256(exported.read_bytes()).hexdigest(), "cpu", 1)
    assert detector.thresholds == _FLOORS
    assert len(detector.detect([np.zeros((70, 50), np.uint8)])) == 1


def test_weights_of_other_classes_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": YoloV5("n", nc=80).state_dict()}, tmp_path / "coco.pt")
    with pytest.raises(ConfigError, match="80 classes"):
        export(tmp_path / "coco.pt", tmp_path, thresholds=_FLOORS)
