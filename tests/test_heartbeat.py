"""What a node says of its machine's GPUs, with and without NVIDIA's library."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from radanon_node.heartbeat import gpu_load


class NVMLError(Exception):
    pass


def library(fails: str = "") -> SimpleNamespace:
    """Stands in for the module pynvml: two GPUs; the call named `fails` does."""
    closed: list[bool] = []

    def call(name: str, value: object) -> object:
        def answer(*arguments: object) -> object:
            if name == fails:
                raise NVMLError(name)
            return value
        return answer

    return SimpleNamespace(
        NVMLError=NVMLError, closed=closed, nvmlInit=call("nvmlInit", None), nvmlDeviceGetCount=call("nvmlDeviceGetCount", 2),
        nvmlDeviceGetHandleByIndex=lambda index: index, nvmlShutdown=lambda: closed.append(True),
        nvmlDeviceGetMemoryInfo=call("nvmlDeviceGetMemoryInfo", SimpleNamespace(used=2**30, total=2**34)),
        nvmlDeviceGetUtilizationRates=call("nvmlDeviceGetUtilizationRates", SimpleNamespace(gpu=37)))


def test_each_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = library()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    assert gpu_load() == [{"load": 37.0, "memory_used": 2.0**30, "memory": 2.0**34}] * 2
    assert fake.closed == [True]


@pytest.mark.parametrize("fails", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetUtilizationRates"])
def test_a_driver_that_does_not_answer_is_no_gpu(monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library(fails))
    assert gpu_load() == []


def test_without_the_library_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_load() == []
