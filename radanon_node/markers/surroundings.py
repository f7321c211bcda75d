"""What stands around a glyph: marks that belong to it, neighbours that make it part of a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.components import Component, Crop, components_of, crop_of
from radanon_node.markers.contrast import contrast_of, step_at
from radanon_node.markers.frames import Frame, frame_of
from radanon_node.markers.glyphs import CLASSES, classify, normalise
from radanon_node.markers.mark import Letter
from radanon_node.markers.ocr import DIGITS, SPECKS, page, reader
from radanon_node.markers.orientation import turned
from radanon_node.pipeline.types import Box, GrayFrame

Mask = NDArray[np.bool_]

_COMPANY = 0.6
_NEIGHBOUR_SIDE, _NEIGHBOUR_SURE, _NEAR_SURE, _NEAR = 0.88, 0.6, 0.25, 0.45
# Rings and discs hang beside letters; a letter O is slimmer.
_ROUND, _ACROSS = 1.22, 2.2
_RINGLIKE = [CLASSES.index(letter) for letter in "OQ"]
_NEIGHBOUR_GAP, _SECOND_GAP, _ROW, _SAME_ROW = 0.8, 0.35, 0.7, 0.3
# Degrees that a ring's arc spans at least, its thickness in letter heights, and how much further its ends may be than its middle.
_ARC, _ARC_STEP, _THIN, _CURVED = 75.0, 6.0, 0.25, 1.12
# A mark of the same line: so much of both heights is shared, it is so near in letter heights, beyond a ring farther, and it stands out
# by that share of the letter's contrast. Several that run together are at least so long; initials one above the other are not.
_LEVEL, _LINE_GAP, _BEYOND_RING, _OVERLAPS, _AS_CLEAR = 0.68, 0.9, 2.4, 0.15, 0.5
_LONG, _LONGISH = 1.2, 1.4
# What is so much larger than the letter's box is no plate or ring of its own.
_FRAME = 8
# The surroundings that are searched for neighbours: so many letter sizes on each side, in this working size.
_CONTEXT, _CONTEXT_SIDE, _LARGEST = 2.0, 144, 2.5


def same_place(one: Box, other: Box) -> bool:
    shared = one.intersection(other)
    if shared.width <= 0 or shared.height <= 0:
        return False
    return shared.area > 0.5 * min(one.area, other.area)


def in_company(crop: Crop, component: Component, contrast: float, seen: Sequence[Component]) -> bool:
    """Is there another mark of nearly its size in the crop?"""
    box = component.box
    least = _COMPANY * max(box.width, box.height)
    return any(
        other.whole and other.bright == component.bright and max(other.box.width, other.box.height) >= least
        and not same_place(box, other.box) and (contrast_of(crop, other) or 0.0) > 0.5 * contrast
        for other in seen
    )


def isolated(view: GrayFrame, letter: Letter, turn: float | None) -> bool:
    """No other letter of like or larger size stands beside it: else it is part of a word or of initials.

    What lies outside the ring or plate around it does not belong to it. Initials as large as the letter are often set in a row of
    their own above or below it: they do not count where the letter's way up is known.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)
    letter : Letter
    turn : float or None
        Degrees clockwise by which it lies; None if the detector's box is not the letter's alone: then every neighbour counts.
    """
    crop, own, ink, frame = _about(view, letter)
    length = max(letter.box.width, letter.box.height) * crop.scale
    height, _ = _extent(ink[own.y0 : own.y1, own.x0 : own.x1])
    neighbours: list[tuple[Component, bool]] = []
    angle = np.deg2rad(letter.turn)
    reaches, line = _spans(np.argwhere(ink), angle), list[_Mark]()
    for component in components_of(crop, letter.bright, smallest=_LEVEL * height):
        box = component.box
        if frame is not None and not frame.holds(component.mask, box.x0, box.y0):
            continue
        mark = None if same_place(own, box) else _in_line(reaches, component, angle)
        if mark is not None and step_at(crop, component) > _AS_CLEAR * letter.contrast:
            line.append(mark)
        if max(box.width, box.height) < _NEIGHBOUR_SIDE * height:
            continue
        if not component.whole or _gap(own, box) > _NEIGHBOUR_GAP * max(length, box.width, box.height) or same_place(own, box):
            continue
        if turn is not None and _off_row(own, box, turn) > _ROW * height:
            continue
        if _arc_around(own, component, height) or _is_ground(crop, component, height):
            continue
        other, aspect = _extent(component.mask)
        if _NEIGHBOUR_SIDE * height <= other <= _LARGEST * height and component.mask.mean() < 0.9:
            neighbours.append((component, aspect < _ROUND))
    if _is_word(line):
        return False
    classes = classify([normalise(component.mask) for component, _ in neighbours])
    for (component, is_round), likely in zip(neighbours, classes):
        if _gap(own, component.box) > _SECOND_GAP * height and CLASSES[int(likely.argmax())] == letter.letter:
            continue  # a second marker, as where a digital one was added to the lead one
        sure = 1 - likely[-1] - (likely[_RINGLIKE].sum() if is_round else 0)
        # What stands as near as the next letter of a word need not be a clear one.
        needed = _NEAR_SURE if _gap(own, component.box) <= _NEAR * height else _NEIGHBOUR_SURE
        if sure <= needed and not _is_digit(own, component, letter, height):
            continue
        if (contrast_of(crop, component) or 0.0) > 0.5 * letter.contrast:
            return False
    return True


def _about(view: GrayFrame, letter: Letter) -> tuple[Crop, Box, Mask, Frame | None]:
    """A working copy of what is around a letter, the letter's box and ink in it, and the ring or plate that it stands in."""
    side = max(letter.box.width, letter.box.height)
    crop = crop_of(view, letter.box.grown(round(_CONTEXT * side)).clipped(*view.shape), 0.0, _CONTEXT_SIDE)
    x0, y0 = letter.box.x0 - crop.window.x0, letter.box.y0 - crop.window.y0
    own = Box(*(round(value * crop.scale) for value in (x0, y0, x0 + letter.box.width, y0 + letter.box.height))).clipped(*crop.gray.shape)
    small = np.asarray(cv2.resize(letter.mask.astype(np.uint8) * 255, (own.width, own.height), interpolation=cv2.INTER_AREA))
    ink = np.zeros(crop.gray.shape, np.bool_)
    # Of strokes much thinner than a working pixel none covers half of one.
    ink[own.y0 : own.y1, own.x0 : own.x1] = small > (127 if (small > 127).any() else 0)
    frame = frame_of(crop.gray, ink, 2)
    return crop, own, ink, None if frame is not None and frame.inside.sum() > _FRAME * own.area else frame


