"""Films to show and to measure with: drawn anatomy, a lead side letter with initials, and the patient's name, id and date burnt in."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.training.films_dicom import Invented, dx_dataset, encoded, invent
from radanon_node.training.synth.anatomy import background
from radanon_node.training.synth.glyphs import fonts, word

_BITS = 12
_DRAWN = 1024  # long side at which anatomy is drawn before it is scaled up


def draw_film(
    rng: np.random.Generator, rows: int, columns: int, person: Invented, side: str = "L", printed: bool = True
) -> NDArray[np.uint16]:
    """One film.

    Parameters
    ----------
    rng : numpy Generator
        The film is a function of its state alone.
    rows, columns : int
    person : Invented
        Whose name, id and date are burnt in.
    side : {"L", "R"}
        The lead letter; L is on the right of the picture, as on a frontal film.
    printed : bool
        With name, id and date burnt in; without, lead alone.

    Returns
    -------
    ndarray of uint16, shape (rows, columns)
        12 bits, 0 = black.
    """
    scale = _DRAWN / max(rows, columns)
    small = background((round(rows * scale), round(columns * scale)), rng)
    film: NDArray[np.float32] = np.asarray(
        cv2.resize(small.astype(np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC), np.float32
    )
    film += cv2.resize(rng.normal(0, 1.5, (rows // 2, columns // 2)).astype(np.float32), (columns, rows))
    unit = max(rows, columns) / _DRAWN  # what is one pixel on a film of 1024
    x = round((columns * 0.86 if side == "L" else columns * 0.08) + rng.uniform(-20, 20) * unit)
    y = round(rows * rng.uniform(0.06, 0.2))
    height = rng.uniform(38, 60) * unit
    lead = word(side, round(height / 0.7), _bold())
    _lay(film, lead, x, y, 245)
    initials = word("".join(rng.choice(list("ABCDEFGHJKMNPSTVWZ"), 2)), round(height * 0.45 / 0.7), _bold())
    _lay(film, initials, x, y + lead.shape[0] + round(rng.uniform(6, 12) * unit), 240)
    family, given = person.name.split("^")
    date = f"{person.study_date[6:]}.{person.study_date[4:6]}.{person.study_date[:4]}"
    lines = [f"{family}, {given}", f"{person.patient_id}  {date} {person.study_time[:2]}:{person.study_time[2:4]}"]
    top = round(rows * 0.9)
    for line in lines if printed else ():
        mask = word(line, round(24 * unit), fonts()[0] if fonts() else "")
        _lay(film, mask, round(columns * 0.03), top, 255)
        top += mask.shape[0] + round(8 * unit)
    return np.asarray(np.clip(film, 0, 255) * ((2**_BITS - 1) / 255), np.uint16)


def write_demo_films(folder: Path, count: int, seed: int = 7, rows: int = 1600, columns: int = 1300) -> list[Path]:
    """Draw `count` films of invented patients as DX files; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = []
    for number in range(1, count + 1):
        person = invent(rng)
        film = draw_film(rng, rows, columns, person, "LR"[number % 2])
        monochrome1 = number % 3 == 0
        stored = (2**_BITS - 1 - film).astype(np.uint16) if monochrome1 else film
        path = folder / f"film-{number}.dcm"
        path.write_bytes(encoded(dx_dataset(stored, _BITS, person, number, monochrome1)))
        paths.append(path)
    return paths


def _bold() -> str:
    return next((name for name in fonts() if "Bold" in name and "Oblique" not in name and "Italic" not in name), "")


def _lay(film: NDArray[np.float32], mask: NDArray[np.float32], x: int, y: int, level: float) -> None:
    """Blend `level` in where the mask is, cut at the borders."""
    rows, columns = film.shape
    x, y = max(0, min(x, columns - mask.shape[1])), max(0, min(y, rows - mask.shape[0]))
    part = film[y : y + mask.shape[0], x : x + mask.shape[1]]
    part += (level - part) * mask[: part.shape[0], : part.shape[1]]
