"""Connected components of one detected region: Otsu and the levels around it, either polarity, joined letters cut apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.pipeline.types import Box, GrayFrame

Mask = NDArray[np.bool_]

# The working copy of a region has this long side: large enough for a letter that fills a third of it, small enough to be quick.
_WORKING_SIDE = 96
_MOST_ENLARGED = 4.0
# Levels between the region's dark and bright end, beside Otsu's; fewer where the background has been taken away.
_LEVELS, _FLAT_LEVELS, _BRIDGED_LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), (0.35, 0.65), (0.35, 0.5, 0.65)
# Bridges of a stencil, and the surroundings whose mean is taken, as shares of the region's larger side.
_BRIDGES, _BLOCKS = (0.035, 0.06, 0.1), (0.35, 0.6)
# What is so much of the region's range above or below that mean is ink.
_LOCAL_STEP = 0.06
# Two components are the same shape if their boxes agree to this many working pixels.
_SAME = 3
# A neck is at most this share of the thickest stroke: initials touch a letter at a point, one letter has strokes of one width.
_NECKS = (0.35, 0.5)
# Straight cuts, as shares of the component's extent.
_CUTS = (0.86, 0.8, 0.74, 0.68, 0.62, 0.56, 0.5)
_CORNERS = (0.72, 0.58, 0.44)
# A candidate's larger side, as a share of the region's larger side.
_SMALLEST = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A region in working size.

    Parameters
    ----------
    gray : ndarray of uint8, shape (rows, columns)
        Lightly smoothed.
    window : Box
        The part of the film that it shows.
    scale : float
        Working pixels per film pixel.
    inner : Box
        Where the detection's own box lies in it, in working pixels.
    open_sides : tuple of bool
        Left, top, right, bottom: the film goes on beyond this side.
    """

    gray: GrayFrame
    window: Box
    scale: float
    inner: Box
    open_sides: tuple[bool, bool, bool, bool]

    def on_film(self, box: Box) -> Box:
        """A box of working pixels in film pixels, grown to whole ones, inside the window."""
        return Box(
            self.window.x0 + int(box.x0 / self.scale), self.window.y0 + int(box.y0 / self.scale),
            self.window.x0 + int(np.ceil(box.x1 / self.scale)), self.window.y0 + int(np.ceil(box.y1 / self.scale)),
        ).intersection(self.window)

    def cut_by(self, box: Box) -> bool:
        """Does something with this bounding box go on beyond the crop?"""
        rows, columns = self.gray.shape
        touching = (box.x0 <= 0, box.y0 <= 0, box.x1 >= columns, box.y1 >= rows)
        return any(here and more for here, more in zip(touching, self.open_sides))


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """One component that might be a letter.

    Parameters
    ----------
    box : Box
        In working pixels of the crop.
    mask : ndarray of bool, shape (box.height, box.width)
    bright : bool
        Brighter than its surroundings (lead, print); False for a letter cut out of a plate.
    cut : bool
        It was joined to something else and has been cut off.
    whole : bool
        It does not go on beyond the crop; what does is of use only to be cut apart.
    """

    box: Box
    mask: Mask
    bright: bool
    cut: bool = False
    whole: bool = True


def crop_of(view: GrayFrame, box: Box, margin: float, side: int = _WORKING_SIDE) -> Crop:
    """The region `box` with a rim of `margin` times its smaller side, at least 3 film pixels, in working size.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)
    box : Box
        Inside the film.
    margin : float
    side : int
        Working pixels of the box's larger side.
    """
    rim = max(3, round(margin * min(box.width, box.height)))
    window = box.grown(rim).clipped(*view.shape)
    scale = min(side / max(box.width, box.height), _MOST_ENLARGED)
    part = view[window.y0 : window.y1, window.x0 : window.x1]
    size = max(round(window.width * scale), 1), max(round(window.height * scale), 1)
    gray = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    inner = Box(
        round((box.x0 - window.x0) * scale), round((box.y0 - window.y0) * scale),
        round((box.x1 - window.x0) * scale), round((box.y1 - window.y0) * scale),
    )
    open_sides = (window.x0 > 0, window.y0 > 0, window.x1 < view.shape[1], window.y1 < view.shape[0])
    return Crop(np.asarray(cv2.GaussianBlur(gray, (3, 3), 0.7), np.uint8), window, scale, inner, open_sides)


