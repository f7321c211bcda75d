"""How hard negatives are laid on a film: masks, soft strokes, winding paths."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

WHITE = np.float32(255)
Film = NDArray[np.float32]


def lay(film: Film, mask: NDArray[np.float32], x: float, y: float, level: float, opacity: float) -> None:
    """A mask with its middle at (x, y), drawing the film (0..255) towards `level`."""
    r, c = int(y - mask.shape[0] / 2), int(x - mask.shape[1] / 2)
    r0, c0, r1, c1 = max(r, 0), max(c, 0), min(r + mask.shape[0], film.shape[0]), min(c + mask.shape[1], film.shape[1])
    if r0 >= r1 or c0 >= c1:
        return
    part = mask[r0 - r : r1 - r, c0 - c : c1 - c] * opacity
    view = film[r0:r1, c0:c1]
    view += (level - view) * part


def blurred(mask: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """A mask with soft edges, larger by 4 pixels on every side."""
    return np.asarray(cv2.GaussianBlur(np.pad(mask, 4), (0, 0), sigma), np.float32)


def draw(film: Film, opacity: float, level: float, blur: float, paint: Callable[[NDArray[np.uint8]], object]) -> None:
    """What `paint` draws in 255 on an empty canvas, with soft edges, drawing the film towards `level`."""
    canvas = np.zeros(film.shape, np.uint8)
    paint(canvas)
    mask = cv2.GaussianBlur(canvas, (0, 0), max(blur, 0.5)).astype(np.float32) / WHITE
    film += (level - film) * mask * opacity


def wiggle(film: Film, rng: np.random.Generator, turns: float = 1.0) -> NDArray[np.int32]:
    """A winding path across the film, 60 points (x, y) in eighths of a pixel."""
    h, w = film.shape
    t = np.linspace(0, 1, 60)
    a, b = rng.uniform(-0.1, 1.1, 2) * [w, h], rng.uniform(-0.1, 1.1, 2) * [w, h]
    bend = np.stack([sum(rng.normal(0, 0.12 * turns / k) * np.sin(np.pi * k * t) for k in range(1, 5)) * s for s in (w, h)], 1)
    return np.asarray(np.round((a * (1 - t[:, None]) + b * t[:, None] + bend) * 8), np.int32)
