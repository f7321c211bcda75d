"""Printed text on radiographs: searched only where something crisp stands, large print first, and believed only if it can be read.

A film of 2500 x 2048 searched whole costs seconds, and nearly all of it is anatomy, which the plate has blurred over several pixels. Print
has steps of one pixel, many of them: a map of such steps costs milliseconds and leaves a few per cent of the film to the net. Of those
the net sees a quarter of the size first, where that leaves characters large enough, then half of it, then all: each time only what the
last look has not explained. Print that the marker detector is sure of is explained already, unless a stroke shows beside its box. What
the net finds counts if two characters or more are read, or if the marker detector sees something at the same place too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.geometry import halved, meet
from radanon_node.markers.second_look import SURE
from radanon_node.markers.text import TextDetector, whole_detections
from radanon_node.markers.text_boxes import BLOCK, busy_parts, step_shares
from radanon_node.pipeline.types import Box, Detection, GrayFrame, Kind

_STEP = 20
"""Gray levels between neighbours that make a step."""


class _Steps(NamedTuple):
    """What makes a block crisp: that share of its pixels with a step, in both directions (a straight edge has one) or in either."""

    share: float
    both: bool


_PRINT = _Steps(0.05, True)
"""Letters have 0.08 to 0.3, a straight collimation edge 0.03."""
_LEFT = _Steps(0.02, True)
"""Beside a line that was found: the edge of a letter that its box leaves out is enough."""
_STROKE = _Steps(0.01, False)
"""Beside a box that the marker detector is sure of: a stroke without serifs is enough."""
_LARGEST_PART = 32  # blocks
_SHRINKS, _LEAST_SIDE = (4, 2), 600  # sizes looked at first, while the film's long side is still so many pixels
_LEAST_LINE = 20  # pixels of a line's box at the size looked at; smaller ones are found and read more surely at the next
_RIM = 3  # pixels that the steps of a line may lie beside its box, at full size
_FLAT, _TRIM = 16, 3  # no step of so many gray levels: no ink; a box of a reduced look is trimmed by so many of its pixels at most
_SPACE, _ALIKE = 1.0, 0.6  # heights of a line within which a character of so nearly its height belongs to it
_LONG, _SHARED = 1.5, 0.3  # a line is so much longer than high; a letter of it has that part of its height or of its own on its rows
_CERTAIN, _LEAST_CHARACTERS = 0.7, 2
_OVERLAP = 0.3  # of a text box under marker boxes that is evidence enough


def crisp_blocks(view: GrayFrame) -> NDArray[np.bool_]:
    """Which 32 x 32 blocks (and their neighbours) may hold print.

    Looked for at full and at half resolution, in both directions: large films are often interpolated, and print on them is then two
    pixels soft.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)

    Returns
    -------
    ndarray of bool, shape (ceil(rows / 32), ceil(columns / 32))
    """
    return _grown(_crisp(_Sizes(view), _PRINT))


class _Sizes:
    """A view in full size and in reduced ones, each made once: ``sizes[4]`` is a quarter as long and wide."""

    def __init__(self, view: GrayFrame) -> None:
        self._halves = [view]

    def __getitem__(self, shrink: int) -> GrayFrame:
        while len(self._halves) < shrink.bit_length():
            self._halves.append(halved(self._halves[-1]))
        return self._halves[shrink.bit_length() - 1]


def _grown(blocks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return cv2.dilate(blocks.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_)


def _crisp(sizes: _Sizes, sought: _Steps, known: Sequence[Box] = ()) -> NDArray[np.bool_]:
    """Blocks with such steps outside the boxes that are known."""
    crisp = _dense(sizes[1], BLOCK, sought, known)
    if min(sizes[1].shape) >= 2 * BLOCK:
        halves = [Box(box.x0 // 2, box.y0 // 2, -(-box.x1 // 2), -(-box.y1 // 2)) for box in known]
        soft = _dense(sizes[2], BLOCK // 2, sought, halves)
        crisp[: soft.shape[0], : soft.shape[1]] |= soft
    return crisp


def _dense(view: GrayFrame, cell: int, sought: _Steps, known: Sequence[Box]) -> NDArray[np.bool_]:
    across = step_shares(view, _STEP, cell, known) >= sought.share
    if sought.both:
        return across & (step_shares(view, _STEP, cell, known, down=True, where=across) >= sought.share)
    return across | (step_shares(view, _STEP, cell, known, down=True) >= sought.share)


def film_text(view: GrayFrame, load: Callable[[], TextDetector], markers: Sequence[Detection]) -> list[Detection]:
    """Printed text of one film.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)
    load : callable
        Gives the text detector; called only for films on which something crisp stands.
    markers : sequence of Detection
        What the marker detector found on the same view.

    Returns
    -------
    list of Detection
        Kind ``TEXT``, source ``TEXT_MODEL``. Lines may run over side letters of `markers`, see `line_ends.with_lines`.
    """
    sizes = _Sizes(view)
    blocks = _grown(_crisp(sizes, _PRINT))
    known = _certain(markers)
    blocks = _beyond(view, blocks, known) if known else blocks
    if not blocks.any():
        return []
    detector = load()
    found = _search(sizes, detector, blocks)
    seen = [_under(one.box, markers) >= _OVERLAP for one in found]
    doubtful = [one.box for one, known in zip(found, seen) if not known]
    readings = iter(detector.read(view, doubtful) if doubtful else ())
    sure = [known or _is_text(*next(readings)) for known in seen]
    lines = [one.box for one, known in zip(found, sure) if known]
    return [one for one, known in zip(found, sure) if known or any(_continues(one.box, line) for line in lines)]


def _certain(markers: Sequence[Detection]) -> list[Box]:
    """Boxes that the marker detector is sure of: they hold all that stands there but for what `_STROKE` shows.

    Lines of print and single side letters; where a letter may belong to a line, both are seen together.
    """
    return [
        one.box
        for one in markers
        if one.kind in (Kind.TEXT, Kind.SIDE_LETTER)
        and one.confidence >= SURE
        and not any(_of_one_line(one, other) for other in markers if other is not one)
    ]


def _of_one_line(one: Detection, other: Detection) -> bool:
    """May two markers, one of them at least a side letter, be of one line?"""
    if one.kind is not Kind.SIDE_LETTER:
        one, other = other, one
    if one.kind is not Kind.SIDE_LETTER:
        return False
    letter, line = one.box, other.box
    if other.kind is Kind.SIDE_LETTER:
        return meet(letter.grown(max(letter.width, letter.height)), line)
    if not meet(line.grown(min(line.width, line.height)), letter):
        return False
    rows, columns = (min(line.y1, letter.y1) - max(line.y0, letter.y0)), (min(line.x1, letter.x1) - max(line.x0, letter.x0))
    if line.width >= _LONG * line.height:
        return rows >= _SHARED * min(line.height, letter.height)
    if line.height >= _LONG * line.width:
        return columns >= _SHARED * min(line.width, letter.width)
    return True


def _beyond(view: GrayFrame, blocks: NDArray[np.bool_], known: Sequence[Box]) -> NDArray[np.bool_]:
    """Blocks that print may stand in which the marker detector's sure boxes do not hold; with all of a line that one stands beside."""
    left = np.zeros_like(blocks)
    for part in busy_parts(blocks, _LARGEST_PART):
        window = Box(part.x0 * BLOCK, part.y0 * BLOCK, part.x1 * BLOCK, part.y1 * BLOCK).clipped(*view.shape)
        here = [box for box in known if meet(box, window)]
        left[part.y0 : part.y1, part.x0 : part.x1] |= _unexplained(view, window, here, _STROKE) if here else True
    return _grown(left) & blocks


