"""Which letter is a component, whatever its tilt and mirroring? A tiny net on its shape alone, the second witness beside Tesseract."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.packaged import open_packaged

SIDE = 32
OTHER = "other"
CLASSES = (*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", OTHER)
"""Capitals up to rotation and mirroring; everything else (digits, arrows, rings, pieces, several letters in one) is `OTHER`."""

_DATA = Path(__file__).with_name("data")
_INNER = 28


def normalise(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A component scaled to the net's input with its proportions kept.

    Parameters
    ----------
    mask : ndarray of bool, shape (rows, columns)
        With at least one True.

    Returns
    -------
    ndarray of uint8, shape (SIDE, SIDE)
        0 background, 255 ink, the larger extent 28 pixels, centred.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    tight = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.uint8) * 255
    scale = _INNER / max(tight.shape)
    height, width = (max(round(side * scale), 1) for side in tight.shape)
    out = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    out[top : top + height, left : left + width] = cv2.resize(tight, (width, height), interpolation=method)
    return out


@cache
def _session() -> Any:
    return open_packaged(_DATA / "glyphs.onnx", "the glyph net", classes=list(CLASSES))


def classify(glyphs: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Class probabilities of normalised glyphs, each seen in one orientation.

    Parameters
    ----------
    glyphs : sequence of ndarray of uint8, shape (SIDE, SIDE)

    Returns
    -------
    ndarray of float32, shape (n, len(CLASSES))

    Raises
    ------
    HoldInstance
        ``MODEL_MISSING`` when the net's file is missing or altered.
    """
    if not glyphs:
        return np.zeros((0, len(CLASSES)), np.float32)
    inputs = np.stack(glyphs)[:, None].astype(np.float32) / 255
    probabilities: NDArray[np.float32] = _session().run(None, {"glyphs": inputs})[0]
    return probabilities


def classify_all_ways(glyph: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean class probabilities over the eight quarter turns and mirror images, shape (len(CLASSES),)."""
    turned = [np.rot90(picture, quarter) for picture in (glyph, glyph[:, ::-1]) for quarter in range(4)]
    mean: NDArray[np.float32] = classify(turned).mean(0)
    return mean
