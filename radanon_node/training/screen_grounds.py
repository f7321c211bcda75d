"""What lies under the text of synthetic screens: speckle sectors, slices, angiograms, photographs, and furniture that is no text."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.pipeline.types import GrayFrame

SIZES = {"US": (768, 1024), "CT": (512, 512), "MR": (512, 512), "XA": (1024, 1024), "ES": (576, 720), "SC": (900, 1200), "NM": (512, 512),
         "PT": (512, 512), "OT": (768, 1024), "XC": (800, 1000), "RF": (1024, 1024)}
"""Rows and columns drawn per modality."""


def ground(modality: str, rng: np.random.Generator, shape: tuple[int, int] | None = None) -> GrayFrame:
    """The picture of a modality before any text is drawn."""
    rows, columns = shape or SIZES.get(modality, (768, 1024))
    if modality == "US":
        return _sector(rows, columns, rng)
    if modality in ("XA", "RF"):
        return _angiogram(rows, columns, rng)
    if modality in ("ES", "XC"):
        return _photograph(rows, columns, rng, round_field=modality == "ES")
    if modality in ("SC", "OT"):
        return np.full((rows, columns), int(rng.choice([0, 0, 20, 60, 200, 245, 255])), np.uint8)
    return _slice(rows, columns, rng)


def grain(rows: int, columns: int, cell: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth noise of about unit deviation with features of `cell` pixels."""
    small = rng.standard_normal((max(2, int(rows / cell)), max(2, int(columns / cell)))).astype(np.float32)
    return np.asarray(cv2.resize(small, (columns, rows), interpolation=cv2.INTER_CUBIC), np.float32)


def _sector(rows: int, columns: int, rng: np.random.Generator) -> GrayFrame:
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    centre, top = columns * rng.uniform(0.42, 0.58), rows * rng.uniform(0.06, 0.12)
    across, down = x - centre, y - top + rows * 0.1
    radius = np.hypot(across, down)
    inside = (radius > rows * 0.12) & (radius < rows * rng.uniform(0.8, 0.9)) & (np.abs(np.arctan2(across, down)) < rng.uniform(0.5, 0.8))
    tissue = np.clip(0.5 + 0.45 * grain(rows, columns, rows / rng.uniform(4, 9), rng), 0.03, 1.2)
    speckle = np.hypot(grain(rows, columns, rng.uniform(2, 4), rng), grain(rows, columns, rng.uniform(2, 4), rng))
    picture = np.where(inside, tissue * speckle * rng.uniform(40, 90), 0.0)
    return np.asarray(np.clip(cv2.GaussianBlur(picture, (0, 0), 0.7), 0, 255), np.uint8)


def _slice(rows: int, columns: int, rng: np.random.Generator) -> GrayFrame:
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    wide, high = columns * rng.uniform(0.3, 0.45), rows * rng.uniform(0.25, 0.42)
    ellipse = ((x - columns / 2) / wide) ** 2 + ((y - rows / 2) / high) ** 2
    body = 110 + 45 * grain(rows, columns, rows / 6, rng) + 18 * grain(rows, columns, 12, rng) + 6 * grain(rows, columns, 2, rng)
    body = np.clip(body, 20, 255)
    body[(ellipse > 0.93) & (ellipse < 1.0)] = 210
    for _ in range(int(rng.integers(2, 7))):
        place = (int(columns * rng.uniform(0.3, 0.7)), int(rows * rng.uniform(0.3, 0.7)))
        axes = (int(rng.integers(10, 70)), int(rng.integers(8, 50)))
        cv2.ellipse(body, place, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(10, 250)), -1)
    picture = np.where(ellipse < 1, body, 4 + 2 * grain(rows, columns, 2, rng))
    return np.asarray(np.clip(cv2.GaussianBlur(picture, (0, 0), 0.8), 0, 255), np.uint8)


def _angiogram(rows: int, columns: int, rng: np.random.Generator) -> GrayFrame:
    field_ = 150 + 35 * grain(rows, columns, rows / 4, rng) + 4 * grain(rows, columns, 2, rng)
    for _ in range(int(rng.integers(3, 8))):  # vessels: smooth curves
        turns = rng.normal(0, 0.12) + 0.25 * grain(1, 90, 25, rng)[0]
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(turns * 0.25)
        path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], axis=1) * rows / 110, axis=0) + rng.uniform(0.2, 0.8, 2) * rows
        cv2.polylines(field_, [path.astype(np.int32)], False, float(rng.uniform(30, 80)), int(rng.integers(3, 16)), cv2.LINE_AA)
    y, x = np.mgrid[0:rows, 0:columns]
    field_[np.hypot(x - columns / 2, y - rows / 2) > rows * 0.52] = 0
    return np.asarray(np.clip(cv2.GaussianBlur(field_, (0, 0), 1), 0, 255), np.uint8)


def _photograph(rows: int, columns: int, rng: np.random.Generator, round_field: bool) -> GrayFrame:
    field_ = 120 + 40 * grain(rows, columns, rows / 5, rng) + 15 * grain(rows, columns, 25, rng) + 4 * grain(rows, columns, 3, rng)
    if round_field:
        y, x = np.mgrid[0:rows, 0:columns]
        field_[np.hypot(x - columns * 0.6, y - rows / 2) > rows * 0.47] = 5
    return np.asarray(np.clip(field_, 0, 255), np.uint8)


def draw_furniture(pixels: GrayFrame, modality: str, rng: np.random.Generator) -> None:
    """What stands on screens and is no text: colour bar, scale ticks, calipers, body mark, trace."""
    rows, columns = pixels.shape
    if modality == "US":
        pixels[rows // 4:rows // 2, 20:34] = np.linspace(255, 0, rows // 2 - rows // 4, dtype=np.uint8)[:, None]
        for y in range(rows // 8, rows - 40, 24):
            cv2.line(pixels, (columns - 30, y), (columns - (20 if y % 5 else 14), y), 200, 1)
        for _ in range(2):
            x, y = int(rng.integers(columns // 3, columns * 2 // 3)), int(rng.integers(rows // 3, rows * 2 // 3))
            cv2.drawMarker(pixels, (x, y), 255, cv2.MARKER_CROSS if rng.random() < 0.5 else cv2.MARKER_TILTED_CROSS, 12, 1)
        cv2.ellipse(pixels, (70, rows - 70), (28, 40), 0, 0, 360, 180, 1)
        cv2.line(pixels, (60, rows - 80), (85, rows - 60), 255, 2)
        times = np.arange(100, columns - 100)
        beats = rows - 25 + (8 * np.sin(times / 9.0) * (times % 60 < 12)).astype(int)
        cv2.polylines(pixels, [np.stack([times, beats], axis=1).astype(np.int32)], False, 170, 1)
    elif modality in ("CT", "MR", "XA"):
        for tick in range(11):
            y = rows // 4 + tick * rows // 20
            cv2.line(pixels, (columns - 12, y), (columns - (4 if tick % 5 else 2), y), 220, 1)
