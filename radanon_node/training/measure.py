"""The figures: Wilson intervals, average precision, and what a film's detections and verdicts did to each labelled item."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.pipeline.types import Box, Detection, Region, Verdict
from radanon_node.training.synth.film import Item
from radanon_node.training.synth.markers import SIDE_LETTER

_COVERED = 0.95
"""An item counts as covered, gone or kept when that share of its ink is."""
_OVERLAP = 0.5
_OWN = 0.25
_MOSTLY = 0.5
_LETTER = 0.9
_BELONGS = 0.3
"""A box belongs to labelled items when that share of it lies on them; else it is false."""


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson, JASA 1927); (0, 1) for no observation.

    Examples
    --------
    >>> low, high = wilson(400, 400)
    >>> round(low, 3), round(high, 3)
    (0.99, 1.0)
    """
    if not count:
        return 0.0, 1.0
    p, z2 = hits / count, z * z
    middle = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = z / (1 + z2 / count) * math.sqrt(p * (1 - p) / count + z2 / (4 * count * count))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def average_precision(ranked: Sequence[tuple[float, bool]], positives: int) -> float:
    """Area under the precision-recall curve, precision made monotone (VOC 2010 and later).

    Parameters
    ----------
    ranked : sequence of (confidence, true positive)
        All detections of all films; order does not matter.
    positives : int
        Labelled items.
    """
    if not positives:
        return math.nan
    ordered = sorted(ranked, key=lambda r: -r[0])
    hits = np.cumsum([tp for _, tp in ordered]) if ordered else np.zeros(0)
    precision = hits / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1] if len(precision) else precision
    recall = np.concatenate(([0.0], hits / positives))
    return float((np.diff(recall) * precision).sum())


