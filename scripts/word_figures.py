"""Letters of words that the retention pass keeps, where it must keep none: words on drawn films, boxed in awkward ways.

``python scripts/word_figures.py --seed 1 --count 400``: of each word only one L or R is boxed, or every character by itself, or the
word and one of its letters, or its characters two by two. No detector is asked: real detections are seldom so unlucky. With
``--shadow`` the words hold neither L nor R and throw a dark shadow: what is kept is a corner of that.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.retention import judge
from radanon_node.pipeline.types import Box, Detection, Kind, Source, Verdict
from radanon_node.training.synth import anatomy, glyphs
from radanon_node.training.synth.printing import pick_font

WORDS = ("LUNG", "RADIAL", "MITRAL", "ALARM", "ROTOR", "LR12", "L4711", "RL", "LO", "OR", "DR", "ML", "RX", "LLL", "HELL", "REX", "TL")
SHADOWED = ("KV", "E", "F", "7", "13", "T", "AP", "MBH", "HF", "PA", "14")
SIDE, GAPS, TILTS, DROPS = 700, (0.08, 0.2, 0.4, 0.7), (0, 0, 5, -8, 15, -25, 40, 90), (0, 0, 0.1, 0.3)
WAYS = ("one letter", "every character", "the word and a letter", "two by two")


def drawn(
    word: str, ground: NDArray[np.uint8], gap: float, rng: np.random.Generator, shadow: bool = False
) -> tuple[NDArray[np.uint8], list[Box]]:
    """A word on a film, its characters `gap` letter heights apart, and the box of each."""
    height, font = float(np.exp(rng.uniform(np.log(12), np.log(70)))), pick_font(rng)
    tilt, drop = float(rng.choice(TILTS)), float(rng.choice(DROPS))
    masks = [glyphs.word(character, max(int(height * 1.35), 8), font) for character in word]
    rows = int(max(m.shape[0] for m in masks) + drop * height * len(word) + 40)
    columns = int(sum(m.shape[1] for m in masks) + gap * height * (len(word) + 1) + 40)
    matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), tilt, 1.0)
    matrix[:, 2] += rng.uniform(0.3, 0.7, 2) * SIDE - (columns / 2, rows / 2)
    x, y, ink, boxes = 20.0, 20.0, np.zeros((SIDE, SIDE), np.float32), []
    for mask in masks:
        sheet = np.zeros((rows, columns), np.float32)
        part = mask[: rows - int(y), : columns - int(x)]
        sheet[int(y) : int(y) + part.shape[0], int(x) : int(x) + part.shape[1]] = part
        own = np.asarray(cv2.warpAffine(sheet, matrix, (SIDE, SIDE)), np.float32)
        at = np.argwhere(own > 0.4)
        if len(at) > 5:
            boxes.append(Box(int(at[:, 1].min()), int(at[:, 0].min()), int(at[:, 1].max()) + 1, int(at[:, 0].max()) + 1))
        ink = np.maximum(ink, own)
        x, y = x + mask.shape[1] + gap * height, y + drop * height
    if shadow:
        by = max(round(float(rng.uniform(0.05, 0.12)) * height), 1)
        ground = np.asarray(ground * (1 - np.roll(ink, (by, by), (0, 1))), np.uint8)
    level = float(ground[ink > 0.5].mean()) if (ink > 0.5).any() else 0.0
    aim = min(level + float(rng.choice([40, 80, 255])), 255.0)
    aim = aim if aim - level > 25 else max(level - 80, 0)
    soft = np.asarray(cv2.GaussianBlur(ink, (0, 0), float(rng.uniform(0.3, 1.2))), np.float32)
    return np.clip(ground + (aim - ground) * soft, 0, 255).astype(np.uint8), boxes


def around(boxes: Sequence[Box]) -> Box:
    """The box that holds all of them."""
    return Box(min(b.x0 for b in boxes), min(b.y0 for b in boxes), max(b.x1 for b in boxes), max(b.y1 for b in boxes))


def boxed(word: str, boxes: Sequence[Box], way: str, rng: np.random.Generator) -> list[Detection]:
    """Detections of one of the `WAYS`."""

    def seen(box: Box, kind: Kind) -> Detection:
        return Detection(box.grown(int(rng.integers(0, 3))).clipped(SIDE, SIDE), kind, 0.8, Source.MARKER_MODEL)

    own = boxes[int(rng.choice([k for k, character in enumerate(word) if character in "LR" or word in SHADOWED]))]
    if way == WAYS[0]:
        return [seen(own, Kind.SIDE_LETTER)]
    if way == WAYS[2]:
        return [seen(around(boxes), Kind.TEXT), seen(own, Kind.SIDE_LETTER)]
    parts = list(boxes) if way == WAYS[1] else [around(boxes[k : k + 2]) for k in range(len(boxes))]
    return [seen(box, Kind.SIDE_LETTER if rng.random() < 0.5 else Kind.TEXT) for box in parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--shadow", action="store_true")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    grounds = [anatomy.background((SIDE, SIDE), np.random.default_rng((args.seed, k))) for k in range(10)]
    kept, seen = Counter[str](), Counter[str]()
    for number in range(args.count):
        word, gap, way = str(rng.choice(SHADOWED if args.shadow else WORDS)), float(rng.choice(GAPS)), WAYS[number % len(WAYS)]
        view, boxes = drawn(word, grounds[number % len(grounds)], gap, rng, args.shadow)
        if len(boxes) < len(word):
            continue
        regions = judge(view, boxed(word, boxes, way, rng), ("L", "R"), None)
        for group in (way, f"{gap} heights apart", "all"):
            seen[group] += 1
            kept[group] += any(region.verdict is Verdict.KEEP for region in regions)
    print("| words | a letter kept |\n|---|---|")
    for group in (*WAYS, *(f"{gap} heights apart" for gap in GAPS), "all"):
        print(f"| {group} | {kept[group]} of {seen[group]} |")


if __name__ == "__main__":
    main()
