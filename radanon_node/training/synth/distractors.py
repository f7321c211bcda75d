"""Hard negatives: what lies on and in patients and looks a little like a marker. Painted, never labelled."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.training.synth import fasteners, glyphs, lookalikes
from radanon_node.training.synth.strokes import Film, draw, lay, wiggle


def wire(film: Film, rng: np.random.Generator) -> None:
    """ECG leads, catheters, tubes."""
    path, width = wiggle(film, rng), int(rng.integers(1, 6))
    draw(film, rng.uniform(0.15, 0.9), 255, 0.8, lambda c: cv2.polylines(c, [path], False, 255, width, cv2.LINE_AA, 3))


def electrode(film: Film, rng: np.random.Generator) -> None:
    """A snap with its lead: small bright disc in a fainter ring, a connector and a wire."""
    h, w = film.shape
    x, y, s = rng.uniform(0, w), rng.uniform(0, h), int(rng.uniform(12, 34))
    lay(film, glyphs.ellipse(s * 2, s * 2), x, y, 255, rng.uniform(0.03, 0.2))
    lay(film, glyphs.ellipse(s, s, max(s // 6, 1)), x, y, 255, rng.uniform(0.4, 0.95))
    lay(film, glyphs.ellipse(max(s // 2, 3), max(s // 2, 3)), x, y, 255, rng.uniform(0.5, 1))
    path = wiggle(film, rng)
    path = path - path[0] + np.array([x * 8, y * 8], np.int32)
    draw(
        film,
        rng.uniform(0.3, 0.9),
        255,
        0.8,
        lambda c: cv2.polylines(c, [np.asarray(path, np.int32)], False, 255, int(rng.integers(1, 4)), cv2.LINE_AA, 3),
    )


def snaps(film: Film, rng: np.random.Generator) -> None:
    """Gown snaps and buttons: small rings, several of one kind."""
    h, w = film.shape
    s, opacity = int(rng.uniform(8, 24)), rng.uniform(0.3, 0.95)
    x, y, dx, dy = rng.uniform(0, w), rng.uniform(0, h), rng.normal(0, 60), rng.normal(0, 60)
    for k in range(int(rng.integers(1, 5))):
        lay(film, glyphs.ellipse(s, s, max(s // 4, 1)), x + k * dx, y + k * dy, 255, opacity)
        lay(film, glyphs.ellipse(max(s // 3, 2), max(s // 3, 2)), x + k * dx, y + k * dy, 255, opacity)


def clips(film: Film, rng: np.random.Generator) -> None:
    """Surgical clips, sternal wires, staples: short bright strokes."""
    h, w = film.shape
    x, y = rng.uniform(0, w), rng.uniform(0, h)
    strokes = []
    for _ in range(int(rng.integers(1, 12))):
        p, a, n = np.array([x, y]) + rng.normal(0, 40, 2), rng.uniform(0, np.pi), rng.uniform(3, 12)
        strokes.append(np.round(np.array([p, p + n * np.array([np.cos(a), np.sin(a)])]) * 8).astype(np.int32))
    draw(film, rng.uniform(0.6, 1), 255, 0.6, lambda c: cv2.polylines(c, strokes, False, 255, int(rng.integers(1, 4)), cv2.LINE_AA, 3))


def prosthesis(film: Film, rng: np.random.Generator) -> None:
    """Hip stem and cup, nail, plate with screws, knee."""
    h, w = film.shape
    x, y, s = rng.uniform(0.1, 0.9) * w, rng.uniform(0.1, 0.9) * h, min(h, w) * rng.uniform(0.06, 0.2)
    level, kind = rng.uniform(225, 255), rng.random()
    if kind < 0.4:
        stem = np.array(
            [
                [x, y],
                [x + s * 0.5, y + s * 0.6],
                [x + s * 0.55, y + s * 2.4],
                [x + s * 0.4, y + s * 2.4],
                [x + s * 0.15, y + s * 0.9],
                [x - s * 0.2, y + s * 0.3],
            ]
        )
        draw(film, 0.97, level, 1, lambda c: cv2.fillPoly(c, [np.round(stem * 8).astype(np.int32)], 255, cv2.LINE_AA, 3))
        lay(film, glyphs.ellipse(int(s * 0.9), int(s * 0.9)), x - s * 0.15, y - s * 0.05, level, 0.97)
    elif kind < 0.75:
        a = rng.uniform(0, np.pi)
        along, across = np.array([np.cos(a), np.sin(a)]), np.array([-np.sin(a), np.cos(a)])
        ends = np.array([np.array([x, y]) - along * s, np.array([x, y]) + along * s])
        draw(
            film,
            0.9,
            level,
            0.8,
            lambda c: cv2.polylines(c, [np.round(ends * 8).astype(np.int32)], False, 255, max(int(s * 0.14), 3), cv2.LINE_AA, 3),
        )
        screws = [
            np.round(np.array([p := ends[0] + (ends[1] - ends[0]) * t, p + across * s * rng.uniform(0.3, 0.7)]) * 8).astype(np.int32)
            for t in np.linspace(0.05, 0.95, int(rng.integers(2, 8)))
        ]
        draw(film, 0.95, level, 0.7, lambda c: cv2.polylines(c, screws, False, 255, max(int(s * 0.06), 2), cv2.LINE_AA, 3))
    else:
        box = np.array([rng.normal([x, y], s * 0.8) for _ in range(5)])
        hull = cv2.convexHull(np.round(box * 8).astype(np.int32))
        draw(film, rng.uniform(0.6, 0.95), level, 1, lambda c: cv2.fillPoly(c, [hull], 255, cv2.LINE_AA, 3))


def chain(film: Film, rng: np.random.Generator) -> None:
    """Necklace or zip: a row of dots or teeth along a curve."""
    path = wiggle(film, rng, 0.8) // 8
    size, every = int(rng.integers(2, 6)), int(rng.integers(1, 3))

    def paint(canvas: NDArray[np.uint8]) -> None:
        for px, py in path[::every]:
            cv2.circle(canvas, (int(px), int(py)), size, 255, -1, cv2.LINE_AA)

    draw(film, rng.uniform(0.3, 1), 255, 0.6, paint)


def redaction(film: Film, rng: np.random.Generator) -> None:
    """A black (or white) bar or an erased rectangle, as other people's de-identification leaves."""
    h, w = film.shape
    for _ in range(int(rng.integers(1, 3))):
        bw, bh = int(rng.uniform(20, 220)), int(rng.uniform(10, 70))
        x, y = int(rng.uniform(0, max(w - bw, 1))), int(rng.uniform(0, max(h - bh, 1)))
        film[y : y + bh, x : x + bw] = 0 if rng.random() < 0.85 else 255