def _search(sizes: _Sizes, detector: TextDetector, blocks: NDArray[np.bool_]) -> list[Detection]:
    """What the net finds in some blocks, from coarse to fine."""
    found: list[Detection] = []
    looks: list[int] = []
    view = sizes[1]
    for shrink in (*(shrink for shrink in _SHRINKS if max(view.shape) >= shrink * _LEAST_SIDE and min(view.shape) >= shrink * BLOCK), 1):
        reduced = sizes[shrink]
        left = np.zeros_like(blocks)
        for part in busy_parts(blocks, _LARGEST_PART):
            window = Box(part.x0 * BLOCK, part.y0 * BLOCK, part.x1 * BLOCK, part.y1 * BLOCK).clipped(*view.shape)
            inside = _reduced(window, shrink, reduced.shape)
            if shrink > 1 and min(inside.width, inside.height) < _LEAST_LINE:
                left[part.y0 : part.y1, part.x0 : part.x1] = True  # too narrow to hold a line of that size
                continue
            lines = detector.detect_window(reduced, inside)
            if shrink > 1:
                lines = [_enlarged(view, one, shrink) for one in lines if min(one.box.width, one.box.height) >= _LEAST_LINE]
            looks += [looks[-1] + 1 if looks else 0] * len(lines)
            found += lines
            if shrink > 1:
                left[part.y0 : part.y1, part.x0 : part.x1] |= _unexplained(view, window, [one.box for one in lines])
        blocks = _grown(left) & blocks
        if not blocks.any():
            break
    return whole_detections(found, looks)


