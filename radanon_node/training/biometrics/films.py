"""Chest films with known patients as arrays without markers, split by patient, and the pairs of them that are verified."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import ConfigError
from radanon_node.markers.detector import MarkerDetector
from radanon_node.training.biometrics.collection import FINDINGS, FilmFile

_TOGETHER = 100
"""Films after which the scaled pictures are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Films:
    """Films in memory.

    Parameters
    ----------
    names, patients : tuple of str
    pictures : ndarray of uint8, shape (n, side, side)
        Markers blackened, 0 = displayed black.
    findings : ndarray of float32, shape (n, 14), or None
        1 where a finding is named; None where no film has labels.
    """

    names: tuple[str, ...]
    patients: tuple[str, ...]
    pictures: NDArray[np.uint8]
    findings: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def of(self, patients: Iterable[str]) -> Films:
        """The films of some patients, in the same order."""
        wanted = set(patients)
        return self.at([index for index, patient in enumerate(self.patients) if patient in wanted])

    def at(self, chosen: Sequence[int]) -> Films:
        """The films at some positions."""
        return Films(
            tuple(self.names[index] for index in chosen),
            tuple(self.patients[index] for index in chosen),
            self.pictures[list(chosen)],
            None if self.findings is None else self.findings[list(chosen)],
        )

    def by_patient(self) -> dict[str, list[int]]:
        """Positions of each patient's films."""
        found: dict[str, list[int]] = defaultdict(list)
        for index, patient in enumerate(self.patients):
            found[patient].append(index)
        return dict(found)


def load(
    films: Sequence[FilmFile], side: int, detector: MarkerDetector | None, cache: Path | None = None, note: str = ""
) -> Films:
    """Read films, black out their markers and scale them to squares.

    Markers identify too (initials, hospital's plates): they go before anything learns from the films, as they do in the node.

    Parameters
    ----------
    films : sequence of FilmFile
    side : int
        Pixels of the square that a film is scaled to, whatever its shape.
    detector : MarkerDetector or None
        Finds the markers; None leaves them in.
    cache : Path or None
        Folder for the scaled pictures; a later call with the same films, side and weights reads them from there. They are written as
        they are made, so memory does not bound the collection, and a call that was broken off is gone on with.
    note : str
        Part of the cache's name.

    Returns
    -------
    Films

    Raises
    ------
    ConfigError
        A film cannot be decoded.
    """
    model = detector.model_hash if detector else "markers left in"
    listed = "\n".join([str(side), model, note, *(f"{film.path.name} {film.path.stat().st_size}" for film in films)])
    stored = None if cache is None else cache / f"films-{side}-{hashlib.sha256(listed.encode()).hexdigest()[:16]}.npy"
    if stored is not None and stored.is_file():
        pictures: NDArray[np.uint8] = np.load(stored, mmap_mode="r")
    else:
        pictures = _all(films, side, detector) if stored is None else _kept(films, side, detector, stored)
    labelled = [film.findings is not None for film in films]
    findings = None
    if all(labelled):
        findings = np.array([[name in (film.findings or ()) for name in FINDINGS] for film in films], np.float32)
    return Films(tuple(film.name for film in films), tuple(film.patient for film in films), pictures, findings)


def _all(films: Sequence[FilmFile], side: int, detector: MarkerDetector | None) -> NDArray[np.uint8]:
    return np.stack([_picture(film.path, side, detector) for film in films])


def _kept(films: Sequence[FilmFile], side: int, detector: MarkerDetector | None, stored: Path) -> NDArray[np.uint8]:
    """The scaled pictures in a file, made `_TOGETHER` at a time; how many there are stands in a file beside it."""
    stored.parent.mkdir(parents=True, exist_ok=True)
    part, count = stored.with_suffix(".part"), stored.with_suffix(".count")
    begun = int(count.read_text()) if count.is_file() and part.is_file() else 0
    shape = (len(films), side, side)
    pictures = np.lib.format.open_memmap(part, mode="r+") if begun else np.lib.format.open_memmap(part, "w+", np.uint8, shape)
    for first in range(begun, len(films), _TOGETHER):
        for number, film in enumerate(films[first : first + _TOGETHER], first):
            pictures[number] = _picture(film.path, side, detector)
        pictures.flush()
        count.write_text(str(min(first + _TOGETHER, len(films))))
    del pictures
    part.rename(stored)
    count.unlink()
    return np.asarray(np.load(stored, mmap_mode="r"))


