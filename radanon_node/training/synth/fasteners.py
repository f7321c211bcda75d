"""Hard negatives that real films showed to be mistaken for markers: zips, necklaces, rows of staples, connectors, snaps, joint heads."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.training.synth import glyphs
from radanon_node.training.synth.strokes import WHITE, Film, draw, lay


def _path(film: Film, rng: np.random.Generator, length: float, bend: float) -> NDArray[np.float64]:
    """Points (x, y) two pixels apart along a gently bent line, and the direction of each: shape (n, 3)."""
    h, w = film.shape
    count = max(int(length / 2), 4)
    a = rng.uniform(0, 2 * np.pi) + np.cumsum(np.full(count, rng.normal(0, bend)) + rng.normal(0, bend / 4, count))
    x, y = rng.uniform(0, w) + np.cumsum(2 * np.cos(a)), rng.uniform(0, h) + np.cumsum(2 * np.sin(a))
    return np.stack((x, y, a), 1)


def zipper(film: Film, rng: np.random.Generator) -> None:
    """Teeth in two rows, a band along them and a slider at one end."""
    path = _path(film, rng, rng.uniform(60, 500), 0.006)
    pitch, tooth, opacity = int(rng.integers(1, 5)), rng.uniform(2, 8), rng.uniform(0.25, 1.0)
    strokes = []
    for k, (x, y, a) in enumerate(path[::pitch]):
        side = 1 if k % 2 else -1
        across = np.array([-np.sin(a), np.cos(a)]) * side
        p = np.array([x, y])
        strokes.append(np.asarray(np.round(np.array([p - across * tooth * 0.2, p + across * tooth]) * 8), np.int32))
    width = max(int(pitch * rng.uniform(0.5, 1.2)), 1)
    draw(film, opacity, 255, 0.6, lambda c: cv2.polylines(c, strokes, False, 255, width, cv2.LINE_AA, 3))
    if rng.random() < 0.7:
        x, y, a = path[0]
        size = int(tooth * rng.uniform(2, 4))
        body = glyphs.rectangle(size, int(size * rng.uniform(1.2, 2)), -1, size // 3)
        turn = cv2.getRotationMatrix2D((body.shape[1] / 2, body.shape[0] / 2), 90 - float(np.rad2deg(a)), 1)
        lay(film, np.asarray(cv2.warpAffine(body, turn, body.shape[::-1]), np.float32), x, y, 255, opacity)
        if rng.random() < 0.6:  # the pull
            lay(
                film,
                glyphs.ellipse(size, int(size * rng.uniform(1, 2)), max(size // 6, 1)),
                x - size * np.cos(a),
                y - size * np.sin(a),
                255,
                opacity,
            )


def necklace(film: Film, rng: np.random.Generator) -> None:
    """A hanging chain of links or beads, at times with a pendant: cross, heart-like drop, oval, coin."""
    h, w = film.shape
    x, y, span, sag = rng.uniform(0, w), rng.uniform(0, h * 0.8), rng.uniform(40, 300), rng.uniform(20, 250)
    t = np.linspace(-1, 1, int(rng.integers(30, 140)))
    px, py = x + t * span / 2, y + sag * (1 - t**2)
    bead, line, opacity = int(rng.integers(2, 9)), int(rng.integers(-1, 3)), rng.uniform(0.25, 0.95)
    link = glyphs.ellipse(max(bead, 3), max(int(bead * rng.uniform(0.6, 1.4)), 3), line if bead > 4 else -1)
    for cx, cy in zip(px, py):
        lay(film, link, cx, cy, 255, opacity)
    if rng.random() < 0.65:
        s, kind = int(rng.uniform(10, 50)), rng.random()
        if kind < 0.35:
            pendant = np.zeros((int(s * 1.5), s), np.float32)
            k = max(s // 8, 1)
            pendant[:, s // 2 - k : s // 2 + k + 1] = 1
            pendant[s // 2 - k : s // 2 + k + 1] = 1
        elif kind < 0.7:
            pendant = glyphs.ellipse(s, int(s * rng.uniform(1, 1.6)), -1 if rng.random() < 0.5 else max(s // 8, 1))
        else:
            pendant = np.asarray(
                cv2.warpAffine(glyphs.rectangle(s, s, -1, s // 4), cv2.getRotationMatrix2D((s / 2, s / 2), 45, 0.8), (s, s)), np.float32
            )
        lay(film, pendant, x, y + sag + s * 0.6, 255, opacity)


def staples(film: Film, rng: np.random.Generator) -> None:
    """A row or a small heap of skin staples, sternal cerclage, embolisation coils' short wires."""
    path = _path(film, rng, rng.uniform(40, 260), 0.02)
    step, size, heap = int(rng.integers(3, 12)), rng.uniform(4, 12), rng.random() < 0.35
    strokes = []
    for x, y, a in path[::step]:
        turn = rng.uniform(0, np.pi) if heap else a + np.pi / 2 + rng.normal(0, 0.25)
        p = np.array([x, y]) + (rng.normal(0, size, 2) if heap else 0)
        along, across = np.array([np.cos(turn), np.sin(turn)]) * size, np.array([-np.sin(turn), np.cos(turn)]) * size * 0.35
        shape = [p - along + across, p - along, p + along, p + along + across] if rng.random() < 0.7 else [p - along, p + along]
        strokes.append(np.asarray(np.round(np.array(shape) * 8), np.int32))
    draw(film, rng.uniform(0.4, 1), 255, 0.6, lambda c: cv2.polylines(c, strokes, False, 255, int(rng.integers(1, 3)), cv2.LINE_AA, 3))


