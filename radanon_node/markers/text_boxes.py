"""From a probability map of text to boxes, and which parts of a picture are worth a look at all."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.pipeline.types import Box, GrayFrame

BLOCK = 32
"""Side of the blocks in which flat parts of a picture are left out, pixels."""
_SAME_LINE = 0.6
"""Least part of the lower box's height that two boxes of one line share, and least ratio of their heights."""


def text_boxes(probability: NDArray[np.float32], threshold: float, box_threshold: float, unclip: float) -> list[tuple[Box, float]]:
    """Boxes around the connected parts of a DBNet map (Liao et al. 2020, section 3.4).

    Parameters
    ----------
    probability : ndarray of float32, shape (rows, columns)
    threshold : float
        A pixel above it belongs to a kernel.
    box_threshold : float
        Mean probability under the rotated rectangle that a kernel must have.
    unclip : float
        The net marks shrunk kernels; they are grown by ``area * unclip / perimeter``.

    Returns
    -------
    list of (Box, float)
        Upright boxes and their scores. A tilted line comes back as a staircase of boxes along it, not as one that covers a corner
        of the picture.
    """
    rows, columns = probability.shape
    kernels = cv2.dilate((probability > threshold).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(kernels, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found: list[tuple[Box, float]] = []
    for contour in contours:
        (x, y), (width, height), angle = cv2.minAreaRect(contour)
        if min(width, height) < 2:
            continue
        score = _mean_under(probability, np.asarray(cv2.boxPoints(((x, y), (width, height), angle)), np.float32))
        if score < box_threshold:
            continue
        grow = 2 * width * height * unclip / (2 * (width + height))
        found += [(box, score) for box in _staircase(x, y, width + grow, height + grow, angle, rows, columns)]
    return found


def _mean_under(probability: NDArray[np.float32], corners: NDArray[np.float32]) -> float:
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, None)
    high = np.ceil(corners.max(axis=0)).astype(int) + 1
    part = probability[low[1]:high[1], low[0]:high[0]]
    mask = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(mask, [(corners - low).astype(np.int32)], 1)
    return float(cv2.mean(part, mask)[0])


def _staircase(x: float, y: float, width: float, height: float, angle: float, rows: int, columns: int) -> list[Box]:
    long, short = max(width, height), min(width, height)
    tilt = np.deg2rad(angle if width >= height else angle + 90)
    along = np.array([np.cos(tilt), np.sin(tilt)])
    across = np.array([-along[1], along[0]])
    # Where the line is nearly level or upright, or short, one box is tight enough.
    wasteful = long * abs(along[0] * along[1]) > 1.5 * short
    pieces = int(np.ceil(long / short)) if wasteful else 1
    boxes = []
    for piece in range(pieces):
        start, stop = (-long / 2 + long * edge / pieces for edge in (piece, piece + 1))
        corners = np.array([[x, y] + along * s + across * a for s in (start, stop) for a in (-short / 2, short / 2)])
        low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
        box = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1])).clipped(rows, columns)
        if box.width > 0 and box.height > 0:
            boxes.append(box)
    return boxes


def whole_lines(found: Sequence[tuple[Box, float]], windows: Sequence[int]) -> list[tuple[Box, float]]:
    """Boxes of overlapping windows put together: a line that a window's edge cut in two is one line again, and nothing stands twice.

    Half a line must not be judged by itself: the end of ``Acc 15603`` reads as the harmless ``C 15603``.

    Parameters
    ----------
    found : sequence of (Box, float)
    windows : sequence of int
        Which window each was found in. Boxes of one window are put together only where one holds the other.

    Returns
    -------
    list of (Box, float)
        Boxes that overlap on the same line as their union, with the larger score.
    """
    if len(found) < 2:
        return list(found)
    edges = np.array([[box.x0, box.y0, box.x1, box.y1] for box, _ in found], np.int64)
    wide, high = (np.minimum(edges[:, None, at + 2], edges[None, :, at + 2]) - np.maximum(edges[:, None, at], edges[None, :, at])
                  for at in (0, 1))
    alike = {}
    for at, (along, across) in enumerate(((wide, high), (high, wide))):
        size = edges[:, 3 - at] - edges[:, 1 - at]  # the height of level lines, the width of upright ones
        smaller, larger = np.minimum(size[:, None], size[None]), np.maximum(size[:, None], size[None])
        alike[at] = (along > 0) & (across >= _SAME_LINE * smaller) & (larger <= smaller / _SAME_LINE)
    window = np.asarray(windows)
    inside = (edges[None, :, :2] - 2 <= edges[:, None, :2]).all(axis=2) & (edges[:, None, 2:] <= edges[None, :, 2:] + 2).all(axis=2)
    linked = ((alike[0] | alike[1]) & (window[:, None] != window[None])) | inside | inside.T
    whole: list[tuple[Box, float]] = []
    left = set(range(len(found)))
    while left:
        group, ahead = [], [left.pop()]
        while ahead:
            group.append(ahead.pop())
            near = left.intersection(np.flatnonzero(linked[group[-1]]).tolist())
            left -= near
            ahead += near
        low, high_ = edges[group, :2].min(axis=0), edges[group, 2:].max(axis=0)
        whole.append((Box(int(low[0]), int(low[1]), int(high_[0]), int(high_[1])), max(found[one][1] for one in group)))
    return whole


