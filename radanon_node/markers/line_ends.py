"""Lines of print are followed to their ends: what a detector found of half a line is no half of a name.

Print that runs over changing ground is found where it stands out best. From there its own ink leads on: marks of the same height, on the
same rows, of the same polarity, no further apart than the letters of a line are. A side letter that the line runs into in this way is one
of its characters (the initial of a first name, say), and no side letter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.geometry import covered, halved, meet
from radanon_node.pipeline.types import Box, Detection, GrayFrame, Kind, Source

# A line is at least so much longer than high, and holds so many marks.
_LONG, _MARKS = 2.0, 3
# Lines are looked at in this many pixels of height: what a stroke or a gap is does not depend on the film's size.
_HEIGHT = 24
# How far a look reaches beyond the box, and how often one follows another, in heights of the line.
_REACH, _LOOKS = 4.0, 4
# Of the height of the line's capitals: the widest gap before the next mark, marks' heights, how far they may stand off the line's rows.
_GAP, _LOW, _TALL, _OFF = 0.75, 0.3, 1.35, 0.25
_WIDEST, _DASH = 3.0, 0.9  # of one mark, as some letters touch each other, and of a low one
# Ink is what has this share of the line's own contrast; nothing fainter than `_FAINTEST` gray levels can be read.
_SHARE, _FAINTEST, _NOISE = 0.25, 4.0, 2.5
_LEVELS = 255  # farthest that a gray level lies from its ground
# A letter of the line: as high as its capitals and as dark or bright, in a line of so many marks. Lead initials can be as high as their
# side letter: what only the marker detector calls text must be longer, and more alike, than what the text detector found as well.
_SAME_HEIGHT, _LEAST_CONTRAST = (0.8, 1.25), 0.6
_WORD, _MOST_CONTRAST = {False: 5, True: 3}, {False: 1.7, True: 3.0}
# A box of which `_HELD` lies in lines followed before, grown by `_RIM` of their height, is no line of its own, and with `_BEGUN` it is
# followed from their ends; they have `_MOSTLY` of its height on its rows, or of their own.
_HELD, _BEGUN, _RIM, _MOSTLY = 0.95, 0.8, 0.1, 0.5
_REST = 0.5  # heights of a line: what is left of it beside a side letter is not worth a box below that
_UNDER = 0.5  # share of a mark in a side letter's box that makes it that letter


@dataclass(frozen=True, slots=True)
class _Ink:
    """What is known of a line's own ink, in pixels of the look."""

    top: int
    bottom: int
    polarity: int
    contrast: float
    limit: float
    marks: int
    printed: bool

    @property
    def height(self) -> int:
        return self.bottom - self.top


def with_lines(markers: Sequence[Detection], lines: Sequence[Detection]) -> list[Detection]:
    """Side letters and the lines of print that run over them: which belongs to which.

    Parameters
    ----------
    markers : sequence of Detection
        What the marker detector found.
    lines : sequence of Detection
        Level lines that the text detector found on the same view.

    Returns
    -------
    list of Detection
        The markers in their order, then the lines. A line that begins or ends with a side letter is cut beside it: the letter is the
        retention pass's business. A letter out of the middle of a line is of the line, ``TEXT`` in a box from end to end.
    """
    found, cut = list(markers), list[Detection]()
    letters = {at: one.box for at, one in enumerate(markers) if one.kind is Kind.SIDE_LETTER}
    for line in lines:
        parts = _beside(line.box, letters.values())
        cut += [replace(line, box=part) for part in parts]
        for at, letter in letters.items():
            before, after = [part for part in parts if part.x1 == letter.x0], [part for part in parts if part.x0 == letter.x1]
            if before and after:
                whole = Box(before[0].x0, min(line.box.y0, letter.y0), after[0].x1, max(line.box.y1, letter.y1))
                found[at] = replace(markers[at], kind=Kind.TEXT, box=whole)
    return found + cut


def follow_lines(view: GrayFrame, detections: Sequence[Detection]) -> list[Detection]:
    """Lengthen the boxes of level and upright lines of text to the ends of their print.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)
    detections : sequence of Detection

    Returns
    -------
    list of Detection
        One for each given, in their order, none smaller than it was. A side letter that turns out to be a character of a line is ``TEXT``
        in the line's box.
    """
    found = list(detections)
    followed: dict[bool, list[Box]] = {False: [], True: []}  # level lines; upright ones, turned
    for index, one in enumerate(detections):
        box = one.box.clipped(*view.shape)
        upright = box.height >= _LONG * box.width > 0
        if one.kind is not Kind.TEXT or not (upright or box.width >= _LONG * box.height > 0):
            continue
        way = _turned if upright else _same
        letters = {at: way(other.box) for at, other in enumerate(found) if other.kind is Kind.SIDE_LETTER}
        picture, inside = (view.T if upright else view), list[int]()
        longer, held = _as_followed(way(box), followed[upright], letters.values(), picture.shape)
        if held < _HELD:
            longer, inside = _follow(picture, longer, letters, one.source is Source.TEXT_MODEL)
            followed[upright].append(longer)
        found[index] = replace(one, box=way(longer))
        for at in inside:
            found[at] = replace(found[at], box=way(longer), kind=Kind.TEXT)
    return found