def connector(film: Film, rng: np.random.Generator) -> None:
    """Plugs and luer connectors: short cylinders of several widths in a row, darker bores, threads, a line from either end."""
    h, w = film.shape
    s = rng.uniform(16, 90)
    side = int(s * 1.5) | 1
    part, middle = np.zeros((side, side), np.uint8), side // 2
    x, thick = middle - s / 2, s * rng.uniform(0.15, 0.4)
    while x < middle + s / 2:
        length, half = s * rng.uniform(0.12, 0.45), thick * rng.uniform(0.25, 0.6)
        cv2.rectangle(part, (int(x), int(middle - half)), (int(x + length), int(middle + half)), int(rng.uniform(60, 255)), -1)
        if rng.random() < 0.4:
            cv2.rectangle(part, (int(x), int(middle - half)), (int(x + length), int(middle + half)), 255, max(int(s * 0.03), 1))
        if rng.random() < 0.3:
            cv2.line(part, (int(x), middle), (int(x + length), middle), int(rng.uniform(0, 80)), max(int(half * 0.5), 1))
        if rng.random() < 0.25:
            for thread in np.arange(x, x + length, max(s * 0.05, 2)):
                cv2.line(part, (int(thread), int(middle - half)), (int(thread), int(middle + half)), 255, 1)
        x += length
    for end in (0, side - 1):
        if rng.random() < 0.7:
            cv2.line(part, (middle, middle), (end, middle), int(rng.uniform(50, 160)), max(int(s * 0.05), 1))
    turn = cv2.getRotationMatrix2D((middle, middle), float(rng.uniform(0, 360)), 1)
    mask = cv2.GaussianBlur(cv2.warpAffine(part, turn, (side, side)), (0, 0), 0.8).astype(np.float32) / WHITE
    lay(film, mask, rng.uniform(0, w), rng.uniform(0, h), rng.uniform(200, 255), rng.uniform(0.2, 0.95))


def snap_close(film: Film, rng: np.random.Generator) -> None:
    """One press stud: a bright ring, a darker groove, a bright or hollow core, sometimes an S-shaped spring in it."""
    h, w = film.shape
    s = int(rng.uniform(9, 44))
    x, y, opacity, squeeze = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(0.3, 1), rng.uniform(0.6, 1)
    size = (s, max(int(s * squeeze), 5))
    lay(film, glyphs.ellipse(*size), x, y, 255, opacity * rng.uniform(0.1, 0.6))
    lay(film, glyphs.ellipse(*size, max(s // int(rng.integers(4, 9)), 1)), x, y, 255, opacity)
    core = (max(int(s * rng.uniform(0.3, 0.6)), 3), max(int(size[1] * rng.uniform(0.3, 0.6)), 3))
    lay(film, glyphs.ellipse(*core, -1 if rng.random() < 0.5 else max(s // 9, 1)), x, y, 255, opacity)
    if rng.random() < 0.3:
        for shift in (-0.18, 0.18):
            lay(film, glyphs.rectangle(max(s // 9, 1), max(int(s * 0.5), 2)), x + shift * s, y, 255, opacity)


def humeral_head(film: Film, rng: np.random.Generator) -> None:
    """Joint replacement at the shoulder or hip: a bright half ball or ball, neck, stem; cement and a glenoid peg beside it."""
    h, w = film.shape
    s, a = rng.uniform(24, 110), rng.uniform(0, 2 * np.pi)
    x, y, level = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(220, 255)
    along = np.array([np.cos(a), np.sin(a)])
    across = np.array([-along[1], along[0]])
    p = np.array([x, y])
    stem = np.array(
        [p - across * s * 0.18, p + across * s * 0.18, p + across * s * 0.06 + along * s * 1.6, p - across * s * 0.06 + along * s * 1.6]
    )
    draw(film, 0.95, level, 0.9, lambda c: cv2.fillPoly(c, [np.asarray(np.round(stem * 8), np.int32)], 255, cv2.LINE_AA, 3))
    head = p - along * s * 0.2
    turn, half = float(np.rad2deg(a)), rng.random() < 0.6
    axes = (int(s * 0.42), int(s * rng.uniform(0.36, 0.44)))
    draw(
        film,
        0.97,
        level,
        0.9,
        lambda c: cv2.ellipse(c, (int(head[0]), int(head[1])), axes, turn, 90 if half else 0, 270 if half else 360, 255, -1, cv2.LINE_AA),
    )
    if rng.random() < 0.5:
        lay(
            film,
            glyphs.ellipse(int(s * 0.5), int(s * 0.5), max(int(s * 0.05), 1)),
            head[0] - along[0] * s * 0.5,
            head[1] - along[1] * s * 0.5,
            255,
            0.5,
        )
