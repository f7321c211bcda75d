"""Components that look like a letter: classified by the glyph net, joined ones cut apart first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.components import Component
from radanon_node.markers.contrast import contains
from radanon_node.markers.glyphs import CLASSES, classify, classify_all_ways, normalise
from radanon_node.markers.surroundings import same_place
from radanon_node.pipeline.types import Box

Mask = NDArray[np.bool_]

# First, cheap look (one orientation) and the mean over eight orientations that counts.
_WORTH_A_LOOK = 0.3
SURE = 0.75
_MOST_CANDIDATES = 3
_SLIM = 1.8
_MOST_PIECES, _HARDLY_LESS = 14, 0.06


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A component with the letter its shape says it is."""

    component: Component
    letter: str
    likelihood: float


def sure(components: Sequence[Component], wanted: Sequence[int], least: float = SURE) -> list[Candidate]:
    if not components or not wanted:
        return []
    # A slim letter is looked at in usual proportions too.
    slim = [component for component in components if _slimness(component) > _SLIM]
    components = [*components, *slim]
    glyphs = [normalise(component.glyph) for component in components[: len(components) - len(slim)]]
    glyphs += [normalise(_widened(component.mask)) for component in slim]
    first = classify(glyphs)[:, wanted].max(1)
    found: list[Candidate] = []
    for index in np.argsort(-first, kind="stable"):
        if first[index] < _WORTH_A_LOOK or len(found) >= _MOST_CANDIDATES:
            break
        component = components[index]
        if any(same_place(component.box, other.component.box) for other in found):
            continue
        mean = classify_all_ways(glyphs[index])
        best = int(mean.argmax())
        if best in wanted and mean[best] >= least:
            found.append(Candidate(component, CLASSES[best], float(mean[best])))
    return sorted(found, key=lambda candidate: -candidate.likelihood)


def tightest(parts: Sequence[Component], wanted: Sequence[int], least: float) -> list[Candidate]:
    """Of the pieces of one joined component, the smallest that is hardly less a letter than the best one.

    Where exactly initials end and the letter begins cannot be seen: rather a serif too little stays than a slice of theirs.
    """
    if not parts or not wanted:
        return []
    glyphs = [normalise(part.mask) for part in parts]
    first = classify(glyphs)[:, wanted].max(1)
    found: list[Candidate] = []
    for index in np.argsort(-first, kind="stable")[:_MOST_PIECES]:
        if first[index] < _WORTH_A_LOOK:
            break
        mean = classify_all_ways(glyphs[index])
        best = int(mean.argmax())
        if best in wanted and mean[best] >= least:
            found.append(Candidate(parts[index], CLASSES[best], float(mean[best])))
    if not found:
        return []
    top = max(found, key=lambda candidate: candidate.likelihood)
    near = [candidate for candidate in found if candidate.likelihood >= top.likelihood - _HARDLY_LESS]
    # Cut shorter from the same side only: a piece that lies within the best one.
    near = [candidate for candidate in near if contains(top.component, candidate.component)]
    return sorted(near, key=lambda candidate: int(candidate.component.mask.sum()))[:1]


def _slimness(component: Component) -> float:
    return max(component.box.width, component.box.height) / min(component.box.width, component.box.height)


def _widened(mask: Mask) -> Mask:
    """Stretched across to two thirds of its length."""
    long = max(mask.shape)
    size = (long, round(long / 1.5)) if mask.shape[1] == long else (round(long / 1.5), long)
    return np.asarray(cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_LINEAR)) > 127


def unlike(components: Iterable[Component]) -> Iterator[Component]:
    places: list[Box] = []
    for component in components:
        if component.bright and not any(same_place(component.box, other) for other in places):
            places.append(component.box)
            yield component
