"""What becomes of printed text: everything goes, except harmless words of the screen that are read beyond doubt.

Doubt removes. A box stays only if its reading, as a whole, is one of the patterns of `data/allowed_text.yaml` for the modality, with a
confidence above the floor, at a width that fits the reading, and is no identifier of this patient.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Protocol

import yaml

from radanon_node.markers.text_boxes import with_stray_letters
from radanon_node.pipeline.types import Box, Detection, GrayFrame, Region, Verdict


class Reader(Protocol):
    """Reads lines of text: `TextDetector` does."""

    def read(self, frame: GrayFrame, boxes: Sequence[Box]) -> list[tuple[str, float]]: ...


class Matcher(Protocol):
    """Knows this patient's identifiers: `tags.identifiers.Identifiers` does."""

    def matches(self, text: str) -> bool: ...
    def certain(self, text: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class AllowList:
    """Full-match patterns of harmless text for one modality.

    Parameters
    ----------
    patterns : tuple of re.Pattern
    confidence : float
        Least confidence of a reading, 0..1.
    largest_tick : int
        Bare numbers up to it may be ticks of a scale; -1 where there are none.
    calipers : frozenset of str
        What measuring crosses are read as.
    """

    patterns: tuple[re.Pattern[str], ...]
    confidence: float
    largest_tick: int
    calipers: frozenset[str]

    def allows(self, text: str) -> bool:
        """Whether `text` as a whole is harmless whatever stands beside it.

        Examples
        --------
        >>> allow_list("US").allows("TIs 0.6"), allow_list("US").allows("TIs 0.6 Doe")
        (True, False)
        """
        return any(pattern.fullmatch(_normal(text)) for pattern in self.patterns)

    def is_tick(self, text: str) -> bool:
        """Whether `text` may be a tick of a depth scale."""
        return text.isascii() and text.isdigit() and len(text) <= 2 and int(text) <= self.largest_tick


@lru_cache(maxsize=64)
def allow_list(modality: str) -> AllowList:
    """The packaged patterns for a Modality (0008,0060); those of ``any`` for one not listed."""
    raw: dict[str, Any] = yaml.safe_load((files("radanon_node.markers") / "data" / "allowed_text.yaml").read_text("utf-8"))
    listed = raw["modalities"].get(modality, [])
    if isinstance(listed, str):
        listed = raw["modalities"][listed]
    texts = [*raw["modalities"]["any"], *listed]
    number, sign = r"\d{1,3}([.,]\d{1,2})?", r" ?[:=]? ?"
    patterns = tuple(re.compile(text.replace("{n}", number).replace("{s}", sign)) for text in texts)
    return AllowList(patterns, float(raw["confidence"]), int(raw["scale_ticks"].get(modality, -1)),
                     frozenset(raw["calipers"].get(modality, ())))


def _normal(text: str) -> str:
    return " ".join(text.upper().split())


def judge_frame(view: GrayFrame, detections: Sequence[Detection], *, reader: Reader | None, modality: str,
                identifiers: Matcher | None, retain: Sequence[str] = (), read_all: bool = False) -> list[Region]:
    """Decide over the detected text of one frame.

    Parameters
    ----------
    view : GrayFrame
        Shape (rows, columns): the frame the boxes were found in.
    detections : sequence of Detection
    reader : Reader or None
        None keeps nothing.
    modality : str
        Modality (0008,0060); picks the allow-list.
    identifiers : Matcher or None
        None keeps nothing: what cannot be compared cannot be trusted.
    retain : sequence of str
        Isolated letters or words of the profile that stay, such as ``("L", "R")``.
    read_all : bool
        Also read the lines that are too long to stay, so that ``why`` tells those that are an identifier.

    Returns
    -------
    list of Region
        One per detection, in its order; boxes to be blacked out are drawn over stray letters beside them. ``why`` of what stays:
        ``allowed_text``, ``scale_tick``, ``caliper``, ``retained_word``, ``lone_mark`` (a speck of one character at most, not read as
        one, far from all other text: an ECG spike, a corner of a line); of what goes: ``text``, ``identifier`` (the reading holds a
        strong identifier of this patient), ``like_identifier`` (a weak one), ``reading_unsure``, ``not_isolated``. Never the reading
        itself.
    """
    allowed = allow_list(modality)
    candidates = [] if reader is None or identifiers is None else [
        i for i, found in enumerate(detections) if read_all or _may_stay(found.box)]
    whys = ["text"] * len(detections)
    keeps = [False] * len(detections)
    if candidates and reader is not None and identifiers is not None:
        boxes = [found.box for found in detections]
        words = {_normal(word) for word in retain}
        numbered: set[int] = set()
        for index, (text, confidence) in zip(candidates, reader.read(view, [boxes[i] for i in candidates])):
            keeps[index], whys[index] = _verdict(text, confidence, index, boxes, allowed, words, identifiers)
            if any(mark.isdigit() for mark in text):
                numbered.add(index)
        pairs = _pairs(boxes, keeps, whys)
        lines = [_both(boxes[one], boxes[other]) for one, other in pairs]
        for (one, other), line, (text, confidence) in zip(pairs, lines, reader.read(view, lines) if lines else ()):
            if confidence >= allowed.confidence and allowed.allows(text) and _fits(text, line) and not identifiers.matches(text):
                keeps[one] = keeps[other] = True
                whys[one] = whys[other] = "allowed_text"
                numbered |= {one, other}
        going = [box for box, keep in zip(boxes, keeps) if not keep]
        for index in [i for i, keep in enumerate(keeps) if keep]:
            # A bare word may be a part of what stands beside it: the `Dr` of `Dr. House` is no dynamic range.
            if _runs_into(boxes[index], going) or (whys[index] == "allowed_text" and index not in numbered
                                                   and not _alone(0, [boxes[index], *going])):
                keeps[index], whys[index] = False, "not_isolated"
    kept = [found.box for found, keep in zip(detections, keeps) if keep]
    return [Region(found.box if keep else with_stray_letters(view, found.box, kept), Verdict.KEEP if keep else Verdict.REDACT, found.kind,
                   found.confidence, found.source, why) for found, keep, why in zip(detections, keeps, whys)]


# Hardly anything on the allow-lists is longer than 11 characters; reading costs time, so longer lines are not even read.
_LONGEST = 7.0
"""Largest width of a candidate in units of its height."""


_LARGEST_MARK = 24  # pixels
_WIDE_SPACE = 1.3  # heights between the parts of one word
_HIS_OWN = {"identifier", "like_identifier"}


def _may_stay(box: Box) -> bool:
    return box.height >= 6 and box.width <= _LONGEST * box.height


def _verdict(text: str, confidence: float, index: int, boxes: Sequence[Box], allowed: AllowList, retain: set[str],
             identifiers: Matcher) -> tuple[bool, str]:
    text = text.strip()
    if len(text) <= 1 and confidence < allowed.confidence and _lone_mark(index, boxes):
        return True, "lone_mark"
    if not text:
        return False, "reading_unsure"
    if identifiers.matches(text):
        return False, "identifier" if identifiers.certain(text) else "like_identifier"
    if not _may_stay(boxes[index]):
        return False, "text"
    if confidence < allowed.confidence or not _fits(text, boxes[index]):
        return False, "reading_unsure"
    if _normal(text) in retain:
        return (True, "retained_word") if _alone(index, boxes) else (False, "not_isolated")
    if allowed.allows(text):
        return True, "allowed_text"
    if allowed.is_tick(text) or text in allowed.calipers:
        why = "caliper" if text in allowed.calipers else "scale_tick"
        return (True, why) if _alone(index, boxes) else (False, "not_isolated")
    return False, "text"


def _pairs(boxes: Sequence[Box], keeps: Sequence[bool], whys: Sequence[str]) -> list[tuple[int, int]]:
    """Neighbours on a line that may be one harmless word taken apart by wide spacing (``10  mm``): worth a reading together."""
    found = []
    for i, one in enumerate(boxes):
        for j, other in enumerate(boxes):
            height = min(one.height, other.height)
            if (i != j and not (keeps[i] and keeps[j]) and -0.3 * height <= other.x0 - one.x1 <= _WIDE_SPACE * height
                    and one.intersection(other).height >= 0.6 * max(one.height, other.height) and _may_stay(_both(one, other))
                    and not {whys[i], whys[j]} & _HIS_OWN):
                found.append((i, j))
    return found


def _both(one: Box, other: Box) -> Box:
    return Box(min(one.x0, other.x0), min(one.y0, other.y0), max(one.x1, other.x1), max(one.y1, other.y1))


def _runs_into(box: Box, others: Sequence[Box]) -> bool:
    """Whether a box shares part of its line with one that is to be blacked out: then it is a part of that text, whatever it reads as."""
    common = [box.intersection(other) for other in others]
    return any(one.width > 0.3 * box.height and one.height > 0.3 * box.height for one in common)


def _fits(text: str, box: Box) -> bool:
    """Whether a line of that many characters can fill the box: a reader that dropped part of the line must not free the rest."""
    return 0.12 * len(text) <= box.width / box.height <= 1.0 * len(text) + 1.2


def _lone_mark(index: int, boxes: Sequence[Box]) -> bool:
    """Whether a box is too small for more than one character and nothing else that may be text is near it in any direction."""
    own = boxes[index]
    short, long = sorted((own.width, own.height))
    if long > _LARGEST_MARK or long > 1.7 * short:
        return False
    reach = own.grown(4 * _LARGEST_MARK)
    return all(other is own or min(reach.intersection(other).width, reach.intersection(other).height) <= 0 for other in boxes)


def _alone(index: int, boxes: Sequence[Box]) -> bool:
    """Whether no other text stands within two heights on the same line."""
    own = boxes[index]
    reach = Box(own.x0 - 2 * own.height, own.y0, own.x1 + 2 * own.height, own.y1)
    return all(other is own or reach.intersection(other).width <= 0 or reach.intersection(other).height <= 0.3 * own.height
               for other in boxes)
