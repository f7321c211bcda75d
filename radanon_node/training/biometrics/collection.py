"""Collections of chest films on disk: a folder of named films, the layout of ChestX-ray14, the lists of pairs that papers publish."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from radanon_node.errors import ConfigError

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
