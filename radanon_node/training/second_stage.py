"""Training of the second stage: the detector's candidates on labelled and drawn films, and what each of them really is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from radanon_node.markers.detector import MarkerDetector
from radanon_node.markers.verifier import crops_of
from radanon_node.markers.verifier_net import VerifierNet
from radanon_node.pipeline.types import Box, GrayFrame
from radanon_node.training.films import LabelledFilm, read_image
from radanon_node.training.samples import Samples, with_margin
from radanon_node.training.synth.film import Item
from radanon_node.training.synth.markers import CLASSES

UNKNOWN = -100
_FLOOR = 0.01
# On films that nobody labelled from scratch, what the detector is that sure of and no label names may be a marker that was missed.
_DOUBTFUL = 0.3


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
    """

    crops: NDArray[np.uint8]
    sizes: NDArray[np.float32]
    labels: NDArray[np.int64]
    overlap: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)


def joined(parts: Sequence[Candidates]) -> Candidates:
    """All of them in one."""
    return Candidates(
        np.concatenate([p.crops for p in parts]),
        np.concatenate([p.sizes for p in parts]),
        np.concatenate([p.labels for p in parts]),
        np.concatenate([p.overlap for p in parts]),
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
    return Candidates(crops, sizes, np.array([f[0] for f in found], np.int64), np.array([f[1] for f in found], np.float32))


def from_films(detector: MarkerDetector, films: Sequence[LabelledFilm], jitter: int = 3, seed: int = 1) -> Candidates:
    """Candidates on whole labelled films; films of a named split were labelled from scratch, others from findings of a detector."""
    parts, rng = [], np.random.default_rng((seed, 3))
    for film in films:
        image = read_image(film.path)
        items = [with_margin(i, image.shape) for i in film.items]
        # What a person saw to be none is background, whatever the detector thinks of it by now.
        decoys = [Box(math.floor(d.x0), math.floor(d.y0), math.ceil(d.x1), math.ceil(d.y1)) for d in film.decoys]
        found = detector.candidates([image], np.full(len(CLASSES), _FLOOR, np.float32))[0]
        boxes = [(d.box, 0.0 if any(d.box.intersection(o).area > 0.3 * d.box.area for o in decoys) else d.confidence) for d in found]
        boxes += [(o.clipped(*image.shape), 0.0) for o in decoys]
        parts.append(_of_frame(image, boxes, items, max(image.shape) / 1024, bool(film.split), jitter, rng))
    return joined(parts)


def from_samples(detector: MarkerDetector, samples: Samples, first: int, count: int, most: int = 6, seed: int = 1) -> Candidates:
    """Candidates on training windows, at most `most` of what is nothing per window."""
    parts, rng = [], np.random.default_rng((seed, 4, first))
    for begin in range(first, first + count, 16):
        drawn = [samples.sample(k) for k in range(begin, min(begin + 16, first + count))]
        side = drawn[0][0].shape[0]
        every = detector.candidates([image for image, _ in drawn], np.full(len(CLASSES), _FLOOR, np.float32), side)
        for (image, targets), found in zip(drawn, every):
            x, y, w, h = (targets[:, 1:] * side).T
            rows = np.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2, targets[:, 0]), 1).tolist()
            items = [Item(x0, y0, x1, y1, int(label)) for x0, y0, x1, y1, label in rows]
            boxes = [(d.box, d.confidence) for d in found]
            empty = [k for k, (b, _) in enumerate(boxes) if truth(b, items)[0] == 0]
            dropped = set(empty[most:])
            parts.append(_of_frame(image, [b for k, b in enumerate(boxes) if k not in dropped], items, 1.0, True, 1, rng))
    return joined(parts)


