"""What an anonymiser is worth: how well fresh attackers still recognise patients, and what is left of the films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

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
from radanon_node.training.biometrics.collection import FINDINGS
from radanon_node.training.biometrics.films import Films
from radanon_node.training.biometrics.learn import Recipe, Report, batched, tensor
from radanon_node.training.biometrics.methods import Deforming, Method, Picture
from radanon_node.training.biometrics.nets import Classifier, Verifier
from radanon_node.training.biometrics.views import View, seen

_COLUMNS = ("keypoints", "registration", "metric", "unaware", "network", "mismatched", "linkage", "together")


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
    view: View | None = None,
    mismatched: bool = False,
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
    view : callable or None
        What attackers see of each film, the released and the real ones, when they learn and when they are judged.
    mismatched : bool
        Also train Siamese networks on pairs of two anonymised films, as the paper's published code does. They are judged twice:
        ``mismatched`` on the pairs of a released and a real film, of which they have seen none (the paper's figure), and ``linkage``
        on pairs of two released films, for which they were made.
    """

    def say(**values: Any) -> None:
        if report is not None:
            report({"method": name, **values})

    concerned = sorted({a for a, _, _ in pairs})
    released = test.pictures.copy()
    if method is not None:
        for index in sorted({at for pair in pairs for at in pair[:2]}) if mismatched else concerned:
            released[index] = method(test.pictures[index])
    likeness = np.array([ssim(test.pictures[index], released[index]) for index in concerned])
    say(ssim=float(likeness.mean()))
    lengths = None
    if isinstance(method, Deforming):
        lengths = float(np.mean([length_change(method.moves(film), *film.shape) for film in test.pictures[concerned]]))
    examples = [(test.pictures[index], released[index]) for index in concerned[:4]]
    findings = findings_auc(classifier, released, test, concerned, recipe, device)
    known = Films(train.names, train.patients, seen(train.pictures, view), None)
    prepared = None
    if method is not None:
        prepared = Films(train.names, train.patients, seen(np.stack([method(film) for film in train.pictures]), view), None)
    held, released, own = seen(test.pictures, view), seen(released, view), (prepared or known).pictures
    scores: dict[str, Scores] = {}
    for attacker, find in (
        ("keypoints", lambda: keypoint_scores(released, held, pairs)),
        ("registration", lambda: registration_scores(released, held, pairs)),
        ("metric", lambda: Metric().fit(own, known.pictures, known).scores(released, held, pairs)),
    ):
        scores[attacker] = find()  # type: ignore[no-untyped-call]
        say(attacker=attacker, auc=auc(scores[attacker], same(pairs)))
    siamese: dict[str, list[Scores]] = {}

    def attack(net: Verifier, run: int, targets: Mapping[str, NDArray[np.uint8]]) -> None:
        for attacker, against in targets.items():
            siamese.setdefault(attacker, []).append(network_scores(net, released, against, pairs, recipe.side, device))
            say(attacker=f"{attacker} {run + 1}", auc=auc(siamese[attacker][-1], same(pairs)))

    for run in range(runs):
        attack(fresh_network(known, recipe, device, None, run, kept), run, {"unaware": held})
        attack(fresh_network(known, recipe, device, prepared, run, kept), run, {"network": held})
        if mismatched:
            attack(fresh_network(prepared or known, recipe, device, None, run, kept), run, {"mismatched": held, "linkage": released})
    scores |= {attacker: together(found) for attacker, found in siamese.items()}
    aside = ("unaware", "mismatched", "linkage")  # they do not know the method, or answer another question
    scores["together"] = together([found for attacker, found in scores.items() if attacker not in aside])
    attacks: dict[str, dict[str, Any]] = {}
    for attacker, each in scores.items():
        low, high = bootstrap(each, pairs, test.patients)
        attacks[attacker] = {"auc": auc(each, same(pairs)), "low": low, "high": high}
    for attacker, judged in siamese.items():
        found = [auc(each, same(pairs)) for each in judged]
        # The mean over runs is the figure; the runs' common verdict, which is a little better, has the interval.
        attacks[attacker] |= {"runs": found, "mean": float(np.mean(found)), "sd": float(np.std(found))}
    return Verdict(name, (float(likeness.mean()), float(likeness.std())), attacks, findings, scores, examples, lengths)


def findings_auc(
    classifier: Classifier | None, released: NDArray[np.uint8], test: Films, concerned: Sequence[int], recipe: Recipe, device: torch.device
) -> dict[str, float]:
    """What the classifier of real films still sees on released ones: AUC per finding that has both kinds of films."""
    if classifier is None or test.findings is None:
        return {}
    chosen = list(concerned)
    logits = batched(classifier, tensor(released[chosen], recipe.side, device)).cpu().numpy().astype(np.float64)
    truth = test.findings[chosen] > 0
    found = {name: auc(logits[:, at], truth[:, at]) for at, name in enumerate(FINDINGS)}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def table(verdicts: Sequence[Verdict]) -> str:
    """Markdown: one row per method."""
    attackers = [name for name in _COLUMNS if name in verdicts[0].attacks]
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
