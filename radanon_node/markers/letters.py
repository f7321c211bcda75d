"""Finds an isolated letter in a detected region and gathers the evidence for it: shape, orientation, reading, surroundings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.components import Component, Crop, components_of, crop_of, cut_apart, span_of
from radanon_node.markers.frames import frame_of, grown
from radanon_node.markers.glyphs import CLASSES, OTHER, classify, classify_all_ways, normalise
from radanon_node.markers.ocr import page, reader
from radanon_node.markers.orientation import Upright, lead_over_rivals, ways
from radanon_node.pipeline.types import Box, GrayFrame

Mask = NDArray[np.bool_]

# First, cheap look (one orientation) and the mean over eight orientations that counts.
_WORTH_A_LOOK = 0.3
_SURE = 0.75
_SURE_CUT = 0.9
# A glyph that is hardly less like a rival (a 7 for an L) must be surer than others.
_CLEAR, _SURE_IF_CLOSE = 0.1, 0.84
_MOST_CANDIDATES = 3
_SLIM = 1.8
# Ways whose likeness is this close to the best one are read too.
_CLOSE = 0.08
# A glyph must stand out from the rim around it by this much of the region's range, and by this many gray levels.
_CONTRAST_SHARE, _CONTRAST = 0.2, 4.0
# Share of the rim that may be as bright as the ink itself: initials touch a lead letter, nothing touches a cut-out one.
_FOREIGN, _FOREIGN_PLATE = 0.3, 0.15
_FAR_MORE, _COMPANY = 1.5, 0.6
# Share of a letter that must lie in the detector's box: the rest of the crop belongs to something else.
_INSIDE = 0.8
_NEIGHBOUR_SIDE, _NEIGHBOUR_SURE = 0.88, 0.6
# Rings and discs hang beside letters; a letter O is slimmer.
_ROUND, _ACROSS = 1.22, 2.2
_RINGLIKE = [CLASSES.index(letter) for letter in "OQ"]
_NEIGHBOUR_GAP, _SECOND_GAP = 0.8, 0.35
# The surroundings that are searched for neighbours: so many letter sizes on each side, in this working size.
_CONTEXT, _CONTEXT_SIDE, _LARGEST = 2.0, 144, 2.5


@dataclass(frozen=True, slots=True, eq=False)
class Letter:
    """A letter that passed: everything about it in film pixels.

    Parameters
    ----------
    letter : str
    box : Box
        Tight around its ink.
    mask : ndarray of bool, shape (box.height, box.width)
    bright : bool
    contrast : float
        Gray levels between ink and surroundings.
    likelihood : float
        The glyph net's mean probability, 0..1.
    """

    letter: str
    box: Box
    mask: Mask
    bright: bool
    contrast: float
    likelihood: float


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A component with the letter its shape says it is."""

    component: Component
    letter: str
    likelihood: float


def find_letter(view: GrayFrame, box: Box, retain: Sequence[str], text: bool = False) -> tuple[Letter | None, str]:
    """The one isolated letter of a region, or why there is none.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)
    box : Box
        The detection, inside the film.
    retain : sequence of str
        Capitals that may stay.
    text : bool
        The detector calls it text: then any other mark of nearly the letter's size in the box speaks against it.

    Returns
    -------
    letter : Letter or None
    why : str
        A stable code: ``isolated_side_letter`` or the reason against it.
    """
    crop = crop_of(view, box, 0.15)
    wanted = [CLASSES.index(letter) for letter in retain if letter in CLASSES and letter != OTHER]
    why = "no_letter"
    seen: list[Component] = []
    for candidates in _searches(crop, wanted, seen):
        for candidate in candidates:
            letter, why = _judged(view, crop, candidate, seen)
            if letter is not None and text and _in_company(crop, candidate, letter.contrast, seen):
                letter, why = None, "not_isolated"
            if letter is not None:
                return letter, why
    return None, why


def _searches(crop: Crop, wanted: Sequence[int], seen: list[Component]) -> Iterator[list[Candidate]]:
    """Candidates in order of cost: plain lead and print, cut-out letters, faint ones, joined ones cut apart."""
    for bright, flat in ((True, False), (False, False), (True, True), (False, True)):
        components = components_of(crop, bright, flat)
        seen.extend(components)
        yield _sure([component for component in components if component.whole], wanted)
    joined = sorted(_unlike(seen), key=lambda component: -component.box.area)[:4]
    # One letter is never cut: half an F or an E would pass for an L.
    several = classify([normalise(component.mask) for component in joined])[:, -1] > 0.5
    joined = [component for component, is_several in zip(joined, several) if is_several]
    parts = [part for component in joined for part in cut_apart(component, crop) if _rules(part, component)]
    yield [candidate for candidate in _sure(parts, wanted) if candidate.likelihood >= _SURE_CUT]


