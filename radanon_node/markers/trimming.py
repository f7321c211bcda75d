"""What hangs on a letter taken off it: initials that touch it, as far as shape, other detections and the letter finder tell them apart."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.candidates import SURE, Candidate, sure, tightest
from radanon_node.markers.components import Component, Crop, labelled
from radanon_node.markers.finder import MARKED, NEAR
from radanon_node.markers.glyphs import CLASSES
from radanon_node.markers.orientation import is_rival, tilt_of
from radanon_node.markers.pieces import cut_apart, cut_straight

SURE_CUT = 0.9
"""Likelihood of a letter that had to be cut off other ink."""
# A part must be so much surer than the whole component to be the letter instead of it.
_SURER = 0.08
# The letter is most of it: else its own foot, grown wide by what lies beside it, is cut off.
_MOST = 0.62
# What hangs on a letter: so many working pixels thick, that share of its ink; of the rest the finder marks that much, and it is as sure.
_SOLID, _HANGING, _AGREES, _HARDLY_WORSE = 3, 0.03, 0.75, 0.06
# Of the ink beyond a detection so much may be left.
_STILL_OUT = 0.2


def trimmed(candidate: Candidate, crop: Crop) -> Candidate:
    """The part of a doubtful letter that is far more surely one: without an initial that its outline could be stretched to."""
    whole = candidate.component
    if whole.cut or candidate.likelihood >= SURE_CUT:
        return candidate
    # A hook cut off a J would leave an L.
    if is_rival(whole.glyph, candidate.letter):
        return candidate
    parts = [part for part in cut_straight(whole, crop, tilt_of(whole.mask)) if rules(part, whole, _MOST)]
    better = tightest(parts, [CLASSES.index(candidate.letter)], max(SURE_CUT, candidate.likelihood + _SURER))
    return better[0] if better else candidate


def within(candidate: Candidate, crop: Crop, beyond: NDArray[np.bool_]) -> Candidate:
    """The letter without what hangs on it and reaches into other detections: the smallest part that is as sure, else what lies inside."""
    whole = candidate.component
    out = whole.mask & beyond[whole.box.y0 : whole.box.y1, whole.box.x0 : whole.box.x1]
    if out.sum() < _HANGING * whole.mask.sum():
        return candidate
    own, parts = CLASSES.index(candidate.letter), [*cut_apart(whole, crop), *cut_straight(whole, crop, tilt_of(whole.mask))]
    parts = [part for part in parts if rules(part, whole) and _ink_at(part, beyond) <= _STILL_OUT * out.sum()]
    better = tightest(parts, [own], max(SURE, candidate.likelihood))
    if better:
        return better[0]
    inside = labelled((whole.mask & ~out).astype(np.uint8), crop, whole.bright, True, None, whole.box)
    largest = max(inside, key=lambda piece: int(piece.mask.sum()), default=None)
    better = [] if largest is None else sure([largest], [own])
    return better[0] if better else candidate


def _ink_at(component: Component, place: NDArray[np.bool_]) -> int:
    box = component.box
    return int((component.mask & place[box.y0 : box.y1, box.x0 : box.x1]).sum())


def without_initials(candidate: Candidate, crop: Crop, likely: NDArray[np.float32]) -> Candidate:
    """The letter without what hangs on it and the letter finder is sure to be no part of it."""
    whole = candidate.component
    part = likely[whole.box.y0 : whole.box.y1, whole.box.x0 : whole.box.x1]
    foreign = cv2.morphologyEx((whole.mask & (part < NEAR)).astype(np.uint8), cv2.MORPH_OPEN, np.ones((_SOLID, _SOLID), np.uint8)) > 0
    rest = whole.mask & ~foreign
    if foreign.sum() < _HANGING * whole.mask.sum() or (rest & (part > MARKED)).sum() < max(_AGREES * rest.sum(), 1):
        return candidate
    pieces = labelled(rest.astype(np.uint8), crop, whole.bright, True, None, whole.box)
    largest = max(pieces, key=lambda piece: int(piece.mask.sum()), default=None)
    own = CLASSES.index(candidate.letter)
    better = [] if largest is None else sure([largest], [own], max(SURE, candidate.likelihood - _HARDLY_WORSE))
    return better[0] if better else candidate


def rules(part: Component, joined: Component, share: float = 0.45) -> bool:
    """Is the cut-off part the main one? A side letter is larger than the initials that touch it."""
    sides = max(part.box.width, part.box.height), max(joined.box.width, joined.box.height)
    return part.whole and bool(sides[0] > 0.55 * sides[1] and part.mask.sum() > share * joined.mask.sum())
