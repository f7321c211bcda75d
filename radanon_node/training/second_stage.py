"""Training of the second stage on the detector's candidates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from radanon_node.markers.checkpoint import read_checkpoint
from radanon_node.markers.detector import MarkerDetector
from radanon_node.markers.verifier_net import VerifierNet, build
from radanon_node.training.export import digest, export
from radanon_node.training.films import LabelledFilm
from radanon_node.training.samples import Mix, Samples
from radanon_node.training.second_stage_data import UNKNOWN, Candidates, from_drawn, from_films, from_samples, joined
from radanon_node.training.synth.markers import CLASSES

_WINDOW = 448
# How hard a candidate counts that was not looked at yet: a little harder than most, so that every one has its turn.
_UNSEEN = 0.4
_ANEW = 50


def _augmented(crops: Tensor, sizes: Tensor, shifts: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A batch turned, mirrored, brightened: all of it alike for the geometry, each by itself for the exposure."""
    turns = int(rng.integers(0, 4)) if rng.random() < 0.4 else 0
    x = torch.rot90(crops, turns, (2, 3))
    for _ in range(turns):  # counter-clockwise, y downwards
        shifts = torch.stack((shifts[:, 1], -shifts[:, 0], shifts[:, 3], shifts[:, 2]), 1)
    if rng.random() < 0.4:
        x, shifts = x.flip(3), torch.cat((-shifts[:, :1], shifts[:, 1:]), 1)
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
    return x, sizes + torch.from_numpy(rng.normal(0, 0.05, (n, 1)).astype(np.float32)), shifts


def _loss(logits: Tensor, labels: Tensor, overlap: Tensor, shifts: Tensor, smoothing: float) -> Tensor:
    known, classes = labels != UNKNOWN, 1 + len(CLASSES)
    loss = F.cross_entropy(logits[known, :classes], labels[known], label_smoothing=smoothing)
    told, near = overlap >= 0, ~shifts[:, 0].isnan()
    loss = loss + 0.5 * F.binary_cross_entropy_with_logits(logits[told, classes], overlap[told])
    return loss + 4 * F.smooth_l1_loss(logits[near, classes + 1 :], shifts[near], beta=0.1) if bool(near.any()) else loss


def _wrong(logits: Tensor, labels: Tensor) -> NDArray[np.float32]:
    """How sure the network is of the opposite: of a marker where there is none, of nothing where there is one."""
    nothing = logits[:, : 1 + len(CLASSES)].softmax(1)[:, 0]
    return np.asarray(torch.where(labels == 0, 1 - nothing, torch.where(labels > 0, nothing, 0.1)).numpy(), np.float32)


