"""The retention pass: what of the detected regions may stay, after Khosravi et al., Radiology: AI 5(6), e230085 (2023).

Every region is black unless it holds one isolated letter of the list; then only what is not that letter is black. Evidence
decides: the component's shape, a reading in a clear orientation, its contrast and its surroundings; doubt removes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.leftovers import halo_of, leftovers, soft_edge
from radanon_node.markers.letters import find_letter
from radanon_node.markers.mark import Letter
from radanon_node.markers.words import find_word
from radanon_node.pipeline.types import Box, Detection, GrayFrame, Kind, Region, Source, Stamp, Verdict

_KEEPABLE = (Source.MARKER_MODEL, Source.TEXT_MODEL)
# A letter's surroundings are looked at in boxes up to this many times longer than wide; longer ones are lines of print.
_LONGEST = {Kind.TEXT: 2.5}
_LONGEST_OTHER = 4.5
# What the detector calls text is a single letter only if that fills so much of both sides of the box.
_FILLS = 0.5
_END = 0.2
# A letter so much larger, so many of its sizes away, is the side letter; the smaller one is not.
_LARGER, _FAR_LARGER, _SHADOW = 1.35, 3.5, 0.8


class Knows(Protocol):
    """This patient's identifiers (`tags.identifiers.Identifiers`)."""

    def matches(self, text: str) -> bool: ...


def judge(
    view: GrayFrame, detections: Sequence[Detection], retain: Sequence[str], identifiers: Knows | None, laterality: str = "",
    restamp: bool = False,
) -> list[Region]:
    """Decide what of each detection is blacked out.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)
        The frame as displayed.
    detections : sequence of Detection
    retain : sequence of str
        Letters that may stay if isolated, and words of two or more letters if they are all that a region holds; empty removes
        everything.
    identifiers : Identifiers or None
        A letter that is one of this patient's identifiers is removed.
    laterality : str
        Image Laterality (0020,0062) or Laterality (0020,0060): ``L``, ``R`` or anything else. A kept L or R that says otherwise
        stays, with ``contradicts_laterality`` as its reason; two that cannot both be right have ``side_letters_disagree``.
    restamp : bool
        A letter that touches other ink is not kept but blackened with it, and a clean one is drawn in its place.

    Returns
    -------
    list of Region
        ``KEEP`` for a kept letter's box, ``REDACT`` for everything else; all inside the frame. Nothing outside the detections
        is ever touched but a letter that reaches out of one and is drawn anew, and nothing inside one is left that is neither the
        letter nor plain background. A letter drawn anew is a ``REDACT`` region with a stamp and the reason ``letter_drawn_anew``.

    Raises
    ------
    HoldInstance
        ``MODEL_MISSING`` when Tesseract or the glyph net is not installed.
    """
    wanted = tuple(dict.fromkeys(entry.upper() for entry in retain))
    boxes = [detection.box.clipped(*view.shape) for detection in detections]
    text = [box for detection, box in zip(detections, boxes) if detection.kind is Kind.TEXT]
    verdicts: list[tuple[Detection, Box, Letter | None, str]] = []
    for detection, box in zip(detections, boxes):
        if box.width <= 0 or box.height <= 0:
            continue
        letter, why = _look(view, detection, box, wanted, identifiers, restamp, text)
        verdicts.append((detection, box, letter, why))
    letters = [letter for _, _, letter, _ in verdicts if letter is not None]
    initials = [letter for letter in letters if any(_is_initial(letter, other) for other in letters)]
    letters = [letter for letter in letters if letter not in initials]
    verdicts = [(d, box, None, "not_isolated") if letter in initials else (d, box, letter, why) for d, box, letter, why in verdicts]
    disagree = _disagree(letters, view.shape[1])
    letters = [letter for letter in letters if not (restamp and letter.cut)]
    regions: list[Region] = []
    for detection, box, letter, why in verdicts:
        if letter is None:
            regions.append(_black(detection, box, _without(box, letters), why))
            continue
        if {letter.letter[0], laterality.strip().upper()} == {"L", "R"}:
            why = "contradicts_laterality"
        elif disagree:
            why = "side_letters_disagree"
        elif restamp and letter.cut:
            why = "letter_drawn_anew"
        if restamp and letter.cut:
            regions.append(_drawn_anew(view, detection, box, letter, why))
            continue
        regions.append(_region(detection, letter.box, Verdict.KEEP, why))
        rest = leftovers(view, box, letter)
        if rest is not None:
            rest_box, mask = rest
            spared = _without(rest_box, letters)
            mask = mask if spared is None else mask & spared
            if mask.any():
                regions.append(_black(detection, rest_box, mask, "not_the_letter"))
    return regions


