"""The marker detector: a YOLOv5 network that finds lead markers, plates and printed words on radiographs, and a second stage behind it.

On a CPU it runs in ONNX Runtime, on CUDA in torch; both give the same boxes (tests/markers/test_engines.py).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import ConfigError, HoldInstance, Reason
from radanon_node.markers.geometry import Placement, adding, candidates, letterbox, overlap, place, suppress, to_film, unpadded
from radanon_node.markers.tiles import tiles_of
from radanon_node.markers.verifier import SHIFT, OnnxVerifier, Verifier, crops_of, moved
from radanon_node.markers.weights import Weights, find_weights, verifier_of
from radanon_node.pipeline.types import Box, Detection, GrayFrame, Kind, Source

_OVERLAP = 0.6
# Boxes of one film that reach the retention pass; far more than any film has markers, and it bounds the time of a noise film.
_MOST = 300
# No candidate below the first reaches the second stage, and of one film at most so many.
_LOWEST = 0.01
_JUDGED = 64
# The detector's part in the two stages' geometric mean.
_DETECTOR = 0.3
# Boxes that both stages together think less of stay where they are.
_WORTH_MOVING = 0.05
# A judged box that lies in better ones up to that share is dropped.
_NOTHING_NEW = 0.9
# Two judged boxes of one side letter: the retention pass would keep the letter in one and black out its end in the other.
_TWINS = 0.45
# Beside a box of that confidence is a marker: what lies on it to that share passes with that part of its kind's floor.
_SURE, _BESIDE, _LENIENT = 0.5, 0.3, 0.6
# A tile's box that lies this deep inside a whole-film box says nothing new.
_COVERED = 0.8


class Engine(Protocol):
    """A loaded network."""

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Raw head rows, shape (n, anchors, 5 + classes), of gray inputs, shape (n, rows, columns)."""