def _averaged(held: Tensor, now: Tensor, updates: Tensor | int) -> Tensor:
    """A running mean over some hundred steps, over fewer at the beginning."""
    decay = min(0.99, (1 + int(updates)) / (10 + int(updates)))
    return held * decay + now * (1 - decay)


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
    real: int | None = None,
    report: Callable[[dict[str, float]], None] | None = None,
) -> VerifierNet:
    """Train on candidates.

    What the network was wrong about when it last saw it comes again sooner.

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
    real : int or None
        So many candidates, the first ones, are of whole films (see `shares`); None: all are drawn alike, however hard.
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
    net = cast(VerifierNet, (start or VerifierNet(len(CLASSES))).to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    net.train()
    mean = torch.optim.swa_utils.AveragedModel(net, avg_fn=_averaged, use_buffers=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
    steps, total = max(passes // batch, 1), 0.0
    hardness, cumulated = np.full(len(candidates), _UNSEEN, np.float32), np.arange(1, len(candidates) + 1) / len(candidates)
    for step in range(steps):
        if real is not None and step % _ANEW == 0:
            cumulated = np.cumsum(shares(candidates, real, hardness))
        chosen = np.unique(np.searchsorted(cumulated[:-1], rng.random(batch), side="right"))
        warm = min(1.0, (step + 1) / min(100, steps))
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2)
        seen = [torch.from_numpy(values[chosen]) for values in (candidates.crops, candidates.sizes, candidates.shifts)]
        crops, sizes, shifts = _augmented(seen[0], seen[1], seen[2], rng)
        logits = net(crops, sizes)
        labels = torch.from_numpy(candidates.labels[chosen])
        loss = _loss(logits, labels, torch.from_numpy(candidates.overlap[chosen]), shifts, smoothing)
        hardness[chosen] = _wrong(logits.detach(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        mean.update_parameters(net)
        total += float(loss.detach())
        if report is not None and step % 100 == 99:
            report({"seen": (step + 1) * batch, "loss": total / 100})
            total = 0.0
    return cast(VerifierNet, mean.module.eval())


def shares(candidates: Candidates, real: int, hardness: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
    """How often each candidate is drawn: whole films 0.4 and windows 0.6 of the time, markers as often as what is nothing.

    Parameters
    ----------
    candidates : Candidates
    real : int
        The first so many are of whole films.
    hardness : ndarray of float32, shape (n,), or None
        Within each sort: the probability that the network gave to the opposite; the higher the oftener.
    """
    out, whole = np.zeros(len(candidates)), np.arange(len(candidates)) < real
    for part, share in ((whole, 0.4), (~whole, 0.6)):
        for kind, of in ((candidates.labels == 0, 0.45), (candidates.labels > 0, 0.45), (candidates.labels == UNKNOWN, 0.1)):
            chosen = part & kind
            # The surest errors are errors of the labels as often as not: they count no more than others.
            weight = np.ones(int(chosen.sum())) if hardness is None else np.minimum(hardness[chosen], 0.7) + 0.06
            out[chosen] = share * of * weight / max(weight.sum(), 1e-9)
    return np.asarray(out / out.sum())


def fit(
    checkpoint: Path,
    films: Sequence[LabelledFilm],
    out: Path,
    *,
    windows: int,
    passes: int,
    rate: float = 0.002,
    seed: int = 1,
    threads: int = 2,
    long_side: int = 1024,
    mix: Mix | None = None,
    drawn_films: int = 0,
    views: int = 0,
    keep: float = 0.0,
    report: Callable[[dict[str, float]], None] | None = None,
) -> Path:
    """Train the second stage of a checkpoint, or go on with the one it holds.

    Parameters
    ----------
    checkpoint : Path
        Of the detector.
    films : sequence of LabelledFilm
        May be empty: drawn windows alone.
    out : Path
        Folder; ``best.pt`` in it holds both stages.
    windows : int
        Training windows whose candidates are learnt from.
    passes : int
        Candidates seen in all.
    rate, seed, threads
        As in `train_verifier`.
    long_side : int
        Of the detector's input.
    mix : Mix or None
        Of the windows.
    drawn_films : int
        Whole drawn films whose candidates are learnt from too.
    views : int
        So many other views of each of `films`, see `from_films`.
    keep : float
        The result is taken back so far, 0 to 1, to the second stage that the checkpoint holds: what the other views taught is had for
        less of what was known before.
    report : callable or None
        Given lines of figures.

    Returns
    -------
    Path
        ``best.pt``.

    Raises
    ------
    ConfigError
        The checkpoint cannot be read.
    """
    held = read_checkpoint(checkpoint)
    floors = dict.fromkeys(CLASSES, 0.1)
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.pt"
        torch.save({"state_dict": held.state}, plain)
        onnx = export(plain, Path(folder), thresholds=floors, input_size=long_side)
        detector = MarkerDetector.load(onnx, digest(onnx), "cpu", threads)
        real = [from_films(detector, films, seed=seed, views=views)] if films else []
        chosen = mix or Mix(real=0.4 if films else 0.0, mosaic=0.1, empty=0.3, borrow=0.4)
        drawn = [from_samples(detector, Samples(films, seed + 1000, _WINDOW, chosen, long_side), 0, windows, seed=seed)]
        drawn += [from_drawn(detector, drawn_films, seed)] if drawn_films else []
    candidates, count = joined([*real, *drawn]), sum(len(part) for part in real)
    start = build(held.verifier, held.nc) if held.verifier else None
    net = train_verifier(candidates, passes=passes, start=start, rate=rate, real=count, seed=seed, threads=threads, report=report)
    state = net.state_dict() if start is None else between(net.state_dict(), held.verifier, keep)
    out.mkdir(parents=True, exist_ok=True)
    saved = {"state_dict": held.state, "names": list(CLASSES), "size": held.size, "nc": held.nc, "verifier": state}
    torch.save(saved, out / "best.pt")
    return out / "best.pt"


def between(new: dict[str, Tensor], old: dict[str, Tensor], keep: float) -> dict[str, Tensor]:
    """The weights that lie `keep` of the way from `new` back to `old`, of one network trained on from the other."""
    # Counters and anchors are no weights; float32, since the files hold half precision.
    return {k: torch.lerp(v.float(), old[k].float(), keep) if v.is_floating_point() else v for k, v in new.items()}
