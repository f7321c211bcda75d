"""What the second stage learns from: the detector's candidates on labelled and drawn films, and what each of them really is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.detector import MarkerDetector
from radanon_node.markers.verifier import crops_of
from radanon_node.pipeline.types import Box, GrayFrame
from radanon_node.training.evaluate import drawn_subjects
from radanon_node.training.films import DECOY, LabelledFilm, read_image
from radanon_node.training.samples import Samples, with_margin
from radanon_node.training.synth.film import Item
from radanon_node.training.views import another_view

UNKNOWN = -100
_FLOOR = 0.01
# Of a drawn film at most so many candidates; its seeds are none that films are judged on.
_MOST, _APART = 64, 31_000
# On films that nobody labelled from scratch, what the detector is that sure of and no label names may be a marker that was missed.
_DOUBTFUL = 0.3
# A candidate that overlaps an item so much is told where the item's box is.
_NEAR = 0.3


@dataclass(frozen=True, eq=False)
class Candidates:
    """What the second stage learns from.

    Parameters
    ----------
    crops : ndarray of uint8, shape (n, 4, 64, 64)
    sizes : ndarray of float32, shape (n, 3)
    labels : ndarray of int64, shape (n,)
        0 nothing, 1 + class of the item it lies on, or `UNKNOWN`.
    overlap : ndarray of float32, shape (n,)
        IoU with that item, -1 where unknown.
    shifts : ndarray of float32, shape (n, 4)
        From the candidate to that item's box, as `markers.verifier.moved` takes it; nan where they hardly overlap.
    """

    crops: NDArray[np.uint8]
    sizes: NDArray[np.float32]
    labels: NDArray[np.int64]
    overlap: NDArray[np.float32]
    shifts: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)


def joined(parts: Sequence[Candidates]) -> Candidates:
    """All of them in one."""
    return Candidates(
        np.concatenate([p.crops for p in parts]),
        np.concatenate([p.sizes for p in parts]),
        np.concatenate([p.labels for p in parts]),
        np.concatenate([p.overlap for p in parts]),
        np.concatenate([p.shifts for p in parts]),
    )


def truth(box: Box, items: Sequence[Item]) -> tuple[int, float]:
    """Label and IoU of a candidate: what it covers, nothing, or unknown where it is neither."""
    best, touched, doubtful = (0.0, -1), 0.0, False
    for number, i in enumerate(items):
        shared = max(min(box.x1, i.x1) - max(box.x0, i.x0), 0) * max(min(box.y1, i.y1) - max(box.y0, i.y0), 0)
        own = (i.x1 - i.x0) * (i.y1 - i.y0)
        touched = max(touched, shared / max(box.area, 1))
        if i.label < 0:
            doubtful |= shared > 0
        else:
            best = max(best, (shared / max(box.area + own - shared, 1), number))
    if best[0] >= 0.4:
        return 1 + items[best[1]].label, best[0]
    if touched < 0.1 and best[0] < 0.1:
        return 0, 0.0
    return UNKNOWN, -1.0 if doubtful else best[0]


def shift_to(box: Box, items: Sequence[Item]) -> tuple[float, float, float, float]:
    """From a candidate to the item that it covers best: centre in widths and heights, logarithms of the ratio of the sides."""
    best: tuple[float, Item | None] = (0.0, None)
    for i in items:
        shared = max(min(box.x1, i.x1) - max(box.x0, i.x0), 0) * max(min(box.y1, i.y1) - max(box.y0, i.y0), 0)
        iou = shared / max(box.area + (i.x1 - i.x0) * (i.y1 - i.y0) - shared, 1)
        if i.label >= 0 and iou > best[0]:
            best = (iou, i)
    iou, item = best
    if item is None or iou < _NEAR:
        return (math.nan,) * 4
    width, height = box.width, box.height
    return (
        ((item.x0 + item.x1) - (box.x0 + box.x1)) / 2 / width,
        ((item.y0 + item.y1) - (box.y0 + box.y1)) / 2 / height,
        math.log((item.x1 - item.x0) / width),
        math.log((item.y1 - item.y0) / height),
    )


def _jittered(item: Item, rng: np.random.Generator) -> Box:
    w, h = item.x1 - item.x0, item.y1 - item.y0
    x0, y0, x1, y1 = np.array([item.x0, item.y0, item.x1, item.y1]) + rng.normal(0, 0.07, 4) * [w, h, w, h]
    return Box(math.floor(x0), math.floor(y0), max(math.ceil(x1), math.floor(x0) + 3), max(math.ceil(y1), math.floor(y0) + 3))


def _of_frame(
    frame: GrayFrame,
    boxes: Sequence[tuple[Box, float]],
    items: Sequence[Item],
    unit: float,
    trusted: bool,
    jitter: int,
    rng: np.random.Generator,
) -> Candidates:
    chosen = [b for b, _ in boxes]
    found = [truth(b, items) for b in chosen]
    if not trusted:
        found = [(UNKNOWN, -1.0) if label == 0 and c > _DOUBTFUL else (label, iou) for (label, iou), (_, c) in zip(found, boxes)]
    for item in items:
        for _ in range(jitter if item.label >= 0 else 0):
            box = _jittered(item, rng).clipped(*frame.shape)
            if box.width > 2 and box.height > 2:
                chosen.append(box)
                found.append(truth(box, items))
    crops, sizes = crops_of(frame, chosen, unit)
    shifts = np.array([shift_to(box, items) for box in chosen], np.float32).reshape(-1, 4)
    return Candidates(crops, sizes, np.array([f[0] for f in found], np.int64), np.array([f[1] for f in found], np.float32), shifts)


def from_films(detector: MarkerDetector, films: Sequence[LabelledFilm], jitter: int = 3, seed: int = 1, views: int = 0) -> Candidates:
    """Candidates on whole labelled films; films of a named split were labelled from scratch, others from findings of a detector.

    Parameters
    ----------
    detector : MarkerDetector
    films : sequence of LabelledFilm
    jitter : int
        So many moved boxes of each marker beside the candidates.
    seed : int
    views : int
        So many other views of each film too (`another_view`): bone that is told from print upright may not be when it is turned or framed.

    Returns
    -------
    Candidates
    """
    parts, rng = [], np.random.default_rng((seed, 3))
    for film in films:
        as_is, known = read_image(film.path), [*film.items, *film.decoys]
        for number in range(1 + views):
            image, here = another_view(as_is, known, rng) if number else (as_is, known)
            items = [with_margin(i, image.shape) for i in here if i.label != DECOY]
            # What a person saw to be none is background, whatever the detector thinks of it by now.
            decoys = [Box(math.floor(d.x0), math.floor(d.y0), math.ceil(d.x1), math.ceil(d.y1)) for d in here if d.label == DECOY]
            found = detector.candidates([image], _FLOOR)[0]
            boxes = [(d.box, 0.0 if any(d.box.intersection(o).area > 0.3 * d.box.area for o in decoys) else d.confidence) for d in found]
            boxes += [(o.clipped(*image.shape), 0.0) for o in decoys]
            parts.append(_of_frame(image, boxes, items, max(image.shape) / 1024, bool(film.split), jitter, rng))
    return joined(parts)


def from_drawn(detector: MarkerDetector, count: int, seed: int = 1) -> Candidates:
    """Candidates on whole drawn films: items as large, and surroundings as wide, as no window has them."""
    parts, rng = [], np.random.default_rng((seed, 6))
    for subject in drawn_subjects(count, _APART + seed):
        items = [with_margin(i, subject.image.shape) for i in subject.items]
        boxes = [(d.box, d.confidence) for d in detector.candidates([subject.image], _FLOOR)[0][:_MOST]]
        parts.append(_of_frame(subject.image, boxes, items, max(subject.image.shape) / 1024, True, 1, rng))
    return joined(parts)


def from_samples(detector: MarkerDetector, samples: Samples, first: int, count: int, most: int = 6, seed: int = 1) -> Candidates:
    """Candidates on training windows, at most `most` of what is nothing per window."""
    parts, rng = [], np.random.default_rng((seed, 4, first))
    for begin in range(first, first + count, 16):
        drawn = [samples.sample(k) for k in range(begin, min(begin + 16, first + count))]
        side = drawn[0][0].shape[0]
        every = detector.candidates([image for image, _ in drawn], _FLOOR, side)
        for (image, targets), found in zip(drawn, every):
            x, y, w, h = (targets[:, 1:] * side).T
            rows = np.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2, targets[:, 0]), 1).tolist()
            items = [Item(x0, y0, x1, y1, int(label)) for x0, y0, x1, y1, label in rows]
            boxes = [(d.box, d.confidence) for d in found]
            empty = [k for k, (b, _) in enumerate(boxes) if truth(b, items)[0] == 0]
            dropped = set(empty[most:])
            parts.append(_of_frame(image, [b for k, b in enumerate(boxes) if k not in dropped], items, 1.0, True, 1, rng))
    return joined(parts)
