"""Who tries to recognise the patient: classical matching, a metric learned from few films, and Siamese networks.

Each attacker scores pairs (released film, real film the attacker holds): the higher, the more likely one patient. An anonymiser is
worth what the strongest of them still finds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from radanon_node.training.biometrics.films import Films
from radanon_node.training.biometrics.learn import Recipe, batched, tensor, train_verifier
from radanon_node.training.biometrics.nets import Verifier

Pairs: TypeAlias = Sequence[tuple[int, int, bool]]
Scores: TypeAlias = NDArray[np.float64]


_MOST, _PER_PATIENT = 4000, 8
"""Films that the metric learns from; more make it slower, not better."""


def same(pairs: Pairs) -> NDArray[np.bool_]:
    """Whether each pair is of one patient."""
    return np.array([pair[2] for pair in pairs], bool)


def auc(scores: Scores, truth: NDArray[np.bool_]) -> float:
    """Area under the receiver operating characteristic; ties count half."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def bootstrap(scores: Scores, pairs: Pairs, patients: Sequence[str], seed: int = 0, draws: int = 400) -> tuple[float, float]:
    """95% interval of the AUC, drawing patients, not pairs: a patient's pairs are alike."""
    rng = np.random.default_rng(seed)
    truth = same(pairs)
    owners = sorted({patients[a] for a, _, _ in pairs})
    number = {patient: index for index, patient in enumerate(owners)}
    owner = np.array([number[patients[a]] for a, _, _ in pairs])
    found = []
    for _ in range(draws):
        weight = np.bincount(rng.integers(0, len(owners), len(owners)), minlength=len(owners))[owner]
        chosen = np.repeat(np.arange(len(pairs)), weight)
        found.append(auc(scores[chosen], truth[chosen]))
    kept = np.array(found)[np.isfinite(found)]
    if not len(kept):
        return float("nan"), float("nan")
    return float(np.percentile(kept, 2.5)), float(np.percentile(kept, 97.5))


