"""The marker detector: a YOLOv5 network that finds lead markers, plates and printed words on radiographs, and a second stage behind it.

On a CPU it runs in ONNX Runtime, on CUDA in torch; both give the same boxes (tests/markers/test_engines.py).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import ConfigError, HoldInstance, Reason
from radanon_node.markers.geometry import Placement, candidates, letterbox, place, suppress, to_film, unpadded
from radanon_node.markers.second_look import DETECTOR, SURE, second_look
from radanon_node.markers.tiles import tiles_of
from radanon_node.markers.verifier import OnnxVerifier, Verifier
from radanon_node.markers.weights import Weights, find_weights, verifier_of
from radanon_node.pipeline.types import Box, Detection, GrayFrame, Source

_OVERLAP = 0.6
# Boxes of one film that reach the retention pass; far more than any film has markers, and it bounds the time of a noise film.
_MOST = 300
# No candidate below it reaches the second stage.
_LOWEST = 0.01
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
            Floor for all kinds instead of the calibrated ones, without `second_look.accepted`'s leniency.

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
        side, verifier = self._weights.input_size, self._verifier
        if verifier is None:
            return [found for found, _ in self._look(frames, floors, side)]
        # The least that a candidate of each kind can have and still pass with a second stage that is certain of it.
        low = np.maximum(floors ** np.float32(1 / DETECTOR), np.float32(_LOWEST))
        least = {str(kind): float(floor) for kind, floor in zip(self._weights.kinds, floors)}
        return [
            second_look(verifier, frame, found, max(frame.shape) / side, small, least, strict=min_confidence is not None)
            for frame, (found, small) in zip(frames, self._look(frames, low, side))
        ]

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
        return [found for found, _ in self._look(frames, floors, long_side or self._weights.input_size)]

    def _look(
        self, frames: Sequence[GrayFrame], floors: NDArray[np.float32], long_side: int
    ) -> list[tuple[list[Detection], tuple[GrayFrame, float] | None]]:
        """Candidates of each frame, best first, and the whole frame as the network saw it with its scale; None where it was not reduced."""
        assert self._weights is not None
        whole = [place(Box(0, 0, frame.shape[1], frame.shape[0]), long_side, self._weights.stride) for frame in frames]
        inputs = [letterbox(frame, where, self._weights.pad) for frame, where in zip(frames, whole)]
        found = [self._boxes(frame, where, raw, floors) for frame, where, raw in zip(frames, whole, self._run(inputs))]
        # Where the whole-film look is sure of print, a second look would only find the same again, in pieces.
        jobs = [
            (index, tile)
            for index, (frame, where, items) in enumerate(zip(frames, whole, found))
            for tile in tiles_of(frame, long_side, self._weights.stride, _sure_boxes(items, where.scale))
        ]
        for (index, tile), raw in zip(jobs, self._run([letterbox(frames[index], tile, self._weights.pad) for index, tile in jobs])):
            for one in self._boxes(frames[index], tile, raw, floors):
                if not any(one.box.intersection(other.box).area > _COVERED * one.box.area for other in found[index]):
                    found[index].append(one)
        ranked = [sorted(items, key=lambda d: -d.confidence)[:_MOST] for items in found]
        reduced = [(unpadded(seen, where), where.scale) if where.scale < 1 else None for seen, where in zip(inputs, whole)]
        return list(zip(ranked, reduced))

    def _run(self, inputs: Sequence[GrayFrame]) -> list[NDArray[np.float32]]:
        assert self._engine is not None
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, picture in enumerate(inputs):
            groups.setdefault(picture.shape, []).append(number)
        rows: dict[int, NDArray[np.float32]] = {}
        for numbers in groups.values():
            rows.update(zip(numbers, self._engine(np.stack([inputs[number] for number in numbers]))))
        return [rows[number] for number in range(len(inputs))]

    def _boxes(self, frame: GrayFrame, where: Placement, raw: NDArray[np.float32], floors: NDArray[np.float32]) -> list[Detection]:
        """The candidates of one look, best first, in pixels of the frame."""
        assert self._weights is not None
        corners, confidence, classes = candidates(raw, floors)
        found: list[Detection] = []
        for best in suppress(corners[: 8 * _MOST], _OVERLAP)[:_MOST]:
            box = to_film(corners[best], where).clipped(*frame.shape)
            if box.width > 0 and box.height > 0:
                found.append(Detection(box, self._weights.kinds[classes[best]], float(confidence[best]), Source.MARKER_MODEL))
        return found


def _sure_boxes(found: Sequence[Detection], scale: float) -> list[Box]:
    """What a look at that scale is sure of, with the pixels that its boxes may be off."""
    return [d.box.grown(math.ceil(2 / scale)) for d in found if d.confidence >= SURE]


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
