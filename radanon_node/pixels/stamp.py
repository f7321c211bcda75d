"""A clean letter for the place of one that had to be blackened: drawn from its description alone, so that it can be checked exactly."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.pipeline.types import Stamp

_FONT, _HEIGHT, _STROKE = cv2.FONT_HERSHEY_SIMPLEX, 240, 36
# A dark letter stands in the middle of a bright plate with this much of the box free on each side.
_PLATE = 0.15


def bright_pixels(stamp: Stamp) -> NDArray[np.bool_]:
    """Which pixels of ``stamp.box`` are bright.

    Parameters
    ----------
    stamp : Stamp

    Returns
    -------
    ndarray of bool, shape (box.height, box.width)
        The same for the same stamp, always: the verifier draws it again.
    """
    rows, columns = max(stamp.box.height, 1), max(stamp.box.width, 1)
    if not stamp.dark:
        return _letter(stamp, rows, columns)
    top, left = round(_PLATE * rows), round(_PLATE * columns)
    out = np.ones((rows, columns), np.bool_)
    inner = _letter(stamp, max(rows - 2 * top, 1), max(columns - 2 * left, 1))
    out[top : top + inner.shape[0], left : left + inner.shape[1]] = ~inner
    return out


def _letter(stamp: Stamp, rows: int, columns: int) -> NDArray[np.bool_]:
    canvas = np.zeros((3 * _HEIGHT, 3 * _HEIGHT), np.uint8)
    cv2.putText(canvas, stamp.letter, (_HEIGHT, 2 * _HEIGHT), _FONT, _HEIGHT / 22, 255, _STROKE)
    glyph = _tight(canvas)
    if stamp.mirrored:
        glyph = np.ascontiguousarray(glyph[:, ::-1])
    side = int(np.hypot(*glyph.shape)) + 4
    matrix = cv2.getRotationMatrix2D(((glyph.shape[1] - 1) / 2, (glyph.shape[0] - 1) / 2), -stamp.turn, 1.0)
    matrix[0, 2] += (side - glyph.shape[1]) / 2
    matrix[1, 2] += (side - glyph.shape[0]) / 2
    turned = _tight(np.asarray(cv2.warpAffine(glyph, matrix, (side, side), flags=cv2.INTER_NEAREST), np.uint8))
    return np.asarray(cv2.resize(turned, (columns, rows), interpolation=cv2.INTER_AREA)) > 127


def _tight(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