def _augmented(crops: Tensor, sizes: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A batch turned, mirrored, brightened: all of it alike for the geometry, each by itself for the exposure."""
    turns = int(rng.integers(0, 4)) if rng.random() < 0.4 else 0
    x = torch.rot90(crops, turns, (2, 3))
    if rng.random() < 0.4:
        x = x.flip(3)
    if turns % 2:
        sizes = torch.stack((sizes[:, 1], sizes[:, 0], -sizes[:, 2]), 1)
    n = len(x)
    pictures = x[:, (0, 2)].float() / 255
    gamma = torch.from_numpy(np.exp(rng.normal(0, 0.25, (n, 1, 1, 1))).astype(np.float32))
    gain = torch.from_numpy(rng.uniform(0.75, 1.25, (n, 1, 1, 1)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.08, 0.08, (n, 1, 1, 1)).astype(np.float32))
    grain = torch.from_numpy((np.abs(rng.normal(0, 0.012, (n, 1, 1, 1))) * (rng.random((n, 1, 1, 1)) < 0.5)).astype(np.float32))
    pictures = ((pictures**gamma - 0.5) * gain + 0.5 + shift + torch.randn(pictures.shape) * grain).clamp(0, 1)
    x = x.clone()
    x[:, (0, 2)] = (pictures * 255).round().to(torch.uint8)
    return x, sizes + torch.from_numpy(rng.normal(0, 0.05, (n, 1)).astype(np.float32))


def _loss(logits: Tensor, labels: Tensor, overlap: Tensor, smoothing: float) -> Tensor:
    known = labels != UNKNOWN
    loss = F.cross_entropy(logits[known, :-1], labels[known], label_smoothing=smoothing)
    told = overlap >= 0
    return loss + 0.5 * F.binary_cross_entropy_with_logits(logits[told, -1], overlap[told])


def train_verifier(
    candidates: Candidates,
    *,
    passes: int,
    start: VerifierNet | None = None,
    batch: int = 64,
    rate: float = 0.002,
    decay: float = 0.01,
    smoothing: float = 0.02,
    seed: int = 1,
    threads: int = 2,
    weights: NDArray[np.float64] | None = None,
    report: Callable[[dict[str, float]], None] | None = None,
) -> VerifierNet:
    """Train on candidates.

    Parameters
    ----------
    candidates : Candidates
    passes : int
        Candidates seen in all.
    start : VerifierNet or None
        To go on from; None: random weights.
    batch : int
    rate : float
        Of AdamW, falling by half a cosine.
    decay, smoothing : float
    seed, threads : int
    weights : ndarray of float64, shape (n,), or None
        How often each is drawn; None: all alike.
    report : callable or None
        Given a line of figures every 100 steps.

    Returns
    -------
    VerifierNet
        In evaluation mode, averaged weights.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    rng = np.random.default_rng((seed, 5))
    net = start or VerifierNet(len(CLASSES))
    net.train()
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)  # type: ignore[no-untyped-call]
    mean = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=average, use_buffers=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
    steps, total = max(passes // batch, 1), 0.0
    for step, chosen in enumerate(_draws(candidates, weights, batch, steps, rng)):
        warm = min(1.0, (step + 1) / min(100, steps))
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2)
        crops, sizes = _augmented(torch.from_numpy(candidates.crops[chosen]), torch.from_numpy(candidates.sizes[chosen]), rng)
        logits = net(crops, sizes)
        loss = _loss(logits, torch.from_numpy(candidates.labels[chosen]), torch.from_numpy(candidates.overlap[chosen]), smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        mean.update_parameters(net)
        total += float(loss.detach())
        if report is not None and step % 100 == 99:
            report({"seen": (step + 1) * batch, "loss": total / 100})
            total = 0.0
    return cast(VerifierNet, mean.module.eval())


def _draws(
    candidates: Candidates, weights: NDArray[np.float64] | None, batch: int, steps: int, rng: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    share = None if weights is None else weights / weights.sum()
    for _ in range(steps):
        yield rng.choice(len(candidates), min(batch, len(candidates)), replace=False, p=share)
