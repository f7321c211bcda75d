"""ONNX Runtime and torch run one network: the same boxes, and no film's result depends on the rest of its batch."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from radanon_node.errors import ConfigError
from radanon_node.markers.detector import MarkerDetector
from radanon_node.pipeline.types import Detection

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained YOLOv5n, eager to see things, as .pt and .onnx with a description."""
    from radanon_node.markers.yolov5 import YoloV5

    class Exported(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self, net: YoloV5) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: object) -> object:
            return self.net.decode(self.net(x))

    torch.manual_seed(3)
    net = YoloV5("n", 3)
    with torch.no_grad():  # statistics of noise films, so that scores differ from place to place as a trained net's do
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        net(torch.from_numpy(np.stack([np.stack([film] * 3) for film in films(8)[::2]])).float() / 255)
        for head in net.head.m:
            head.weight.mul_(3)
            head.bias.view(3, -1)[:, 4:] = 0
    net.eval()
    folder = tmp_path_factory.mktemp("weights")
    torch.save({"state_dict": net.state_dict(), "names": ["side_letter", "text", "symbol"]}, folder / "markers.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {"images": {0: "n", 2: "h", 3: "w"}, "rows": {0: "n", 1: "a"}}
        torch.onnx.export(Exported(net), (torch.zeros(1, 3, 64, 96),), str(folder / "markers.onnx"), input_names=["images"],
                          output_names=["rows"], dynamic_axes=axes, dynamo=False)
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    card = {"classes": ["side_letter", "text", "symbol"], "input_size": 256, "stride": 32, "thresholds": 0.25, "sha256": digests}
    (folder / "markers.json").write_text(json.dumps(card))
    return folder / "markers.onnx"


def load(path: Path, device: str = "cpu") -> MarkerDetector:
    return MarkerDetector.load(path, hashlib.sha256(path.read_bytes()).hexdigest(), device, 1)


def films(count: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(5)
    sizes = [(int(rng.integers(2, 9)) * 32, 256) if number % 2 else (256, 192) for number in range(count)]
    return [rng.integers(0, 256, size, np.uint8) for size in sizes]


def test_a_films_result_is_the_same_alone_and_in_any_batch(weights: Path) -> None:
    finder, frames = load(weights), films(9)
    alone = [finder.detect([frame])[0] for frame in frames]
    assert any(alone)
    assert finder.detect(frames) == alone
    assert finder.detect(frames[::-1]) == alone[::-1]
    assert finder.detect(frames[2:7]) == alone[2:7]


def test_both_engines_find_the_same_boxes(weights: Path) -> None:
    by_onnx, by_torch = load(weights), load(weights.with_suffix(".pt"))
    for frame in films(6):
        (one,), (other,) = by_onnx.detect([frame]), by_torch.detect([frame])
        # A score within a hair of the floor may fall on either side of it.
        clear = [item for item in one if item.confidence > 0.26]
        assert clear
        for item in clear:
            assert any(like(item, match) for match in other)


def like(one: Detection, other: Detection) -> bool:
    corners = zip((one.box.x0, one.box.y0, one.box.x1, one.box.y1), (other.box.x0, other.box.y0, other.box.x1, other.box.y1))
    return one.kind is other.kind and abs(one.confidence - other.confidence) < 0.01 and all(abs(a - b) <= 1 for a, b in corners)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_half_precision_on_cuda_finds_the_same_and_does_not_depend_on_the_batch(weights: Path) -> None:
    by_onnx, by_cuda, frames = load(weights), load(weights, "cuda"), films(20)
    together = by_cuda.detect(frames)
    assert together == [by_cuda.detect([frame])[0] for frame in frames]
    for frame, found in zip(frames, together):
        for item in by_onnx.detect([frame])[0]:
            assert item.confidence < 0.3 or any(item.box.intersection(match.box).area > 0.8 * item.box.area for match in found)


def test_cuda_where_there_is_none_is_a_clear_error(weights: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match=r"worker\.device"):
        load(weights, "cuda")


def test_weights_for_torch_are_checked_too(weights: Path, tmp_path: Path) -> None:
    for path in weights.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "markers.pt").open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(ConfigError, match=r"markers\.pt has another hash"):
        load(tmp_path / "markers.onnx")