def _beside(box: Box, letters: Iterable[Box]) -> list[Box]:
    """What is left of a line where side letters stand in it."""
    parts = [box]
    for letter in letters:
        cut: list[Box] = []
        for part in parts:
            if not meet(part, letter):
                cut.append(part)
                continue
            left, right = Box(part.x0, part.y0, letter.x0, part.y1), Box(letter.x1, part.y0, part.x1, part.y1)
            cut += [rest for rest in (left, right) if rest.width >= _REST * part.height]
        parts = cut
    return parts


def _turned(box: Box) -> Box:
    return Box(box.y0, box.x0, box.y1, box.x1)


def _same(box: Box) -> Box:
    return box


def _as_followed(box: Box, lines: Sequence[Box], letters: Iterable[Box], shape: tuple[int, ...]) -> tuple[Box, float]:
    """A level box lengthened to the ends of lines that were followed before, and how much of it they hold.

    Print is found in many pieces, and each look costs. The box as it is, and 0, where the lines hold too little of it, or where a side
    letter stands that it may run into.
    """
    held = [line for line in lines if line.intersection(box).height >= _MOSTLY * min(line.height, box.height) and meet(line, box)]
    share = covered(box, (line.grown(round(_RIM * line.height)) for line in held))
    if share < _BEGUN:
        return box, 0.0
    # Their ends have a soft edge of their own height already.
    more = [max(_soft_edge(box) - _soft_edge(line), 0) for line in held]
    x0, x1 = min(line.x0 - edge for line, edge in zip(held, more)), max(line.x1 + edge for line, edge in zip(held, more))
    longer = Box(min(box.x0, x0), box.y0, max(box.x1, x1), box.y1).clipped(*shape)
    return (box, 0.0) if any(meet(_window(longer), letter) for letter in letters) else (longer, share)


def _soft_edge(box: Box) -> int:
    return max(1, round(0.1 * box.height))


def _window(box: Box) -> Box:
    """What a look at a level line sees."""
    reach, rim = round(_REACH * box.height), round(0.5 * box.height)
    return Box(box.x0 - reach, box.y0 - rim, box.x1 + reach, box.y1 + rim)


def _follow(view: GrayFrame, box: Box, letters: dict[int, Box], printed: bool) -> tuple[Box, list[int]]:
    """The longer box of a level line, and which of the letters belong to it."""
    inside: list[int] = []
    for _ in range(_LOOKS):
        longer = _look(view, box, {at: letter for at, letter in letters.items() if at not in inside}, inside, printed)
        if longer == box:
            break
        box = longer
    return box, inside