def _picture(path: Path, side: int, detector: MarkerDetector | None) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise ConfigError(f"{path.name}: is no picture")
    frame = np.ascontiguousarray(picture, np.uint8)
    if detector is not None:
        for found in detector.detect([frame])[0]:
            box = found.box.grown(3).clipped(*frame.shape)
            frame[box.y0 : box.y1, box.x0 : box.x1] = 0
    return np.asarray(cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True, slots=True)
class Split:
    """Patients that anonymiser and attackers may learn from, and those they are judged on; no patient is in both."""

    train: frozenset[str]
    test: frozenset[str]


def split_patients(films: Films, seed: int, share: float = 0.65) -> Split:
    """Deal patients to train and test, those with several films and those with one in the same shares.

    Parameters
    ----------
    films : Films
    seed : int
    share : float
        Of train.
    """
    rng = np.random.default_rng(seed)
    train: set[str] = set()
    groups = films.by_patient()
    for several in (True, False):
        patients = sorted(patient for patient, own in groups.items() if (len(own) > 1) == several)
        rng.shuffle(patients)
        train.update(patients[: int(share * len(patients))])
    return Split(frozenset(train), frozenset(groups) - train)


def split_by_pairs(films: Films, listed: Sequence[tuple[str, str, bool]]) -> Split:
    """The patients of a published test list are judged on, all others learned from."""
    owner = dict(zip(films.names, films.patients, strict=True))
    test = frozenset(owner[name] for a, b, _ in listed for name in (a, b) if name in owner)
    return Split(frozenset(films.patients) - test, test)


def pairs_of(films: Films, seed: int, per_patient: int = 6, negatives: float = 3.0) -> list[tuple[int, int, bool]]:
    """Pairs to verify: of each patient with several films up to `per_patient` pairs, and pairs of different patients.

    Parameters
    ----------
    films : Films
    seed : int
    per_patient : int
        So that one patient with ten films (45 pairs) does not decide the figure.
    negatives : float
        Pairs of two patients per pair of one.

    Returns
    -------
    list of (int, int, bool)
        Positions and whether both are one patient's. The first is the film that gets anonymised.
    """
    rng = np.random.default_rng(seed)
    pairs: list[tuple[int, int, bool]] = []
    groups = films.by_patient()
    for _, own in sorted(groups.items()):
        possible = [(a, b) for a in own for b in own if a != b]
        for chosen in rng.permutation(len(possible))[:per_patient]:
            pairs.append((*possible[chosen], True))
    wanted = round(negatives * len(pairs))
    seen: set[tuple[int, int]] = set()
    for _ in range(50 * wanted):
        if len(seen) >= wanted:
            break
        a, b = (int(value) for value in rng.integers(0, len(films), 2))
        if films.patients[a] != films.patients[b] and (a, b) not in seen:
            seen.add((a, b))
            pairs.append((a, b, False))
    return pairs


def listed_pairs(films: Films, listed: Sequence[tuple[str, str, bool]]) -> list[tuple[int, int, bool]]:
    """Positions of published pairs.

    Raises
    ------
    ConfigError
        A film of the list is not among `films`.
    """
    position = {name: index for index, name in enumerate(films.names)}
    missing = {name for a, b, _ in listed for name in (a, b) if name not in position}
    if missing:
        raise ConfigError(f"{len(missing)} films of the pair list are not among the films")
    return [(position[a], position[b], same) for a, b, same in listed]
