"""Reads YOLOv5 checkpoints, the original's and ours, without running any code that is in them."""

from __future__ import annotations

import math
import pickle
import types
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from radanon_node.errors import ConfigError
from radanon_node.markers.yolov5 import SIZES, YoloV5


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds that matters here.

    Parameters
    ----------
    size : str
        n, s, m, l or x, from the shapes.
    nc, channels : int
        Number of classes and of input channels.
    names : tuple of str
        Of the classes, empty where the file has none.
    state : dict of str to Tensor
        float32; loads strictly into ``YoloV5(size, nc, channels=channels)``.
    verifier : dict of str to Tensor
        Of the second stage (`markers.verifier_net`); empty where the file has none.
    """

    size: str
    nc: int
    channels: int
    names: tuple[str, ...]
    state: dict[str, Tensor]
    verifier: dict[str, Tensor] = field(default_factory=dict)

    def build(self) -> YoloV5:
        """The network with these weights, in evaluation mode."""
        net = YoloV5(self.size, self.nc, channels=self.channels)
        net.load_state_dict(self.state)
        return net.eval()


class _Inert:
    """Stands in for every class of the original package: keeps the pickled state, has no behaviour."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


def _inert_call(*args: object, **kwargs: object) -> _Inert:
    return _Inert()


_INERT_PREFIXES = ("models.", "yolov5.models.", "utils.", "yolov5.utils.", "torch.nn.modules.")
_REAL = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,  # as pickle protocol 2 spells it
    ("builtins", "slice"): slice,
    **{("torch", name): getattr(torch, name) for name in ("float32", "float16", "bfloat16", "int64", "int32", "uint8", "bool")},
}
_DROPPED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("argparse", "Namespace"),
    ("datetime", "datetime"),
}


class _AllowList(pickle.Unpickler):
    """Builds tensors and containers; every other class becomes `_Inert` or is refused. Nothing of the file is ever called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _REAL:
            return _REAL[module, name]
        if (module, name) in _DROPPED or (module == "torch.nn.parameter" and name == "Parameter"):
            return _inert_call if (module, name) in _DROPPED else torch.nn.Parameter
        if module.startswith(_INERT_PREFIXES):
            return _Inert
        raise pickle.UnpicklingError(f"the checkpoint names {module}.{name}, which is not on the list of what a YOLOv5 checkpoint needs")


def _pickle_module() -> types.ModuleType:
    module = types.ModuleType("radanon_allow_list_pickle")
    module.__dict__.update(Unpickler=_AllowList, UnpicklingError=pickle.UnpicklingError, load=pickle.load)
    return module


def _collect(module: object, prefix: str, into: dict[str, Tensor]) -> None:
    """The state dict of a pickled ``nn.Module`` from its recorded attributes."""
    held = module.__dict__
    for name in ("_parameters", "_buffers"):
        for key, value in held.get(name, {}).items():
            if isinstance(value, Tensor):
                into[prefix + key] = value.detach()
    for key, child in held.get("_modules", {}).items():
        if child is not None:
            _collect(child, f"{prefix}{key}.", into)


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    return tuple(str(name) for name in value) if isinstance(value, (list, tuple)) else ()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a YOLOv5 v6/v7 checkpoint: the original's (`ema`/`model` are pickled modules) or ours (`state_dict` and plain values).

    No code of the file runs: an unpickler with an allow-list builds tensors and containers only.

    Raises
    ------
    ConfigError
        Not readable, names something that is not allowed, or is no unfused YOLOv5 n/s/m/l/x detection model.
    """
    try:
        held = torch.load(path, map_location="cpu", pickle_module=_pickle_module(), weights_only=False)
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise ConfigError(f"weights {path.name}: cannot be read as a YOLOv5 checkpoint ({type(error).__name__}: {error})") from error
    state: dict[str, Tensor] = {}
    names: object = ()
    if isinstance(held, dict):
        model = held.get("ema") or held.get("model") or held.get("state_dict") or {}
        names = held.get("names", ())
    else:
        model = held
    if isinstance(model, _Inert):
        _collect(model, "", state)
        names = getattr(model, "names", names)
    elif isinstance(model, dict):
        state = {str(key): value for key, value in model.items() if isinstance(value, Tensor)}
    state = {key: (value.float() if value.is_floating_point() else value) for key, value in state.items() if "anchor_grid" not in key}
    first, head, deep = state.get("model.0.conv.weight"), state.get("model.24.m.0.weight"), state.get("model.24.anchors")
    if first is None or head is None or deep is None:
        raise ConfigError(f"weights {path.name}: no YOLOv5 v6/v7 detection model in it")
    nc = head.shape[0] // deep.shape[1] - 5
    repeats = len({key.split(".")[3] for key in state if key.startswith("model.4.m.")})
    like = [s for s, (d, w) in SIZES.items() if math.ceil(64 * w / 8) * 8 == first.shape[0] and max(round(6 * d), 1) == repeats]
    if not like:
        raise ConfigError(f"weights {path.name}: not one of the sizes {', '.join(SIZES)}")
    second = held.get("verifier") if isinstance(held, dict) else None
    verifier = {str(key): value for key, value in second.items() if isinstance(value, Tensor)} if isinstance(second, dict) else {}
    found = Checkpoint(like[0], nc, int(first.shape[1]), _names(names), state, verifier)
    problems = _problems(found)
    if problems:
        raise ConfigError(f"weights {path.name}: {problems}")
    return found


def _problems(checkpoint: Checkpoint) -> str:
    """What keeps the state from loading strictly; empty if nothing does."""
    want = YoloV5(checkpoint.size, checkpoint.nc, channels=checkpoint.channels).state_dict()
    missing = [key for key in want if key not in checkpoint.state]
    extra = [key for key in checkpoint.state if key not in want]
    wrong = [key for key in want if key in checkpoint.state and want[key].shape != checkpoint.state[key].shape]
    if not (missing or extra or wrong):
        return ""
    return f"{len(missing)} parameters missing, {len(extra)} unknown, {len(wrong)} of another shape: not an unfused YOLOv5{checkpoint.size}"
