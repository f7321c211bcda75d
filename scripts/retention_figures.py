"""Figures of the retention pass alone, on the labels' own boxes: what stays of side letters, what goes of everything else.

``python scripts/retention_figures.py LABELS FILMS [--split val] [--jitter]``: no detector is asked; `--jitter` moves every side of a
box by about 4% of its extent. ``radanon evaluate`` gives the figures with the detector's boxes.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np

from radanon_node.markers.retention import judge
from radanon_node.pipeline.types import Box, Detection, Kind, Source, Verdict
from radanon_node.training.films import read_image, read_labels
from radanon_node.training.measure import film_outcome, redacted, whole, wilson

KINDS = (Kind.SIDE_LETTER, Kind.TEXT, Kind.SYMBOL)


def jittered(box: Box, rng: np.random.Generator) -> Box:
    """Each side moved outwards by 1 pixel on average, with a spread of 4% of the extent and 1.5 pixels."""
    extent = np.array([box.width, box.height, box.width, box.height])
    move = rng.normal(0, 0.04, 4) * extent + rng.uniform(-1.5, 1.5, 4) + np.array([-1, -1, 1, 1])
    x0, y0, x1, y1 = (round(float(value)) for value in np.array([box.x0, box.y0, box.x1, box.y1]) + move)
    return Box(x0, y0, x1, y1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", type=Path)
    parser.add_argument("films", type=Path)
    parser.add_argument("--split", default="")
    parser.add_argument("--jitter", action="store_true")
    args = parser.parse_args()
    rng, count, seconds, films = np.random.default_rng(0), Counter[str](), 0.0, 0
    for film in read_labels(args.labels, args.films):
        if args.split and film.split != args.split:
            continue
        view, films = read_image(film.path), films + 1
        boxes = [jittered(whole(item), rng) if args.jitter else whole(item) for item in film.items]
        detections = [
            Detection(box.clipped(*view.shape), KINDS[item.label] if item.label >= 0 else Kind.TEXT, 0.9, Source.MARKER_MODEL)
            for box, item in zip(boxes, film.items)
        ]
        begun = time.perf_counter()
        regions = judge(view, detections, ("L", "R"), None)
        seconds += time.perf_counter() - begun
        keeps = [region.box for region in regions if region.verdict is Verdict.KEEP]
        gone = redacted((view.shape[0], view.shape[1]), regions)
        for item in film_outcome(0, view, film.items, film.kinds, detections, gone, (), None, keeps).items:
            kind = "letters" if item.item.label == 0 else "words" if item.kind == "word_laterality" else "others"
            count[kind] += 1
            count[f"{kind} right"] += item.kept if kind == "letters" else item.gone
    for kind, name in (("letters", "side letters retained"), ("others", "text and symbols removed")):
        low, high = wilson(count[f"{kind} right"], count[kind])
        share = count[f"{kind} right"] / max(count[kind], 1)
        print(f"| {name} | {100 * share:.1f}% | {count[f'{kind} right']}/{count[kind]} | {100 * low:.1f}-{100 * high:.1f}% |")
    print(f"{films} films, {1000 * seconds / max(films, 1):.0f} ms each")


if __name__ == "__main__":
    main()