def _judged(view: GrayFrame, crop: Crop, candidate: Candidate, seen: Sequence[Component]) -> tuple[Letter | None, str]:
    box = candidate.component.box
    inside = box.intersection(crop.inner)
    if inside.width <= 0 or inside.height <= 0 or inside.area < _INSIDE * box.area:
        return None, "outside_the_box"
    contrast = contrast_of(crop, candidate.component)
    if contrast is None or fragment(crop, candidate.component, contrast, seen):
        return None, "not_a_mark"
    way = read_of(candidate)
    if way is None:
        return None, "reading_unsure"
    candidate = replace(candidate, component=_widest(candidate, seen))
    letter = _on_film(candidate, crop, contrast)
    return (letter, "isolated_side_letter") if isolated(view, letter) else (None, "not_isolated")


def _rules(part: Component, joined: Component) -> bool:
    """Is the cut-off part the main one? A side letter is larger than the initials that touch it."""
    sides = max(part.box.width, part.box.height), max(joined.box.width, joined.box.height)
    return part.whole and bool(sides[0] > 0.55 * sides[1] and part.mask.sum() > 0.45 * joined.mask.sum())


def _sure(components: Sequence[Component], wanted: Sequence[int]) -> list[Candidate]:
    if not components or not wanted:
        return []
    # A slim letter is looked at in usual proportions too.
    slim = [component for component in components if _slimness(component) > _SLIM]
    components = [*components, *slim]
    glyphs = [normalise(component.mask) for component in components[: len(components) - len(slim)]]
    glyphs += [normalise(_widened(component.mask)) for component in slim]
    first = classify(glyphs)[:, wanted].max(1)
    found: list[Candidate] = []
    for index in np.argsort(-first, kind="stable"):
        if first[index] < _WORTH_A_LOOK or len(found) >= _MOST_CANDIDATES:
            break
        component = components[index]
        if any(_same_place(component.box, other.component.box) for other in found):
            continue
        mean = classify_all_ways(glyphs[index])
        best = int(mean.argmax())
        if best in wanted and mean[best] >= _SURE:
            found.append(Candidate(component, CLASSES[best], float(mean[best])))
    return sorted(found, key=lambda candidate: -candidate.likelihood)


def _slimness(component: Component) -> float:
    return max(component.box.width, component.box.height) / min(component.box.width, component.box.height)


def _widened(mask: Mask) -> Mask:
    """Stretched across to two thirds of its length."""
    long = max(mask.shape)
    size = (long, round(long / 1.5)) if mask.shape[1] == long else (round(long / 1.5), long)
    return np.asarray(cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_LINEAR)) > 127


def _unlike(components: Iterable[Component]) -> Iterator[Component]:
    places: list[Box] = []
    for component in components:
        if component.bright and not any(_same_place(component.box, other) for other in places):
            places.append(component.box)
            yield component


def _same_place(one: Box, other: Box) -> bool:
    shared = one.intersection(other)
    if shared.width <= 0 or shared.height <= 0:
        return False
    return shared.area > 0.5 * min(one.area, other.area)


def contrast_of(crop: Crop, component: Component) -> float | None:
    """Gray levels by which the ink stands out from what surrounds it; None if its outline is not that of a mark.

    Lead and print stand out all around; a letter cut out of a plate has the plate all around it, wider than a stroke, so that
    the ground between two strokes is not taken for one.
    """
    reach = max(3, round((0.1 if component.bright else 0.14) * max(component.box.width, component.box.height)))
    box = component.box.grown(reach).clipped(*crop.gray.shape)
    gray = crop.gray[box.y0 : box.y1, box.x0 : box.x1]
    ink = np.zeros(gray.shape, np.bool_)
    ink[component.box.y0 - box.y0 : component.box.y1 - box.y0, component.box.x0 - box.x0 : component.box.x1 - box.x0] = component.mask
    rim = grown(ink, reach) & ~grown(ink, 2)
    if not rim.any():
        return None
    inside, around = float(np.median(gray[ink])), float(np.median(gray[rim]))
    contrast = (inside - around) if component.bright else (around - inside)
    low, high = span_of(crop.gray)
    if contrast < max(_CONTRAST, _CONTRAST_SHARE * (high - low)):
        return None
    half = (inside + around) / 2
    foreign = float(((gray > half) if component.bright else (gray < half))[rim].mean())
    return contrast if foreign <= (_FOREIGN if component.bright else _FOREIGN_PLATE) else None


def _widest(candidate: Candidate, seen: Sequence[Component]) -> Component:
    """The largest component around the candidate that is this letter too: all of its ink, where that fades."""
    found = candidate.component
    around = [other for other in seen if other.whole and other.bright == found.bright and _contains(other, found)]
    sure = classify([normalise(other.mask) for other in around])[:, CLASSES.index(candidate.letter)] >= _SURE
    return max((found, *(other for other, is_letter in zip(around, sure) if is_letter)), key=lambda component: int(component.mask.sum()))