class MarkerDetector:
    """Finds markers on frames of any size; see `load`."""

    def __init__(self, weights: Weights | None, engine: Engine | None, verifier: Verifier | None = None) -> None:
        self._weights = weights
        self._engine = engine
        self._verifier = verifier

    @classmethod
    def load(cls, weights: Path | None = None, sha256: str | None = None, device: str = "auto", threads: int = 2) -> MarkerDetector:
        """Load the network.

        Parameters
        ----------
        weights : Path or None
            ``.onnx``, or ``.pt`` for CUDA; None takes the packaged ones.
        sha256 : str or None
            Their hash, required with `weights`.
        device : str
            ``auto`` (CUDA where there is one), ``cpu``, ``cuda``, ``cuda:1`` ...
        threads : int
            CPU threads of one call.

        Returns
        -------
        MarkerDetector
            If the packaged weights are not installed, one whose `detect` holds every instance.

        Raises
        ------
        ConfigError
            Named weights missing or unreadable, hash different, no such device.
        """
        found = find_weights(weights, sha256)
        return cls(found, *((None, None) if found is None else _engines(found, device, threads)))

    @property
    def model_hash(self) -> str:
        """SHA-256 of the weights; empty if there are none."""
        return self._weights.sha256 if self._weights else ""

    @property
    def thresholds(self) -> dict[str, float]:
        """Calibrated confidence floor of each kind; empty if there are no weights."""
        return {str(kind): floor for kind, floor in zip(self._weights.kinds, self._weights.thresholds)} if self._weights else {}

    def detect(self, frames: Sequence[GrayFrame], min_confidence: float | None = None) -> list[list[Detection]]:
        """Find markers on each frame.

        Parameters
        ----------
        frames : sequence of ndarray of uint8, shape (rows, columns)
            Of any sizes; 0 is displayed black. Frames whose inputs have one shape share a model call. What is found on a
            frame does not depend on the others.
        min_confidence : float or None
            Floor for all kinds instead of the calibrated ones, without `accepted`'s leniency.

        Returns
        -------
        list of list of Detection
            Per frame, best first; boxes inside the frame.

        Raises
        ------
        HoldInstance
            ``MODEL_MISSING`` without weights, ``UNSUPPORTED_PIXELS`` for an array that is no gray frame.
        """
        if self._weights is None or self._engine is None:
            raise HoldInstance(Reason.MODEL_MISSING, "the marker weights are not installed")
        for frame in frames:
            if frame.ndim != 2 or frame.dtype != np.uint8 or not frame.size:
                raise HoldInstance(Reason.UNSUPPORTED_PIXELS, "the marker detector needs a gray frame of 8 bits")
        floors = np.array(self._weights.thresholds if min_confidence is None else [min_confidence] * len(self._weights.kinds), np.float32)
        if self._verifier is None:
            return self._look(frames, floors, self._weights.input_size)[0]
        # The least that a candidate of each kind can have and still pass with a second stage that is certain of it.
        low = np.maximum(floors ** np.float32(1 / _DETECTOR), np.float32(_LOWEST))
        found, reduced = self._look(frames, low, self._weights.input_size)
        return self._verified(frames, reduced, found, floors, strict=min_confidence is not None)

    def candidates(self, frames: Sequence[GrayFrame], floor: float, long_side: int | None = None) -> list[list[Detection]]:
        """What the network alone finds, without the second stage.

        Parameters
        ----------
        frames : sequence of ndarray of uint8, shape (rows, columns)
        floor : float
            Confidence of all kinds.
        long_side : int or None
            That frames are scaled to, instead of the weights' own.

        Returns
        -------
        list of list of Detection
            Per frame, best first.
        """
        assert self._weights is not None
        floors = np.full(len(self._weights.kinds), floor, np.float32)
        return self._look(frames, floors, long_side or self._weights.input_size)[0]

    def _look(
        self, frames: Sequence[GrayFrame], floors: NDArray[np.float32], long_side: int
    ) -> tuple[list[list[Detection]], list[tuple[GrayFrame, float]]]:
        """Candidates of each frame, and each frame as the network saw the whole of it with its scale."""
        assert self._weights is not None
        whole = [place(Box(0, 0, frame.shape[1], frame.shape[0]), long_side, self._weights.stride) for frame in frames]
        inputs = [letterbox(frame, where, self._weights.pad) for frame, where in zip(frames, whole)]
        seen = self._run(inputs)
        found = [self._merge(frame, [(where, raw)], floors) for frame, where, raw in zip(frames, whole, seen)]
        # Where the whole-film look is sure of print, a second look would only find the same again, in pieces.
        jobs = [
            (index, tile)
            for index, (frame, where, items) in enumerate(zip(frames, whole, found))
            for tile in tiles_of(frame, long_side, self._weights.stride, _sure_boxes(items, where.scale))
        ]
        rows = self._run([letterbox(frames[index], tile, self._weights.pad) for index, tile in jobs])
        for index in dict.fromkeys(owner for owner, _ in jobs):
            tiles = [(tile, raw) for (owner, tile), raw in zip(jobs, rows) if owner == index]
            found[index] = self._merge(frames[index], [(whole[index], seen[index]), *tiles], floors)
        return found, [(unpadded(inputs[index], where), where.scale) for index, where in enumerate(whole)]

    def _run(self, inputs: Sequence[GrayFrame]) -> list[NDArray[np.float32]]:
        assert self._engine is not None
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, picture in enumerate(inputs):
            groups.setdefault(picture.shape, []).append(number)
        rows: dict[int, NDArray[np.float32]] = {}
        for numbers in groups.values():
            rows.update(zip(numbers, self._engine(np.stack([inputs[number] for number in numbers]))))
        return [rows[number] for number in range(len(inputs))]

    def _verified(
        self,
        frames: Sequence[GrayFrame],
        reduced: Sequence[tuple[GrayFrame, float]],
        found: Sequence[Sequence[Detection]],
        floors: NDArray[np.float32],
        strict: bool,
    ) -> list[list[Detection]]:
        """Candidates with the confidence that both stages give them, best first: `accepted` ones, or `strict` above the floors alone.

        What one frame has beyond `_JUDGED` candidates keeps the detector's own confidence: no faint marker is dropped unseen, and
        a noise film costs no more than others.
        """
        assert self._weights is not None and self._verifier is not None
        if not any(found):
            return [[] for _ in found]
        parts = [
            crops_of(frame, [d.box for d in items[:_JUDGED]], max(frame.shape) / self._weights.input_size, small if small[1] < 1 else None)
            for frame, small, items in zip(frames, reduced, found)
        ]
        rows = iter(self._verifier(np.concatenate([crops for crops, _ in parts]), np.concatenate([sizes for _, sizes in parts])))
        least = {str(kind): float(floor) for kind, floor in zip(self._weights.kinds, floors)}
        out = []
        for frame, items in zip(frames, found):
            judged = [_seen_again(d, next(rows), 2 + len(least), frame.shape) for d in items[:_JUDGED]]
            ranked = sorted((*judged, *items[_JUDGED:]), key=lambda d: -d.confidence)
            kept = _without_twins([d for d in ranked if d.confidence >= least[d.kind]] if strict else accepted(ranked, least))
            out.append([kept[number] for number in adding([d.box for d in kept], _NOTHING_NEW)])
        return out

    def _merge(self, frame: GrayFrame, parts: list[tuple[Placement, NDArray[np.float32]]], floors: NDArray[np.float32]) -> list[Detection]:
        assert self._weights is not None
        found: list[Detection] = []
        for where, raw in parts:
            corners, confidence, classes = candidates(raw, floors)
            for best in suppress(corners[: 8 * _MOST], _OVERLAP)[:_MOST]:
                box = to_film(corners[best], where).clipped(*frame.shape)
                if box.width <= 0 or box.height <= 0:
                    continue
                if any(box.intersection(other.box).area > _COVERED * box.area for other in found if where is not parts[0][0]):
                    continue
                found.append(Detection(box, self._weights.kinds[classes[best]], float(confidence[best]), Source.MARKER_MODEL))
        return sorted(found, key=lambda item: -item.confidence)[:_MOST]