def keypoint_scores(released: NDArray[np.uint8], held: NDArray[np.uint8], pairs: Pairs, most: int = 600) -> Scores:
    """SIFT keypoints (Lowe 2004) matched and checked by one similarity transform (RANSAC): the number of matches that agree.

    Parameters
    ----------
    released, held : ndarray of uint8, shape (n, side, side)
    pairs : sequence of (int, int, bool)
        Positions in `released` and in `held`.
    most : int
        Keypoints per film.
    """
    # OpenCV's random sampling starts from this seed, so that a figure can be had again.
    cv2.setRNGSeed(1)
    sift = cv2.SIFT_create(nfeatures=most, contrastThreshold=0.02)  # type: ignore[attr-defined]  # not in the stubs
    levels = cv2.createCLAHE(3.0, (8, 8))
    matcher = cv2.BFMatcher(cv2.NORM_L2)

    def described(film: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        points, vectors = sift.detectAndCompute(levels.apply(np.ascontiguousarray(film)), None)
        if vectors is not None:  # root SIFT (Arandjelovic 2012)
            vectors = np.sqrt(vectors / np.maximum(vectors.sum(axis=1, keepdims=True), 1e-9)).astype(np.float32)
        return np.array([point.pt for point in points], np.float32), vectors

    first = {a: described(released[a]) for a in {pair[0] for pair in pairs}}
    second = {b: described(held[b]) for b in {pair[1] for pair in pairs}}
    scores = []
    for a, b, _ in pairs:
        (here, one), (there, two) = first[a], second[b]
        agreeing = 0
        if one is not None and two is not None and min(len(one), len(two)) >= 2:
            near = matcher.knnMatch(one, two, k=2)
            good = [match[0] for match in near if len(match) == 2 and match[0].distance < 0.85 * match[1].distance]
            if len(good) >= 3:
                source = here[[match.queryIdx for match in good]]
                target = there[[match.trainIdx for match in good]]
                reach = 0.012 * released.shape[-1]
                _, inliers = cv2.estimateAffinePartial2D(source, target, method=cv2.RANSAC, ransacReprojThreshold=reach)
                agreeing = int(inliers.sum()) if inliers is not None else 0
        scores.append(float(agreeing))
    return np.array(scores)


def registration_scores(released: NDArray[np.uint8], held: NDArray[np.uint8], pairs: Pairs, side: int = 128) -> Scores:
    """Both films' fine structure laid on each other (phase correlation, then affine, ECC: Evangelidis 2008), then correlated."""
    side = min(side, released.shape[-1])

    def structure(film: NDArray[np.uint8]) -> NDArray[np.float32]:
        small = cv2.resize(film, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
        local = small - cv2.GaussianBlur(small, (0, 0), side / 24)
        spread = cv2.GaussianBlur(local * local, (0, 0), side / 12)
        return np.asarray(local / np.sqrt(spread + 25), np.float32)

    window = cv2.createHanningWindow((side, side), cv2.CV_32F)
    first = {a: structure(released[a]) for a in {pair[0] for pair in pairs}}
    second = {b: structure(held[b]) for b in {pair[1] for pair in pairs}}
    scores = []
    for a, b, _ in pairs:
        (x, y), _ = cv2.phaseCorrelate(first[a], second[b], window)
        matrix = np.array([[1, 0, x], [0, 1, y]], np.float32) if np.hypot(x, y) < side / 6 else np.eye(2, 3, dtype=np.float32)
        stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 25, 1e-4)
        try:
            everywhere = np.full((side, side), 255, np.uint8)
            score, _ = cv2.findTransformECC(first[a], second[b], matrix, cv2.MOTION_AFFINE, stop, everywhere, 5)
        except cv2.error:  # no overlap or no convergence: nothing found
            score = -1.0
        scores.append(float(score))
    return np.array(scores)


class Metric:
    """Eigen-films and a metric learned from few pairs (KISSME, Koestinger et al. 2012): the shape of the chest, coarse and whole."""

    def __init__(self, side: int = 48, components: int = 80) -> None:
        self.side, self.components = side, components
        self._mean: NDArray[np.float64] = np.zeros(0)
        self._axes: NDArray[np.float64] = np.zeros((0, 0))
        self._weights: NDArray[np.float64] = np.zeros((0, 0))

    def _features(self, films: NDArray[np.uint8]) -> NDArray[np.float64]:
        levels = cv2.createCLAHE(2.0, (4, 4))
        rows = []
        for film in films:
            small = levels.apply(cv2.resize(film, (self.side, self.side), interpolation=cv2.INTER_AREA)).astype(np.float64)
            slopes = [cv2.Sobel(small, cv2.CV_64F, *order) / 4 for order in ((1, 0), (0, 1))]
            rows.append(np.concatenate([((small - small.mean()) / (small.std() + 1)).ravel(), *(slope.ravel() / 30 for slope in slopes)]))
        return np.array(rows)

    def fit(self, released: NDArray[np.uint8], held: NDArray[np.uint8], films: Films) -> Metric:
        """Learn from training patients: what the attacker can make of the method on films of its own.

        Of a large collection it learns from some patients drawn at random, `_MOST` films together, at most `_PER_PATIENT` of each.
        """
        if len(films) > _MOST:
            chosen = _some(films)
            released, held, films = released[chosen], held[chosen], films.at(chosen)
        one, two = self._features(released), self._features(held)
        everything = np.concatenate([one, two])
        self._mean = everything.mean(axis=0)
        _, sizes, axes = np.linalg.svd(everything - self._mean, full_matrices=False)
        count = min(self.components, len(axes))
        self._axes = axes[:count] / (sizes[:count, None] / np.sqrt(len(everything)) + 1e-9)
        first, second = self._project(one), self._project(two)
        groups = films.by_patient()
        within = [first[a] - second[b] for own in groups.values() if len(own) > 1 for a in own for b in own if a != b]
        rng = np.random.default_rng(0)
        others = [(int(a), int(b)) for a, b in rng.integers(0, len(films), (4000, 2)) if films.patients[a] != films.patients[b]]
        between = [first[a] - second[b] for a, b in others]
        if not within or not between:
            self._weights = np.eye(count)
            return self
        inside, outside = (self._spread(np.array(differences)) for differences in (within, between))
        self._weights = np.linalg.inv(inside) - np.linalg.inv(outside)
        return self

    @staticmethod
    def _spread(differences: NDArray[np.float64]) -> NDArray[np.float64]:
        found = differences.T @ differences / len(differences)
        return np.asarray(0.8 * found + 0.2 * np.trace(found) / len(found) * np.eye(len(found)))

    def _project(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((features - self._mean) @ self._axes.T)

    def scores(self, released: NDArray[np.uint8], held: NDArray[np.uint8], pairs: Pairs) -> Scores:
        """Log-likelihood ratio of the difference of two films, one patient against two."""
        first, second = self._project(self._features(released)), self._project(self._features(held))
        gaps = np.array([first[a] - second[b] for a, b, _ in pairs])
        return np.asarray(-np.einsum("ij,jk,ik->i", gaps, self._weights, gaps))


def _some(films: Films) -> list[int]:
    chosen: list[int] = []
    groups = list(films.by_patient().values())
    for at in np.random.default_rng(1).permutation(len(groups)):
        chosen += groups[at][:_PER_PATIENT]
        if len(chosen) >= _MOST:
            break
    return sorted(chosen)


def network_scores(
    net: Verifier, released: NDArray[np.uint8], held: NDArray[np.uint8], pairs: Pairs, side: int, device: torch.device
) -> Scores:
    """Cosines of a Siamese network's vectors."""
    first = batched(net.embed, tensor(released, side, device)).cpu().numpy().astype(np.float64)
    second = batched(net.embed, tensor(held, side, device)).cpu().numpy().astype(np.float64)
    return np.array([first[a] @ second[b] for a, b, _ in pairs])


def fresh_network(
    films: Films, recipe: Recipe, device: torch.device, anonymised: Films | None, run: int, kept: Path | None = None
) -> Verifier:
    """An attacker from scratch that knows the method and trains on films it has anonymised itself.

    Parameters
    ----------
    films : Films
        Of training patients.
    recipe : Recipe
    device : torch.device
    anonymised : Films or None
        What the method makes of `films`; None for an attacker who knows real films only.
    run : int
        Another start for each.
    kept : Path or None
        Folder of trained attackers: one that has learned from the same pictures in the same way is taken from there.
    """
    path = None
    if kept is not None:
        digest = hashlib.sha256(json.dumps([recipe.as_dict(), run, films.names], sort_keys=True).encode())
        for learned_from in (films, anonymised or films):
            digest.update(np.ascontiguousarray(learned_from.pictures).data)
        path = kept / f"{digest.hexdigest()[:20]}.pt"
    if path is not None and path.exists():
        net = Verifier(width=recipe.opponent_width)
        net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return net.to(device).eval()
    net = train_verifier(films, recipe, device, anonymised, seed=100 + run)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({part: value.cpu() for part, value in net.state_dict().items()}, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
    return net


def together(scores: Sequence[Scores]) -> Scores:
    """The attackers' mean rank: what they find in company."""
    return np.asarray(np.mean([rankdata(each) / len(each) for each in scores], axis=0))