def _contains(other: Component, component: Component) -> bool:
    box = component.box
    if box.x0 < other.box.x0 or box.y0 < other.box.y0 or box.x1 > other.box.x1 or box.y1 > other.box.y1:
        return False
    x, y = box.x0 - other.box.x0, box.y0 - other.box.y0
    return bool(other.mask[y : y + box.height, x : x + box.width][component.mask].mean() >= 0.9)


def _in_company(crop: Crop, candidate: Candidate, contrast: float, seen: Sequence[Component]) -> bool:
    """Is there another mark of nearly its size in the crop?"""
    box = candidate.component.box
    least = _COMPANY * max(box.width, box.height)
    return any(
        other.whole and other.bright == candidate.component.bright and max(other.box.width, other.box.height) >= least
        and not _same_place(box, other.box) and (contrast_of(crop, other) or 0.0) > 0.5 * contrast
        for other in seen
    )


def fragment(crop: Crop, component: Component, contrast: float, components: Sequence[Component]) -> bool:
    """Is it only the brightest part of something larger that stands out far more than the part does?"""
    return any(
        other.whole and other.bright == component.bright and other.mask.sum() >= 1.3 * component.mask.sum()
        and _contains(other, component) and (contrast_of(crop, other) or 0.0) > _FAR_MORE * contrast
        for other in components
    )


def read_of(candidate: Candidate) -> Upright | None:
    """The orientation in which Tesseract reads exactly this letter; only those most like it are tried."""
    turned = ways(candidate.component.mask, candidate.letter)
    lead = lead_over_rivals(turned, candidate.letter)
    if lead <= 0 or (lead < _CLEAR and candidate.likelihood < _SURE_IF_CLOSE):
        return None
    for way in turned[:3]:
        if way.likeness < turned[0].likeness - _CLOSE:
            break
        if reader()(page(way.mask), word=False) == candidate.letter:
            return way
    return None


def isolated(view: GrayFrame, letter: Letter) -> bool:
    """No other letter of like or larger size stands beside it: else it is part of a word or of initials.

    What lies outside the ring or plate around it does not belong to it.
    """
    side = max(letter.box.width, letter.box.height)
    crop = crop_of(view, letter.box.grown(round(_CONTEXT * side)).clipped(*view.shape), 0.0, _CONTEXT_SIDE)
    x0, y0 = letter.box.x0 - crop.window.x0, letter.box.y0 - crop.window.y0
    own = Box(*(round(value * crop.scale) for value in (x0, y0, x0 + letter.box.width, y0 + letter.box.height))).clipped(*crop.gray.shape)
    length = side * crop.scale
    ink = np.zeros(crop.gray.shape, np.bool_)
    small = cv2.resize(letter.mask.astype(np.uint8) * 255, (own.width, own.height), interpolation=cv2.INTER_AREA)
    ink[own.y0 : own.y1, own.x0 : own.x1] = np.asarray(small) > 127
    frame = frame_of(crop.gray, ink, 2)
    height, _ = _extent(ink[own.y0 : own.y1, own.x0 : own.x1])
    neighbours: list[tuple[Component, bool]] = []
    for component in components_of(crop, letter.bright, smallest=_NEIGHBOUR_SIDE * height):
        box = component.box
        if not component.whole or _gap(own, box) > _NEIGHBOUR_GAP * max(length, box.width, box.height) or _same_place(own, box):
            continue
        if frame is not None and not frame.holds(component.mask, box.x0, box.y0):
            continue
        other, aspect = _extent(component.mask)
        if _NEIGHBOUR_SIDE * height <= other <= _LARGEST * height and component.mask.mean() < 0.9:
            neighbours.append((component, aspect < _ROUND))
    classes = classify([normalise(component.mask) for component, _ in neighbours])
    for (component, is_round), likely in zip(neighbours, classes):
        if _gap(own, component.box) > _SECOND_GAP * height and CLASSES[int(likely.argmax())] == letter.letter:
            continue  # a second marker, as where a digital one was added to the lead one
        sure = 1 - likely[-1] - (likely[_RINGLIKE].sum() if is_round else 0)
        if sure > _NEIGHBOUR_SURE and (contrast_of(crop, component) or 0.0) > 0.5 * letter.contrast:
            return False
    return True


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


def _on_film(candidate: Candidate, crop: Crop, contrast: float) -> Letter:
    film = crop.on_film(candidate.component.box)
    soft = cv2.resize(candidate.component.mask.astype(np.uint8) * 255, (film.width, film.height), interpolation=cv2.INTER_LINEAR)
    mask = np.asarray(soft) > 127
    mask = mask if mask.any() else np.ones_like(mask)
    return Letter(candidate.letter, film, mask, candidate.component.bright, contrast, candidate.likelihood)
