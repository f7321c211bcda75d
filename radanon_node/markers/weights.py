"""The detector's weights file and the description beside it: found, hashed and checked before anything is loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radanon_node.errors import ConfigError
from radanon_node.pipeline.types import Kind

_PACKAGE = Path(__file__).resolve().parents[1]
# In an installed wheel the weights lie inside the package, in a checkout beside it.
_PACKAGED = (_PACKAGE / "packaged_weights" / "markers.onnx", _PACKAGE.parent / "weights" / "markers.onnx")


@dataclass(frozen=True, slots=True)
class Weights:
    """A weights file whose hash has been checked, and what its description says.

    Parameters
    ----------
    path : Path
        ``.onnx`` or ``.pt``.
    sha256 : str
        Lower-case hex digest of the file.
    kinds : tuple of Kind
        What each class index means.
    input_size : int
        Long side, in pixels, that films are scaled to.
    stride : int
        Input sides are multiples of it.
    thresholds : tuple of float
        Calibrated confidence floor of each class.
    pad : int
        Gray level (0..255) around the letterboxed film.
    torch_path : Path or None
        The same weights for torch, hash checked: `path` itself, or the ``.pt`` beside it whose hash the description names.
    """

    path: Path
    sha256: str
    kinds: tuple[Kind, ...]
    input_size: int
    stride: int
    thresholds: tuple[float, ...]
    pad: int
    torch_path: Path | None


def find_weights(path: Path | None, sha256: str | None) -> Weights | None:
    """Check a weights file against its hash and read its description.

    Parameters
    ----------
    path : Path or None
        None means the packaged ``markers.onnx``.
    sha256 : str or None
        The hash the configuration names; for the packaged file None takes the one in ``markers.json``.

    Returns
    -------
    Weights or None
        None only when the packaged file is not installed: what needs it is held, the rest of the node works.

    Raises
    ------
    ConfigError
        File or description missing, unreadable or not what the hash says.
    """
    packaged = path is None
    if path is None:
        path = next((candidate for candidate in _PACKAGED if candidate.is_file()), None)
        if path is None:
            return None
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"worker.weights: {path.name} cannot be read: {error.strerror}") from None
    card = _card(path)
    expected = sha256 or (_declared_hash(card, path) if packaged else None)
    if expected is None:
        raise ConfigError(f"worker.weights_sha256: the hash of {path.name} is named nowhere; it must be {digest}")
    if digest != expected:
        raise ConfigError(f"worker.weights_sha256: {path.name} has another hash than the one named")
    try:
        kinds = tuple(Kind(name) for name in card["classes"])
        thresholds = _thresholds(card.get("thresholds", card.get("threshold", 0.25)), [str(kind) for kind in kinds])
        size, stride = int(card.get("input_size", 1024)), int(card.get("stride", 32))
        pad = int(card.get("pad", 114))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"worker.weights: {path.with_suffix('.json').name} is not a description of marker weights: {error}") from None
    if not kinds or size < stride or stride < 1 or not 0 <= pad <= 255 or not all(0 < value < 1 for value in thresholds):
        raise ConfigError(f"worker.weights: {path.with_suffix('.json').name} has values out of range")
    return Weights(path, digest, kinds, size, stride, thresholds, pad, path if path.suffix == ".pt" else _twin(path, card))


def _card(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    try:
        card = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigError(f"worker.weights: {beside.name} beside {path.name} is missing or no JSON") from None
    if not isinstance(card, dict):
        raise ConfigError(f"worker.weights: {beside.name} is no JSON object")
    return card


def _declared_hash(card: dict[str, Any], path: Path) -> str | None:
    declared = card.get("sha256")
    if isinstance(declared, dict):
        declared = declared.get(path.name) or declared.get(path.suffix.lstrip("."))
    return declared if isinstance(declared, str) else None


def _twin(path: Path, card: dict[str, Any]) -> Path | None:
    twin = path.with_suffix(".pt")
    declared = _declared_hash(card, twin) if isinstance(card.get("sha256"), dict) else None
    if declared is None or not twin.is_file():
        return None
    if hashlib.sha256(twin.read_bytes()).hexdigest() != declared:
        raise ConfigError(f"worker.weights: {twin.name} has another hash than {path.with_suffix('.json').name} names")
    return twin


def _thresholds(value: object, names: list[str]) -> tuple[float, ...]:
    if isinstance(value, dict):
        return tuple(float(value[name]) for name in names)
    if isinstance(value, list):
        if len(value) != len(names):
            raise ValueError("thresholds: one per class")
        return tuple(float(item) for item in value)
    if isinstance(value, int | float):
        return (float(value),) * len(names)
    raise TypeError("thresholds: a number, a list or an object")