@dataclass(frozen=True, eq=False)
class _Mark:
    """A mark of the letter's own line: how far away it begins and how long it is, in heights of the letter."""

    component: Component
    gap: float
    long: float

    @cached_property
    def printed(self) -> bool:
        """Is it a character, or several that run together? A ring is neither: one may hang beside a letter."""
        likely = classify([normalise(self.component.mask)])[0]
        _, aspect = _extent(self.component.mask)
        ring = likely[_RINGLIKE].sum() if aspect < _ROUND else 0
        return bool(1 - likely[-1] - ring > _NEAR_SURE or (self.long >= _LONG and aspect >= _LONGISH))


def _is_word(line: Sequence[_Mark]) -> bool:
    """Are there characters next to the letter, or beyond what may be a ring or the O of a name?"""
    near = [mark for mark in line if mark.gap <= _LINE_GAP]
    if any(mark.printed for mark in near):
        return True
    reach = max((mark.gap + mark.long + _LINE_GAP for mark in near), default=0.0)
    return any(mark.printed for mark in line if _LINE_GAP < mark.gap <= min(reach, _BEYOND_RING))


def _in_line(reaches: tuple[float, float, float, float], component: Component, angle: float) -> _Mark | None:
    """A component as a mark of the letter's line, if it is as high as it and on its base line; `reaches` are the letter's `_spans`."""
    left, right, top, bottom = reaches
    start, end, high, low = _spans(np.argwhere(component.mask) + np.array((component.box.y0, component.box.x0), np.intp), angle)
    height = bottom - top
    level = (min(bottom, low) - max(top, high)) / (max(bottom, low) - min(top, high))
    gap = max(left - end, start - right) / height
    if _height_across(component.mask, angle) < _LEVEL * height:
        return None
    if level < _LEVEL or not -_OVERLAPS < gap <= _BEYOND_RING:
        return None
    return _Mark(component, float(gap), float((end - start) / height))