def _look(view: GrayFrame, box: Box, letters: dict[int, Box], inside: list[int], printed: bool) -> Box:
    columns = view.shape[1]
    window = _window(box).clipped(*view.shape)
    scale = min(_HEIGHT / box.height, 2.0)
    part = _scaled(view[window.y0:window.y1, window.x0:window.x1], scale)
    relief = np.asarray(cv2.subtract(part, cv2.medianBlur(part, 2 * round(0.6 * scale * box.height) + 1), dtype=cv2.CV_16S), np.int16)
    own = Box(*(round((edge - start) * scale) for edge, start in zip(
        (box.x0, box.y0, box.x1, box.y1), (window.x0, window.y0, window.x0, window.y0)))).clipped(*part.shape)
    ink = _own_ink(relief, own, printed)
    if ink is None:
        return box
    relief *= ink.polarity
    marks = _marks(relief, ink)
    scaled = {at: Box(*(round((edge - start) * scale) for edge, start in zip(
        (letter.x0, letter.y0, letter.x1, letter.y1), (window.x0, window.y0, window.x0, window.y0))))
        for at, letter in letters.items() if meet(letter, window)}
    for mark in marks if scaled else ():
        if own.x0 <= mark.x0 and mark.x1 <= own.x1:
            under = [at for at, letter in scaled.items() if _shared(mark, letter) >= _UNDER]
            inside += under if under and _of_the_line(mark, ink, relief) else ()
    right = _end(marks, own.x1, ink, scaled, inside, relief)
    before = [_mirrored(mark, part.shape[1]) for mark in marks if mark.x0 < own.x0]
    left = part.shape[1] - _end(before, part.shape[1] - own.x0, ink,
                                {at: _mirrored(letter, part.shape[1]) for at, letter in scaled.items()}, inside,
                                relief[:, ::-1])
    edge = _soft_edge(box)
    x0 = box.x0 if left >= own.x0 else max(window.x0 + int(left / scale) - edge, 0)
    x1 = box.x1 if right <= own.x1 else min(window.x0 + -int(-right // scale) + edge, columns)
    return Box(min(box.x0, x0), box.y0, max(box.x1, x1), box.y1)


def _scaled(part: GrayFrame, scale: float) -> GrayFrame:
    if scale <= 0.5:
        part, scale = halved(part), 2 * scale
    return np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8)


def _mirrored(box: Box, columns: int) -> Box:
    return Box(columns - box.x1, box.y0, columns - box.x0, box.y1)


def _own_ink(relief: NDArray[np.int16], own: Box, printed: bool) -> _Ink | None:
    """Polarity, contrast and rows of the print inside the box; None if there is no line of marks in it."""
    inner = relief[own.y0:own.y1, own.x0:own.x1]
    if inner.size == 0:
        return None
    # Gray levels are whole numbers: counting them is many times faster than sorting.
    levels = np.bincount(inner.ravel() + np.int16(_LEVELS), minlength=2 * _LEVELS + 1).cumsum()
    low, high = (_percentile(lambda rank: int(levels.searchsorted(rank, "right")) - _LEVELS, inner.size, share) for share in (3, 97))
    polarity, contrast = (1, high) if high >= -low else (-1, -low)
    # Every second pixel of every second row says as much of the noise.
    outside = np.abs(np.concatenate([relief[::2, :own.x0:2].ravel(), relief[::2, own.x1::2].ravel()]))
    noise = float(np.bincount(outside).cumsum().searchsorted(outside.size // 2, "right")) if outside.size else 0.0
    limit = max(_SHARE * contrast, _FAINTEST, _NOISE * noise)
    if contrast <= limit:
        return None
    stats = _components(polarity * inner, limit)
    letters = stats[stats[:, cv2.CC_STAT_HEIGHT] >= _LOW * own.height]
    if len(letters) < _MARKS:
        return None
    tops = sorted(letters[:, cv2.CC_STAT_TOP].tolist())
    ends = sorted((letters[:, cv2.CC_STAT_TOP] + letters[:, cv2.CC_STAT_HEIGHT]).tolist())
    top, bottom = (int(_percentile(edges.__getitem__, len(edges), share)) for edges, share in ((tops, 10), (ends, 75)))
    return _Ink(own.y0 + top, own.y0 + bottom, polarity, contrast, limit, len(letters), printed)


def _components(ink: NDArray[np.int16], limit: float) -> NDArray[np.int32]:
    """OpenCV's statistics of the connected components above the limit."""
    stats = cv2.connectedComponentsWithStats((ink > math.floor(limit)).view(np.uint8), connectivity=8)[2]
    return np.asarray(stats[1:], np.int32)


def _percentile(at: Callable[[int], int], count: int, share: float) -> float:
    """A percentile as numpy's; `at` gives the value of a rank."""
    place = (count - 1) * (share / 100)
    below = math.floor(place)
    value = at(below)
    return value + (at(min(below + 1, count - 1)) - value) * (place - below)


def _marks(ink: NDArray[np.int16], line: _Ink) -> list[Box]:
    """Components that could be characters of the line, wherever they stand in the window."""
    stats = _components(ink, line.limit)
    top, height, width = (stats[:, column] for column in (cv2.CC_STAT_TOP, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH))
    off = _OFF * line.height
    widest = np.where(height >= _LOW * line.height, _WIDEST, _DASH) * line.height
    fits = (height <= _TALL * line.height) & (top >= line.top - off) & (top + height <= line.bottom + off) & (width <= widest)
    fits &= stats[:, cv2.CC_STAT_AREA] >= 3
    return [Box(x, y, x + across, y + down) for x, y, across, down, _ in stats[fits].tolist()]


def _end(marks: Sequence[Box], end: int, line: _Ink, letters: dict[int, Box], inside: list[int], ink: NDArray[np.int16]) -> int:
    """Where the line ends to the right, in columns of the look."""
    for mark in sorted(marks, key=lambda one: one.x0):
        if mark.x1 <= end:
            continue
        if mark.x0 - end > _GAP * line.height:
            break
        if mark.height < _LOW * line.height and mark.x0 - end > 0.5 * _GAP * line.height:
            continue  # dots and dashes lead on only where they stand close
        under = [at for at, letter in letters.items() if _shared(mark, letter) >= _UNDER]
        if under and not _of_the_line(mark, line, ink):
            break
        inside += [at for at in under if at not in inside]
        end = mark.x1
    return end


def _shared(mark: Box, letter: Box) -> float:
    common = mark.intersection(letter)
    return max(common.width, 0) * max(common.height, 0) / max(mark.area, 1)


def _of_the_line(mark: Box, line: _Ink, ink: NDArray[np.int16]) -> bool:
    """A character of the line, rather than a side letter with its initials beside it."""
    contrast = float(np.percentile(ink[mark.y0:mark.y1, mark.x0:mark.x1], 90)) / max(line.contrast, 1e-3)
    return (line.marks >= _WORD[line.printed] and _SAME_HEIGHT[0] <= mark.height / line.height <= _SAME_HEIGHT[1]
            and _LEAST_CONTRAST <= contrast <= _MOST_CONTRAST[line.printed] and abs(mark.y1 - line.bottom) <= 0.15 * line.height)
