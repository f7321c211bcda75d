"""From a checkpoint to what the node loads: ``markers.onnx``, ``markers.pt`` and the description ``markers.json``."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from radanon_node.errors import ConfigError
from radanon_node.markers.checkpoint import read_checkpoint
from radanon_node.markers.engine_onnx import VERIFIER_KEY
from radanon_node.markers.verifier import BATCH, SIDE
from radanon_node.markers.verifier_net import Probabilities, VerifierNet, build
from radanon_node.markers.weights import verifier_of
from radanon_node.markers.yolov5 import Conv, YoloV5
from radanon_node.training.synth.markers import CLASSES


class _Graph(nn.Module):
    """Gray input to decoded boxes, batch normalisation folded in."""

    def __init__(self, net: YoloV5) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.decode(self.net(x))


def gray(net: YoloV5) -> YoloV5:
    """The same network for one channel: a gray film in three equal channels and the sum of the first kernel over them are one."""
    first = cast(Conv, net.model[0]).conv
    if first.in_channels == 1:
        return net
    summed = nn.Conv2d(
        1, first.out_channels, cast(int, first.kernel_size), cast(int, first.stride), cast(int, first.padding), bias=first.bias is not None
    )
    with torch.no_grad():
        summed.weight.copy_(first.weight.sum(1, keepdim=True))
        if first.bias is not None:
            cast(Tensor, summed.bias).copy_(first.bias)
    cast(Conv, net.model[0]).conv = summed
    net.channels = 1
    return net


def write_onnx(net: YoloV5, path: Path, side: int = 256) -> None:
    """Write the fused graph.

    Input ``images``: float32 (N, 1, H, W) in 0..1, H and W multiples of 32. Output ``output0``: float32 (N, boxes, 5 + classes), centre
    x, y, width, height in input pixels, objectness, class probabilities, before non-maximum suppression, as YOLOv5's own export.
    """
    graph = _Graph(gray(net.eval().fuse())).eval()
    dynamic = {"images": {0: "batch", 2: "height", 3: "width"}, "output0": {0: "batch", 1: "boxes"}}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (torch.zeros(1, 1, side, side),),
            str(path),
            input_names=["images"],
            output_names=["output0"],
            dynamic_axes=dynamic,
            opset_version=17,
            dynamo=False,
        )


def write_verifier(net: VerifierNet, path: Path) -> None:
    """Write the second stage: inputs ``crops`` (uint8, (4, 4, 64, 64)) and ``sizes`` (float32, (4, 3)), output (4, 2 + classes)."""
    graph = Probabilities(net.eval()).eval()
    inputs = (torch.zeros(BATCH, 4, SIDE, SIDE, dtype=torch.uint8), torch.zeros(BATCH, 3))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph, inputs, str(path), input_names=["crops", "sizes"], output_names=["rows"], opset_version=17, dynamo=False
        )


def _name_verifier(path: Path, sha256: str) -> None:
    """Write the second stage's hash into the graph's metadata: the hash of this file then vouches for both."""
    import onnx

    model = onnx.load(str(path))
    entry = model.metadata_props.add()
    entry.key, entry.value = VERIFIER_KEY, sha256
    onnx.save(model, str(path))


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def export(
    checkpoint: Path,
    out: Path,
    *,
    thresholds: Mapping[str, float],
    input_size: int = 1024,
    name: str = "markers",
    card: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``NAME.onnx``, ``NAME.pt`` and ``NAME.json`` into `out`; ``NAME.verifier.onnx`` if the checkpoint has a second stage.

    Parameters
    ----------
    checkpoint : Path
        Ours or YOLOv5's own, with the three marker classes.
    out : Path
        Folder, made if absent.
    thresholds : mapping of str to float
        Calibrated confidence floor per class.
    input_size : int
        Long side that films are scaled to.
    name : str
        Of the three files.
    card : mapping or None
        More to put into the description: recipe, figures, provenance.

    Returns
    -------
    Path
        The ``.onnx``.

    Raises
    ------
    ConfigError
        The checkpoint cannot be read or has other classes.
    """
    held = read_checkpoint(checkpoint)
    if held.nc != len(CLASSES):
        raise ConfigError(f"weights {checkpoint.name}: {held.nc} classes; a marker detector has {', '.join(CLASSES)}")
    out.mkdir(parents=True, exist_ok=True)
    onnx, pt = out / f"{name}.onnx", out / f"{name}.pt"
    second = verifier_of(onnx)
    # Half precision on disk: half the size, and the node's CUDA engine computes in it anyway.
    state = {k: (v.half() if v.is_floating_point() and "anchors" not in k else v) for k, v in held.state.items()}
    saved = {"state_dict": state, "names": list(CLASSES), "size": held.size, "nc": held.nc}
    if held.verifier:
        saved["verifier"] = {k: (v.half() if v.is_floating_point() else v) for k, v in held.verifier.items()}
    torch.save(saved, pt)
    # The graphs are made from what was saved, so that both engines compute with the same numbers.
    kept = read_checkpoint(pt)
    write_onnx(kept.build(), onnx)
    files = [onnx, pt]
    if kept.verifier:
        write_verifier(build(kept.verifier, kept.nc), second)
        _name_verifier(onnx, digest(second))
        files.append(second)
    description = {
        "name": name,
        "architecture": f"YOLOv5{held.size} (v6/v7)",
        "sha256": {file.name: digest(file) for file in files},
        "classes": list(CLASSES),
        "input_size": input_size,
        "stride": 32,
        "pad": 0,
        "thresholds": {k: round(float(v), 4) for k, v in thresholds.items()},
        "input": "float32 (N, 1, H, W), 0..1, 0 = displayed black, H and W multiples of 32",
        "output": "float32 (N, boxes, 5 + classes): centre x, y, width, height in input pixels, objectness, class probabilities",
        **(card or {}),
    }
    (out / f"{name}.json").write_text(json.dumps(description, indent=1, ensure_ascii=False) + "\n")
    return onnx