def ink_of(image: NDArray[np.uint8], item: Item) -> NDArray[np.bool_]:
    """Pixels of an item's box that stand out from what surrounds it, where no exact mask is known.

    Returns
    -------
    ndarray of bool, shape (rows, columns) of the item's box in whole pixels
        Otsu's split of the distance to the surrounding level; all of the box where that finds next to nothing.
    """
    box = whole(item).clipped(*image.shape)
    around = box.grown(6).clipped(*image.shape)
    inner, outer = image[box.y0 : box.y1, box.x0 : box.x1], image[around.y0 : around.y1, around.x0 : around.x1].astype(np.float32)
    rim = np.ones(outer.shape, bool)
    rim[box.y0 - around.y0 : box.y1 - around.y0, box.x0 - around.x0 : box.x1 - around.x0] = False
    level = float(np.median(outer[rim])) if rim.any() else float(np.median(inner))
    distance = np.clip(np.abs(inner.astype(np.float32) - level), 0, 255).astype(np.uint8)
    cut, _ = cv2.threshold(distance, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    ink = distance > cut
    return ink if ink.sum() >= 8 else np.ones(inner.shape, bool)


def whole(item: Item) -> Box:
    """The item's box in whole pixels."""
    return Box(math.floor(item.x0), math.floor(item.y0), math.ceil(item.x1), math.ceil(item.y1))


@dataclass(frozen=True)
class ItemOutcome:
    """What became of one labelled item.

    Parameters
    ----------
    film : int
        Index into the films.
    item : Item
    kind : str
    size : float
        Smaller side of its box after scaling the film to 1,024 pixels.
    contrast : float
        Mean distance of its ink to its surroundings, gray levels.
    found : bool
        The detector's boxes cover it.
    gone : bool
        Its ink was blacked out.
    kept : bool
        Its ink was left.
    """

    film: int
    item: Item
    kind: str
    size: float
    contrast: float
    found: bool
    gone: bool
    kept: bool


@dataclass(frozen=True)
class FilmOutcome:
    """One film.

    Parameters
    ----------
    items : tuple of ItemOutcome
    boxes : int
        Detections.
    false : tuple of Box
        Detections on nothing labelled.
    ranked : tuple of (confidence, true positive)
        For average precision, all classes together.
    blackened : float
        Share of the film's pixels redacted.
    """

    items: tuple[ItemOutcome, ...]
    boxes: int
    false: tuple[Box, ...]
    ranked: tuple[tuple[float, bool], ...]
    blackened: float


def redacted(shape: tuple[int, int], regions: Sequence[Region]) -> NDArray[np.bool_]:
    """Pixels that REDACT regions black out."""
    out = np.zeros(shape, np.bool_)
    for region in regions:
        if region.verdict is Verdict.REDACT:
            box = region.box.clipped(*shape)
            part = out[box.y0 : box.y1, box.x0 : box.x1]
            if region.mask is None:
                part[:] = True
            else:
                part |= region.mask[box.y0 - region.box.y0 : box.y1 - region.box.y0, box.x0 - region.box.x0 : box.x1 - region.box.x0]
    return out


def _iou(box: Box, item: Item) -> float:
    inter = max(min(box.x1, item.x1) - max(box.x0, item.x0), 0) * max(min(box.y1, item.y1) - max(box.y0, item.y0), 0)
    return inter / (box.area + (item.x1 - item.x0) * (item.y1 - item.y0) - inter)


def ranked_matches(detections: Sequence[Detection], items: Sequence[Item]) -> list[tuple[float, bool]]:
    """Each detection's confidence and whether it is the best match (IoU >= 0.5) of a labelled item not yet matched.

    Detections on unknown items (class -1) count neither way; class is not asked for, since every class is removed alike.
    """
    known = [i for i in items if i.label >= 0]
    taken: set[int] = set()
    out = []
    for d in sorted(detections, key=lambda d: -d.confidence):
        scores = [(_iou(d.box, item), k) for k, item in enumerate(known) if k not in taken]
        best = max(scores, default=(0.0, -1))
        if best[0] >= _OVERLAP:
            taken.add(best[1])
            out.append((d.confidence, True))
        elif not any(_iou(d.box, i) > 0.1 for i in items if i.label < 0):
            out.append((d.confidence, False))
    return out


def _own_ink(image: NDArray[np.uint8], items: Sequence[Item], number: int, ink: NDArray[np.uint8] | None) -> NDArray[np.bool_]:
    """Ink of one item inside its box, without what belongs to its neighbours where boxes overlap."""
    item = items[number]
    box = whole(item).clipped(*image.shape)
    cut = np.s_[box.y0 : box.y1, box.x0 : box.x1]
    mask = ink_of(image, item) if ink is None else ink[cut] == item.label + 1
    own = mask.copy()
    for k, other in enumerate(items):
        shared = whole(other).intersection(box)
        if k != number and shared.width > 0 and shared.height > 0:
            own[shared.y0 - box.y0 : shared.y1 - box.y0, shared.x0 - box.x0 : shared.x1 - box.x0] = False
    if own.sum() >= max(_OWN * mask.sum(), 8):
        return own
    if ink is None and item.label != SIDE_LETTER:
        without = mask & ~_strokes_of_others(image, items, number, mask)
        # Where hardly anything is left the item itself is joined to the stroke.
        mask = without if without.sum() >= max(_OWN * mask.sum(), 8) else mask
    return mask if mask.any() else np.ones(mask.shape, np.bool_)


def _strokes_of_others(image: NDArray[np.uint8], items: Sequence[Item], number: int, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Ink in an item's box that is connected inside a neighbour's box and lies mostly outside this one: the neighbour's stroke.

    Initials that stand in the angle of an L or under the bowl of an R have its strokes in their box.
    """
    box, out = whole(items[number]).clipped(*image.shape), np.zeros_like(mask)
    inner = image[box.y0 : box.y1, box.x0 : box.x1]
    if not mask.any() or mask.all():
        return out
    bright = float(np.median(inner[mask])) > float(np.median(inner[~mask]))
    level = int(inner[mask].min() if bright else inner[mask].max())
    for k, other in enumerate(items):
        near = whole(other).clipped(*image.shape)
        shared = near.intersection(box)
        if k == number or shared.width <= 0 or shared.height <= 0:
            continue
        both = Box(min(box.x0, near.x0), min(box.y0, near.y0), max(box.x1, near.x1), max(box.y1, near.y1)).grown(2).clipped(*image.shape)
        part = image[both.y0 : both.y1, both.x0 : both.x1]
        _, labels = cv2.connectedComponents(((part >= level) if bright else (part <= level)).astype(np.uint8), connectivity=8)
        here = labels[box.y0 - both.y0 : box.y1 - both.y0, box.x0 - both.x0 : box.x1 - both.x0]
        there = labels[near.y0 - both.y0 : near.y1 - both.y0, near.x0 - both.x0 : near.x1 - both.x0]
        for label in np.unique(here[mask]):
            total = float((labels == label).sum())
            if label and (there == label).sum() >= _COVERED * total and (here == label).sum() < _MOSTLY * total:
                out |= (here == label) & mask
    return out


def _kept(box: Box, own: NDArray[np.bool_], gone: NDArray[np.bool_], keeps: Sequence[Box]) -> bool:
    """Whether a letter was left: all its ink, or, in a ring or plate that went, the letter itself."""
    if float(gone[box.y0 : box.y1, box.x0 : box.x1][own].mean()) <= 1 - _COVERED:
        return True
    for keep in keeps:
        shared = keep.intersection(box)
        if shared.width <= 0 or shared.height <= 0 or shared.area < 0.5 * keep.area:
            continue
        part = own[shared.y0 - box.y0 : shared.y1 - box.y0, shared.x0 - box.x0 : shared.x1 - box.x0]
        left = ~gone[shared.y0 : shared.y1, shared.x0 : shared.x1]
        if part.any() and float(left[part].mean()) >= _LETTER:
            return True
    return False


def film_outcome(
    number: int,
    image: NDArray[np.uint8],
    items: Sequence[Item],
    kinds: Sequence[str],
    detections: Sequence[Detection],
    gone: NDArray[np.bool_],
    ranked: Sequence[tuple[float, bool]],
    ink: NDArray[np.uint8] | None = None,
    keeps: Sequence[Box] = (),
) -> FilmOutcome:
    """Compare a film's labels with what was found and what was blacked out.

    Parameters
    ----------
    number : int
        Of the film.
    image : ndarray of uint8, shape (rows, columns)
        Before.
    items, kinds : sequences
        Labels.
    detections : sequence of Detection
        At the calibrated thresholds.
    gone : ndarray of bool, shape (rows, columns)
        Pixels blacked out.
    ranked : sequence of (confidence, true positive)
        From a run at a very low threshold.
    ink : ndarray of uint8 or None
        Exact ink of drawn films: 1 + class per pixel.
    keeps : sequence of Box
        Letters that the retention pass says it left.
    """
    found = np.zeros(image.shape, np.bool_)
    near = np.zeros(image.shape, np.uint8)
    for d in detections:
        found[d.box.y0 : d.box.y1, d.box.x0 : d.box.x1] = True
    outcomes = []
    for k, (item, kind) in enumerate(zip(items, kinds)):
        box = whole(item).clipped(*image.shape)
        cut = np.s_[box.y0 : box.y1, box.x0 : box.x1]
        pad = box.grown(4).clipped(*image.shape)
        near[pad.y0 : pad.y1, pad.x0 : pad.x1] = 1
        if item.label < 0 or box.area <= 0:
            continue
        own = _own_ink(image, items, k, ink)
        values = image[cut]
        contrast = abs(float(values[own].mean()) - float(values[~own].mean())) if not own.all() else 0.0
        size = min(box.width, box.height) * 1024 / max(image.shape)
        covered = float(found[cut][own].mean()) >= _COVERED
        removed = float(gone[cut][own].mean()) >= _COVERED
        outcomes.append(ItemOutcome(number, item, kind, size, contrast, covered, removed, _kept(box, own, gone, keeps)))
    false = tuple(d.box for d in detections if d.box.area and near[d.box.y0 : d.box.y1, d.box.x0 : d.box.x1].mean() < _BELONGS)
    return FilmOutcome(tuple(outcomes), len(detections), false, tuple(ranked), float(gone.mean()))
