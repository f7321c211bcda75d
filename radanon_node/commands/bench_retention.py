"""The retention pass per film, beside one pytesseract call per detected crop (what the papers' second pass does), in one run."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Sequence

import cv2
import numpy as np

from radanon_node.markers import ocr
from radanon_node.markers.retention import judge
from radanon_node.pipeline.types import Box, Detection, GrayFrame, Kind, Source, Verdict
from radanon_node.training.measure import whole
from radanon_node.training.synth.film import synthesize

_KINDS = (Kind.SIDE_LETTER, Kind.TEXT, Kind.SYMBOL)


def run(quick: bool = False) -> str:
    """Measure on drawn films of 1,024 x 1,024; returns a Markdown table."""
    films = [_film(number) for number in range(3 if quick else 12)]
    boxes = sum(len(detections) for _, detections in films)
    for view, detections in films[:2]:
        judge(view, detections, ("L", "R"), None)
    seconds, kept = [], 0
    for view, detections in films:
        begun = time.perf_counter()
        regions = judge(view, detections, ("L", "R"), None)
        seconds.append(time.perf_counter() - begun)
        kept += sum(region.verdict is Verdict.KEEP for region in regions)
    lines = [
        f"{len(films)} drawn films with {boxes / len(films):.1f} boxes each, {kept} letters kept; exact boxes.\n",
        "| | ms per film, median | fastest | ms per box |",
        "|---|---|---|---|",
        _row(f"retention pass ({type(ocr.reader()).__name__.strip('_')})", seconds, boxes),
    ]
    if shutil.which("tesseract") is not None:
        lines.append(_row("one pytesseract call per crop, upright only, nothing else", [_per_crop(*film) for film in films], boxes))
    return "\n".join(lines) + "\n"


def _row(name: str, seconds: Sequence[float], boxes: int) -> str:
    middle, least = 1000 * statistics.median(seconds), 1000 * min(seconds)
    return f"| {name} | {middle:.1f} | {least:.1f} | {1000 * sum(seconds) / boxes:.2f} |"


def _film(number: int) -> tuple[GrayFrame, list[Detection]]:
    film = synthesize((1024, 1024), np.random.default_rng((17, number)), count=6)
    seen = [(whole(item).grown(2).clipped(*film.image.shape), item.label) for item in film.items if item.label >= 0]
    return film.image, [Detection(box, _KINDS[label], 0.9, Source.MARKER_MODEL) for box, label in seen if box.area > 0]


def _per_crop(view: GrayFrame, detections: Sequence[Detection]) -> float:
    read = ocr._ByCommand()
    begun = time.perf_counter()
    for detection in detections:
        read(_otsu(view, detection.box), False)
    return time.perf_counter() - begun


def _otsu(view: GrayFrame, box: Box) -> GrayFrame:
    part = view[box.y0 : box.y1, box.x0 : box.x1]
    return np.asarray(255 - cv2.threshold(part, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[1], np.uint8)