def flattened(gray: GrayFrame, bright: bool) -> GrayFrame:
    """The picture without its background: what is narrower than half the region stays (white or black top-hat)."""
    side = max(int(min(gray.shape) * 0.5) | 1, 5)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (side, side))
    hat = cv2.morphologyEx(gray, cv2.MORPH_TOPHAT if bright else cv2.MORPH_BLACKHAT, kernel)
    top = int(hat.max())
    return np.asarray(cv2.convertScaleAbs(hat, alpha=255 / top) if top else hat, np.uint8)


def span_of(gray: GrayFrame) -> tuple[int, int]:
    """The gray levels below and above which 2 and 0.5 hundredths of the pixels lie."""
    share = np.cumsum(np.bincount(gray.ravel(), minlength=256)) / gray.size
    return int(np.searchsorted(share, 0.02)), int(np.searchsorted(share, 0.995))


def levels_of(gray: GrayFrame, shares: Sequence[float]) -> list[float]:
    """Otsu's level first, then those at `shares` between the dark and the bright end; none for a flat picture."""
    low, high = span_of(gray)
    if high - low < 3:
        return []
    otsu = float(cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0])
    return [otsu, *(low + share * (high - low) for share in shares)]


class How(Enum):
    """How ink is told from ground."""

    PLAIN = "levels between dark and bright"
    FLAT = "levels, the background taken away first"
    LOCAL = "brighter or darker than the mean around"
    BRIDGED = "levels; pieces with a narrow gap between them are one, as the bridges of a stencil part them"