def edge(film: Film, rng: np.random.Generator) -> None:
    """A straight bright or dark strip: cassette edge, table, positioning aid."""
    h, w = film.shape
    a, p = rng.uniform(0, np.pi), rng.uniform(0, 1, 2) * [w, h]
    d = np.array([np.cos(a), np.sin(a)]) * (h + w)
    line = np.round(np.array([p - d, p + d]) * 8).astype(np.int64)
    line = np.clip(line, -(2**20), 2**20).astype(np.int32)
    width = int(rng.uniform(2, 40))
    draw(
        film,
        rng.uniform(0.05, 0.6),
        rng.choice([0.0, 255.0]),
        rng.uniform(0.6, 3),
        lambda c: cv2.polylines(c, [line], False, 255, width, cv2.LINE_AA, 3),
    )


def port(film: Film, rng: np.random.Generator) -> None:
    """Implanted port or pump: a ring in a body, with a catheter."""
    h, w = film.shape
    x, y, s = rng.uniform(0, w), rng.uniform(0, h), int(rng.uniform(22, 60))
    opacity = rng.uniform(0.2, 0.8)
    body = glyphs.rectangle(s, int(s * rng.uniform(0.8, 1.3)), -1, int(s * rng.uniform(0.1, 0.5)))
    lay(film, body, x, y, 255, opacity * rng.uniform(0.2, 0.7))
    ring = glyphs.ellipse(int(s * 0.7), int(s * rng.uniform(0.5, 0.8)), max(int(s * rng.uniform(0.08, 0.2)), 1))
    lay(film, ring, x, y, 255, opacity)
    path = wiggle(film, rng)
    path = np.asarray(path - path[0] + np.array([x * 8, y * 8], np.int32), np.int32)
    draw(film, opacity, 255, 0.8, lambda c: cv2.polylines(c, [path], False, 255, int(rng.integers(2, 5)), cv2.LINE_AA, 3))


