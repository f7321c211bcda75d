"""Regions to be blacked out, per frame: clipped boxes and the masks inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.types import Box, Region, Stamp, Verdict
from radanon_node.pixels.stamp import bright_pixels


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """What to black out in one frame.

    Parameters
    ----------
    box : Box
        Inside the frame, not empty.
    mask : ndarray of bool, shape (box.height, box.width), or None
        None means the whole box.
    bright : bool
        Set to the bright value, not to the fill: the pixels of a letter drawn anew. Lies inside another area and comes after it.
    """

    box: Box
    mask: NDArray[np.bool_] | None
    bright: bool = False


def areas_of(regions: Sequence[Region], rows: int, columns: int, frames: int) -> dict[int, list[Area]]:
    """The areas of each frame that has any.

    Parameters
    ----------
    regions : sequence of Region
        Those with another verdict than ``REDACT`` are left out.
    rows, columns, frames : int
        Of the picture.

    Returns
    -------
    dict of int to list of Area
        Frame number, 0-based, to its areas.

    Raises
    ------
    HoldInstance
        ``internal_error`` for a region that names a frame the picture does not have, or whose mask has another shape than
        its box: what was meant is then unknown.
    """
    found: dict[int, list[Area]] = {}
    stamped: dict[int, list[Area]] = {}
    for region in regions:
        if region.verdict is not Verdict.REDACT:
            continue
        box, mask = region.box.clipped(rows, columns), region.mask
        if box.width <= 0 or box.height <= 0:
            continue
        if mask is not None:
            if mask.shape != (region.box.height, region.box.width):
                raise HoldInstance(Reason.INTERNAL_ERROR, "a region's mask does not fit its box")
            top, left = box.y0 - region.box.y0, box.x0 - region.box.x0
            mask = mask[top : top + box.height, left : left + box.width]
        numbers = range(frames) if region.frames is None else region.frames
        for number in numbers:
            if not 0 <= number < frames:
                raise HoldInstance(Reason.INTERNAL_ERROR, "a region names a frame that does not exist")
            found.setdefault(number, []).append(Area(box, mask))
            if region.stamp is not None:
                stamped.setdefault(number, []).append(_stamped(region.stamp, box, mask))
    for number, areas in stamped.items():
        found[number] += areas
    return found


def _stamped(stamp: Stamp, box: Box, mask: NDArray[np.bool_] | None) -> Area:
    """The bright pixels of a stamp as far as they lie in what is blackened."""
    bright = np.zeros((box.height, box.width), np.bool_)
    shared = stamp.box.intersection(box)
    if shared.width > 0 and shared.height > 0:
        x, y = shared.x0 - stamp.box.x0, shared.y0 - stamp.box.y0
        part = bright_pixels(stamp)[y : y + shared.height, x : x + shared.width]
        bright[shared.y0 - box.y0 : shared.y1 - box.y0, shared.x0 - box.x0 : shared.x1 - box.x0] = part
    return Area(box, bright if mask is None else bright & mask, bright=True)


def bands(areas: Sequence[Area]) -> list[tuple[int, int]]:
    """The rows under `areas` as ascending half-open ranges that do not meet."""
    out: list[tuple[int, int]] = []
    for top, bottom in sorted((area.box.y0, area.box.y1) for area in areas):
        if out and top <= out[-1][1]:
            out[-1] = out[-1][0], max(out[-1][1], bottom)
        else:
            out.append((top, bottom))
    return out


def touched(
    areas: Sequence[Area], rows: int, columns: int, cell: tuple[int, int] = (1, 1), band: tuple[int, int] | None = None
) -> NDArray[np.bool_]:
    """The pixels that redaction may change.

    Parameters
    ----------
    areas : sequence of Area
    rows, columns : int
    cell : (int, int)
        Rows and columns of what can only be changed together: (1, 1) pixels, (8, 8) the blocks of a JPEG.
    band : (int, int) or None
        Only these rows, one of `bands`; cells must be one row high. None for the whole frame.

    Returns
    -------
    ndarray of bool, shape (ceil(rows / cell rows), ceil(columns / cell columns))
        One value per cell.
    """
    high, wide = cell
    top, bottom = band or (0, rows)
    out = np.zeros((-(-(bottom - top) // high), -(-columns // wide)), np.bool_)
    for area in areas:
        box = area.box
        if not top <= box.y0 < bottom:
            continue
        if area.mask is None:
            out[(box.y0 - top) // high : -(-(box.y1 - top) // high), box.x0 // wide : -(-box.x1 // wide)] = True
        else:
            ys, xs = np.nonzero(area.mask)
            out[(ys + box.y0 - top) // high, (xs + box.x0) // wide] = True
    return out