def components_of(crop: Crop, bright: bool, how: How = How.PLAIN, smallest: float | None = None) -> list[Component]:
    """Components of plausible size at every level, each shape once.

    Parameters
    ----------
    crop : Crop
    bright : bool
        Brighter than the surroundings, else darker.
    how : How
    smallest : float or None
        Least larger side in working pixels; None = a fifth of the detection's.
    """
    seen: set[tuple[int, ...]] = set()
    found: list[Component] = []
    for binary in _binaries(crop, bright, how):
        for component in _labelled(binary, crop, bright, False, smallest):
            box = component.box
            key = (box.x0 // _SAME, box.y0 // _SAME, box.x1 // _SAME, box.y1 // _SAME, component.mask.sum() // 64)
            if key not in seen:
                seen.add(key)
                found.append(component)
    return found


def _binaries(crop: Crop, bright: bool, how: How) -> Iterator[NDArray[np.uint8]]:
    side = max(crop.inner.width, crop.inner.height)
    if how is How.LOCAL:
        low, high = span_of(crop.gray)
        for share in _BLOCKS:
            block, step = int(share * side) | 1, max(_LOCAL_STEP * (high - low), 2.0)
            kind = cv2.THRESH_BINARY if bright else cv2.THRESH_BINARY_INV
            yield np.asarray(
                cv2.adaptiveThreshold(crop.gray, 1, cv2.ADAPTIVE_THRESH_MEAN_C, kind, max(block, 3), -step if bright else step), np.uint8
            )
        return
    source = flattened(crop.gray, bright) if how is How.FLAT else crop.gray if bright else 255 - crop.gray
    for level in levels_of(source, {How.FLAT: _FLAT_LEVELS, How.BRIDGED: _BRIDGED_LEVELS}.get(how, _LEVELS)):
        binary = np.asarray(cv2.threshold(source, level, 1, cv2.THRESH_BINARY)[1], np.uint8)
        if how is not How.BRIDGED:
            yield binary
            continue
        for share in _BRIDGES:
            gap = max(round(share * side), 2)
            yield np.asarray(cv2.morphologyEx(binary, cv2.MORPH_CLOSE, np.ones((gap, gap), np.uint8)), np.uint8)


def cut_apart(component: Component, crop: Crop) -> Iterator[Component]:
    """The parts of a component that narrow necks join: eroded until it falls apart, each part grown back inside it.

    A letter with initials touching it becomes two parts; the neck goes to the nearer one.
    """
    joined = np.pad(component.mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(joined, cv2.DIST_L2, 3)
    thickest = float(depth.max())
    for share in _NECKS:
        cores = (depth > share * thickest).astype(np.uint8)
        count, labels = cv2.connectedComponents(cores, connectivity=8)
        if count < 3:
            continue
        nearest = _nearest_label(np.asarray(labels, np.int32))
        whole = np.zeros(crop.gray.shape, np.uint8)
        for label in range(1, count):
            part = ((nearest == label) & (joined > 0))[1:-1, 1:-1]
            whole[:] = 0
            whole[component.box.y0 : component.box.y1, component.box.x0 : component.box.x1] = part
            yield from _labelled(whole, crop, component.bright, True, None)


def cut_straight(component: Component, crop: Crop, tilt: float) -> Iterator[Component]:
    """What is left of a component on either side of straight cuts along and across its strokes, and without one of its corners.

    Parameters
    ----------
    component : Component
        A letter with initials that touch it so broadly that no neck shows.
    crop : Crop
    tilt : float
        Direction of its strokes in degrees clockwise.

    Yields
    ------
    Component
        The pieces on one side of a cut, larger ones first on each side.
    """
    rows, columns = np.mgrid[: component.mask.shape[0], : component.mask.shape[1]].astype(np.float32)
    cos, sin = np.float32(np.cos(np.deg2rad(tilt))), np.float32(np.sin(np.deg2rad(tilt)))
    axes = []
    for place in (columns * cos + rows * sin, rows * cos - columns * sin):
        low, high = float(place[component.mask].min()), float(place[component.mask].max())
        axes.append((place - low) / max(high - low, 1))
    sides = [side for axis in axes for side in (axis, 1 - axis)]
    for side in sides:
        for share in _CUTS:
            yield from _piece(component, crop, side < share)
    for first in sides[:2]:
        for second in sides[2:]:
            for share in _CORNERS:
                for other in _CORNERS:
                    yield from _piece(component, crop, (first < share) | (second < other))


def _piece(component: Component, crop: Crop, stays: Mask) -> Iterator[Component]:
    whole = np.zeros(crop.gray.shape, np.uint8)
    whole[component.box.y0 : component.box.y1, component.box.x0 : component.box.x1] = component.mask & stays
    parts = list(_labelled(whole, crop, component.bright, True, None))
    if parts:
        yield max(parts, key=lambda part: int(part.mask.sum()))


def _nearest_label(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    _, index = cv2.distanceTransformWithLabels((labels == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros(int(index.max()) + 1, np.int32)
    table[index[labels > 0]] = labels[labels > 0]
    nearest: NDArray[np.int32] = table[index]
    return nearest


def _labelled(binary: NDArray[np.uint8], crop: Crop, bright: bool, cut: bool, smallest: float | None) -> Iterator[Component]:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=8, ltype=cv2.CV_16U)
    least = _SMALLEST * max(crop.inner.width, crop.inner.height) if smallest is None else smallest
    width, height, area = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT], stats[:, cv2.CC_STAT_AREA]
    for number in np.flatnonzero((np.maximum(width, height) >= least) & (np.minimum(width, height) >= 4) & (area >= 25)):
        if number == 0:
            continue
        x, y = (int(value) for value in stats[number, :2])
        box = Box(x, y, x + int(width[number]), y + int(height[number]))
        yield Component(box, labels[box.y0 : box.y1, box.x0 : box.x1] == number, bright, cut, not crop.cut_by(box))