def _look(
    view: GrayFrame, detection: Detection, box: Box, wanted: Sequence[str], identifiers: Knows | None, restamp: bool, text: Sequence[Box]
) -> tuple[Letter | None, str]:
    if not wanted:
        return None, "retention_off"
    if detection.source not in _KEEPABLE:
        return None, "region_rule"
    capitals, words = [entry for entry in wanted if len(entry) == 1], [entry for entry in wanted if len(entry) > 1]
    letter, why = None, "line_of_text"
    if max(box.width, box.height) <= _LONGEST.get(detection.kind, _LONGEST_OTHER) * min(box.width, box.height):
        letter, why = find_letter(view, box, capitals, detection.kind is not Kind.SIDE_LETTER, restamp, text)
    if letter is not None and detection.kind is Kind.TEXT and min(letter.box.width / box.width, letter.box.height / box.height) < _FILLS:
        letter, why = None, "not_isolated"
    if letter is None and words:
        letter, why = find_word(view, box, words)
    if letter is not None and identifiers is not None and identifiers.matches(letter.letter):
        return None, "matches_identifier"
    return letter, why


def _is_initial(letter: Letter, other: Letter) -> bool:
    """Does it stand in the shadow of a larger letter that stays? Then it is one of the initials on the same marker."""
    own, size = max(letter.box.width, letter.box.height), max(other.box.width, other.box.height)
    across = max(letter.box.x0 - other.box.x1, other.box.x0 - letter.box.x1, 0)
    down = max(letter.box.y0 - other.box.y1, other.box.y0 - letter.box.y1, 0)
    return letter.bright == other.bright and _LARGER * own < size < _FAR_LARGER * own and max(across, down) < _SHADOW * size


def _disagree(letters: Sequence[Letter], columns: int) -> bool:
    """Do two of the letters name both halves of the picture alike, or one half both ways?"""
    sides = {(letter.letter[0], letter.box.x0 + letter.box.x1 > columns) for letter in letters if letter.letter[0] in "LR"}
    return len(sides) > 1 and not sides <= {("L", True), ("R", False)} and not sides <= {("L", False), ("R", True)}


def _without(box: Box, letters: Sequence[Letter]) -> NDArray[np.bool_] | None:
    """Mask of `box` without the kept letters that reach into it; None if none does.

    A letter's soft edge is given up there: initials that touch it must not keep a slice of theirs. Nor is the end of a letter
    spared that had to be cut off from them.
    """
    mask = np.ones((box.height, box.width), np.bool_)
    for letter in letters:
        halo_box, halo = halo_of(letter, 1)
        shared = halo_box.intersection(box)
        if shared.width > 0 and shared.height > 0:
            inside = letter.box.intersection(box)
            if letter.cut and _ink_in(letter, inside) < _END:
                continue
            part = halo[shared.y0 - halo_box.y0 : shared.y1 - halo_box.y0, shared.x0 - halo_box.x0 : shared.x1 - halo_box.x0]
            mask[shared.y0 - box.y0 : shared.y1 - box.y0, shared.x0 - box.x0 : shared.x1 - box.x0] &= ~part
    return None if mask.all() else mask


def _ink_in(letter: Letter, box: Box) -> float:
    """Share of a letter's ink that lies in a part of its box."""
    if box.width <= 0 or box.height <= 0:
        return 0.0
    x, y = box.x0 - letter.box.x0, box.y0 - letter.box.y0
    return float(letter.mask[y : y + box.height, x : x + box.width].sum() / letter.mask.sum())


def _drawn_anew(view: GrayFrame, detection: Detection, box: Box, letter: Letter, why: str) -> Region:
    """All of the detection black, and of the letter that was in it, with a clean one in its place."""
    own = letter.box.grown(soft_edge(letter))
    both = Box(min(box.x0, own.x0), min(box.y0, own.y0), max(box.x1, own.x1), max(box.y1, own.y1)).clipped(*view.shape)
    stamp = Stamp(letter.letter, letter.box, letter.turn, letter.mirrored, not letter.bright)
    return Region(both, Verdict.REDACT, detection.kind, detection.confidence, detection.source, why, stamp=stamp)


def _black(detection: Detection, box: Box, mask: NDArray[np.bool_] | None, why: str) -> Region:
    return _region(detection, box, Verdict.REDACT, why, mask)


def _region(detection: Detection, box: Box, verdict: Verdict, why: str, mask: NDArray[np.bool_] | None = None) -> Region:
    return Region(box, verdict, detection.kind, detection.confidence, detection.source, why, None, mask)
