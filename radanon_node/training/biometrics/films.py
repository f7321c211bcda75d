"""Chest films with known patients: from a folder or the ChestX-ray14 layout to arrays without markers, split by patient."""

from __future__ import annotations

import csv
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

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax", "Consolidation",
    "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
"""The fourteen findings of ChestX-ray14 (Wang et al., CVPR 2017), in the order of its paper."""

_ENDINGS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class FilmFile:
    """One film on disk.

    Parameters
    ----------
    path : Path
        8-bit gray picture named ``PATIENT_FOLLOWUP.png`` (or .jpg).
    patient : str
    findings : tuple of str or None
        Those of `FINDINGS` that its report names; None where no labels exist.
    """

    path: Path
    patient: str
    findings: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        return self.path.stem


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


def read_folder(folder: Path) -> list[FilmFile]:
    """Films under a folder whose names give the patient: ``PATIENT_FOLLOWUP.png``.

    Raises
    ------
    ConfigError
        No such film there.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS and "_" in path.stem)
    if not paths:
        raise ConfigError(f"{folder}: no films named PATIENT_FOLLOWUP.png or .jpg")
    return [FilmFile(path, path.stem.split("_")[0]) for path in paths]


def read_chestxray14(table: Path, folder: Path) -> list[FilmFile]:
    """The collection as its publishers lay it out: ``Data_Entry_2017.csv`` (or ``_v2020``) and folders of pictures.

    Parameters
    ----------
    table : Path
        CSV with the columns ``Image Index``, ``Finding Labels`` and ``Patient ID``.
    folder : Path
        Holds the pictures, at any depth (``images_001/images/...``). Films that the table does not list are left out.

    Raises
    ------
    ConfigError
        The table cannot be read, lacks a column, names an unknown finding, or none of its films is there.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as source:
            rows = list(csv.DictReader(source))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{table.name}: cannot be read ({type(error).__name__})") from None
    found = {path.name: path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS}
    films = []
    for number, row in enumerate(rows, 2):
        try:
            name, labels, patient = row["Image Index"], row["Finding Labels"], row["Patient ID"]
        except KeyError as error:
            raise ConfigError(f"{table.name}: has no column {error}") from None
        findings = tuple(word for word in labels.split("|") if word and word != "No Finding")
        if unknown := set(findings) - set(FINDINGS):
            raise ConfigError(f"{table.name}: line {number} names {len(unknown)} finding(s) that ChestX-ray14 does not have")
        if name in found:
            films.append(FilmFile(found[name], patient.zfill(8), findings))
    if not films:
        raise ConfigError(f"{table.name}: none of its {len(rows)} films lies under the folder of films")
    return films


def read_pairs(path: Path) -> list[tuple[str, str, bool]]:
    """A pair list as the paper publishes them: two file names and 1.0 (one patient) or 0.0 per line.

    Returns
    -------
    list of (str, str, bool)
        Names without ending.

    Raises
    ------
    ConfigError
        Unreadable, or a line that is no pair.
    """
    pairs = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}: cannot be read ({type(error).__name__})") from None
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 3 or parts[2] not in ("1.0", "0.0", "1", "0"):
            raise ConfigError(f"{path.name}: line {number} is not two file names and 1.0 or 0.0")
        pairs.append((Path(parts[0]).stem, Path(parts[1]).stem, float(parts[2]) == 1.0))
    if not pairs:
        raise ConfigError(f"{path.name}: lists no pairs")
    return pairs


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
        Folder for the scaled pictures; a later call with the same films, side and weights reads them from there.
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
        pictures = np.stack([_picture(film.path, side, detector) for film in films])
        if stored is not None:
            stored.parent.mkdir(parents=True, exist_ok=True)
            np.save(stored, pictures)
    labelled = [film.findings is not None for film in films]
    findings = None
    if all(labelled):
        findings = np.array([[name in (film.findings or ()) for name in FINDINGS] for film in films], np.float32)
    return Films(tuple(film.name for film in films), tuple(film.patient for film in films), pictures, findings)


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
