"""A second scale for large films: tiles at full resolution where something printed may be too small for the whole-film look."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.geometry import Placement
from radanon_node.markers.text_boxes import step_shares
from radanon_node.pipeline.types import Box, GrayFrame

_CELL = 32
# Printed characters have one-pixel edges; bone, skin and lead on large films are blurred over several pixels by the detector plate.
_STEP = 40
# Share of a cell's pixels with such an edge: a straight collimation edge has 1/32, characters of 8 to 30 pixels have 0.08 to 0.3.
_DENSITY, _BESIDE = 0.06, 0.03
# Sides of the largest tile, and how many of that size all tiles of a film may fill: it bounds the time of a noise film.
_LARGEST = 512
_BUDGET = 6 * _LARGEST * _LARGEST


def sharp_cells(frame: GrayFrame, known: Sequence[Box] = ()) -> NDArray[np.float32]:
    """Share of pixels with a steep step to the left neighbour, per cell of 32 x 32 pixels.

    Parameters
    ----------
    frame : ndarray of uint8, shape (rows, columns)
    known : sequence of Box
        Steps in these do not count.

    Returns
    -------
    ndarray of float32, shape (rows / 32, columns / 32), rounded up
    """
    return step_shares(frame, _STEP, _CELL, known)


def tiles_of(frame: GrayFrame, long_side: int, stride: int, known: Sequence[Box] = ()) -> list[Placement]:
    """Tiles of a large film to look at in full resolution: each piece of small sharp print with a margin of one cell.

    The search costs some 2 ms of one core on a 2500 x 2048 film and returns nothing for a film without small sharp print; the
    network's time on the tiles is in proportion to their area.

    Parameters
    ----------
    frame : ndarray of uint8, shape (rows, columns)
    long_side : int
        Long side of the whole-film look; films up to 1.25 times that need no second scale.
    stride : int
        Sides of the tiles are multiples of it.
    known : sequence of Box
        What the whole-film look is sure of: print in it needs no second look. Beside it less is enough to be looked at.

    Returns
    -------
    list of Placement
        Most print first, in all no larger than six tiles of 512 x 512 pixels.
    """
    if max(frame.shape) <= 1.25 * long_side or min(frame.shape) < _CELL:
        return []
    density = sharp_cells(frame, known)
    least = np.full_like(density, _DENSITY)
    for box in known:
        least[max(box.y0 // _CELL - 1, 0) : box.y1 // _CELL + 2, max(box.x0 // _CELL - 1, 0) : box.x1 // _CELL + 2] = _BESIDE
    density[density < least] = 0
    if not density.any():
        return []
    near = cv2.dilate((density > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    pieces: list[tuple[float, Box]] = []
    for number in range(1, count):
        x, y, width, height = (int(v) for v in boxes[number][:4])
        print_ = np.where(labels[y : y + height, x : x + width] == number, density[y : y + height, x : x + width], 0)
        pieces += _pieces(print_, x, y)
    tiles, spent = [], 0
    for _, cells in sorted(pieces, key=lambda piece: (-piece[0], piece[1].y0, piece[1].x0)):
        tile = _tile(cells, frame.shape[:2], stride)
        spent += tile.rows * tile.columns
        if spent > _BUDGET:
            break
        tiles.append(tile)
    return tiles


def _pieces(density: NDArray[np.float32], x: int, y: int) -> list[tuple[float, Box]]:
    """A connected piece of print cut into parts of at most the largest tile, each with its weight and its box in cells."""
    most = _LARGEST // _CELL
    height, width = density.shape
    # Neighbouring parts share two cells, so that a character at the cut is whole in one of them.
    rows = [0] if height <= most else list(range(0, height - 2, most - 2))
    columns = [0] if width <= most else list(range(0, width - 2, most - 2))
    parts = []
    for r in rows:
        for c in columns:
            part = density[r : r + most, c : c + most]
            if part.any():
                ys, xs = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
                box = Box(x + c + int(xs[0]) - 1, y + r + int(ys[0]) - 1, x + c + int(xs[-1]) + 2, y + r + int(ys[-1]) + 2)
                parts.append((float(part.sum()), box))
    return parts


def _tile(cells: Box, shape: tuple[int, ...], stride: int) -> Placement:
    """The tile over some cells, inside the film where that is large enough."""
    sides, origin = [], []
    for first, last, side in ((cells.y0, cells.y1, shape[0]), (cells.x0, cells.x1, shape[1])):
        length = min(-(-(last - first) * _CELL // stride) * stride, side // stride * stride)
        sides.append(length)
        origin.append(min(max(first * _CELL, 0), side - length))
    (rows, columns), (y, x) = sides, origin
    return Placement(rows, columns, 1.0, 0, 0, Box(x, y, x + columns, y + rows))
