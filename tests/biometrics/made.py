"""Small generators made for tests: ONNX graphs that give a known field, and their descriptions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 64


def write_generator(folder: Path, mu: float = 0.02, gain: float = 3.0) -> tuple[Path, str]:
    """A network whose field depends on the film: tanh of two blurred derivatives.

    Returns
    -------
    (Path, str)
        The .onnx, and its SHA-256; the description lies beside it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reach = np.arange(-4, 5, dtype=np.float32)
    slope = np.outer(np.exp(-(reach**2) / 8), reach * np.exp(-(reach**2) / 8)).astype(np.float32) * gain
    kernel = numpy_helper.from_array(np.stack([slope, slope.T])[:, None], "kernel")
    nodes = [
        helper.make_node("Conv", ["film", "kernel"], ["slopes"], kernel_shape=[9, 9], pads=[4, 4, 4, 4]),
        helper.make_node("Tanh", ["slopes"], ["flow"]),
    ]
    film = helper.make_tensor_value_info("film", TensorProto.FLOAT, [1, 1, SIDE, SIDE])
    flow = helper.make_tensor_value_info("flow", TensorProto.FLOAT, [1, 2, SIDE, SIDE])
    graph = helper.make_graph(nodes, "generator", [film], [flow], [kernel])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "generator.onnx"
    onnx.save(model, str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps({"side": SIDE, "mu": mu, "sha256": digest}))
    return path, digest
