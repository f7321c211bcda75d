"""Other views of a film: turned, mirrored, cut, framed, exposed and inverted, with the boxes on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.training.synth.film import Item

Gray = NDArray[np.uint8]
View = Callable[[Gray], tuple[Gray, NDArray[np.float64]]]


def placing(cx: float, cy: float, rows: int, columns: int, scale: float, angle: float, flip: bool) -> NDArray[np.float64]:
    """Affine that turns (clockwise degrees), mirrors and scales about (cx, cy) and brings that point to the middle of a window."""
    a = np.deg2rad(angle)
    linear = scale * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) @ np.diag([-1.0 if flip else 1.0, 1.0])
    shift = np.array([columns / 2, rows / 2]) - linear @ np.array([cx, cy])
    return np.hstack((linear, shift[:, None]))


def moved(items: Sequence[Item], matrix: NDArray[np.float64], rows: int, columns: int) -> list[Item]:
    """Items under an affine, cut to the window; what is mostly outside becomes unknown."""
    out = []
    for i in items:
        corners = np.array([[i.x0, i.y0, 1], [i.x1, i.y0, 1], [i.x1, i.y1, 1], [i.x0, i.y1, 1]]) @ matrix.T
        x0, y0, x1, y1 = corners[:, 0].min(), corners[:, 1].min(), corners[:, 0].max(), corners[:, 1].max()
        c0, r0, c1, r1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(columns)), min(y1, float(rows))
        if c1 - c0 < 2 or r1 - r0 < 2:
            continue
        share = (c1 - c0) * (r1 - r0) / ((x1 - x0) * (y1 - y0))
        out.append(replace(i, x0=c0, y0=r0, x1=c1, y1=r1, label=i.label if share >= 0.3 else -1))
    return out


def photometric(image: Gray, rng: np.random.Generator) -> Gray:
    """Exposure, polarity, sharpness, noise and compression as other makes and exports have them."""
    table: NDArray[np.float32] = np.arange(256, dtype=np.float32) / np.float32(255)
    if rng.random() < 0.6:
        table = table ** float(np.exp(rng.normal(0, 0.3)))
    if rng.random() < 0.5:
        table = (table - 0.5) * rng.uniform(0.6, 1.35) + 0.5 + rng.uniform(-0.12, 0.12)
    if rng.random() < 0.09:
        table = 1 - table
    out = np.asarray(cv2.LUT(image, np.clip(table * 255, 0, 255).astype(np.uint8)), np.uint8)
    kind = rng.random()
    if kind < 0.12:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), float(rng.uniform(0.4, 1.3))), np.uint8)
    elif kind < 0.22:
        blurred = cv2.GaussianBlur(out, (0, 0), 1.5)
        out = np.asarray(cv2.addWeighted(out, 1.8, blurred, -0.8, 0), np.uint8)
    elif kind < 0.30:
        clahe = cv2.createCLAHE(float(rng.uniform(1, 4)), (8, 8))
        out = np.asarray(clahe.apply(out), np.uint8)
    if rng.random() < 0.25:
        grain = np.asarray(rng.standard_normal(out.shape) * rng.uniform(1, 7), np.float32)
        out = np.clip(out + grain, 0, 255).astype(np.uint8)
    if rng.random() < 0.12:
        packed = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 92))])[1]
        out = np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), np.uint8)
    return out


def another_view(image: Gray, items: Sequence[Item], rng: np.random.Generator) -> tuple[Gray, list[Item]]:
    """A whole film as another reader might have sent it: turned, mirrored, cut out, framed, in other exposure or polarity.

    Parameters
    ----------
    image : ndarray of uint8, shape (rows, columns)
    items : sequence of Item
    rng : Generator

    Returns
    -------
    image : ndarray of uint8
        Of 0.45 to 1.7 times as many rows and columns.
    items : list of Item
        What is mostly outside has the label -1.
    """
    rows, columns = image.shape
    angle = float(rng.choice([0, 90, 180, 270]))
    if angle in (90.0, 270.0):
        rows, columns = columns, rows
    larger = np.exp(rng.uniform(np.log(0.45), np.log(1.7), 2)) if rng.random() < 0.7 else np.ones(2)
    height, width = max(round(rows * larger[0]), 64), max(round(columns * larger[1]), 64)
    # Where the middle of the view lies on the film: a smaller view is a piece of it, in a larger one the film lies anywhere.
    slack = np.abs(larger[::-1] - 1) / 2
    x, y = (0.5 + rng.uniform(-1, 1, 2) * slack) * image.shape[::-1]
    matrix = placing(float(x), float(y), height, width, 1.0, angle, rng.random() < 0.5)
    frame = int(rng.choice([0, 0, 0, int(rng.integers(0, 256)), 255]))
    seen = np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(frame,)), np.uint8)
    if rng.random() < 0.15:
        seen = 255 - seen
    return photometric(seen, rng), moved(items, matrix, height, width)


def _placed(angle: float = 0.0, flip: bool = False, scale: float = 1.0, canvas: float = 1.0) -> View:
    def view(image: Gray) -> tuple[Gray, NDArray[np.float64]]:
        rows, columns = (round(side * scale * canvas) for side in image.shape[:: -1 if angle in (90.0, 270.0) else 1])
        edges = placing(image.shape[1] / 2, image.shape[0] / 2, rows, columns, scale, angle, flip)
        if scale != 1:
            return np.asarray(
                cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), np.uint8
            ), edges
        # A box ends at the edges of pixels, a picture is sampled at their middles.
        middles = edges.copy()
        middles[:, 2] += edges[:, :2].sum(1) / 2 - 0.5
        return np.asarray(cv2.warpAffine(image, middles, (columns, rows), flags=cv2.INTER_LINEAR), np.uint8), edges

    return view


def _exposed(of: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> View:
    table = np.clip(of(np.arange(256, dtype=np.float32) / np.float32(255)) * 255, 0, 255).round().astype(np.uint8)
    return lambda image: (np.asarray(cv2.LUT(image, table), np.uint8), np.eye(2, 3))


def _noisy(image: Gray) -> tuple[Gray, NDArray[np.float64]]:
    soft = cv2.GaussianBlur(image, (0, 0), 1.0).astype(np.float32)
    grain = np.random.default_rng(image.shape).standard_normal(image.shape) * 5
    return np.clip(soft + grain, 0, 255).astype(np.uint8), np.eye(2, 3)


VIEWS: dict[str, View] = {
    "quarter-turn": _placed(angle=90),
    "half-turn": _placed(angle=180),
    "mirrored": _placed(flip=True),
    "enlarged": _placed(scale=2.5),
    "halved": _placed(scale=0.5),
    "framed": _placed(canvas=1.6),
    "cut": _placed(canvas=0.7),
    "inverted": _exposed(lambda v: 1 - v),
    "brighter": _exposed(np.sqrt),
    "darker": _exposed(np.square),
    "flat": _exposed(lambda v: np.float32(0.24) + np.float32(0.45) * v),
    "noisy": _noisy,
}
"""Views that figures are given of: the same film as another machine, reader or export may show it. Each gives the picture and the
affine, shape (2, 3), from the edges of the film's pixels to those of the picture's."""
