"""Finds an isolated letter in a detected region and gathers the evidence for it: shape, orientation, reading, surroundings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.candidates import SURE, Candidate, sure, tightest, unlike
from radanon_node.markers.components import Component, Crop, How, components_of, crop_of
from radanon_node.markers.contrast import contains, contrast_of, fragment, shadow
from radanon_node.markers.finder import find_in, proposals
from radanon_node.markers.glyphs import CLASSES, OTHER, classify, classify_all_ways, normalise
from radanon_node.markers.mark import Letter
from radanon_node.markers.ocr import DIGITS, SPECKS, page, reader
from radanon_node.markers.orientation import CORNER, Upright, corner_of, is_rival, lead_over_rivals, tilt_of, turned, ways
from radanon_node.markers.pieces import cut_apart, cut_straight, joined_pieces
from radanon_node.markers.surroundings import in_company, isolated
from radanon_node.markers.trimming import SURE_CUT, rules, trimmed, within, without_initials
from radanon_node.pipeline.types import Box, GrayFrame

_WAYS_TO_LOOK = (
    (True, How.PLAIN), (False, How.PLAIN), (True, How.FLAT), (False, How.FLAT), (True, How.LOCAL), (False, How.LOCAL),
    (False, How.NARROW),
)
_SURE_BRIDGED, _SURE_FOUND = 0.6, 0.85
# A character of which the finder could have marked a part: at most so much more ink, and so likely.
_LARGER_WHOLE, _ANOTHER = 2.2, 0.5
# Probability of "no single character" above which ink is cut apart; less is asked of ink that resembles none.
_SEVERAL, _SEVERAL_UNLIKE, _LIKE_NONE, _SURELY_SEVERAL = 0.9, 0.75, 0.07, 0.97
# Characters that touch leave gaps: what fills so much of its convex hull is a block, from which any letter could be cut.
_SOLID = 0.85
# A glyph that is hardly less like a rival (a 7 for an L) must be surer than others.
_CLEAR, _SURE_IF_CLOSE, _VERY_SURE = 0.1, 0.84, 0.93
# A detection's own rim, in shares of its larger side.
_RIM = 0.05
# What an 8 is read as, whichever way it lies.
_DIGIT_OR_B = DIGITS | {"B", "&"}
# Ways whose likeness is this close to the best one are read too.
_CLOSE = 0.15
# Share of a letter that must lie in the detector's box: the rest of the crop belongs to something else.
_INSIDE = 0.7
_MARGIN = 0.3
# A box of which the letter fills so much on both sides is a letter's alone.
_ALL = 0.6


@dataclass(frozen=True, eq=False)
class _Look:
    """One detection being looked at.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)
    box : Box
    crop : Crop
    text : bool
        The detector does not call it a side letter.
    beyond : ndarray of bool, shape of the crop
        What lies outside the detection and inside one that the detector calls text.
    """

    view: GrayFrame
    box: Box
    crop: Crop
    text: bool
    beyond: NDArray[np.bool_]

    @cached_property
    def likely(self) -> NDArray[np.float32]:
        """What the letter finder makes of the crop; asked once for all candidates, and only if one comes so far."""
        return find_in(self.view, self.box, self.crop)


def find_letter(
    view: GrayFrame, box: Box, retain: Sequence[str], text: bool = False, doubtful: bool = False, initials: Sequence[Box] = ()
) -> tuple[Letter | None, str]:
    """The one isolated letter of a region, or why there is none.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)
    box : Box
        The detection, inside the film.
    retain : sequence of str
        Capitals that may stay.
    text : bool
        The detector does not call it a side letter: nothing is cut apart, and any other mark of nearly the letter's size in the box
        speaks against it.
    doubtful : bool
        A letter may be cut off from other ink where its own pixels are less sure: it will not be kept but drawn anew.
    initials : sequence of Box
        The other detections of the film that are called text: ink out there is hardly the letter's.

    Returns
    -------
    letter : Letter or None
    why : str
        A stable code: ``isolated_side_letter`` or the reason against it.
    """
    crop = crop_of(view, box, _MARGIN)
    look = _Look(view, box, crop, text, _beyond(crop, initials))
    wanted = [CLASSES.index(letter) for letter in retain if letter in CLASSES and letter != OTHER]
    why = "no_letter"
    seen: list[Component] = []
    for candidates in _searches(look, wanted, seen, SURE if doubtful else SURE_CUT):
        for candidate in candidates:
            letter, why = _judged(look, candidate, seen)
            if letter is not None and text and in_company(crop, candidate.component, letter.contrast, seen):
                letter, why = None, "not_isolated"
            if letter is not None:
                return letter, why
    return None, why


def _searches(look: _Look, wanted: Sequence[int], seen: list[Component], sure_cut: float) -> Iterator[list[Candidate]]:
    """Candidates in order of cost: plain lead and print, cut-out letters, faint ones, stencils; no text: joined ones cut apart too."""
    crop, divide = look.crop, not look.text
    for bright, how in _WAYS_TO_LOOK if divide else _WAYS_TO_LOOK[:4]:
        components = components_of(crop, bright, how)
        seen.extend(components)
        yield sure([component for component in components if component.whole], wanted)
    if not divide:
        return
    yield sure(list(joined_pieces([component for component in seen if not component.bright])), wanted, _SURE_BRIDGED)
    joined = sorted(unlike(seen), key=lambda component: -component.box.area)[:4]
    joined = [component for component in joined if _is_several(component)]
    for component in joined:
        parts = [part for part in cut_apart(component, crop) if rules(part, component)]
        yield _unless_digit(tightest(parts, wanted, sure_cut), component)
    for component in joined[:2]:
        parts = [part for part in cut_straight(component, crop, tilt_of(component.mask)) if rules(part, component)]
        yield _unless_digit(tightest(parts, wanted, sure_cut), component)
    proposed = proposals(crop, look.likely)
    yield [candidate for candidate in sure(proposed, wanted, _SURE_FOUND) if not _part_of_another(candidate, seen)]


def _part_of_another(candidate: Candidate, seen: Sequence[Component]) -> bool:
    """Is what the finder marked only a part of another character: the stem and foot of an E, the half of an 8?"""
    own = candidate.component
    for other in seen:
        if not other.whole or other.bright != own.bright or other.mask.sum() > _LARGER_WHOLE * own.mask.sum() or not contains(other, own):
            continue
        mean = classify_all_ways(normalise(other.mask))
        likest = int(mean.argmax())
        known = CLASSES[likest] != OTHER and mean[likest] >= _ANOTHER
        if known and (CLASSES[likest] != candidate.letter or is_rival(other.glyph, candidate.letter)):
            return True
        if CLASSES[likest] == OTHER and not _unless_digit([candidate], other):
            return True
    return False


def _beyond(crop: Crop, initials: Sequence[Box]) -> NDArray[np.bool_]:
    """`_Look.beyond`: the detector's boxes are a little wider than what they are of, so that a rim is the letter's own."""
    out = np.zeros(crop.gray.shape, np.bool_)
    for other in initials:
        part = other.intersection(crop.window)
        if part.width > 0 and part.height > 0:
            x0, y0, x1, y1 = (
                round(value * crop.scale)
                for value in (part.x0 - crop.window.x0, part.y0 - crop.window.y0, part.x1 - crop.window.x0, part.y1 - crop.window.y0)
            )
            out[y0:y1, x0:x1] = True
    own = crop.inner.grown(round(_RIM * max(crop.inner.width, crop.inner.height))).clipped(*crop.gray.shape)
    out[own.y0 : own.y1, own.x0 : own.x1] = False
    return out


def _judged(look: _Look, candidate: Candidate, seen: Sequence[Component]) -> tuple[Letter | None, str]:
    crop, text, box = look.crop, look.text, candidate.component.box
    inside = box.intersection(crop.inner)
    if inside.width <= 0 or inside.height <= 0 or inside.area < _INSIDE * box.area:
        return None, "outside_the_box"
    contrast = contrast_of(crop, candidate.component, sloping=True, plate=not text)
    if contrast is None or shadow(crop, candidate.component) or fragment(crop, candidate.component, contrast, seen):
        return None, "not_a_mark"
    if not text:
        candidate = within(trimmed(candidate, crop), crop, look.beyond)
        candidate = without_initials(candidate, crop, look.likely)
    way = read_of(candidate)
    if way is None:
        return None, "reading_unsure"
    candidate = replace(candidate, component=_widest(candidate, seen))
    letter = _on_film(candidate, crop, contrast, way)
    alone = not text and min(box.width / crop.inner.width, box.height / crop.inner.height) >= _ALL
    return (letter, "isolated_side_letter") if isolated(look.view, letter, way.turn if alone else None) else (None, "not_isolated")


def _is_several(component: Component) -> bool:
    """Is it more than one character? A single one is never cut: half an F, a J or an 8 would pass for a letter; nor is a block."""
    if _solidity(component) > _SOLID:
        return False
    mean = classify_all_ways(normalise(component.mask))
    likest = int(mean[:-1].argmax())
    return bool(mean[-1] > (_SEVERAL_UNLIKE if mean[likest] < _LIKE_NONE else _SEVERAL))


def _solidity(component: Component) -> float:
    """Share of its convex hull that a component fills."""
    outlines, _ = cv2.findContours(component.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.convexHull(np.concatenate(outlines))
    filled = cv2.fillConvexPoly(np.zeros(component.mask.shape, np.uint8), hull, 1)
    return float(component.mask.sum() / max(int(filled.sum()), 1))


def _unless_digit(candidates: list[Candidate], joined: Component) -> list[Candidate]:
    """No part of an 8 is an R, though the glyph net, which knows no digits, takes an 8 for several characters."""
    if not candidates:
        return []
    level = turned(joined.mask, tilt_of(joined.mask))
    read = [reader()(page(np.rot90(level, quarter)), word=False).strip(SPECKS) for quarter in range(4)]
    # What is surely several characters may be read as a digit by chance; an 8 is read as one upside down too.
    if classify_all_ways(normalise(joined.mask))[-1] < _SURELY_SEVERAL:
        return [] if _DIGIT_OR_B.intersection(read) else candidates
    return [] if read[0] == read[2] == "8" or read[1] == read[3] == "8" else candidates


def _widest(candidate: Candidate, seen: Sequence[Component]) -> Component:
    """The largest component around the candidate that is this letter too: all of its ink, where that fades."""
    found = candidate.component
    if found.cut:
        return found
    around = [other for other in seen if other.whole and other.bright == found.bright and contains(other, found)]
    sure = classify([normalise(other.mask) for other in around])[:, CLASSES.index(candidate.letter)] >= SURE
    return max((found, *(other for other, is_letter in zip(around, sure) if is_letter)), key=lambda component: int(component.mask.sum()))


def read_of(candidate: Candidate) -> Upright | None:
    """The orientation in which Tesseract reads exactly this letter; only those most like it are tried."""
    if corner_of(candidate.component.glyph) < CORNER.get(candidate.letter, 0.0):
        return None
    looks = ways(candidate.component.glyph, candidate.letter)
    lead = lead_over_rivals(looks, candidate.letter)
    if lead <= (0 if candidate.likelihood < _VERY_SURE else -_CLEAR):
        return None
    # What is hardly less like a rival, a 7 or a V for an L, must be read twice: upright and in its mirror image.
    needed = 2 if lead < _CLEAR and candidate.likelihood < _SURE_IF_CLOSE else 1
    read: list[Upright] = []
    for way in looks[:4]:
        if way.likeness < looks[0].likeness - _CLOSE:
            break
        if reader()(page(way.mask), word=False).strip(SPECKS) == candidate.letter:
            read.append(way)
            if len(read) == needed:
                return read[0]
    return None


def _on_film(candidate: Candidate, crop: Crop, contrast: float, way: Upright) -> Letter:
    film = crop.on_film(candidate.component.box)
    soft = cv2.resize(candidate.component.mask.astype(np.uint8) * 255, (film.width, film.height), interpolation=cv2.INTER_LINEAR)
    mask = np.asarray(soft) > 127
    mask = mask if mask.any() else np.ones_like(mask)
    part = candidate.component
    turn = way.turn % 360
    return Letter(candidate.letter, film, mask, part.bright, contrast, candidate.likelihood, part.cut, turn, way.mirrored)
