"""The second look at each candidate: a small network sees it close up and with its surroundings, and says what it is, if anything.

The detector runs with a low floor, so that faint markers are among its candidates; what this network takes for bone, clips or
connectors loses its confidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import ConfigError
from radanon_node.onnx_session import open_session
from radanon_node.pipeline.types import Box, GrayFrame

SIDE = 64
"""Both pictures of a candidate are squares of this many pixels."""

BATCH = 4
"""Every call of the network has this many candidates (the rest is empty), so that no answer depends on its neighbours."""

SHIFT = 4
"""Figures of a shift, see `moved`."""

_FARTHEST, _ROUNDING = 1.2, 0.001
_SHARPEST = 160
"""Squares up to this many film pixels are cut from the film itself, larger ones from the reduced film that the detector saw."""


class Verifier(Protocol):
    """A loaded second stage."""

    def __call__(self, crops: NDArray[np.uint8], sizes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of nothing and of each class, the expected IoU, and a shift where the network has learnt one.

        Shape (n, 2 + classes) or (n, 6 + classes), of `crops_of`'s arrays.
        """


def _square(image: GrayFrame, box: tuple[float, float, float, float], side: float) -> tuple[GrayFrame, NDArray[np.uint8]]:
    """A square of about `side` pixels around a box, scaled to `SIDE`, black outside the image; and the box as a mask on it."""
    whole = max(round(side), 8)
    x, y = round((box[0] + box[2] - whole) / 2), round((box[1] + box[3] - whole) / 2)
    rows, columns = image.shape
    c0, r0, c1, r1 = max(x, 0), max(y, 0), min(x + whole, columns), min(y + whole, rows)
    cut = np.zeros((whole, whole), np.uint8)
    if c0 < c1 and r0 < r1:
        cut[r0 - y : r1 - y, c0 - x : c1 - x] = image[r0:r1, c0:c1]
    shrinks = whole > SIDE
    out = np.asarray(cv2.resize(cut, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    m0, n0, m1, n1 = ((v - o) * SIDE / whole for v, o in zip(box, (x, y, x, y)))
    mask[max(round(n0), 0) : max(round(n1), 0), max(round(m0), 0) : max(round(m1), 0)] = 255
    return out, mask


def crops_of(
    frame: GrayFrame, boxes: Sequence[Box], unit: float, reduced: tuple[GrayFrame, float] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """What the second stage looks at.

    Parameters
    ----------
    frame : ndarray of uint8, shape (rows, columns)
    boxes : sequence of Box
        Candidates, in pixels of the frame.
    unit : float
        Pixels of the frame per pixel at the detector's own scale.
    reduced : (ndarray of uint8, float) or None
        The frame at the detector's scale and its pixels per pixel of the frame; large squares are cut from it.

    Returns
    -------
    crops : ndarray of uint8, shape (n, 4, 64, 64)
        Close up and the box in it, with surroundings and the box in it.
    sizes : ndarray of float32, shape (n, 3)
        Logarithms of width and height at the detector's scale (0 = 32 pixels) and of their ratio.
    """
    crops = np.zeros((len(boxes), 4, SIDE, SIDE), np.uint8)
    sizes = np.zeros((len(boxes), 3), np.float32)
    for number, box in enumerate(boxes):
        width, height = max(box.width, 1), max(box.height, 1)
        mean = float(np.sqrt(width * height))
        close = max(1.8 * mean, min(1.15 * max(width, height), 3.2 * mean))
        for channel, side in ((0, close), (2, 3 * mean + 96 * unit)):
            image, scale = (frame, 1.0) if side <= _SHARPEST or reduced is None else reduced
            corners = (box.x0 * scale, box.y0 * scale, box.x1 * scale, box.y1 * scale)
            crops[number, channel], crops[number, channel + 1] = _square(image, corners, side * scale)
        sizes[number] = np.log2(width / unit / 32), np.log2(height / unit / 32), np.log2(width / height)
    return crops, sizes


def moved(box: Box, shift: NDArray[np.float32]) -> Box:
    """Where the second stage says that the item's box is, in whole pixels that hold it.

    Parameters
    ----------
    box : Box
        The candidate that was looked at.
    shift : ndarray of float32, shape (4,)
        Of the centre, in widths and heights of the candidate, and logarithms of the ratio of the sides.

    Returns
    -------
    Box
    """
    dx, dy, wider, higher = (float(v) for v in np.clip(shift, -_FARTHEST, _FARTHEST))
    x, y = (box.x0 + box.x1) / 2 + dx * box.width, (box.y0 + box.y1) / 2 + dy * box.height
    width, height = box.width * math.exp(wider) / 2, box.height * math.exp(higher) / 2
    # A thousandth of a pixel is rounding, not ink.
    low, high = (x - width + _ROUNDING, y - height + _ROUNDING), (x + width - _ROUNDING, y + height - _ROUNDING)
    return Box(math.floor(low[0]), math.floor(low[1]), math.ceil(high[0]), math.ceil(high[1]))


def in_batches(call: Verifier, crops: NDArray[np.uint8], sizes: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """`call` on batches of always `BATCH` candidates; shape (n, `width`)."""
    out = np.zeros((len(crops), width), np.float32)
    for first in range(0, len(crops), BATCH):
        count = min(BATCH, len(crops) - first)
        held, size = np.zeros((BATCH, *crops.shape[1:]), np.uint8), np.zeros((BATCH, sizes.shape[1]), np.float32)
        held[:count], size[:count] = crops[first : first + count], sizes[first : first + count]
        out[first : first + count] = call(held, size)[:count]
    return out


class OnnxVerifier:
    """The second stage in ONNX Runtime.

    Parameters
    ----------
    path : Path
        Inputs ``crops`` (uint8, (4, 4, 64, 64)) and ``sizes`` (float32, (4, 3)), output (4, 6 + classes);
        (4, 2 + classes) of a network that has learnt no shifts.
    classes : int
        Of the detector.
    threads : int
        CPU threads of one call.

    Raises
    ------
    ConfigError
        The file is no such network.
    """

    def __init__(self, path: Path, classes: int, threads: int) -> None:
        try:
            self._session = open_session(str(path), threads)
            names = [source.name for source in self._session.get_inputs()]
            shape = self._session.get_outputs()[0].shape
        except Exception as error:  # noqa: BLE001 - the runtime raises its own, undocumented types
            raise ConfigError(f"worker.weights: {path.name} cannot be loaded: {type(error).__name__}") from None
        if names != ["crops", "sizes"] or shape[-1] not in (2 + classes, 2 + classes + SHIFT):
            raise ConfigError(f"worker.weights: {path.name} is no second stage for {classes} classes")
        self._width = int(shape[-1])

    def __call__(self, crops: NDArray[np.uint8], sizes: NDArray[np.float32]) -> NDArray[np.float32]:
        return in_batches(self._call, crops, sizes, self._width)

    def _call(self, crops: NDArray[np.uint8], sizes: NDArray[np.float32]) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = self._session.run(None, {"crops": crops, "sizes": sizes})[0]
        return rows
