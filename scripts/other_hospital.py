"""Films of an invented hospital whose print the synthesiser does not draw: letters of dots, and hollow ones with a shadow.

``python scripts/other_hospital.py FOLDER``: 60 films with ``labels.jsonl``, 20 to tune on (`train`), 40 to judge on (`val`). Then
``radanon finetune FOLDER FOLDER/labels.jsonl --out OUT`` adapts the packaged weights and prints the figures before and after.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from radanon_node.training.synth import anatomy, distractors, glyphs, words
from radanon_node.training.synth.film import Painter
from radanon_node.training.synth.markers import CLASSES, SIDE_LETTER, TEXT, Marker
from radanon_node.training.synth.sheet import Sheet

TUNE, JUDGE = 20, 40
SIZES = ((1200, 1000), (1024, 1024), (1600, 1280))


def dotted(text: str, height: int) -> glyphs.Mask:
    """A word of round dots, seven to a capital's height."""
    cells = glyphs.word(text, 10) > 0.45
    pitch = max(height / 7, 2.0)
    canvas = np.zeros((int(cells.shape[0] * pitch) + 2, int(cells.shape[1] * pitch) + 2), np.uint8)
    for row, column in np.argwhere(cells):
        centre = (int((column + 0.5) * pitch * 16), int((row + 0.5) * pitch * 16))
        cv2.circle(canvas, centre, int(max(pitch * 0.34, 0.7) * 16), 255, -1, cv2.LINE_AA, 4)
    return glyphs.trim(canvas.astype(np.float32) / 255)


def hollow(text: str, height: int) -> glyphs.Mask:
    """A word's outline, with a second one shifted behind it."""
    solid = glyphs.word(text, int(height * 1.3), glyphs.fonts()[0] if glyphs.fonts() else "")
    line = max(height // 14, 1)
    outline = np.clip(glyphs.grown(solid, line) - np.pad(solid, line), 0, 1)
    shadow = np.pad(outline, ((0, 2 * line), (0, 2 * line)))
    shadow[2 * line :, 2 * line :] = np.maximum(shadow[2 * line :, 2 * line :], 0.5 * outline)
    return glyphs.trim(shadow)


def marker(rng: np.random.Generator, scale: float) -> Marker:
    """A side letter or a line of text in one of the two styles."""
    sheet, letter = Sheet(True), rng.random() < 0.35
    draw = dotted if rng.random() < 0.6 else hollow
    height = int(rng.uniform(26, 60) * scale if letter else rng.uniform(14, 30) * scale)
    mask = draw(words.side_letter(rng) if letter else words.text(rng)[:16], height)
    item = sheet.item(SIDE_LETTER if letter else TEXT)
    sheet.put(mask * np.float32(rng.uniform(0.45, 1)), 0, 0, "white", item)
    return sheet.marker()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "labels.jsonl").open("w") as labels:
        for number in range(TUNE + JUDGE):
            rng = np.random.default_rng((4711, number))
            size = SIZES[number % len(SIZES)]
            painter = Painter(anatomy.background(size, rng), rng)
            distractors.scatter(painter.film, 2, rng)
            for _ in range(int(rng.integers(3, 7))):
                painter.place(marker(rng, max(size) / 1024), 0.02)
            film = painter.done()
            cv2.imwrite(str(folder / f"film-{number:03}.png"), film.image)
            items = [{"bbox": [i.x0, i.y0, i.x1, i.y1], "kind": CLASSES[i.label] if i.label >= 0 else "unknown"} for i in film.items]
            row = {"image": f"film-{number:03}.png", "split": "train" if number < TUNE else "val", "items": items}
            labels.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