def accepted(found: Sequence[Detection], floors: Mapping[str, float]) -> list[Detection]:
    """Which detections count.

    A tilted or crowded marker is found in pieces, one of them sure and the others less so.

    Parameters
    ----------
    found : sequence of Detection
        Best first.
    floors : mapping of str to float
        Least confidence of each kind; three fifths of it are enough beside a box that is sure.

    Returns
    -------
    list of Detection
        Best first.
    """
    strong = [d.box for d in found if d.confidence >= max(_SURE, floors[d.kind])]
    return [
        d
        for d in found
        if d.confidence >= floors[d.kind]
        or (d.confidence >= _LENIENT * floors[d.kind] and any(d.box.intersection(box).area >= _BESIDE * d.box.area for box in strong))
    ]


def _sure_boxes(found: Sequence[Detection], scale: float) -> list[Box]:
    """What a look at that scale is sure of, with the pixels that its boxes may be off."""
    return [d.box.grown(math.ceil(2 / scale)) for d in found if d.confidence >= _SURE]


def _without_twins(found: Sequence[Detection]) -> list[Detection]:
    """Best first; without the second box of a side letter. Print keeps its own: what one box lacks of a line, another may have."""
    out: list[Detection] = []
    for d in found:
        if d.kind is not Kind.SIDE_LETTER or not any(o.kind is d.kind and overlap(o.box, d.box) > _TWINS for o in out):
            out.append(d)
    return out


def _seen_again(candidate: Detection, row: NDArray[np.float32], shift_at: int, shape: tuple[int, ...]) -> Detection:
    """A candidate with the confidence of both stages, its box where the second one sees the item."""
    judged = replace(candidate, confidence=_together(candidate.confidence, 1 - float(row[0])))
    if len(row) < shift_at + SHIFT or judged.confidence < _WORTH_MOVING:
        return judged
    better = moved(candidate.box, row[shift_at:]).clipped(shape[0], shape[1])
    return replace(judged, box=better) if better.width > 2 and better.height > 2 else judged


def _together(detector: float, verifier: float) -> float:
    return float(detector**_DETECTOR * max(verifier, 0.0) ** (1 - _DETECTOR))


def _engines(weights: Weights, device: str, threads: int) -> tuple[Engine, Verifier | None]:
    # Importing torch costs seconds and hundreds of megabytes: only where there is a driver, or nothing else can run the file.
    cuda = device.startswith("cuda") or (device == "auto" and weights.torch_path is not None and Path("/dev/nvidiactl").exists())
    if not cuda and weights.path.suffix != ".pt":
        from radanon_node.markers.engine_onnx import OnnxEngine

        engine = OnnxEngine(weights.path, threads)
        return engine, _onnx_verifier(weights, engine.verifier_sha256, threads)
    if weights.torch_path is None:
        raise ConfigError(f"worker.device: {device} needs the weights as .pt beside {weights.path.name}, their hash named beside them")
    try:
        from radanon_node.markers.engine_torch import TorchEngine
    except ImportError:
        raise ConfigError(f"worker.device: {device} needs torch (the extra [cuda])") from None
    torch = TorchEngine(weights.torch_path, len(weights.kinds), "cuda" if cuda and device == "auto" else device, threads)
    return torch, torch.verifier


def _onnx_verifier(weights: Weights, sha256: str, threads: int) -> Verifier | None:
    """The second stage whose hash the weights file itself names."""
    path = weights.verifier_path
    if not sha256 and path is None:
        return None
    if path is None or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ConfigError(f"worker.weights: {verifier_of(weights.path).name} is missing or not the one that belongs to {weights.path.name}")
    return OnnxVerifier(path, len(weights.kinds), threads)
