"""Markers painted on a film, with exact labels and ink masks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.training.synth import anatomy, distractors, markers
from radanon_node.training.synth.markers import Marker

_INK = 0.35
_VISIBLE = 10.0


@dataclass(frozen=True)
class Item:
    """A labelled item: tight half-open box in pixels and index into `markers.CLASSES` (-1: unknown, not to be learnt either way).

    `letter` is what a drawn side letter says; empty where that is not known, and on all else.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    label: int
    letter: str = ""


@dataclass(frozen=True, eq=False)
class SyntheticFilm:
    """A drawn film.

    Parameters
    ----------
    image : ndarray of uint8, shape (rows, columns)
    items : tuple of Item
    ink : ndarray of uint8, shape (rows, columns)
        0 where no item is, else 1 + class of the item whose ink the pixel is.
    """

    image: NDArray[np.uint8]
    items: tuple[Item, ...]
    ink: NDArray[np.uint8]


class Painter:
    """A film being drawn on."""

    def __init__(self, film: NDArray[np.uint8], rng: np.random.Generator, taken: tuple[Item, ...] = ()) -> None:
        self.film = film.astype(np.float32)
        self.ink = np.zeros(film.shape, np.uint8)
        self.items: list[Item] = []
        self._taken = [(i.x0, i.y0, i.x1, i.y1) for i in taken]
        self._rng = rng

    def _free(self, box: tuple[float, float, float, float]) -> bool:
        return not any(min(box[2], t[2]) > max(box[0], t[0]) and min(box[3], t[3]) > max(box[1], t[1]) for t in self._taken)

    def place(self, marker: Marker, edges: float = 0.06) -> bool:
        """At a free random place; with probability `edges` cut by the border. False if no place was found."""
        h, w = marker.parts[0].mask.shape
        rows, columns = self.film.shape
        rng = self._rng
        for _ in range(8):
            if rng.random() < edges:
                x, y = rng.uniform(-0.6 * w, columns - 0.4 * w), rng.uniform(-0.6 * h, rows - 0.4 * h)
            elif w < columns and h < rows:
                x, y = rng.uniform(0, columns - w), rng.uniform(0, rows - h)
            else:
                return False
            box = (x, y, x + w, y + h)
            if self._free(box):
                self.paint(marker, round(x), round(y))
                self._taken.append(box)
                return True
        return False

    def paint(self, marker: Marker, x: int, y: int) -> None:
        """With the canvas' upper left corner at (x, y)."""
        rng = self._rng
        rows, columns = self.film.shape
        h, w = marker.parts[0].mask.shape
        r0, c0, r1, c1 = max(y, 0), max(x, 0), min(y + h, rows), min(x + w, columns)
        if r0 >= r1 or c0 >= c1:
            return
        view, cut = self.film[r0:r1, c0:c1], np.s_[r0 - y : r1 - y, c0 - x : c1 - x]
        blur = (
            0.0 if marker.digital and rng.random() < 0.7 else float(rng.uniform(0.4, 1.1) if rng.random() < 0.85 else rng.uniform(1, 2.2))
        )
        shape = np.max([p.mask[cut] for p in marker.parts if p.item >= 0], axis=0)
        ground = float((view * shape).sum() / max(float(shape.sum()), 1e-3))
        before = view.copy()
        level, opacity = _exposure(ground, rng)
        faint = rng.uniform(0.03, 0.25)
        kind = rng.random()
        # Print is white, light gray, or on some consoles hardly brighter than what it stands on.
        white = 255.0 if kind < 0.62 else float(rng.uniform(150, 255)) if kind < 0.88 else min(ground + float(rng.uniform(30, 120)), 255.0)
        if marker.digital and ground > 200 and sum(p.tone == "white" for p in marker.parts) == len(marker.parts):
            white = float(rng.uniform(0, 90))
        covered = np.zeros((len(marker.classes), *view.shape), np.float32)
        for part in marker.parts:
            mask = part.mask[cut]
            if blur:
                mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), blur), np.float32)
            if part.tone == "lead":
                aim, much = max(level, 0.0), opacity
            elif part.tone == "faint":
                aim, much = min(ground + 60, 255.0), opacity * faint * 2
            else:
                aim, much = (white if part.tone == "white" else 0.0), 1.0
            view += (aim - view) * (mask * much)
            if part.item >= 0:
                covered[part.item] = np.maximum(covered[part.item], part.mask[cut])
        for label, cover, letter in zip(marker.classes, covered, marker.letters or [""] * len(covered)):
            inside = cover > _INK
            if inside.sum() < 6:
                continue
            ys, xs = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            # What cannot be seen must not be asked for, nor punished when it is found.
            seen = float(np.abs(view - before)[inside].mean()) >= _VISIBLE
            box = c0 + float(xs[0]), r0 + float(ys[0]), c0 + float(xs[-1]) + 1, r0 + float(ys[-1]) + 1
            self.items.append(Item(*box, label if seen else -1, letter))
            self.ink[r0:r1, c0:c1][inside] = label + 1

    def done(self) -> SyntheticFilm:
        return SyntheticFilm(np.asarray(np.clip(self.film, 0, 255), np.uint8), tuple(self.items), self.ink)


