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
    verifier_path : Path or None
        The second stage beside an ``.onnx``, hash checked against the description; a ``.pt`` holds its own. The detector checks
        it again, against the hash inside the weights file, so that `sha256` vouches for both.
    """

    path: Path
    sha256: str
    kinds: tuple[Kind, ...]
    input_size: int
    stride: int
    thresholds: tuple[float, ...]
    pad: int
    torch_path: Path | None
    verifier_path: Path | None = None


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
    torch_path = path if path.suffix == ".pt" else _beside(path.with_suffix(".pt"), path, card, optional=True)
    verifier_path = None if path.suffix == ".pt" else _beside(verifier_of(path), path, card)
    return Weights(path, digest, kinds, size, stride, thresholds, pad, torch_path, verifier_path)


def verifier_of(path: Path) -> Path:
    """Where the second stage of an ``.onnx`` lies: beside it, ``NAME.verifier.onnx``."""
    return path.with_name(f"{path.stem}.verifier.onnx")


def _card(path: Path) -> dict[str, Any]:
    beside = path.with_suffix(".json")
    try:
        card = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigError(f"worker.weights: {beside.name} beside {path.name} is missing or no JSON") from None
    if not isinstance(card, dict):
        raise ConfigError(f"worker.weights: {beside.name} is no JSON object")
    return card


def _declared_hash(card: dict[str, Any], path: Path, exact: bool = False) -> str | None:
    declared = card.get("sha256")
    if isinstance(declared, dict):
        declared = declared.get(path.name) or (None if exact else declared.get(path.suffix.lstrip(".")))
    return declared if isinstance(declared, str) else None


def _beside(file: Path, path: Path, card: dict[str, Any], optional: bool = False) -> Path | None:
    """A file that belongs to the weights if the description names its hash; an optional one may be left out of an installation."""
    declared = _declared_hash(card, file, exact=file.suffix != ".pt") if isinstance(card.get("sha256"), dict) else None
    if declared is None or (optional and not file.is_file()):
        return None
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"worker.weights: {file.name}, which belongs to {path.name}, cannot be read: {error.strerror}") from None
    if digest != declared:
        raise ConfigError(f"worker.weights: {file.name} has another hash than {path.with_suffix('.json').name} names")
    return file


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
