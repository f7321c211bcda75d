"""Procedural backgrounds that look like films of many body parts and makes, without any film: training needs none.

Nothing here is meant to fool a radiologist; it gives a detector the edges, textures and gradients that films have where markers lie:
skin lines, cortical bone, trabeculae, ribs, joints, lung, bowel gas, collimation, scatter, direct exposure, grid lines, noise.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_WHITE = np.float32(255)
Film = NDArray[np.float32]


def noise(shape: tuple[int, int], cell: float, rng: np.random.Generator) -> Film:
    """Smooth noise of about zero mean and unit deviation with features of `cell` pixels."""
    small = (max(int(shape[0] / cell), 2) + 2, max(int(shape[1] / cell), 2) + 2)
    field = rng.standard_normal(small).astype(np.float32)
    return np.asarray(cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def _fractal(shape: tuple[int, int], rng: np.random.Generator, cell: float, octaves: int = 4) -> Film:
    out = np.zeros(shape, np.float32)
    for k in range(octaves):
        out += noise(shape, max(cell / 2**k, 1.5), rng) * 0.6**k
    return out


def _soft(mask: Film, sigma: float) -> Film:
    if sigma < 3:
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(sigma, 0.6)), np.float32)
    # A wide blur on a reduced copy: the same to the eye, many times faster.
    k = sigma / 1.5
    size = (max(round(mask.shape[1] / k), 1), max(round(mask.shape[0] / k), 1))
    small = cv2.GaussianBlur(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), (0, 0), 1.4)
    return np.asarray(cv2.resize(small, (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def _tube(canvas: Film, points: NDArray[np.float64], width: float, level: float, cortex: float) -> None:
    """A bone: brighter along its edges than in the middle, added to `canvas`."""
    path = [np.round(points * 8).astype(np.int32)]
    outer, inner = np.zeros(canvas.shape, np.uint8), np.zeros(canvas.shape, np.uint8)
    cv2.polylines(outer, path, False, 255, max(int(width), 2), cv2.LINE_AA, 3)
    cv2.polylines(inner, path, False, 255, max(int(width * (1 - cortex)), 1), cv2.LINE_AA, 3)
    soft = max(width * 0.05, 0.8)
    canvas += _soft(outer.astype(np.float32), soft) * (level / 255)
    canvas -= _soft(inner.astype(np.float32), soft * 1.5) * (0.45 * level / 255)


def _curve(start: NDArray[np.float64], end: NDArray[np.float64], bend: float, count: int = 24) -> NDArray[np.float64]:
    t = np.linspace(0, 1, count)[:, None]
    normal = np.array([-(end - start)[1], (end - start)[0]])
    return np.asarray(start * (1 - t) + end * t + normal * bend * 4 * t * (1 - t))


def _blob(
    shape: tuple[int, int], centre: tuple[float, float], axes: tuple[float, float], angle: float, wobble: float, rng: np.random.Generator
) -> Film:
    a = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    r = 1 + sum(wobble / k * np.cos(k * a + rng.uniform(0, 6.3)) * rng.uniform(0, 1) for k in range(2, 7))
    x, y = axes[0] * r * np.cos(a), axes[1] * r * np.sin(a)
    c, s = np.cos(angle), np.sin(angle)
    points = np.stack((centre[0] + c * x - s * y, centre[1] + s * x + c * y), 1)
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [np.round(points * 8).astype(np.int32)], 255, cv2.LINE_AA, 3)
    return canvas.astype(np.float32) / _WHITE


def _limbs(shape: tuple[int, int], rng: np.random.Generator) -> Film:
    """Arm, leg, hand or foot: soft-tissue silhouettes with one to five bones."""
    h, w = shape
    film = np.zeros(shape, np.float32)
    vertical = rng.random() < 0.75
    for _ in range(int(rng.choice([1, 1, 2, 4, 5]))):
        along = np.sort(rng.uniform(-0.1, 1.1, 2))
        across = rng.uniform(0.15, 0.85, 2)
        start, end = (np.array([across[0] * w, along[0] * h]), np.array([across[1] * w, along[1] * h]))
        if not vertical:
            start, end = start[::-1] * [w / h, h / w], end[::-1] * [w / h, h / w]
        width = min(shape) * rng.uniform(0.08, 0.4)
        flesh = np.zeros(shape, np.uint8)
        path = _curve(start, end, rng.uniform(-0.15, 0.15))
        cv2.polylines(flesh, [np.round(path * 8).astype(np.int32)], False, 255, int(width * rng.uniform(1.6, 2.6)), cv2.LINE_AA, 3)
        film = np.maximum(film, _soft(flesh.astype(np.float32) / _WHITE, width * 0.12) * rng.uniform(0.25, 0.45))
        for _ in range(int(rng.integers(1, 3))):
            _tube(
                film, path + rng.uniform(-0.3, 0.3, 2) * width, width * rng.uniform(0.25, 0.6), rng.uniform(0.2, 0.4), rng.uniform(0.2, 0.5)
            )
        for end_point in (path[0], path[-1]):
            head = _blob(shape, tuple(end_point), (width * rng.uniform(0.3, 0.5),) * 2, 0, 0.2, rng)
            film += _soft(head, width * 0.03) * rng.uniform(0.1, 0.25)
    return film


def _chest(shape: tuple[int, int], rng: np.random.Generator) -> Film:
    h, w = shape
    film = _soft(_blob(shape, (w / 2, h * 0.62), (w * rng.uniform(0.38, 0.56), h * rng.uniform(0.55, 0.7)), 0, 0.08, rng), w * 0.02) * 0.55
    for side in (-1, 1):
        lung = _blob(shape, (w / 2 + side * w * 0.19, h * 0.5), (w * 0.14, h * rng.uniform(0.26, 0.34)), side * 0.12, 0.12, rng)
        film -= _soft(lung, w * 0.012) * rng.uniform(0.25, 0.42)
        shoulder = np.array([w / 2 + side * w * 0.08, h * 0.2]), np.array([w / 2 + side * w * 0.42, h * rng.uniform(0.1, 0.22)])
        _tube(film, _curve(*shoulder, rng.uniform(-0.1, 0.1)), w * 0.028, 0.16, 0.4)
        arm = np.array([w / 2 + side * w * 0.44, h * 0.2]), np.array([w / 2 + side * w * rng.uniform(0.46, 0.56), h * 0.7])
        _tube(film, _curve(*arm, 0), w * 0.07, 0.2, 0.3)
        for k in range(9):
            y = h * (0.2 + 0.07 * k)
            rib = np.array([w / 2 + side * w * 0.04, y]), np.array([w / 2 + side * w * 0.34, y + h * rng.uniform(0.06, 0.14)])
            _tube(film, _curve(*rib, -side * 0.22), w * 0.018, 0.09, 0.5)
    spine = np.array([w / 2, 0.0]), np.array([w / 2 + rng.uniform(-20, 20), float(h)])
    _tube(film, _curve(*spine, 0), w * 0.08, 0.16, 0.3)
    return film + _soft(_blob(shape, (w * 0.55, h * 0.62), (w * 0.13, h * 0.14), 0.5, 0.1, rng), w * 0.01) * 0.2


def _pelvis(shape: tuple[int, int], rng: np.random.Generator) -> Film:
    h, w = shape
    film = _soft(
        _blob(shape, (w / 2, h * 0.5), (w * rng.uniform(0.45, 0.7), h * rng.uniform(0.55, 0.9)), 0, 0.06, rng), w * 0.03
    ) * rng.uniform(0.4, 0.55)
    for side in (-1, 1):
        x = w / 2 + side * w * 0.24
        wing = _blob(shape, (x, h * 0.3), (w * 0.15, h * 0.19), side * 0.5, 0.1, rng)
        edge = np.maximum(_soft(wing, 2) - _soft(wing, 12), 0)
        film += _soft(wing, 3) * 0.13 + edge * 0.5
        hip = (x + side * w * 0.04, h * 0.58)
        film += _soft(_blob(shape, hip, (w * 0.065, w * 0.065), 0, 0.04, rng), 2) * 0.2
        film += glyph_ring(shape, hip, w * 0.08, w * 0.012) * 0.14
        femur = np.array([hip[0] + side * w * 0.03, hip[1] + h * 0.04]), np.array([x + side * w * rng.uniform(0.04, 0.12), h * 1.05])
        _tube(film, _curve(*femur, side * 0.05), w * 0.075, 0.3, 0.35)
        film += glyph_ring(shape, (w / 2 + side * w * 0.09, h * 0.72), w * 0.055, w * 0.02) * 0.2
    spine = np.array([w / 2, 0.0]), np.array([w / 2, h * 0.45])
    _tube(film, _curve(*spine, 0), w * 0.1, 0.22, 0.3)
    for _ in range(int(rng.integers(0, 8))):
        gas = _blob(
            shape,
            (rng.uniform(0.25, 0.75) * w, rng.uniform(0.05, 0.55) * h),
            (rng.uniform(0.01, 0.05) * w, rng.uniform(0.01, 0.04) * h),
            rng.uniform(0, 3),
            0.3,
            rng,
        )
        film -= _soft(gas, 3) * rng.uniform(0.05, 0.2)
    return film


def glyph_ring(shape: tuple[int, int], centre: tuple[float, float], radius: float, line: float) -> Film:
    """A soft ring, as joint sockets and foramina show."""
    canvas = np.zeros(shape, np.uint8)
    cv2.circle(canvas, (int(centre[0]), int(centre[1])), max(int(radius), 1), 255, max(int(line), 1), cv2.LINE_AA)
    return _soft(canvas.astype(np.float32) / _WHITE, max(line * 0.3, 0.6))


def _spine(shape: tuple[int, int], rng: np.random.Generator) -> Film:
    h, w = shape
    film = np.full(shape, rng.uniform(0.2, 0.4), np.float32) + noise(shape, w / 3, rng) * 0.08
    x, step = w * rng.uniform(0.35, 0.65), h * rng.uniform(0.1, 0.17)
    for k in range(int(h / step) + 2):
        x += rng.uniform(-0.02, 0.02) * w
        body = _blob(shape, (x, k * step), (step * 0.55, step * 0.4), rng.uniform(-0.1, 0.1), 0.1, rng)
        edge = np.maximum(_soft(body, 1.5) - _soft(body, 8), 0)
        film += _soft(body, 2) * 0.18 + edge * 0.3
    return film


def background(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A film without any marker.

    Parameters
    ----------
    size : (rows, columns)
    rng : numpy Generator

    Returns
    -------
    ndarray of uint8, shape `size`
    """
    kind = rng.random()
    if kind < 0.25:
        film = _limbs(size, rng)
    elif kind < 0.45:
        film = _chest(size, rng)
    elif kind < 0.70:
        film = _pelvis(size, rng)
    elif kind < 0.82:
        film = _spine(size, rng)
    elif kind < 0.94:
        film = np.full(size, rng.uniform(0, 0.6), np.float32) + _fractal(size, rng, min(size) / rng.uniform(1.5, 5)) * rng.uniform(
            0.02, 0.2
        )
    else:
        film = np.full(size, rng.choice([0.0, 0.02, 0.5, 0.9]), np.float32)
    body = np.clip(film * 4, 0, 1)
    film += _fractal(size, rng, min(size) / 3, 3) * 0.04 * body
    texture = noise(size, rng.uniform(2, 6), rng) * 0.5 + noise(size, rng.uniform(5, 14), rng) * 0.5
    film += texture * body * rng.uniform(0.0, 0.035)
    if rng.random() < 0.35:  # trabeculae: noise drawn out along one direction
        k = int(rng.integers(5, 17))
        turn = cv2.getRotationMatrix2D((k / 2 - 0.5, k / 2 - 0.5), rng.uniform(0, 180), 1)
        kernel = np.asarray(cv2.warpAffine(np.eye(k, dtype=np.float32), turn, (k, k)), np.float32)
        kernel /= max(float(kernel.sum()), 1e-3)
        streaks = cv2.filter2D(noise(size, rng.uniform(1.5, 3), rng), -1, kernel)
        film += np.asarray(streaks, np.float32) * body * rng.uniform(0.02, 0.07)
    for _ in range(int(rng.choice([0, 0, 1, 2]))):  # vessels, trabecular lines, skin folds: crests of smooth noise
        crest = np.exp(-((noise(size, rng.uniform(6, 60), rng) / np.float32(rng.uniform(0.05, 0.25))) ** 2))
        film += crest * body * np.float32(rng.uniform(-0.03, 0.09))
    film = np.maximum(film, 0) * np.float32(rng.uniform(0.7, 1.5)) + np.float32(rng.uniform(0, 0.1))
    # The film's shoulder: bone on bone does not saturate.
    film = np.asarray((1 - np.exp(-film * rng.uniform(1.0, 2.2))) ** rng.uniform(0.7, 1.4), np.float32)
    film += noise(size, 1.5, rng) * rng.uniform(0.0, 0.015)
    if rng.random() < 0.06:  # grid lines
        film += np.sin(np.arange(size[1], dtype=np.float32) * rng.uniform(0.8, 2.5))[None] * rng.uniform(0.005, 0.02)
    film = _collimated(film, rng)
    return np.asarray(np.clip(film * 255, 0, 255), np.uint8)


