"""What an attacker is left with: films reduced to one kind of trace before anybody looks, to see what recognition leans on.

A small field moves places by a pixel or so of a small film. What is still recognised on films of 8 x 8 means, by the distribution of
grays or by the rim alone is out of its reach, however it was learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Picture: TypeAlias = NDArray[np.uint8]
View: TypeAlias = Callable[[Picture], Picture]
"""A film, shape (side, side), to what an attacker sees of it, of the same shape."""

_RIM = 0.12
_CORE = 0.15


def coarse(film: Picture, cells: int) -> Picture:
    """Means over `cells` x `cells` parts of the film, grown back smoothly: no structure finer than that is left."""
    small = cv2.resize(film, (cells, cells), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, film.shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def grays(film: Picture) -> Picture:
    """All values in order, from the upper left to the lower right: how often each gray occurs, and nothing of where."""
    return np.sort(film, axis=None).reshape(film.shape)


def rim(film: Picture) -> Picture:
    """The outer 12% on each side (collimation, arms, the blackened boxes there); the middle is black."""
    edge = round(film.shape[0] * _RIM)
    out = film.copy()
    out[edge:-edge, edge:-edge] = 0
    return out


def core(film: Picture) -> Picture:
    """The middle 70%, grown to the film's size, its grays spread evenly: no rim, no exposure."""
    edge = round(film.shape[0] * _CORE)
    inner = cv2.equalizeHist(np.ascontiguousarray(film[edge:-edge, edge:-edge]))
    return np.asarray(cv2.resize(inner, film.shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


VIEWS: Mapping[str, View] = {
    "coarse-32": partial(coarse, cells=32),
    "coarse-16": partial(coarse, cells=16),
    "coarse-8": partial(coarse, cells=8),
    "grays": grays,
    "rim": rim,
    "core": core,
}


def seen(films: NDArray[np.uint8], view: View | None) -> NDArray[np.uint8]:
    """Films, shape (n, side, side), through a view; as they are without one."""
    return films if view is None else np.stack([view(film) for film in films])
