"""From film to network input and back: letterboxing, the raw YOLOv5 head's rows to boxes, non-maximum suppression."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.pipeline.types import Box, GrayFrame


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a film (or a tile of it) lies in the network's input.

    Parameters
    ----------
    rows, columns : int
        Of the input, in pixels.
    scale : float
        Input pixels per film pixel.
    left, top : int
        Input pixels of padding before the film.
    window : Box
        The part of the film that is looked at.
    """

    rows: int
    columns: int
    scale: float
    left: int
    top: int
    window: Box


def place(window: Box, long_side: int, stride: int) -> Placement:
    """The placement that scales a window's long side to `long_side` and pads both sides to multiples of `stride`."""
    scale = long_side / max(window.height, window.width)
    inner = max(round(window.height * scale), 1), max(round(window.width * scale), 1)
    outer = tuple(math.ceil(side / stride) * stride for side in inner)
    return Placement(outer[0], outer[1], scale, (outer[1] - inner[1]) // 2, (outer[0] - inner[0]) // 2, window)


def letterbox(frame: GrayFrame, where: Placement, pad: int) -> GrayFrame:
    """The window of the film, scaled and padded as `where` says.

    Parameters
    ----------
    frame : ndarray of uint8, shape (rows, columns)
    where : Placement
    pad : int
        Gray level of the padding.

    Returns
    -------
    ndarray of uint8, shape (where.rows, where.columns)
    """
    out: GrayFrame = np.full((where.rows, where.columns), pad, np.uint8)
    window = where.window
    height, width = max(round(window.height * where.scale), 1), max(round(window.width * where.scale), 1)
    method = cv2.INTER_AREA if where.scale < 1 else cv2.INTER_LINEAR
    inner = frame[window.y0 : window.y1, window.x0 : window.x1]
    if where.scale <= 0.5:
        inner = halved(inner)  # nearly the same as areas of odd sizes, and many times faster
    if inner.shape != (height, width):
        inner = np.asarray(cv2.resize(inner, (width, height), interpolation=method), np.uint8)
    out[where.top : where.top + height, where.left : where.left + width] = inner
    return out


def halved(picture: GrayFrame) -> GrayFrame:
    """The mean of two by two pixels, a last odd row or column left out: the one reduction that is fast."""
    rows, columns = (side // 2 for side in picture.shape)
    return np.asarray(cv2.resize(picture[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)


def unpadded(picture: GrayFrame, where: Placement) -> GrayFrame:
    """What `letterbox` made, without the padding (a view)."""
    height, width = (max(round(side * where.scale), 1) for side in (where.window.height, where.window.width))
    return picture[where.top : where.top + height, where.left : where.left + width]


def candidates(raw: NDArray[np.float32], floors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]]:
    """Rows of the raw head above their class's floor, best first.

    Parameters
    ----------
    raw : ndarray of float32, shape (anchors, 5 + classes)
        Centre x, centre y, width, height in input pixels, objectness, class scores (YOLOv5 export).
    floors : ndarray of float32, shape (classes,)

    Returns
    -------
    corners : ndarray of float32, shape (n, 4)
        x0, y0, x1, y1 in input pixels.
    confidence : ndarray of float32, shape (n,)
        Objectness x class score.
    classes : ndarray of int, shape (n,)
    """
    likely = raw[raw[:, 4] >= floors.min()]
    scores = likely[:, 5:] * likely[:, 4:5]
    classes = scores.argmax(1)
    confidence = scores[np.arange(len(scores)), classes]
    keep = confidence >= floors[classes]
    likely, classes, confidence = likely[keep], classes[keep], confidence[keep]
    order = np.argsort(-confidence, kind="stable")
    likely, classes, confidence = likely[order], classes[order], confidence[order]
    half = likely[:, 2:4] / 2
    return np.concatenate([likely[:, :2] - half, likely[:, :2] + half], 1), confidence, classes


def suppress(corners: NDArray[np.float32], overlap: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression over all classes together.

    Parameters
    ----------
    corners : ndarray of float32, shape (n, 4)
        Best first.
    overlap : float
        A box goes when its intersection over union with a better one is larger than this.

    Returns
    -------
    ndarray of int
        Indices kept, best first.
    """
    x0, y0, x1, y1 = (np.ascontiguousarray(edge) for edge in corners.T)
    areas = np.maximum(x1 - x0, 0) * np.maximum(y1 - y0, 0)
    left = np.arange(len(corners))
    kept: list[int] = []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(int(best))
        wide = np.minimum(x1[best], x1[left]) - np.maximum(x0[best], x0[left])
        high = np.minimum(y1[best], y1[left]) - np.maximum(y0[best], y0[left])
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        union = areas[best] + areas[left] - shared
        left = left[shared <= overlap * np.maximum(union, 1e-9)]
    return np.array(kept, np.intp)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    shared = one.intersection(other).area
    return shared / max(one.area + other.area - shared, 1)


def meet(one: Box, other: Box) -> bool:
    """Do two boxes share a pixel?"""
    common = one.intersection(other)
    return min(common.width, common.height) > 0


def covered(box: Box, others: Iterable[Box]) -> float:
    """Share of a box that lies in others together; 0 of one without area."""
    parts = [part for part in (other.intersection(box) for other in others) if part.width > 0 and part.height > 0]
    if not parts:
        return 0.0
    xs = sorted({box.x0, box.x1, *(part.x0 for part in parts), *(part.x1 for part in parts)})
    ys = sorted({box.y0, box.y1, *(part.y0 for part in parts), *(part.y1 for part in parts)})
    row, column = ({edge: at for at, edge in enumerate(edges)} for edges in (ys, xs))
    inside = np.zeros((len(ys) - 1, len(xs) - 1))
    for part in parts:
        inside[row[part.y0] : row[part.y1], column[part.x0] : column[part.x1]] = 1
    return float(np.diff(ys) @ inside @ np.diff(xs)) / box.area


def adding(boxes: Sequence[Box], share: float) -> list[int]:
    """Which boxes say something new.

    Unlike `suppress` it lets no corner of an item go because a better box has most of it: what is dropped is blacked out anyway.

    Parameters
    ----------
    boxes : sequence of Box
        Best first.
    share : float
        A box goes when more than that share of it lies in better ones together.

    Returns
    -------
    list of int
        Indices kept, best first.
    """
    kept: list[int] = []
    for number, box in enumerate(boxes):
        if covered(box, (boxes[other] for other in kept)) <= share:
            kept.append(number)
    return kept


def to_film(corners: NDArray[np.float32], where: Placement) -> Box:
    """One box in film pixels, grown to whole pixels so that none of it is lost; not yet clipped to the film."""
    x0, y0, x1, y1 = (float(value) for value in corners)
    return Box(
        math.floor((x0 - where.left) / where.scale) + where.window.x0,
        math.floor((y0 - where.top) / where.scale) + where.window.y0,
        math.ceil((x1 - where.left) / where.scale) + where.window.x0,
        math.ceil((y1 - where.top) / where.scale) + where.window.y0,
    )