def _collimated(film: Film, rng: np.random.Generator) -> Film:
    """Dark or bright, straight or slightly turned shutter edges."""
    if rng.random() < 0.45:
        return film
    h, w = film.shape
    canvas = np.full(film.shape, 255, np.uint8)
    margins = rng.uniform(0, 0.16, 4) * (rng.random(4) < 0.6)
    corners = np.array(
        [
            [margins[0] * w, margins[1] * h],
            [w - margins[2] * w, margins[1] * h],
            [w - margins[2] * w, h - margins[3] * h],
            [margins[0] * w, h - margins[3] * h],
        ]
    )
    middle = np.array([w / 2, h / 2])
    a = np.deg2rad(rng.normal(0, 2))
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    corners = (corners - middle) @ turn.T * (1.02 if rng.random() < 0.8 else 1) + middle
    canvas[:] = 0
    cv2.fillPoly(canvas, [np.round(corners * 8).astype(np.int32)], 255, cv2.LINE_AA, 3)
    open_ = _soft(canvas.astype(np.float32) / _WHITE, rng.choice([0.6, 1.5, 5.0]))
    outside = np.float32(rng.choice([0.0, 0.0, 0.0, 0.02, 0.08, 0.95]))
    return np.asarray(film * open_ + outside * (1 - open_), np.float32)
