"""Text in loops, every frame looked at for a bounded cost.

Three key frames are searched whole: what stands there is blacked out on all frames. Every other frame is compared with what was
searched already. Where it shows strokes that no searched frame has at that place, and crisper than the texture around (speckle, mucosa,
grain) makes them anyway, that part of it is searched too. So a static banner costs three searches, text that moves or comes and goes
costs a small search each time it changes, and a loop in which everything changes costs a search of every frame: nothing is skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.text_boxes import BLOCK, busy_parts, with_stray_letters
from radanon_node.pipeline.types import Box, Detection, GrayFrame, Region, Verdict

LEAST_STROKE = 36
"""Gray levels that a stroke must differ from what is beside it to be seen as one."""
_STROKE_WIDTH = 9  # pixels; the fine structure looked at is narrower
_LEAST_PIXELS, _LEAST_IN_TEXTURE = 6, 20  # of new strokes in a block of 32 x 32; texture has some by chance
_TEXTURE_SHARE = 0.10  # of a block that changes between key frames: above it, the change is texture and not a drawn line
_TEXTURE_MARGIN = 1.15
_TEXTURE_LIMIT = 110  # gray levels: crisper strokes are always searched, however wild the texture
_SAME_BOX = 0.8


class Search(Protocol):
    """Finds text in a part of a frame; `TextDetector` does."""

    def detect(self, frames: Sequence[GrayFrame]) -> list[list[Detection]]: ...
    def detect_window(self, frame: GrayFrame, window: Box) -> list[Detection]: ...


class Judge(Protocol):
    """Decides over the detections of one frame, one region each, in their order."""

    def __call__(self, view: GrayFrame, detections: Sequence[Detection]) -> list[Region]: ...


def fine_structure(frame: GrayFrame) -> GrayFrame:
    """Gray levels by which each pixel's surroundings hold strokes: closing minus opening with a small square.

    Returns
    -------
    ndarray of uint8, shape (rows, columns)
    """
    square = np.ones((_STROKE_WIDTH, _STROKE_WIDTH), np.uint8)
    dark, bright = cv2.morphologyEx(frame, cv2.MORPH_CLOSE, square), cv2.morphologyEx(frame, cv2.MORPH_OPEN, square)
    return np.asarray(cv2.subtract(dark, bright), np.uint8)


def key_frames(count: int) -> tuple[int, ...]:
    """First, middle and last of `count` frames."""
    return tuple(sorted({0, count // 2, count - 1}))


@dataclass(slots=True)
class _Tracked:
    """A box that was found in one frame, and the strokes by which other frames are known to show the same."""

    region: Region
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    values: NDArray[np.int16]
    frames: set[int]


def loop_regions(frames: Sequence[GrayFrame], search: Search, judge: Judge) -> list[Region]:
    """Find and judge the text of a loop held in memory.

    Parameters
    ----------
    frames : sequence of GrayFrame
        All of one size.
    search : Search
    judge : Judge

    Returns
    -------
    list of Region
        ``frames`` is None for boxes of the key frames, else the indices into `frames` that show the box, one more on either side.
        Only boxes of key frames may be kept; text that comes and goes is not read.
    """
    keys = key_frames(len(frames))
    if len(keys) == len(frames):  # too few to tell a loop from pages: each for itself
        return [replace(region, frames=(index,)) for index, frame in enumerate(frames)
                for region in judge(frame, search.detect([frame])[0])]
    static, origin = _static_regions(frames, keys, search, judge)
    watch = _Watch([frames[key] for key in keys], static)
    tracked: list[_Tracked] = []
    for index, frame in enumerate(frames):
        if index in keys:
            continue
        for one in tracked:
            if _shows(frame, one):
                one.frames.add(index)
        for window in watch.new_parts(frame):
            tracked += [_track(frame, found, index) for found in search.detect_window(frame, window)
                        if not any(_explains(region, found.box, frames[key], frame) for region, key in zip(static, origin))]
            watch.searched(frame, window)
    return [*static, *(replace(one.region, frames=_spread(one.frames, len(frames))) for one in tracked)]


def _static_regions(frames: Sequence[GrayFrame], keys: Sequence[int], search: Search, judge: Judge) -> tuple[list[Region], list[int]]:
    """Judged boxes of the key frames, and the key frame of each; one that a later key frame shows unchanged is judged once."""
    regions: list[Region] = []
    origin: list[int] = []
    for key in keys:
        fresh = []
        for found in search.detect([frames[key]])[0]:
            if not any(_overlap(found.box, old.box) > _SAME_BOX and _unchanged(frames[first], frames[key], found.box)
                       for old, first in zip(regions, origin)):
                fresh.append(found)
        regions += judge(frames[key], fresh)
        origin += [key] * len(fresh)
    gone = [region.box for region in regions if region.verdict is Verdict.REDACT]
    # What may stay on one key frame and must go on another, at the same place, goes.
    stay = [(region, key) for region, key in zip(regions, origin) if region.verdict is Verdict.REDACT
            or not any(_overlap(region.box, box) > 0.1 for box in gone)]
    return [region for region, _ in stay], [key for _, key in stay]


def _explains(region: Region, box: Box, seen: GrayFrame, frame: GrayFrame) -> bool:
    """Whether a box found in `frame` is one that was judged on the key frame `seen`: black anyway, or unchanged since."""
    inside = box.intersection(region.box.grown(3))
    if min(inside.width, inside.height) <= 0 or inside.area < 0.9 * box.area:
        return False
    return region.verdict is Verdict.REDACT or _unchanged(seen, frame, box)


class _Watch:
    """Knows what was searched, and says where a frame shows strokes that were not."""

    def __init__(self, keys: Sequence[GrayFrame], static: Sequence[Region]) -> None:
        rows, columns = keys[0].shape
        self._shape = (-(-rows // BLOCK), -(-columns // BLOCK))
        self._searched = [*keys, keys[0].copy()]
        self._least = np.full(self._shape, _LEAST_PIXELS)
        covered = np.zeros((rows, columns), np.bool_)
        for region in static:
            if region.verdict is Verdict.REDACT:
                box = region.box.clipped(rows, columns)
                covered[box.y0:box.y1, box.x0:box.x1] = True
        self._limit = self._stroke_limits(keys, covered)
        self._limit[covered] = 255  # black on all frames anyway

    def _stroke_limits(self, keys: Sequence[GrayFrame], covered: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Per pixel: the fine structure that the texture of this place does not reach by itself."""
        rows, columns = covered.shape
        moves = np.zeros((rows, columns), np.bool_)
        for one, other in pairwise(keys):
            moves |= cv2.absdiff(one, other) > LEAST_STROKE // 4
        moves &= ~covered
        height, width = self._shape
        padded = np.zeros((height * BLOCK, width * BLOCK), np.bool_)
        padded[:rows, :columns] = moves
        texture = _blocks(padded).mean(axis=(1, 3)) > _TEXTURE_SHARE
        self._least[texture] = _LEAST_IN_TEXTURE
        limits = np.full(self._shape, LEAST_STROKE, np.float32)
        if texture.any():
            strokes = np.zeros((len(keys), *padded.shape), np.uint8)
            for layer, key in zip(strokes, keys):
                layer[:rows, :columns] = np.where(moves, fine_structure(key), 0)
            for y, x in np.argwhere(texture):
                values = strokes[:, y * BLOCK:(y + 1) * BLOCK, x * BLOCK:(x + 1) * BLOCK]
                limits[y, x] = max(LEAST_STROKE, _TEXTURE_MARGIN * float(np.percentile(values, 99.5)))
            limits = np.maximum(limits, np.where(texture, cv2.dilate(limits, np.ones((3, 3), np.uint8)), 0))
        full = np.repeat(np.repeat(np.minimum(limits, _TEXTURE_LIMIT), BLOCK, axis=0), BLOCK, axis=1)
        return full[:rows, :columns].astype(np.uint8)

    def new_parts(self, frame: GrayFrame) -> list[Box]:
        """Windows of `frame` with strokes that no searched frame has there."""
        ys, xs = np.nonzero(fine_structure(frame) > self._limit)
        if len(ys) == 0:
            return []
        here = frame[ys, xs].astype(np.int16)
        limit = self._limit[ys, xs] // 2
        new = np.ones(len(ys), np.bool_)
        for searched in self._searched:
            new &= np.abs(here - searched[ys, xs]) > limit
        height, width = self._shape
        counts = np.bincount((ys[new] // BLOCK) * width + xs[new] // BLOCK, minlength=height * width).reshape(self._shape)
        wanted = counts >= self._least
        if not wanted.any():
            return []
        # One block more on every side: strokes at a block's edge belong to text that goes on beside it.
        wanted = cv2.dilate(wanted.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_)
        rows, columns = frame.shape
        return [Box(part.x0 * BLOCK, part.y0 * BLOCK, part.x1 * BLOCK, part.y1 * BLOCK).clipped(rows, columns)
                for part in busy_parts(wanted, 1024 // BLOCK)]

    def searched(self, frame: GrayFrame, window: Box) -> None:
        """Remember that this part of `frame` was searched."""
        part = np.s_[window.y0:window.y1, window.x0:window.x1]
        self._searched[-1][part] = frame[part]


def _blocks(plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return plane.reshape(plane.shape[0] // BLOCK, BLOCK, plane.shape[1] // BLOCK, BLOCK)


def _overlap(one: Box, other: Box) -> float:
    common = one.intersection(other)
    if common.width <= 0 or common.height <= 0:
        return 0.0
    return common.area / (one.area + other.area - common.area)


def _unchanged(one: GrayFrame, other: GrayFrame, box: Box) -> bool:
    part = np.s_[box.y0:box.y1, box.x0:box.x1]
    return float((cv2.absdiff(one[part], other[part]) > LEAST_STROKE // 2).mean()) < 0.02


def _track(frame: GrayFrame, found: Detection, index: int) -> _Tracked:
    box = with_stray_letters(frame, found.box)
    region = Region(box, Verdict.REDACT, found.kind, found.confidence, found.source, "text")
    part = frame[box.y0:box.y1, box.x0:box.x1]
    ys, xs = np.nonzero(np.abs(part - float(np.median(part))) > LEAST_STROKE)  # the ink, light or dark
    return _Tracked(region, ys + box.y0, xs + box.x0, part[ys, xs].astype(np.int16), {index})


def _shows(frame: GrayFrame, one: _Tracked) -> bool:
    """Whether a frame may still show what was found: a third of its strokes is enough, and so is doubt."""
    if len(one.rows) == 0:
        return True
    return float((np.abs(frame[one.rows, one.columns] - one.values) <= LEAST_STROKE // 2).mean()) >= 0.33


def _spread(frames: set[int], count: int) -> tuple[int, ...]:
    return tuple(sorted({near for index in frames for near in (index - 1, index, index + 1) if 0 <= near < count}))
