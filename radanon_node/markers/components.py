"""Connected components of one detected region: Otsu and the levels around it, either polarity."""

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
_LEVELS, _FLAT_LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), (0.35, 0.65)
# Surroundings whose mean is taken, as shares of the region's larger side.
_BLOCKS = (0.35, 0.6)
# What is so much of the region's range above or below that mean is ink.
_LOCAL_STEP = 0.06
# Strokes of a letter cut out of a plate are narrower than this share of the plate's larger side, and so much darker.
_STROKE, _NARROW_STEPS = 0.2, (0.05, 0.09, 0.15)
# Two components are the same shape if their boxes agree to this many working pixels.
_SAME = 3
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
    closed : ndarray of bool or None
        Its shape without the gap of a stencil's bridge; None where there is none.
    """

    box: Box
    mask: Mask
    bright: bool
    cut: bool = False
    whole: bool = True
    closed: Mask | None = None

    @property
    def glyph(self) -> Mask:
        """Its shape as it is to be read."""
        return self.mask if self.closed is None else self.closed


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


def without_background(gray: GrayFrame, bright: bool, side: int | None = None) -> GrayFrame:
    """The picture without its background: what is narrower than `side`, by default half the region, stays (top-hat), ink bright."""
    side = max(int(min(gray.shape) * 0.5) | 1, 5) if side is None else side
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (side, side))
    return np.asarray(cv2.morphologyEx(gray, cv2.MORPH_TOPHAT if bright else cv2.MORPH_BLACKHAT, kernel), np.uint8)


def stroke_of(crop: Crop) -> int:
    """More than the width of a stroke cut out of a plate that fills the detection, in working pixels; odd."""
    return max(int(_STROKE * max(crop.inner.width, crop.inner.height)) | 1, 5)


def flattened(gray: GrayFrame, bright: bool) -> GrayFrame:
    """The picture without its background, stretched to the full range."""
    hat = without_background(gray, bright)
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
    NARROW = "what a stroke's width of closing or opening takes away, by little"


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
        for component in labelled(binary, crop, bright, False, smallest):
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
    if how is How.NARROW:
        low, high = span_of(crop.gray)
        hat = without_background(crop.gray, bright, stroke_of(crop))
        for share in _NARROW_STEPS:
            yield np.asarray(cv2.threshold(hat, max(share * (high - low), 2.0), 1, cv2.THRESH_BINARY)[1], np.uint8)
        return
    source = flattened(crop.gray, bright) if how is How.FLAT else crop.gray if bright else 255 - crop.gray
    for level in levels_of(source, _FLAT_LEVELS if how is How.FLAT else _LEVELS):
        yield np.asarray(cv2.threshold(source, level, 1, cv2.THRESH_BINARY)[1], np.uint8)


def labelled(
    binary: NDArray[np.uint8], crop: Crop, bright: bool, cut: bool, smallest: float | None, at: Box | None = None
) -> Iterator[Component]:
    """The connected components of a binary picture of the crop, or of the part `at` of it, that are large enough to be looked at."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=8, ltype=cv2.CV_16U)
    least = _SMALLEST * max(crop.inner.width, crop.inner.height) if smallest is None else smallest
    width, height, area = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT], stats[:, cv2.CC_STAT_AREA]
    left, top = (0, 0) if at is None else (at.x0, at.y0)
    for number in np.flatnonzero((np.maximum(width, height) >= least) & (np.minimum(width, height) >= 4) & (area >= 25)):
        if number == 0:
            continue
        x, y, across, down = (int(value) for value in stats[number, :4])
        box = Box(left + x, top + y, left + x + across, top + y + down)
        yield Component(box, labels[y : y + down, x : x + across] == number, bright, cut, not crop.cut_by(box))
