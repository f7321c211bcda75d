"""Denormal numbers are zero inside a network, on whatever thread calls it, and what they were outside."""

from __future__ import annotations

import platform
import threading

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from radanon_node.onnx_session import Network, open_session

TINY = np.float32(1e-30)


def _product() -> Network:
    """A network of one multiplication by 1e-10."""
    factor = helper.make_tensor("factor", TensorProto.FLOAT, [1], [1e-10])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [64]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "factor"], ["y"])], "product", [x], [y], [factor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    entry = model.metadata_props.add()
    entry.key, entry.value = "what", "a product"
    onnx.checker.check_model(model)
    return open_session(model.SerializeToString(), 1)


def _tiny_here() -> bool:
    return bool(TINY * np.float32(1e-10) > 0)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="denormal numbers cost nothing there")
def test_denormals_are_zero_inside_and_kept_outside() -> None:
    product = _product()
    assert _tiny_here(), "opening a network changed this thread"
    assert not product.run(None, {"x": np.full(64, TINY)})[0].any()
    assert product.run(None, {"x": np.ones(64, np.float32)})[0] == pytest.approx(np.full(64, 1e-10))
    assert _tiny_here(), "running a network changed this thread"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="denormal numbers cost nothing there")
def test_the_same_on_another_thread_than_the_one_that_opened_it() -> None:
    product = _product()
    seen: list[object] = []

    def look() -> None:
        seen.append(product.run(None, {"x": np.full(64, TINY)})[0].any())
        seen.append(_tiny_here())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [False, True]


def test_a_failing_run_leaves_the_thread_as_it_was() -> None:
    product = _product()
    with pytest.raises(Exception, match="x"):
        product.run(None, {"x": np.ones(3, np.float32)})
    assert _tiny_here()


def test_metadata() -> None:
    assert _product().metadata["what"] == "a product"