def pacemaker(film: Film, rng: np.random.Generator) -> None:
    """A rounded can with a battery, circuits and one to three leads."""
    h, w = film.shape
    x, y, s = rng.uniform(0, w), rng.uniform(0, h), int(rng.uniform(60, 150))
    opacity = rng.uniform(0.4, 0.95)
    lay(film, glyphs.rectangle(s, int(s * rng.uniform(0.8, 1.1)), -1, int(s * 0.35)), x, y, 235, opacity * 0.6)
    for _ in range(int(rng.integers(2, 7))):
        part = glyphs.rectangle(
            int(s * rng.uniform(0.1, 0.6)), int(s * rng.uniform(0.08, 0.4)), int(rng.integers(-1, 4)), int(rng.integers(0, 6))
        )
        lay(film, part, x + rng.uniform(-0.25, 0.25) * s, y + rng.uniform(-0.25, 0.25) * s, rng.choice([120.0, 255.0]), opacity)
    for _ in range(int(rng.integers(1, 4))):
        path = wiggle(film, rng)
        path = np.asarray(path - path[0] + np.array([x * 8, (y - s * 0.4) * 8], np.int32), np.int32)
        draw(film, opacity, 255, 0.7, lambda c, p=path: cv2.polylines(c, [p], False, 255, 2, cv2.LINE_AA, 3))  # type: ignore[misc]


def coil(film: Film, rng: np.random.Generator) -> None:
    """A rolled-up lead or spring: loops beside each other."""
    h, w = film.shape
    x, y, s = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(6, 30)
    t = np.linspace(0, 2 * np.pi * rng.uniform(2, 7), 200)
    a, drift = rng.uniform(0, np.pi), rng.uniform(0.05, 0.5)
    u, v = s * np.cos(t) + drift * s * t / 2, s * rng.uniform(0.4, 1.2) * np.sin(t)
    points = np.stack((x + np.cos(a) * u - np.sin(a) * v, y + np.sin(a) * u + np.cos(a) * v), 1)
    path = np.asarray(np.round(points * 8), np.int32)
    draw(film, rng.uniform(0.4, 1), 255, 0.6, lambda c: cv2.polylines(c, [path], False, 255, int(rng.integers(1, 4)), cv2.LINE_AA, 3))


def rod(film: Film, rng: np.random.Generator) -> None:
    """A needle, clamp, plug or tube end: a short thick bar, sometimes hollow, sometimes stepped."""
    h, w = film.shape
    p, a = np.array([rng.uniform(0, w), rng.uniform(0, h)]), rng.uniform(0, np.pi)
    along, length, width = np.array([np.cos(a), np.sin(a)]), rng.uniform(14, 80), int(rng.uniform(4, 16))
    level, opacity = rng.uniform(200, 255), rng.uniform(0.3, 1)
    for share in (1.0, rng.uniform(0.3, 0.8)):
        line = np.asarray(np.round(np.array([p, p + along * length * share]) * 8), np.int32)
        thick = max(int(width * (1.0 if share == 1 else rng.uniform(0.3, 1.6))), 1)
        tone = level if share == 1 or rng.random() < 0.6 else rng.uniform(60, 160)
        draw(film, opacity, tone, 0.7, lambda c, m=line, k=thick: cv2.polylines(c, [m], False, 255, k, cv2.LINE_AA, 3))  # type: ignore[misc]


_ALL: tuple[tuple[Callable[[Film, np.random.Generator], None], float], ...] = (
    (wire, 0.15),
    (electrode, 0.15),
    (snaps, 0.11),
    (clips, 0.11),
    (prosthesis, 0.1),
    (chain, 0.06),
    (redaction, 0.06),
    (edge, 0.1),
    (port, 0.05),
    (pacemaker, 0.04),
    (coil, 0.05),
    (rod, 0.07),
    (lookalikes.fastener, 0.10),
    (lookalikes.chamber, 0.08),
    (lookalikes.clasp, 0.06),
    (lookalikes.pedicles, 0.08),
    (lookalikes.phleboliths, 0.05),
    (lookalikes.device, 0.06),
    (lookalikes.joint, 0.06),
    (fasteners.zipper, 0.05),
    (fasteners.necklace, 0.05),
    (fasteners.staples, 0.05),
    (fasteners.connector, 0.07),
    (fasteners.snap_close, 0.05),
    (fasteners.humeral_head, 0.05),
)


def scatter(film: Film, count: int, rng: np.random.Generator) -> None:
    """Paint `count` of them on `film` (float32, 0..255), in place."""
    weights = np.array([w for _, w in _ALL])
    for index in rng.choice(len(_ALL), count, p=weights / weights.sum()):
        _ALL[int(index)][0](film, rng)