def _unexplained(view: GrayFrame, window: Box, lines: Sequence[Box], sought: _Steps = _LEFT) -> NDArray[np.bool_]:
    """Blocks of a window where something crisp stands that no line covers; with all of the lines that it stands beside.

    A letter beside a line belongs to it: both are looked at again, together.
    """
    here = [Box(one.x0 - window.x0, one.y0 - window.y0, one.x1 - window.x0, one.y1 - window.y0) for one in lines]
    part = view[window.y0 : window.y1, window.x0 : window.x1]
    left = _crisp(_Sizes(part), sought if lines else _PRINT, [box.grown(_RIM) for box in here])
    for box in here if left.any() else ():
        if left[_blocks_of(box.grown(min(box.width, box.height)))].any():
            left[_blocks_of(box)] = True
    return left


def _blocks_of(box: Box) -> tuple[slice, slice]:
    return (slice(max(box.y0 // BLOCK, 0), max(-(-box.y1 // BLOCK), 0)), slice(max(box.x0 // BLOCK, 0), max(-(-box.x1 // BLOCK), 0)))


def _reduced(window: Box, shrink: int, shape: tuple[int, ...]) -> Box:
    return Box(window.x0 // shrink, window.y0 // shrink, -(-window.x1 // shrink), -(-window.y1 // shrink)).clipped(shape[0], shape[1])


def _enlarged(view: GrayFrame, one: Detection, shrink: int) -> Detection:
    """A find of a reduced look in pixels of the film, without the flat ground that its coarse pixels hold around the line."""
    box = Box(one.box.x0 * shrink, one.box.y0 * shrink, one.box.x1 * shrink, one.box.y1 * shrink).clipped(*view.shape)
    part = view[box.y0 : box.y1, box.x0 : box.x1]
    inky = cv2.morphologyEx(part, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) >= _FLAT
    most = _TRIM * shrink
    (top, bottom), (left, right) = (_flat_ends(np.asarray(inky.any(axis=axis)), most) for axis in (1, 0))
    return replace(one, box=Box(box.x0 + left, box.y0 + top, box.x1 - right, box.y1 - bottom))


def _flat_ends(inky: NDArray[np.bool_], most: int) -> tuple[int, int]:
    """How many entries without ink lie at either end, `most` of each at most; none where there is no ink at all."""
    places = np.flatnonzero(inky)
    if not len(places):
        return 0, 0
    return min(int(places[0]), most), min(len(inky) - 1 - int(places[-1]), most)


def _continues(box: Box, line: Box) -> bool:
    """Does it stand in a line, or shortly before or after it? A lone character there is a part of it: an initial after a name."""
    height = min(line.width, line.height)
    across = (box.x0, box.x1, line.x0, line.x1), (box.y0, box.y1, line.y0, line.y1)
    along, beside = across if line.width >= line.height else across[::-1]
    shared = min(beside[1], beside[3]) - max(beside[0], beside[2])
    gap = max(along[0] - along[3], along[2] - along[1])
    return shared >= _ALIKE * max(beside[1] - beside[0], height) and gap <= _SPACE * height


def _is_text(text: str, confidence: float) -> bool:
    return confidence >= _CERTAIN and sum(mark.isalnum() for mark in text) >= _LEAST_CHARACTERS


def _under(box: Box, markers: Sequence[Detection]) -> float:
    covered = np.zeros((box.height, box.width), np.bool_)
    for one in markers:
        part = one.box.intersection(box)
        if part.width > 0 and part.height > 0:
            covered[part.y0 - box.y0:part.y1 - box.y0, part.x0 - box.x0:part.x1 - box.x0] = True
    return float(covered.mean()) if covered.size else 0.0