def _spans(points: NDArray[np.intp], angle: float) -> tuple[float, float, float, float]:
    """From where to where points (row, column) reach along a line at that angle, clockwise, and across it."""
    along, across = points @ [np.sin(angle), np.cos(angle)], points @ [np.cos(angle), -np.sin(angle)]
    return float(along.min()), float(along.max()) + 1, float(across.min()), float(across.max()) + 1


def _height_across(mask: Mask, angle: float) -> float:
    """How high a mark is that lies along a line of about that angle: a long word at a slant to it is no higher for that."""
    (_, _), (first, second), turn = cv2.minAreaRect(np.argwhere(mask)[:, ::-1].astype(np.float32))
    along = abs(np.cos(np.deg2rad(turn) - angle)) >= np.sqrt(0.5)
    return float(second if along else first) + 1


def _is_digit(own: Box, component: Component, letter: Letter, height: float) -> bool:
    """Is it a digit next to the letter in its row, as in a date? The glyph net knows none."""
    if _gap(own, component.box) > _NEAR * height or _off_row(own, component.box, letter.turn) > _SAME_ROW * height:
        return False
    upright = turned(component.mask, letter.turn)
    return any(reader()(page(way), word=False).strip(SPECKS) in DIGITS for way in (upright, upright[:, ::-1]))


def _arc_around(own: Box, component: Component, height: float) -> bool:
    """Is it a part of a ring about the letter? Seen from there it is wide, thin everywhere, and curves towards it as no I does."""
    rows, columns = np.nonzero(component.mask)
    across, down = columns + component.box.x0 - (own.x0 + own.x1 - 1) / 2, rows + component.box.y0 - (own.y0 + own.y1 - 1) / 2
    radius = np.hypot(across, down)
    middle = np.arctan2(np.mean(down / radius), np.mean(across / radius)) if radius.all() else 0.0
    away = (np.rad2deg(np.arctan2(down, across) - middle) + 180) % 360 - 180
    wide = np.percentile(np.abs(away), 95)
    if not radius.all() or wide < _ARC / 2:
        return False
    step = np.floor(away / _ARC_STEP).astype(int)
    spans = [float(np.ptp(radius[step == number])) for number in np.unique(step)]
    ends, centre = radius[np.abs(away) >= 0.8 * wide], radius[np.abs(away) <= 0.3 * wide]
    return bool(np.percentile(spans, 90) <= _THIN * height and centre.size and np.median(ends) <= _CURVED * np.median(centre))


def _is_ground(crop: Crop, component: Component, height: float) -> bool:
    """Is what is dark there the ground beside a plate, which goes on to the film's border over more than a letter's height?"""
    (rows, columns), box, mask = crop.gray.shape, component.box, component.mask
    at_the_rim = [mask[0].sum() * (box.y0 == 0), mask[-1].sum() * (box.y1 == rows)]
    at_the_rim += [mask[:, 0].sum() * (box.x0 == 0), mask[:, -1].sum() * (box.x1 == columns)]
    return not component.bright and max(at_the_rim) > height


def _off_row(own: Box, other: Box, turn: float) -> float:
    """How far another box's centre lies above or below the row in which the letter stands."""
    dx, dy = (other.x0 + other.x1 - own.x0 - own.x1) / 2, (other.y0 + other.y1 - own.y0 - own.y1) / 2
    angle = np.deg2rad(turn)
    return float(abs(dy * np.cos(angle) - dx * np.sin(angle)))


def _extent(mask: Mask) -> tuple[float, float]:
    """Height of the character(s) in a component, however they lie, and how much longer than wide it is."""
    _, sides, _ = cv2.minAreaRect(np.argwhere(mask).astype(np.float32))
    long, short = max(sides) + 1, min(sides) + 1
    # Initials that touch each other lie across: their height is the shorter side.
    return (short if long > _ACROSS * short and mask.mean() > 0.5 else long), long / short


def _gap(one: Box, other: Box) -> float:
    across = max(one.x0 - other.x1, other.x0 - one.x1, 0)
    down = max(one.y0 - other.y1, other.y0 - one.y1, 0)
    return float(np.hypot(across, down))