def busy_blocks(gray: GrayFrame, contrast: int) -> NDArray[np.bool_]:
    """Which 32 x 32 blocks (or their neighbours) have a range of at least `contrast` gray levels: text needs contrast.

    Returns
    -------
    ndarray of bool, shape (ceil(rows / 32), ceil(columns / 32))
    """
    rows, columns = gray.shape
    padded = np.pad(gray, ((0, -rows % BLOCK), (0, -columns % BLOCK)), mode="edge")
    tiles = padded.reshape(padded.shape[0] // BLOCK, BLOCK, padded.shape[1] // BLOCK, BLOCK)
    span = tiles.max(axis=(1, 3)).astype(np.int16) - tiles.min(axis=(1, 3))
    # A letter cut by a block's edge may leave a stroke with little of its contrast on the other side: look at the neighbours too.
    return cv2.dilate((span >= contrast).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)


MARK = 240
"""Value of a marked pixel for `cell_shares`."""
_STRIP = 256  # rows worked on at once, a multiple of every cell


def cell_shares(marked: NDArray[np.uint8], cell: int) -> NDArray[np.float32]:
    """Share of marked pixels per square cell.

    Parameters
    ----------
    marked : ndarray of uint8, shape (rows, columns)
        0 or `MARK`; both sides multiples of `cell`.
    cell : int
        A multiple of 4.

    Returns
    -------
    ndarray of float32, shape (rows / cell, columns / cell)
    """
    rows, columns = marked.shape
    # Halving is the one reduction that is fast; means of four and of sixteen such values are whole numbers, so nothing is rounded.
    half = cv2.resize(marked, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
    quarter = cv2.resize(half, (columns // 4, rows // 4), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(cv2.resize(quarter, (columns // cell, rows // cell), interpolation=cv2.INTER_AREA) / np.float32(MARK), np.float32)


def step_shares(
    view: GrayFrame, step: int, cell: int, known: Sequence[Box] = (), down: bool = False, where: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Share of pixels with a step to a neighbour, per square cell.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)
    step : int
        Gray levels that make a step, at least 1.
    cell : int
        16 or 32 pixels.
    known : sequence of Box
        Steps in these do not count.
    down : bool
        Steps from the row above, else from the column to the left.
    where : ndarray of bool, shape (rows / cell, columns / cell), rounded up, or None
        The cells that are asked for; others may come out as 0.

    Returns
    -------
    ndarray of float32, shape (rows / cell, columns / cell), rounded up
    """
    rows, columns = view.shape
    shares = np.zeros((-(-rows // cell), -(-columns // cell)), np.float32)
    # In strips that stay in the processor's cache.
    marked = np.empty((_STRIP, shares.shape[1] * cell), np.uint8)
    for top in range(0, rows, _STRIP):
        at = slice(top // cell, -(-min(top + _STRIP, rows) // cell))
        used = np.flatnonzero(where[at].any(axis=0)) if where is not None else np.arange(shares.shape[1])
        if not len(used):
            continue
        left, right, bottom = int(used[0]) * cell, min((int(used[-1]) + 1) * cell, columns), min(top + _STRIP, rows)
        y, x = max(top, 1) if down else top, left if down else max(left, 1)
        strip = marked[: (at.stop - at.start) * cell, : (int(used[-1] - used[0]) + 1) * cell]
        strip[: y - top], strip[bottom - top :], strip[:, : x - left], strip[:, right - left :] = 0, 0, 0, 0
        if y < bottom and x < right:
            before = view[y - 1 : bottom - 1, x:right] if down else view[y:bottom, x - 1 : right - 1]
            edges = cv2.absdiff(view[y:bottom, x:right], before, dst=strip[y - top : bottom - top, x - left : right - left])
            cv2.threshold(edges, step - 1, MARK, cv2.THRESH_BINARY, dst=edges)
        for box in known:
            strip[max(box.y0 - top, 0) : max(box.y1 - top, 0), max(box.x0 - left, 0) : max(box.x1 - left, 0)] = 0
        shares[at, int(used[0]) : int(used[-1]) + 1] = cell_shares(strip, cell)
    return shares


def busy_parts(busy: NDArray[np.bool_], largest: int, gap: int = 2) -> list[Box]:
    """Rectangles of blocks that hold all busy ones: a recursive X-Y cut along empty bands at least `gap` blocks wide.

    Parameters
    ----------
    busy : ndarray of bool
        From `busy_blocks`.
    largest : int
        Longest side of a part, in blocks; a longer one is cut there with an overlap of three blocks.
    gap : int
        Narrower empty bands are not worth a cut.

    Returns
    -------
    list of Box
        In blocks.
    """
    return _cut(busy, Box(0, 0, busy.shape[1], busy.shape[0]), largest, gap)


def _cut(busy: NDArray[np.bool_], part: Box, largest: int, gap: int) -> list[Box]:
    ys, xs = np.nonzero(busy[part.y0:part.y1, part.x0:part.x1])
    if len(ys) == 0:
        return []
    part = Box(part.x0 + int(xs.min()), part.y0 + int(ys.min()), part.x0 + int(xs.max()) + 1, part.y0 + int(ys.max()) + 1)
    inside = busy[part.y0:part.y1, part.x0:part.x1]
    for axis in (0, 1):
        used = np.flatnonzero(inside.any(axis=1 - axis))
        steps = np.diff(used)
        if len(steps) and steps.max() > gap:
            at = int(used[steps.argmax()]) + 1
            return [piece for half in _halves(part, axis, at, at) for piece in _cut(busy, half, largest, gap)]
    for axis, length in ((0, part.height), (1, part.width)):
        if length > largest:
            middle = length // 2
            return [piece for half in _halves(part, axis, middle + 2, middle - 1) for piece in _cut(busy, half, largest, gap)]
    return [part]


def _halves(part: Box, axis: int, first_end: int, second_start: int) -> tuple[Box, Box]:
    if axis == 0:
        return Box(part.x0, part.y0, part.x1, part.y0 + first_end), Box(part.x0, part.y0 + second_start, part.x1, part.y1)
    return Box(part.x0, part.y0, part.x0 + first_end, part.y1), Box(part.x0 + second_start, part.y0, part.x1, part.y1)


def with_stray_letters(gray: GrayFrame, box: Box, stops: Sequence[Box] = ()) -> Box:
    """A box drawn out over single letters that stand beside it on the same line.

    The net passes over a letter that wide spacing sets apart from its line, an initial after a name above all. Ink is a column (for an
    upright line, a row) that spans at least half of the box's own contrast; it is followed for two heights of the line on either side,
    over gaps of up to 0.9 heights. Where everything beside the box looks like ink, it is texture and the box stays.

    Parameters
    ----------
    gray : GrayFrame
    box : Box
        Inside the frame.
    stops : sequence of Box
        Boxes that it must not be drawn over.

    Returns
    -------
    Box
        Holds `box`.
    """
    if box.height > 1.5 * box.width:
        turned = with_stray_letters(gray.T, _turned(box), [_turned(stop) for stop in stops])
        return _turned(turned)
    height = box.height
    reach = Box(box.x0 - 2 * height, box.y0, box.x1 + 2 * height, box.y1).clipped(*gray.shape)
    if reach.height < 3:
        return box
    band = gray[reach.y0:reach.y1, reach.x0:reach.x1]
    contrast = float(np.subtract(*np.percentile(band[:, box.x0 - reach.x0:box.x1 - reach.x0], (95, 5))))
    if contrast < 24:
        return box
    left = right = 0
    # The whole height shows stems, which fill the inner rows; the inner rows alone leave out an edge of the picture under the line.
    for rows in (band, band[height // 6:reach.height - height // 6]):
        ink = rows.max(axis=0).astype(np.int16) - rows.min(axis=0) > contrast / 2
        left = max(left, _run_of_ink(ink[: box.x0 - reach.x0][::-1], height))
        right = max(right, _run_of_ink(ink[box.x1 - reach.x0:], height))
    drawn = Box(box.x0 - left, box.y0, box.x1 + right, box.y1)
    for stop in stops:
        common = drawn.intersection(stop)
        if common.width > 0 and common.height > 0:
            drawn = Box(max(drawn.x0, stop.x1) if stop.x0 < box.x0 else drawn.x0, drawn.y0,
                        min(drawn.x1, stop.x0) if stop.x1 > box.x1 else drawn.x1, drawn.y1)
    return Box(min(drawn.x0, box.x0), box.y0, max(drawn.x1, box.x1), box.y1)


def _run_of_ink(ink: NDArray[np.bool_], height: int) -> int:
    places = np.flatnonzero(ink)
    if len(places) == 0 or ink.mean() > 0.85:
        return 0
    breaks = np.flatnonzero(np.diff(places, prepend=-1) > 0.9 * height)
    last = places[breaks[0] - 1] if len(breaks) and breaks[0] > 0 else places[-1] if len(breaks) == 0 else -1
    return int(last) + 1


def _turned(box: Box) -> Box:
    return Box(box.y0, box.x0, box.y1, box.x1)
