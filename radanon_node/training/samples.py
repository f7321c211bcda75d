"""Training samples: windows of real and of drawn films, with markers added and exposure varied. A sample is a function of (seed, index)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.training.films import LabelledFilm, read_image
from radanon_node.training.synth import anatomy, distractors
from radanon_node.training.synth.film import Item, Painter, add_marker
from radanon_node.training.views import moved, photometric, placing

Gray = NDArray[np.uint8]


@dataclass(frozen=True)
class Mix:
    """How often what is drawn.

    Parameters
    ----------
    real : float
        Windows of labelled films, the rest are drawn on procedural grounds.
    extra : float
        A labelled window gets drawn markers on top.
    mosaic : float
        Four windows in one sample (YOLOv5's mosaic).
    empty : float
        A drawn window has hard negatives only.
    turn : float
        A labelled window is turned by a quarter or flipped.
    borrow : float
        The ground of a drawn window is a stretched, turned piece of a labelled film: bone and flesh as no chest shows them.
    decoy : float
        Something that a person saw to be no marker (``not_a_marker``) is laid on a window, turned and scaled.
    """

    real: float = 0.55
    extra: float = 0.5
    mosaic: float = 0.25
    empty: float = 0.2
    turn: float = 0.45
    borrow: float = 0.35
    decoy: float = 0.15


@lru_cache(maxsize=1024)
def _read(path: str) -> Gray:
    from pathlib import Path

    return read_image(Path(path))


@lru_cache(maxsize=128)
def _ground(seed: int, index: int) -> Gray:
    return anatomy.background((768, 768), np.random.default_rng((seed, 1, index)))


def with_margin(item: Item, shape: tuple[int, ...]) -> Item:
    """The box that is learnt: a little larger, since ink left at the rim costs more than a rim of background blacked out."""
    x, y = 1 + 0.025 * (item.x1 - item.x0), 1 + 0.025 * (item.y1 - item.y0)
    right, bottom = min(item.x1 + x, float(shape[1])), min(item.y1 + y, float(shape[0]))
    return Item(max(item.x0 - x, 0.0), max(item.y0 - y, 0.0), right, bottom, item.label)


class Samples:
    """An endless, indexable training set.

    Parameters
    ----------
    films : sequence of LabelledFilm
        Real films; may be empty. Each is scaled so that its long side is `long_side` before windows are cut.
    seed : int
    size : int
        Side of a sample in pixels.
    mix : Mix
    long_side : int
        The detector's own scale.
    """

    def __init__(self, films: Sequence[LabelledFilm], seed: int, size: int, mix: Mix | None = None, long_side: int = 1024) -> None:
        self._films = tuple(films)
        self._decoyed = tuple(f for f in self._films if f.decoys)
        self._marked = tuple(f for f in self._films if f.decoys or any(i.label >= 0 for i in f.items))
        self._seed, self._size, self._mix, self._long = seed, size, mix or Mix(), long_side

    def sample(self, index: int) -> tuple[Gray, NDArray[np.float32]]:
        """The sample number `index`.

        Returns
        -------
        image : ndarray of uint8, shape (size, size)
        targets : ndarray of float32, shape (n, 5)
            Class or -1, centre x, y, width, height as fractions.
        """
        rng = np.random.default_rng((self._seed, 0, index))
        size = self._size
        if rng.random() < self._mix.mosaic:
            image, items = self._mosaic(index, rng)
        else:
            image, items = self._window(index, size, size, rng)
        image = photometric(image, rng)
        items = [with_margin(i, image.shape) for i in items]
        targets = np.array(
            [(i.label, (i.x0 + i.x1) / 2 / size, (i.y0 + i.y1) / 2 / size, (i.x1 - i.x0) / size, (i.y1 - i.y0) / size) for i in items],
            np.float32,
        )
        return image, targets.reshape(-1, 5)

    def _mosaic(self, index: int, rng: np.random.Generator) -> tuple[Gray, list[Item]]:
        size = self._size
        cx, cy = (int(v) for v in rng.uniform(0.3, 0.7, 2) * size)
        image, items = np.zeros((size, size), np.uint8), []
        for x0, y0, x1, y1 in ((0, 0, cx, cy), (cx, 0, size, cy), (0, cy, cx, size), (cx, cy, size, size)):
            piece, found = self._window(index, y1 - y0, x1 - x0, rng)
            image[y0:y1, x0:x1] = piece
            items += [Item(i.x0 + x0, i.y0 + y0, i.x1 + x0, i.y1 + y0, i.label) for i in found]
        return image, items

    def _window(self, index: int, rows: int, columns: int, rng: np.random.Generator) -> tuple[Gray, list[Item]]:
        if self._films and rng.random() < self._mix.real:
            image, items = self._real(rows, columns, rng)
            if rng.random() < self._mix.extra:
                painter = Painter(image, rng, tuple(items))
                for _ in range(int(rng.integers(1, 4))):
                    add_marker(painter, rng)
                if rng.random() < 0.25:
                    distracted = painter.film
                    distractors.scatter(distracted, 1, rng)
                done = painter.done()
                return done.image, items + list(done.items)
            return image, items
        known: list[Item] = []
        if self._films and rng.random() < self._mix.borrow:
            image, known = self._borrowed(rows, columns, rng)
        else:
            image = self._drawn(index, rows, columns, rng)
        painter = Painter(image, rng, tuple(known))
        empty = rng.random() < self._mix.empty
        distractors.scatter(painter.film, int(rng.integers(1, 5) if empty else rng.choice([0, 0, 1, 2, 3])), rng)
        if self._decoyed and rng.random() < self._mix.decoy:
            self._lay_decoy(painter.film, rng)
        if not empty:
            for _ in range(int(rng.integers(1, 3 + rows * columns // 60000))):
                add_marker(painter, rng)
        done = painter.done()
        return done.image, known + list(done.items)

    def _lay_decoy(self, film: NDArray[np.float32], rng: np.random.Generator) -> None:
        """What somebody took for a marker, with a little of its surroundings, brightened onto `film`, in place."""
        source = self._decoyed[int(rng.integers(0, len(self._decoyed)))]
        decoy = source.decoys[int(rng.integers(0, len(source.decoys)))]
        image = _read(str(source.path))
        side = 1.5 * max(decoy.x1 - decoy.x0, decoy.y1 - decoy.y0) + 8
        cx, cy = (decoy.x0 + decoy.x1) / 2, (decoy.y0 + decoy.y1) / 2
        if any(min(i.x1, cx + side) > max(i.x0, cx - side) and min(i.y1, cy + side) > max(i.y0, cy - side) for i in source.items):
            return
        scale = self._long / max(image.shape) * float(np.exp(rng.normal(0, 0.35)))
        length = max(int(side * scale), 12)
        matrix = placing(cx, cy, length, length, scale, float(rng.uniform(0, 360)), rng.random() < 0.5)
        piece = cv2.warpAffine(image, matrix, (length, length), flags=cv2.INTER_AREA if scale < 0.6 else cv2.INTER_LINEAR).astype(
            np.float32
        )
        rim = np.minimum(np.arange(length), np.arange(length)[::-1]).astype(np.float32) / (0.15 * length)
        soft = np.minimum(np.minimum(rim[:, None], rim[None]), 1)
        y, x = (int(rng.uniform(0, limit) - length / 2) for limit in film.shape)
        r0, c0, r1, c1 = max(y, 0), max(x, 0), min(y + length, film.shape[0]), min(x + length, film.shape[1])
        if r0 >= r1 or c0 >= c1:
            return
        view, cut = film[r0:r1, c0:c1], np.s_[r0 - y : r1 - y, c0 - x : c1 - x]
        if rng.random() < 0.5:  # on what is there, as another absorber in the beam
            added = np.maximum(piece - np.float32(np.median(piece)), 0)
            view += added[cut] * soft[cut] * (255 - view) / 255
        else:
            view += (piece[cut] - view) * soft[cut]

    def _drawn(self, index: int, rows: int, columns: int, rng: np.random.Generator) -> Gray:
        # Grounds are dear: a window of 48 neighbours shares them, moving on by one every 64 samples.
        ground = _ground(self._seed, index // 64 + int(rng.integers(0, 48)))
        matrix = placing(
            ground.shape[1] * rng.uniform(0.1, 0.9),
            ground.shape[0] * rng.uniform(0.1, 0.9),
            rows,
            columns,
            float(np.exp(rng.normal(0, 0.4))),
            float(rng.uniform(0, 360)),
            rng.random() < 0.5,
        )
        border = cv2.BORDER_REFLECT if rng.random() < 0.5 else cv2.BORDER_CONSTANT
        return np.asarray(cv2.warpAffine(ground, matrix, (columns, rows), flags=cv2.INTER_LINEAR, borderMode=border), np.uint8)

    def _borrowed(self, rows: int, columns: int, rng: np.random.Generator) -> tuple[Gray, list[Item]]:
        """A piece of a real film at any angle, scale and stretch; the markers on it are known too loosely to be learnt."""
        film = self._films[int(rng.integers(0, len(self._films)))]
        image = _read(str(film.path))
        scale = self._long / max(image.shape) * float(np.exp(rng.uniform(np.log(0.7), np.log(3.2))))
        cx, cy = rng.uniform(0.1, 0.9) * image.shape[1], rng.uniform(0.1, 0.9) * image.shape[0]
        matrix = placing(cx, cy, rows, columns, scale, float(rng.uniform(0, 360)), rng.random() < 0.5)
        stretch = float(np.exp(rng.normal(0, 0.25)))
        matrix[0] = matrix[0] * stretch + [0, 0, columns / 2 * (1 - stretch)]
        flags = cv2.INTER_AREA if scale < 0.6 else cv2.INTER_LINEAR
        out = np.asarray(cv2.warpAffine(image, matrix, (columns, rows), flags=flags), np.uint8)
        return out, [replace(i, label=-1) for i in moved(film.items, matrix, rows, columns)]

    def _real(self, rows: int, columns: int, rng: np.random.Generator) -> tuple[Gray, list[Item]]:
        pool = self._marked if self._marked and rng.random() < 0.85 else self._films
        film = pool[int(rng.integers(0, len(pool)))]
        image = _read(str(film.path))
        fit = self._long / max(image.shape)
        # Most as they are; one in seven much larger, as a marker is on a film of a hand or a child.
        far = rng.random() < 0.15
        scale = fit * float(rng.uniform(1.6, 3.2) if far else np.clip(np.exp(rng.normal(-0.05, 0.38)), 0.4, 2.4))
        known = [*(i for i in film.items if i.label >= 0), *film.decoys]
        if known and rng.random() < 0.75:
            item = known[int(rng.integers(0, len(known)))]
            reach = rng.uniform(-0.42, 0.42, 2) * [columns, rows] / scale
            cx, cy = (item.x0 + item.x1) / 2 + reach[0], (item.y0 + item.y1) / 2 + reach[1]
        else:
            cx, cy = rng.uniform(0.05, 0.95) * image.shape[1], rng.uniform(0.05, 0.95) * image.shape[0]
        turned = rng.random() < self._mix.turn
        angle = float(rng.choice([0, 90, 180, 270])) if turned else 0.0
        angle += float(rng.normal(0, 2.5)) if rng.random() < 0.5 else 0.0
        matrix = placing(cx, cy, rows, columns, scale, angle, rng.random() < (0.5 if turned else 0.25))
        flags = cv2.INTER_AREA if scale < 0.6 else cv2.INTER_LINEAR
        out = np.asarray(cv2.warpAffine(image, matrix, (columns, rows), flags=flags), np.uint8)
        return out, moved(film.items, matrix, rows, columns)
