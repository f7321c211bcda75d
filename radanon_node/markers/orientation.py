"""Orientation correction: tilt from the strokes, then which of the eight quarter turns and mirror images is the letter's own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_TEMPLATES = Path(__file__).with_name("data") / "upright.npz"
TEMPLATE_SIDE = 16
_UPRIGHT_SIDE = 48
RIVALS = {"L": "7JV1"}
"""Characters that are nearly a letter when they are turned or mirrored."""
CORNER = {"L": 73.0}
"""Degrees at which the strokes of a letter meet at least whose rivals have acute corners."""
_CORNER_SIDE, _CORNER_BLUR, _CORNER_SPREAD = 72, 3.2, 4.0
# Two directions of strokes are at least so many degrees apart; about each its mean is taken.
_APART, _ABOUT = 25, 8


@dataclass(frozen=True, slots=True, eq=False)
class Upright:
    """One way to look at a glyph.

    Parameters
    ----------
    mask : ndarray of bool
        Turned upright, tight around the ink.
    turn : float
        Degrees clockwise by which the glyph lay, after mirroring.
    mirrored : bool
    likeness : float
        Correlation with the letter's template, -1..1.
    seen : ndarray of float32, shape (TEMPLATE_SIDE ** 2,)
        `template_view` of the mask.
    """

    mask: Mask
    turn: float
    mirrored: bool
    likeness: float
    seen: NDArray[np.float32]


def tilt_of(mask: Mask) -> float:
    """Direction of the strokes modulo a quarter turn, in degrees clockwise, within [-45, 45].

    The mean of the gradient's direction times four, weighted with its square, so that horizontal and vertical edges count
    alike; characters are made of both.
    """
    soft = cv2.GaussianBlur(np.pad(mask.astype(np.float32), 3), (0, 0), 1.0)
    dx, dy = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    # (dx + i dy)^4 turns four times as fast; its modulus is the fourth power, the square root of it the square.
    gradient = (dx + 1j * dy) ** 4
    total = (gradient / np.maximum(np.sqrt(np.abs(gradient)), 1e-9)).sum()
    return math.degrees(math.atan2(total.imag, total.real)) / 4


def corner_of(mask: Mask) -> float:
    """The angle at which a glyph's two strongest strokes meet, in degrees up to 90; 90 where they have one direction only.

    An L has a right angle, a slanted one 78 degrees or more; the strokes of a 7 meet at 50 to 72, those of a V at less.

    Parameters
    ----------
    mask : ndarray of bool, shape (rows, columns)
        One glyph, however it lies.
    """
    scale = _CORNER_SIDE / max(mask.shape)
    size = max(round(mask.shape[1] * scale), 1), max(round(mask.shape[0] * scale), 1)
    large = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(np.pad(large, round(3 * _CORNER_BLUR)), (0, 0), _CORNER_BLUR)
    dx, dy = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    angle = np.rad2deg(np.arctan2(dy, dx)).astype(np.int64) % 180
    edges = np.bincount(angle.ravel(), weights=(dx**2 + dy**2).ravel(), minlength=180)
    steps = np.arange(-12, 13)
    kernel = np.exp(-0.5 * (steps / _CORNER_SPREAD) ** 2)
    smooth = np.convolve(np.concatenate([edges[-12:], edges, edges[:12]]), kernel, "valid")
    first = int(smooth.argmax())
    peak = smooth >= np.max([np.roll(smooth, step) for step in range(-10, 11)], axis=0)
    others = np.where(peak & (_between(np.arange(180), first) >= _APART), smooth, 0)
    if not others.any():
        return 90.0
    means = []
    for direction in (first, int(others.argmax())):
        off = (np.arange(180) - direction + 90) % 180 - 90
        weights = edges * (np.abs(off) <= _ABOUT)
        means.append(direction + float((weights * off).sum() / max(float(weights.sum()), 1e-9)))
    return float(_between(np.array(means[0]), means[1]))


def _between(directions: NDArray[np.float64] | NDArray[np.int64], other: float) -> NDArray[np.float64]:
    """Degrees between directions that are the same after half a turn."""
    apart: NDArray[np.float64] = np.abs((directions - other + 90.0) % 180 - 90)
    return apart


def turned(mask: Mask, degrees: float, larger_side: int = _UPRIGHT_SIDE) -> Mask:
    """The glyph turned counter-clockwise by `degrees`, scaled so that its larger side has so many pixels, tight."""
    scale = larger_side / max(mask.shape)
    side = int(larger_side * 1.5) + 4
    matrix = cv2.getRotationMatrix2D(((mask.shape[1] - 1) / 2, (mask.shape[0] - 1) / 2), degrees, scale)
    matrix[0, 2] += (side - mask.shape[1]) / 2
    matrix[1, 2] += (side - mask.shape[0]) / 2
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return tight(cv2.warpAffine(mask.astype(np.uint8) * 255, matrix, (side, side), flags=flags) > 127)


def tight(mask: Mask) -> Mask:
    """Without empty rows and columns around the ink; a mask without ink stays as it is."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if rows.size else mask


def template_view(mask: Mask) -> NDArray[np.float32]:
    """A tight mask as a template: squeezed to 16 x 16, zero mean, unit length."""
    small = np.asarray(cv2.resize(mask.astype(np.float32), (TEMPLATE_SIDE, TEMPLATE_SIDE), interpolation=cv2.INTER_AREA), np.float32)
    small -= small.mean()
    norm = float(np.linalg.norm(small))
    unit: NDArray[np.float32] = small / norm if norm else small
    return unit


@cache
def _templates() -> dict[str, NDArray[np.float32]]:
    with np.load(_TEMPLATES) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


def ways(mask: Mask, letter: str) -> list[Upright]:
    """The eight ways to turn a glyph upright, the one most like `letter` first.

    Parameters
    ----------
    mask : ndarray of bool, shape (rows, columns)
        One component.
    letter : str
        A capital.

    Returns
    -------
    list of Upright
    """
    tilt = tilt_of(mask)
    level = turned(mask, tilt)
    found: list[Upright] = []
    for mirrored in (False, True):
        seen = level[:, ::-1] if mirrored else level
        for quarter in range(4):
            upright = np.rot90(seen, quarter)
            # Capitals are taller than wide: a lying one is less likely to be meant that way.
            lying = 0.15 if upright.shape[1] > 1.15 * upright.shape[0] else 0.0
            picture = template_view(upright).ravel()
            likeness = _likeness(picture, letter)
            found.append(Upright(upright, tilt + (-90 if mirrored else 90) * quarter, mirrored, likeness - lying, picture))
    return sorted(found, key=lambda way: -way.likeness)


def lead_over_rivals(turned_ways: list[Upright], letter: str) -> float:
    """How much more like `letter` than like a character it is easily taken for, each in its best way; 1 if there is none."""
    best = max(_likeness(way.seen, letter) for way in turned_ways)
    return best - max((_likeness(way.seen, rival) for way in turned_ways for rival in RIVALS.get(letter, "")), default=best - 1)


def is_rival(mask: Mask, letter: str) -> bool:
    """Is a glyph rather a character that is easily taken for `letter`: a 7 or a J for an L?"""
    return corner_of(mask) < CORNER.get(letter, 0.0) or lead_over_rivals(ways(mask, letter), letter) <= 0


def _likeness(picture: NDArray[np.float32], character: str) -> float:
    return float((_templates()[character] @ picture).max())
