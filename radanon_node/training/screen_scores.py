"""How well the text pass does on synthetic screens: removal, harmless words kept, false boxes, seconds.

``python -m radanon_node.training.screen_scores --count 10`` prints the table of docs/modalities.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from radanon_node.markers.text import TextDetector
from radanon_node.markers.text_judge import judge_frame
from radanon_node.pipeline.types import Box, GrayFrame, Region, Verdict
from radanon_node.training.screen_grounds import SIZES, draw_furniture, ground
from radanon_node.training.screens import ScreenText, make_screen
from radanon_node.training.synth.anatomy import background

OnFailure = Callable[[str, GrayFrame], None]
"""Is given each failure: what it is (`identity_left`, `harmless_gone`, `false_box`, with modality and number) and its picture."""

MARGIN = 3
"""Pixels that the node adds around a box by default."""
_REMOVED = 0.05


class _NoPatient:
    def matches(self, text: str) -> bool:
        return False

    def certain(self, text: str) -> bool:
        return False


@dataclass(slots=True)
class TextScores:
    """Counts by group: [hits, of]; groups are `clear` (size >= 12, contrast >= 80), `faint` and the same with `_tilted`."""

    removed: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    kept: list[int] = field(default_factory=lambda: [0, 0])
    false_boxes: list[int] = field(default_factory=lambda: [0, 0])
    false_area: float = 0.0
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def figures(self) -> dict[str, object]:
        """The counts, and median CPU seconds per modality."""
        return {"removed": self.removed, "kept": self.kept, "false_boxes": self.false_boxes, "false_area": round(self.false_area, 6),
                "cpu_seconds_median": {name: round(float(np.median(all_)), 3) for name, all_ in self.seconds.items()}}

    def table(self) -> str:
        """The table of docs/modalities.md."""
        names = {"clear": "identities removed, size >= 12 px and contrast >= 80, level", "faint": "the same, fainter or smaller",
                 "clear_tilted": "turned by any angle, clear", "faint_tilted": "turned by any angle, fainter or smaller"}
        rows = [(names[group], f"{hits} of {of}") for group, (hits, of) in sorted(self.removed.items())]
        rows.append(("harmless words kept", f"{self.kept[0]} of {self.kept[1]}"))
        false, of = self.false_boxes
        rows.append(("screens without text that got a box", f"{false} of {of}; {self.false_area:.4%} of the area"))
        rows += [(f"CPU seconds per screen, {name}, median", f"{float(np.median(all_)):.3f}")
                 for name, all_ in sorted(self.seconds.items())]
        return "\n".join(["| figure | result |", "|---|---|", *(f"| {name} | {result} |" for name, result in rows)])


def uncovered(text: ScreenText, boxes: Sequence[Box], margin: int = MARGIN) -> float:
    """Part of a text's ink that boxes, grown by `margin`, leave to be seen, 0..1."""
    left = text.ink.copy()
    for box in boxes:
        part = box.grown(margin).intersection(text.box)
        if part.width > 0 and part.height > 0:
            left[part.y0 - text.box.y0:part.y1 - text.box.y0, part.x0 - text.box.x0:part.x1 - text.box.x0] = False
    return float(left.sum() / max(int(text.ink.sum()), 1))


def score(detector: TextDetector, modalities: Sequence[str], count: int, seed: int, on_failure: OnFailure | None = None) -> TextScores:
    """Draw `count` screens and twice as many text-free pictures per modality and run the text pass over them.

    Half of the text-free pictures are the modality's own ground with all that stands on its screens and is no text, half are
    drawn radiographs (lungs, bones, bowel, spine) of the same size.
    """
    scores = TextScores()
    for number in range(count):
        for modality in modalities:
            rng = np.random.default_rng([seed, number, sum(map(ord, modality))])
            name = f"{modality}_{seed}_{number}"
            screen = make_screen(modality, rng)
            begun = time.process_time()
            found = detector.detect([screen.pixels])[0]
            middle = time.process_time()
            regions = judge_frame(screen.pixels, found, reader=detector, modality=modality, identifiers=_NoPatient())
            scores.seconds[modality].append(time.process_time() - begun)
            scores.seconds[f"{modality} detection"].append(middle - begun)
            gone = [region.box for region in regions if region.verdict is Verdict.REDACT]
            for index, text in enumerate(screen.texts):
                left = uncovered(text, gone)
                good = left < _REMOVED if text.identity else left > 0.95
                if text.identity:
                    group = ("clear" if text.size >= 12 and text.contrast >= 80 else "faint") + ("_tilted" if text.tilt else "")
                    scores.removed[group][1] += 1
                    scores.removed[group][0] += good
                else:
                    scores.kept[1] += 1
                    scores.kept[0] += good
                if not good and on_failure is not None:
                    what = f"identity_left_{group}" if text.identity else "harmless_gone"
                    on_failure(f"{what}_{name}_{index}", _around(screen.pixels, text.box, regions))
            empty = ground(modality, rng)
            draw_furniture(empty, modality, rng)
            for kind, picture in (("ground", empty), ("film", background(empty.shape, rng))):
                judged = judge_frame(picture, detector.detect([picture])[0], reader=detector, modality=modality, identifiers=_NoPatient())
                boxes = [one.box for one in judged if one.verdict is Verdict.REDACT]
                scores.false_boxes[1] += 1
                scores.false_boxes[0] += bool(boxes)
                scores.false_area += sum(box.area for box in boxes) / picture.size / (2 * count * len(modalities))
                if boxes and on_failure is not None:
                    on_failure(f"false_box_{kind}_{name}", _around(picture, boxes[0], judged))
    return scores


def failure_pictures(folder: Path) -> OnFailure:
    """Write each failure into `folder` as a PNG, made if absent; the judged boxes are outlined, white = blacked out, gray = kept."""
    folder.mkdir(parents=True, exist_ok=True)

    def write(name: str, picture: GrayFrame) -> None:
        cv2.imwrite(str(folder / f"{name}.png"), picture)

    return write


def _around(pixels: GrayFrame, box: Box, regions: Sequence[Region]) -> GrayFrame:
    """A part of the picture as it is, and below it the same with the judged boxes drawn in."""
    reach = box.grown(60).clipped(*pixels.shape)
    drawn = pixels.copy()
    for region in regions:
        shade = 255 if region.verdict is Verdict.REDACT else 128
        cv2.rectangle(drawn, (region.box.x0, region.box.y0), (region.box.x1 - 1, region.box.y1 - 1), shade, 1)
    part = np.s_[reach.y0:reach.y1, reach.x0:reach.x1]
    return np.concatenate([pixels[part], drawn[part]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the scores as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modality", action="append", choices=sorted(SIZES), help="default: all")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--failures", type=Path, help="folder for pictures of every failure")
    given = parser.parse_args(arguments)
    scores = score(TextDetector.load(given.threads), given.modality or sorted(SIZES), given.count, given.seed,
                   failure_pictures(given.failures) if given.failures else None)
    print(json.dumps(scores.figures(), indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
