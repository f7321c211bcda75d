"""What an anonymiser is worth: how well fresh attackers still recognise patients, and what is left of the films."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from radanon_node.biometrics.field import deform, displacement
from radanon_node.biometrics.keyed import keyed_flow
from radanon_node.biometrics.pixelise import pixelise
from radanon_node.training.biometrics.attackers import (
    Metric,
    Pairs,
    Scores,
    auc,
    bootstrap,
    fresh_network,
    keypoint_scores,
    network_scores,
    registration_scores,
    same,
    together,
)
from radanon_node.training.biometrics.films import Films
from radanon_node.training.biometrics.learn import Recipe, Report, batched, tensor
from radanon_node.training.biometrics.nets import Classifier, UNet

Picture: TypeAlias = NDArray[np.uint8]
Method: TypeAlias = Callable[[Picture], Picture]
"""A film, shape (side, side), to what is released of it."""


@dataclass(frozen=True)
class Deforming:
    """A method that moves places, applied as the node does: the field at its own resolution, the film at full resolution.

    Parameters
    ----------
    flow : callable
        A film to its flow, float32 of shape (2, side, side) in -1..1.
    mu : float
    """

    flow: Callable[[Picture], NDArray[np.float32]]
    mu: float

    def __call__(self, film: Picture) -> Picture:
        return deform(film, self.moves(film))

    def moves(self, film: Picture) -> NDArray[np.float32]:
        """See ``field.displacement``."""
        return displacement(self.flow(film), self.mu, *film.shape)


def learned_method(net: UNet, recipe: Recipe, mu: float | None = None) -> Method:
    """A trained generator, of either kind."""

    def made(film: Picture) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(net(tensor(film[None], recipe.side, torch.device("cpu")))[0].numpy(), np.float32)

    def paint(film: Picture) -> Picture:
        grown = cv2.resize(made(film)[0], film.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.clip(np.rint(grown * 255), 0, 255), np.uint8)

    return Deforming(made, recipe.mu if mu is None else mu) if net.made == 2 else paint


def random_method(mu: float) -> Method:
    """A smooth random field, another one for each film: what the learned field has to be better than."""
    return Deforming(lambda film: keyed_flow(hashlib.sha256(film.tobytes()).digest()), mu)


def dp_pix_method(grid: int, neighbours: int, epsilon: float) -> Method:
    """Differentially private pixelisation with the node's own code; the key is the film's hash."""

    def method(film: Picture) -> Picture:
        return pixelise(film, 0, 255, hashlib.sha256(film.tobytes()).digest(), grid, neighbours, epsilon)

    return method


def ssim(first: Picture, second: Picture) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window of 1.5 pixels, mean over the film."""
    x, y = first.astype(np.float64), second.astype(np.float64)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float64)

    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = ((2 * mx * my + c1) * (2 * both + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(value.mean())


def length_change(moves: NDArray[np.float32], rows: int, columns: int, pairs: int = 2000) -> float:
    """By how much a field falsifies measurements: the 95th percentile of the relative change of lengths.

    Parameters
    ----------
    moves : ndarray of float32, shape (side, side, 2)
        In pixels of the film.
    rows, columns : int
        Of the film.
    pairs : int
        Lengths measured, between random places an eighth to half of the film's smaller side apart.

    Returns
    -------
    float
        0.02: of twenty lengths measured on the deformed film, nineteen are wrong by at most 2%.
    """
    rng, side = np.random.default_rng(0), moves.shape[0]
    smaller, size = min(rows, columns), np.array([columns, rows])
    one = rng.random((8 * pairs, 2)) * size
    angle, length = rng.random(8 * pairs) * 2 * np.pi, rng.uniform(smaller / 8, smaller / 2, 8 * pairs)
    two = one + length[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    inside = np.flatnonzero(((two >= 0) & (two < size)).all(axis=1))[:pairs]
    one, two, length = one[inside], two[inside], length[inside]

    def source(at: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = (at * side / size).astype(int).T
        return np.asarray(at + moves[y, x])

    true = np.linalg.norm(source(one) - source(two), axis=1)
    return float(np.percentile(np.abs(length / np.maximum(true, 1e-9) - 1), 95))


@dataclass(frozen=True)
class Verdict:
    """One method's figures.

    Parameters
    ----------
    name : str
    ssim : (float, float)
        Mean and standard deviation against the original, over the test films.
    attacks : dict of str to dict
        Per attacker ``auc``, 95% interval ``low`` and ``high`` (bootstrap over patients); for networks also ``runs``, the AUC of each.
    findings : dict of str to float
        AUC of the classifier per finding; empty where nothing is labelled.
    scores : dict of str to ndarray
        Per attacker, for the curves.
    examples : list of (ndarray, ndarray)
        Films before and after.
    lengths : float or None
        `length_change`, mean over the test films; None for methods that move nothing.
    """

    name: str
    ssim: tuple[float, float]
    attacks: dict[str, dict[str, Any]]
    findings: dict[str, float]
    scores: dict[str, Scores] = field(repr=False, default_factory=dict)
    examples: list[tuple[Picture, Picture]] = field(repr=False, default_factory=list)
    lengths: float | None = None

    def figures(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "method": self.name, "ssim": {"mean": self.ssim[0], "sd": self.ssim[1]}, "lengths": self.lengths,
            "attacks": self.attacks, "findings": self.findings,
        }  # fmt: skip

    @property
    def strongest(self) -> tuple[str, float]:
        """The single attacker that finds most."""
        name = max((each for each in self.attacks if each != "together"), key=lambda each: self.attacks[each]["auc"])
        return name, float(self.attacks[name]["auc"])


def judge(
    name: str,
    method: Method | None,
    train: Films,
    test: Films,
    pairs: Pairs,
    recipe: Recipe,
    device: torch.device,
    runs: int = 1,
    classifier: Classifier | None = None,
    report: Report | None = None,
    kept: Path | None = None,
) -> Verdict:
    """Attack a method with everything there is.

    Parameters
    ----------
    name : str
    method : callable or None
        None is the original.
    train, test : Films
        Of different patients. Attackers learn on `train`, whose films they anonymise themselves: they know the method.
    pairs : sequence of (int, int, bool)
        Of `test`; the first film of a pair is the released one, the second the attacker's own, as it came.
    recipe : Recipe
        For the Siamese attackers.
    device : torch.device
    runs : int
        Siamese attackers from scratch, each of two kinds: ``network`` learns on films that it has anonymised itself, ``unaware`` on
        real films only, as the networks do that a generator is trained against. 0 leaves both out.
    classifier : Classifier or None
        Trained on real films.
    report : callable or None
    kept : Path or None
        Folder for trained attackers, so that an evaluation that was broken off goes on.
    """

    def say(**values: Any) -> None:
        if report is not None:
            report({"method": name, **values})

    held = test.pictures
    concerned = sorted({a for a, _, _ in pairs})
    released = held.copy()
    if method is not None:
        for index in concerned:
            released[index] = method(held[index])
    own = train.pictures if method is None else np.stack([method(film) for film in train.pictures])
    likeness = np.array([ssim(held[index], released[index]) for index in concerned])
    say(ssim=float(likeness.mean()))
    lengths = None
    if isinstance(method, Deforming):
        lengths = float(np.mean([length_change(method.moves(held[index]), *held[index].shape) for index in concerned]))
    scores: dict[str, Scores] = {}
    for attacker, find in (
        ("keypoints", lambda: keypoint_scores(released, held, pairs)),
        ("registration", lambda: registration_scores(released, held, pairs)),
        ("metric", lambda: Metric().fit(own, train.pictures, train).scores(released, held, pairs)),
    ):
        scores[attacker] = find()  # type: ignore[no-untyped-call]
        say(attacker=attacker, auc=auc(scores[attacker], same(pairs)))
    siamese: dict[str, list[Scores]] = {}
    prepared = None if method is None else Films(train.names, train.patients, own, None)
    for attacker, films in (("unaware", None), ("network", prepared)) if runs else ():
        siamese[attacker] = []
        for run in range(runs):
            net = fresh_network(train, recipe, device, films, run, kept)
            siamese[attacker].append(network_scores(net, released, held, pairs, recipe.side, device))
            say(attacker=f"{attacker} {run + 1}", auc=auc(siamese[attacker][-1], same(pairs)))
        scores[attacker] = together(siamese[attacker])
    scores["together"] = together([found for attacker, found in scores.items() if attacker != "unaware"])
    attacks: dict[str, dict[str, Any]] = {}
    for attacker, each in scores.items():
        low, high = bootstrap(each, pairs, test.patients)
        attacks[attacker] = {"auc": auc(each, same(pairs)), "low": low, "high": high}
    for attacker, judged in siamese.items():
        found = [auc(each, same(pairs)) for each in judged]
        # The mean over runs is the figure; the runs' common verdict, which is a little better, has the interval.
        attacks[attacker] |= {"runs": found, "mean": float(np.mean(found)), "sd": float(np.std(found))}
    return Verdict(
        name, (float(likeness.mean()), float(likeness.std())), attacks, findings_auc(classifier, released, test, concerned, recipe, device),
        scores, [(held[index], released[index]) for index in concerned[:4]], lengths,
    )  # fmt: skip


def findings_auc(
    classifier: Classifier | None, released: NDArray[np.uint8], test: Films, concerned: Sequence[int], recipe: Recipe, device: torch.device
) -> dict[str, float]:
    """What the classifier of real films still sees on released ones: AUC per finding that has both kinds of films."""
    if classifier is None or test.findings is None:
        return {}
    from radanon_node.training.biometrics.films import FINDINGS

    chosen = list(concerned)
    logits = batched(classifier, tensor(released[chosen], recipe.side, device)).cpu().numpy().astype(np.float64)
    truth = test.findings[chosen] > 0
    found = {name: auc(logits[:, at], truth[:, at]) for at, name in enumerate(FINDINGS)}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def table(verdicts: Sequence[Verdict]) -> str:
    """Markdown: one row per method."""
    attackers = [name for name in ("keypoints", "registration", "metric", "unaware", "network", "together") if name in verdicts[0].attacks]
    labelled = any(verdict.findings for verdict in verdicts)
    head = ["method", "SSIM", "lengths", *(f"AUC {name}" for name in attackers), *(["AUC findings"] if labelled else [])]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for verdict in verdicts:
        cells = [verdict.name, f"{verdict.ssim[0]:.3f}", "" if verdict.lengths is None else f"{verdict.lengths:.1%}"]
        for name in attackers:
            attack = verdict.attacks[name]
            runs = f", runs {attack['mean']:.3f} ± {attack['sd']:.3f}" if "runs" in attack else ""
            cells.append(f"{attack['auc']:.3f} ({attack['low']:.2f} to {attack['high']:.2f}{runs})")
        if labelled:
            cells.append(f"{np.mean(list(verdict.findings.values())):.3f}" if verdict.findings else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