def _exposure(ground: float, rng: np.random.Generator) -> tuple[float, float]:
    """Level and opacity of lead over a ground of that brightness: from very clear to barely visible, never invisible."""
    if rng.random() < 0.55:
        level = rng.uniform(200, 255)
    else:
        level = min(255.0, ground + rng.uniform(25, 160))
    kind = rng.random()
    opacity = rng.uniform(0.75, 1.0) if kind < 0.6 else rng.uniform(0.2, 0.75)
    if kind > 0.92:  # hardly to be seen
        opacity = min(1.0, rng.uniform(13, 24) / max(abs(level - ground), 1))
    if level - ground < 16:  # on a nearly white ground lead can only be a little brighter, or show dark where the ground is saturated
        level = min(ground + 30, 255.0) if ground < 235 else ground - rng.uniform(25, 90)
        opacity = 1.0
    if abs(level - ground) * opacity < 13:
        opacity = min(1.0, 13 / max(abs(level - ground), 1))
    return level, opacity


def random_angle(digital: bool, rng: np.random.Generator) -> tuple[float, bool]:
    """Tilt in degrees and mirroring, as often as they are seen."""
    if digital:
        kind = rng.random()
        angle = 0.0 if kind < 0.86 else float(rng.choice([90, 270, 180])) if kind < 0.95 else float(rng.normal(0, 4))
        return angle, bool(rng.random() < 0.06)
    kind = rng.random()
    if kind < 0.55:
        angle = float(rng.normal(0, 5))
    elif kind < 0.75:
        angle = float(rng.uniform(-45, 45))
    elif kind < 0.92:
        angle = float(rng.choice([90, 180, 270])) + float(rng.normal(0, 6))
    else:
        angle = float(rng.uniform(0, 360))
    return angle, bool(rng.random() < 0.4)


def letter_height(rng: np.random.Generator, scale: float = 1.0) -> float:
    """Pixels at the network's input: most 20 to 60, tails to 9 and 200, the large ones more often than a bell would have them."""
    if rng.random() < 0.2:
        return float(rng.uniform(48, 200)) * scale
    return float(np.clip(np.exp(rng.normal(np.log(33), 0.5)), 9, 190)) * scale


def add_marker(painter: Painter, rng: np.random.Generator, scale: float = 1.0) -> bool:
    """Draw a random marker and place it."""
    marker = markers.draw(letter_height(rng, scale), rng)
    angle, mirrored = random_angle(marker.digital, rng)
    if angle or mirrored:
        marker = markers.turned(marker, angle, mirrored)
    return painter.place(marker)


def synthesize(
    size: tuple[int, int], rng: np.random.Generator, ground: NDArray[np.uint8] | None = None, count: int | None = None
) -> SyntheticFilm:
    """A film with markers.

    Parameters
    ----------
    size : (rows, columns)
        Of the film; ignored where `ground` is given.
    rng : numpy Generator
        The film is a function of its state alone.
    ground : ndarray of uint8 or None
        A marker-free film to draw on; None draws one.
    count : int or None
        Markers to place; None: 1 to 7.
    """
    if ground is None:
        ground = anatomy.background(size, rng)
    painter = Painter(ground, rng)
    scale = max(ground.shape) / 1024
    distractors.scatter(painter.film, int(rng.choice([0, 0, 1, 2, 3, 5])), rng)
    for _ in range(int(rng.integers(1, 8)) if count is None else count):
        add_marker(painter, rng, scale)
    if rng.random() < 0.7:
        painter.film += rng.standard_normal(painter.film.shape).astype(np.float32) * rng.uniform(0.3, 4)
    return painter.done()
