"""How much of names, dates and words printed on films is black when a film leaves the node.

``python scripts/print_figures.py FILMS [--seed 0] [--count 90] [--failures picture.png]``: invented print of random size, type and contrast
is drawn at random places of the films in a folder, which are resized to sides of 700 to 3,500 pixels first; half of the prints differ
from their ground by 45 gray levels or less. Every film goes through the whole cleaning core as DICOM.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from radanon_node.training.measure import wilson
from radanon_node.training.through_node import CleaningCore

SYLLABLES = ["ba", "ko", "mi", "ta", "re", "lu", "na", "so", "vi", "de", "ja", "ra", "zy", "ne", "pe", "gu", "os", "ti"]
WORDS = ("RE STEHEND", "LIEGEND", "DEBOUT", "GULINT", "STOVINT", "Becken a.p.", "DEX", "SIN", "KAIRĖ")
FACES = ("DejaVuSans", "Liberation", "FreeSans", "FreeMono", "NotoSansMono")
GONE, VISIBLE = 0.98, 12  # share of the ink; gray levels by which a pixel must differ to count as ink


def words(rng: np.random.Generator) -> str:
    """An invented name, date, number, time or word."""
    first, second = ("".join(rng.choice(SYLLABLES, 3)).capitalize() for _ in range(2))
    day, month, year = (int(part) for part in rng.integers((1, 1, 1930), (29, 13, 2015)))
    hour, minute, second_ = (int(part) for part in rng.integers(0, (24, 60, 60)))
    choices = (f"{first}, {second}".upper(), f"{day:02d}.{month:02d}.{year}", f"ID {rng.integers(10**6, 10**8)}",
               f"{hour:02d}:{minute:02d}:{second_:02d}", f"{first} {second[0]}.", first, str(rng.choice([*WORDS, f"Klinikum {first}"])))
    return choices[int(rng.integers(len(choices)))]


def printed(film: NDArray[np.uint8], faces: list[Path], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.bool_], str, int]:
    """A resized film with print on it, the print's visible ink, its words and its contrast."""
    side = int(rng.choice([700, 1024, 1500, 2048, 2800, 3500]))
    plain = np.asarray(cv2.resize(film, (int(side * rng.uniform(0.75, 1)), side), interpolation=cv2.INTER_CUBIC), np.float32)
    plain8 = np.clip(plain + rng.normal(0, 1.2, plain.shape), 0, 255).astype(np.uint8)
    size = round(int(rng.choice([12, 16, 20, 28, 40])) * max(1.0, side / 1500))
    word, face = words(rng), ImageFont.truetype(str(faces[int(rng.integers(len(faces)))]), size)
    image = Image.fromarray(plain8)
    pen = ImageDraw.Draw(image)
    width, height = (int(edge) for edge in pen.textbbox((0, 0), word, font=face)[2:])
    x, y = int(rng.integers(5, max(6, plain8.shape[1] - width - 5))), int(rng.integers(5, side - height - 5))
    ground, add = float(np.median(plain8[y:y + height, x:x + width])), int(rng.choice([30, 45, 70, 110, 200]))
    value = int(np.clip(ground + add if ground + add < 256 else ground - add, 0, 255))
    pen.text((x, y), word, fill=value, font=face)
    drawn = np.asarray(image)
    return drawn, np.asarray(cv2.absdiff(drawn, plain8) > VISIBLE), word, abs(round(value - ground))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("films", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=90)
    parser.add_argument("--failures", type=Path)
    args = parser.parse_args()
    rng, core = np.random.default_rng(args.seed), CleaningCore(None, None)
    films = sorted(path for path in args.films.iterdir() if path.suffix in (".png", ".jpg"))
    faces = sorted(path for path in Path("/usr/share/fonts/truetype").rglob("*.ttf") if path.name.startswith(FACES))
    gone, all_, pictures = Counter[str](), Counter[str](), []
    while all_.total() < args.count:
        film = cv2.imread(str(films[int(rng.integers(len(films)))]), cv2.IMREAD_GRAYSCALE)
        drawn, ink, word, contrast = printed(np.asarray(film, np.uint8), faces, rng)
        if ink.sum() < 20:
            continue  # nothing of it can be seen
        black = core.blackened(drawn)
        share = 1.0 if black is None else float(black[ink].mean())
        group = "contrast up to 45" if contrast <= 45 else "contrast over 45"
        all_[group] += 1
        gone[group] += share >= GONE
        if share < GONE and black is not None:
            print(f"{word!r}, film of {drawn.shape[0]} rows, contrast {contrast}: {share:.2f} of the ink is black", flush=True)
            rows, columns = np.nonzero(ink)
            part = np.s_[max(rows.min() - 20, 0):rows.max() + 20, max(columns.min() - 20, 0):columns.max() + 20]
            pictures.append(np.hstack([cv2.resize(one[part], (430, 100)) for one in (drawn, np.where(black, 0, drawn).astype(np.uint8))]))
    for group, count in sorted(all_.items()):
        low, high = wilson(gone[group], count)
        print(f"{group}: all of it gone on {gone[group]}/{count} ({100 * low:.1f}-{100 * high:.1f}%)")
    if args.failures and pictures:
        cv2.imwrite(str(args.failures), np.vstack(pictures))


if __name__ == "__main__":
    main()
