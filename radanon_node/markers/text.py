"""Printed text in pictures: where it is, on single frames and in loops.

Text overlays of screens are found with DBNet at the picture's own scale (text of 6 pixels is still found there); flat parts of the
picture are left out. `judge_text` is the one call the pipeline needs; judging what stays is in `text_judge`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from pydicom.dataset import Dataset

from radanon_node.markers.text_boxes import BLOCK, busy_blocks, busy_parts, text_boxes, whole_lines
from radanon_node.markers.text_judge import Matcher, judge_frame
from radanon_node.markers.text_loop import loop_regions
from radanon_node.markers.text_net import TextNets
from radanon_node.pipeline.types import Box, Detection, GrayFrame, Kind, Region, Source
from radanon_node.settings_profile import PixelSettings

_LEAST_CONTRAST = 12
_LARGEST_PART = 32  # blocks: 1024 pixels, which bounds the memory of one run of the net
_SMALLEST = 8
"""No text that can be read fits into a picture smaller than this on a side, pixels."""
_BATCH_BYTES = 128 * 2**20  # of a loop held at once; the next part of it begins anew
_TALLEST_LINE = 110
_TILE, _OVERLAP = 160, 64
_CRISP = 0.5  # part of a large box's contrast that lies between neighbours somewhere in it; blurred anatomy has less
_ALONG = 8  # widths of an upright line by which it is followed up and down
_SHARP, _SHARP_SHARE = 24, 0.005  # gray levels between neighbours, and the part of a large box that must have them


@dataclass(frozen=True, slots=True)
class TextThresholds:
    """Where the net's map becomes boxes.

    Parameters
    ----------
    pixel, box : float
        Probability of a pixel, and mean under a box.
    unclip : float
        Growth of the shrunk kernels, in units of area / perimeter.
    """

    pixel: float = 0.2
    box: float = 0.4
    unclip: float = 1.6


class TextDetector:
    """Finds and reads printed text.

    Parameters
    ----------
    nets : TextNets
    thresholds : TextThresholds
    """

    def __init__(self, nets: TextNets, thresholds: TextThresholds | None = None) -> None:
        self._nets = nets
        self._thresholds = thresholds or TextThresholds()

    @classmethod
    def load(cls, threads: int = 1) -> TextDetector:
        """With the networks of the installed rapidocr wheel; nothing is downloaded.

        Raises
        ------
        ConfigError
            The wheel is missing or holds other files than those tested.
        """
        return cls(TextNets.load(threads))

    @property
    def model_hash(self) -> str:
        """SHA-256 that names both networks, for receipts."""
        return self._nets.digest

    def detect(self, frames: Sequence[GrayFrame]) -> list[list[Detection]]:
        """Find text on single frames.

        Parameters
        ----------
        frames : sequence of GrayFrame
            Of any sizes.

        Returns
        -------
        list of list of Detection
            Per frame: kind ``TEXT``, source ``TEXT_MODEL``; the result of a frame does not depend on the others.
        """
        return [self._detect(frame) for frame in frames]

    def _detect(self, frame: GrayFrame) -> list[Detection]:
        rows, columns = frame.shape
        if min(rows, columns) < _SMALLEST:
            return []
        windows = [Box(part.x0 * BLOCK, part.y0 * BLOCK, part.x1 * BLOCK, part.y1 * BLOCK).clipped(rows, columns)
                   for part in busy_parts(busy_blocks(frame, _LEAST_CONTRAST), _LARGEST_PART)]
        return _detections([self._search(frame, window) for window in windows])

    def detect_window(self, frame: GrayFrame, window: Box) -> list[Detection]:
        """Find text in one part of a frame; boxes are in the frame's pixels.

        A box too large and too square for a line of text, or as large and blurred (a row of vertebrae), is looked at again in small
        tiles: there its own texture cannot lead the net astray, and what is text is found as such. A tile that is text from edge to
        edge stays so. One without any sharp edge is no text. Where a line stands upright, its surroundings are searched again, turned
        both ways: the net finds level text more surely.
        """
        return _detections([self._search(frame, window)])

    def _search(self, frame: GrayFrame, window: Box) -> list[tuple[Box, float]]:
        found, tiled = [], list[list[tuple[Box, float]]]()
        for box, score in self._boxes(frame, window):
            short, long = sorted((box.width, box.height))
            if short <= _TALLEST_LINE or (short <= 2 * _TALLEST_LINE and long > 2.5 * short and _crispness(frame, box) >= _CRISP):
                found.append((box, score))
            elif _has_edges(frame, box):
                tiled += [self._boxes(frame, tile) for tile in _tiles(box, window)]
        upright = [box for box, _ in found if box.height > 2 * box.width]
        return _together([found, *tiled, *(self._turned(frame, box, window, quarter) for box in upright for quarter in (1, -1))])

    def _turned(self, frame: GrayFrame, box: Box, window: Box, quarter: int) -> list[tuple[Box, float]]:
        """Find text in a strip along an upright line, turned by `quarter` right angles counter-clockwise."""
        reach = _ALONG * box.width
        strip = Box(box.x0 - box.width // 2, box.y0 - reach, box.x1 + box.width // 2, box.y1 + reach).intersection(window)
        turned = np.ascontiguousarray(np.rot90(frame[strip.y0:strip.y1, strip.x0:strip.x1], quarter))
        found = self._boxes(turned, Box(0, 0, turned.shape[1], turned.shape[0]))
        if quarter == 1:
            return [(Box(strip.x1 - one.y1, strip.y0 + one.x0, strip.x1 - one.y0, strip.y0 + one.x1), score) for one, score in found]
        return [(Box(strip.x0 + one.y0, strip.y1 - one.x1, strip.x0 + one.y1, strip.y1 - one.x0), score) for one, score in found]

    def _boxes(self, frame: GrayFrame, window: Box) -> list[tuple[Box, float]]:
        probability = self._nets.text_probability(frame[window.y0:window.y1, window.x0:window.x1])
        limits = self._thresholds
        return [(Box(box.x0 + window.x0, box.y0 + window.y0, box.x1 + window.x0, box.y1 + window.y0), score)
                for box, score in text_boxes(probability, limits.pixel, limits.box, limits.unclip)]

    def read(self, frame: GrayFrame, boxes: Sequence[Box]) -> list[tuple[str, float]]:
        """Read the text under each box, in memory only.

        Returns
        -------
        list of (str, float)
            Reading and its mean confidence; an empty string where nothing was read.
        """
        rows, columns = frame.shape
        crops: list[GrayFrame] = []
        for box in boxes:
            part = box.clipped(rows, columns)
            crop = frame[part.y0:part.y1, part.x0:part.x1] if part.area else frame[:1, :1]
            crops.append(np.pad(crop, ((1, 1), (2, 2)), mode="edge"))
        return self._nets.read(crops)


def _together(windows: Sequence[Sequence[tuple[Box, float]]]) -> list[tuple[Box, float]]:
    """What was found in several windows; in reading order, so that the result does not depend on how they were cut."""
    found = whole_lines([one for window in windows for one in window], [number for number, window in enumerate(windows) for _ in window])
    return sorted(found, key=lambda one: (one[0].y0, one[0].x0, one[0].y1, one[0].x1))


def _detections(windows: Sequence[Sequence[tuple[Box, float]]]) -> list[Detection]:
    return [Detection(box, Kind.TEXT, min(score, 1.0), Source.TEXT_MODEL) for box, score in _together(windows)]


def whole_detections(found: Sequence[Detection], windows: Sequence[int]) -> list[Detection]:
    """Detections of several windows (or several looks at one) put together: no line stands twice or in halves; in reading order."""
    return _detections([[(one.box, one.confidence) for one, window in zip(found, windows) if window == number]
                        for number in dict.fromkeys(windows)])


def _has_edges(frame: GrayFrame, box: Box) -> bool:
    part = frame[box.y0:box.y1, box.x0:box.x1]
    steps = cv2.morphologyEx(part, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) >= _SHARP
    return float(np.mean(steps)) >= _SHARP_SHARE


def _crispness(frame: GrayFrame, box: Box) -> float:
    part = frame[box.y0:box.y1, box.x0:box.x1]
    low, high = np.percentile(part, (1, 99))
    steps = cv2.morphologyEx(part, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return float(np.percentile(steps, 98) / max(high - low, 1.0))


def _tiles(box: Box, window: Box) -> list[Box]:
    """Squares of `_TILE` pixels that cover `box` with an overlap, inside `window`."""
    step = _TILE - _OVERLAP
    return [Box(x, y, x + _TILE, y + _TILE).intersection(window)
            for y in range(box.y0, max(box.y1 - _OVERLAP, box.y0 + 1), step)
            for x in range(box.x0, max(box.x1 - _OVERLAP, box.x0 + 1), step)]


def judge_text(dataset: Dataset, views: Iterable[tuple[int, GrayFrame]], detector: TextDetector, identifiers: Matcher | None,
               settings: PixelSettings, read_all: bool = False) -> list[Region]:
    """Find and judge the printed text of an object: the one call the pipeline needs.

    Parameters
    ----------
    dataset : Dataset
        Its Modality picks the allow-list.
    views : iterable of (int, GrayFrame)
        Frame number and picture of every frame that is to be looked at, in order, all of one size.
    detector : TextDetector
    identifiers : Matcher or None
        This patient's identifiers; with None no text is kept.
    settings : PixelSettings
        ``retain``: letters and words that stay.
    read_all : bool
        Read every line, also those too long to be harmless words: for the counts of certain finds.

    Returns
    -------
    list of Region
        ``frames`` is None for what stands on all frames.
    """
    modality = str(dataset.get("Modality") or "").strip().upper()

    def judge(view: GrayFrame, detections: Sequence[Detection]) -> list[Region]:
        return judge_frame(view, detections, reader=detector, modality=modality, identifiers=identifiers, retain=settings.retain,
                           read_all=read_all)

    parts = [(numbers, loop_regions(frames, detector, judge)) for numbers, frames in _batches(views)]
    if len(parts) == 1:
        numbers, regions = parts[0]
        if len(numbers) == 1:
            return [replace(region, frames=None) for region in regions]
        return [region if region.frames is None else replace(region, frames=tuple(numbers[index] for index in region.frames))
                for region in regions]
    return [replace(region, frames=tuple(numbers if region.frames is None else (numbers[index] for index in region.frames)))
            for numbers, regions in parts for region in regions]


def _batches(views: Iterable[tuple[int, GrayFrame]]) -> Iterator[tuple[list[int], list[GrayFrame]]]:
    """Frames in groups that fit into memory."""
    numbers: list[int] = []
    frames: list[GrayFrame] = []
    held = 0
    for number, frame in views:
        if frames and held + frame.nbytes > _BATCH_BYTES:
            yield numbers, frames
            numbers, frames, held = [], [], 0
        numbers.append(number)
        frames.append(frame)
        held += frame.nbytes
    if frames:
        yield numbers, frames
