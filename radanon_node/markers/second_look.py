"""What the second stage makes of one frame's candidates: each is judged close up, best first, unless sure boxes hold it already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.geometry import adding, covered, overlap
from radanon_node.markers.verifier import BATCH, SHIFT, Verifier, crops_of, moved
from radanon_node.pipeline.types import Box, Detection, GrayFrame, Kind

# Of one film at most so many candidates are judged.
_JUDGED = 64
# The detector's part in the two stages' geometric mean.
DETECTOR = 0.3
# Boxes that both stages together think less of stay where they are.
_WORTH_MOVING = 0.05
# A box that lies in better ones up to that share is dropped; a candidate that lies so deep in sure ones of its kind is not even judged.
_NOTHING_NEW, _HELD = 0.9, 0.95
# Two judged boxes of one side letter: the retention pass would keep the letter in one and black out its end in the other.
_TWINS = 0.45
# Beside a box of that confidence is a marker: what lies on it to that share passes with that part of its kind's floor.
SURE, _BESIDE, _LENIENT = 0.5, 0.3, 0.6


def second_look(
    verifier: Verifier,
    frame: GrayFrame,
    candidates: Sequence[Detection],
    unit: float,
    reduced: tuple[GrayFrame, float] | None,
    floors: Mapping[str, float],
    strict: bool,
) -> list[Detection]:
    """Candidates with the confidence that both stages give them.

    What a frame has beyond `_JUDGED` candidates keeps the detector's own confidence: no faint marker is dropped unseen, and a noise
    film costs no more than others.

    Parameters
    ----------
    verifier : Verifier
    frame : ndarray of uint8, shape (rows, columns)
    candidates : sequence of Detection
        Best first.
    unit : float
        Pixels of the frame per pixel at the detector's own scale.
    reduced : (ndarray of uint8, float) or None
        The frame as the detector saw the whole of it, and its pixels per pixel of the frame; None where that is no smaller.
    floors : mapping of str to float
        Least confidence of each of the detector's kinds.
    strict : bool
        Above the floors alone, without `accepted`'s leniency.

    Returns
    -------
    list of Detection
        Best first.
    """
    judged: list[Detection] = []
    sure: dict[str, list[Box]] = {kind: [] for kind in floors}
    # Near duplicates of one line of print are many: those that boxes judged before already hold are passed over.
    ahead = (d for d in candidates[:_JUDGED] if covered(d.box, sure[d.kind]) <= _HELD)
    while batch := list(islice(ahead, BATCH)):
        rows = verifier(*crops_of(frame, [d.box for d in batch], unit, reduced))
        seen = [_seen_again(d, row, 2 + len(floors), frame.shape) for d, row in zip(batch, rows)]
        for one in seen:
            if one.confidence >= max(SURE, floors[one.kind]):
                sure[one.kind].append(one.box)
        judged += seen
    ranked = sorted((*judged, *candidates[_JUDGED:]), key=lambda d: -d.confidence)
    kept = _without_twins([d for d in ranked if d.confidence >= floors[d.kind]] if strict else accepted(ranked, floors))
    return [kept[number] for number in adding([d.box for d in kept], _NOTHING_NEW)]


def _seen_again(candidate: Detection, row: NDArray[np.float32], shift_at: int, shape: tuple[int, ...]) -> Detection:
    """A candidate with the confidence of both stages, its box where the second one sees the item."""
    judged = replace(candidate, confidence=_together(candidate.confidence, 1 - float(row[0])))
    if len(row) < shift_at + SHIFT or judged.confidence < _WORTH_MOVING:
        return judged
    better = moved(candidate.box, row[shift_at:]).clipped(shape[0], shape[1])
    return replace(judged, box=better) if better.width > 2 and better.height > 2 else judged


def accepted(found: Sequence[Detection], floors: Mapping[str, float]) -> list[Detection]:
    """Which detections count.

    A tilted or crowded marker is found in pieces, one of them sure and the others less so.

    Parameters
    ----------
    found : sequence of Detection
        Best first.
    floors : mapping of str to float
        Least confidence of each kind; three fifths of it are enough beside a box that is sure.

    Returns
    -------
    list of Detection
        Best first.
    """
    strong = [d.box for d in found if d.confidence >= max(SURE, floors[d.kind])]
    return [
        d
        for d in found
        if d.confidence >= floors[d.kind]
        or (d.confidence >= _LENIENT * floors[d.kind] and any(d.box.intersection(box).area >= _BESIDE * d.box.area for box in strong))
    ]


def _without_twins(found: Sequence[Detection]) -> list[Detection]:
    """Best first; without the second box of a side letter. Print keeps its own: what one box lacks of a line, another may have."""
    out: list[Detection] = []
    for d in found:
        if d.kind is not Kind.SIDE_LETTER or not any(o.kind is d.kind and overlap(o.box, d.box) > _TWINS for o in out):
            out.append(d)
    return out


def _together(detector: float, verifier: float) -> float:
    return float(detector**DETECTOR * max(verifier, 0.0) ** (1 - DETECTOR))
