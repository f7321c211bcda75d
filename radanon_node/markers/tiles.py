"""A second scale for large films: tiles at full resolution where something printed may be too small for the whole-film look."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.geometry import Placement
from radanon_node.pipeline.types import Box, GrayFrame

_CELL = 32
# Printed characters have one-pixel edges; bone, skin and lead on large films are blurred over several pixels by the detector plate.
_STEP = 40
# Share of a cell's pixels with such an edge: a straight collimation edge has 1/32, characters of 8 to 30 pixels have 0.08 to 0.3.
_DENSITY = 0.06
_TILE = 512
_MOST_TILES = 6


def sharp_cells(frame: GrayFrame) -> NDArray[np.float32]:
    """Share of pixels with a steep step to the right neighbour, per cell of 32 x 32 pixels.

    Parameters
    ----------
    frame : ndarray of uint8, shape (rows, columns)

    Returns
    -------
    ndarray of float32, shape (rows // 32, columns // 32)
    """
    rows, columns = (side // _CELL for side in frame.shape)
    steps = np.zeros((rows * _CELL, columns * _CELL), np.uint8)
    cv2.absdiff(frame[: rows * _CELL, 1 : columns * _CELL], frame[: rows * _CELL, : columns * _CELL - 1], dst=steps[:, 1:])
    steep = cv2.threshold(steps, _STEP - 1, 255, cv2.THRESH_BINARY)[1]
    return np.asarray(cv2.resize(steep, (columns, rows), interpolation=cv2.INTER_AREA), np.float32) / np.float32(255)


def tiles_of(frame: GrayFrame, long_side: int, stride: int) -> list[Placement]:
    """Tiles of a large film to look at in full resolution.

    Costs about 2 ms on a 2500 x 2048 film and returns nothing for a film without small sharp print, so that the main path
    stays one look.

    Parameters
    ----------
    frame : ndarray of uint8, shape (rows, columns)
    long_side : int
        Long side of the whole-film look; films up to 1.25 times that need no second scale.
    stride : int
        Sides of the tiles are multiples of it.

    Returns
    -------
    list of Placement
        At most six, densest first.
    """
    if max(frame.shape) <= 1.25 * long_side or min(frame.shape) < _CELL:
        return []
    density = sharp_cells(frame)
    density[density < _DENSITY] = 0
    rows, columns = (min(_TILE, side // stride * stride) for side in frame.shape)
    tiles: list[Placement] = []
    while len(tiles) < _MOST_TILES and density.any():
        weight = cv2.boxFilter(density, -1, (columns // _CELL - 2, rows // _CELL - 2), normalize=False, borderType=cv2.BORDER_CONSTANT)
        row, column = np.unravel_index(int(weight.argmax()), weight.shape)
        y = min(max(int(row) * _CELL + _CELL // 2 - rows // 2, 0), frame.shape[0] - rows)
        x = min(max(int(column) * _CELL + _CELL // 2 - columns // 2, 0), frame.shape[1] - columns)
        tiles.append(Placement(rows, columns, 1.0, 0, 0, Box(x, y, x + columns, y + rows)))
        # Cells wholly inside are dealt with; those on the rim may hold a word that is cut there.
        before = density.copy()
        density[-(-y // _CELL) : (y + rows) // _CELL, -(-x // _CELL) : (x + columns) // _CELL] = 0
        if (before == density).all():
            break
    return tiles
