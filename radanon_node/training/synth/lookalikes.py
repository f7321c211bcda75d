"""Hard negatives seen close up: fasteners, ports, clasps, vertebrae, calcifications, joints. Painted, never labelled."""

from __future__ import annotations

import cv2
import numpy as np

from radanon_node.training.synth import glyphs
from radanon_node.training.synth.strokes import WHITE, Film, blurred, draw, lay, wiggle


def fastener(film: Film, rng: np.random.Generator) -> None:
    """A metal snap close up, seen at an angle: rings within each other, spokes or holes between them, at times with its other half."""
    h, w = film.shape
    x, y, s = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(16, 60)
    squeeze, tilt, opacity, level = rng.uniform(0.45, 1), float(rng.uniform(0, 180)), rng.uniform(0.2, 0.95), rng.uniform(200, 255)
    for k in range(1 + int(rng.random() < 0.3)):
        size = int(s) | 1
        part = np.zeros((size + 8, size + 8), np.uint8)
        middle = (part.shape[1] // 2, part.shape[0] // 2)
        outer = (max(size // 2, 4), max(int(size // 2 * squeeze), 3))
        inner = (max(int(outer[0] * rng.uniform(0.35, 0.6)), 2), max(int(outer[1] * rng.uniform(0.35, 0.6)), 1))
        cv2.ellipse(part, middle, outer, tilt, 0, 360, int(rng.uniform(60, 200)), -1, cv2.LINE_AA)
        cv2.ellipse(part, middle, outer, tilt, 0, 360, 255, max(size // 14, 1), cv2.LINE_AA)
        count = int(rng.integers(0, 8))
        for spoke in range(count):
            a = 2 * np.pi * spoke / count
            end = (int(middle[0] + outer[0] * 0.8 * np.cos(a)), int(middle[1] + outer[1] * 0.8 * np.sin(a)))
            if rng.random() < 0.5:
                cv2.line(part, middle, end, int(rng.choice([0, 255])), max(size // 16, 1), cv2.LINE_AA)
            else:
                cv2.circle(part, end, max(size // 12, 1), 0, -1, cv2.LINE_AA)
        cv2.ellipse(part, middle, inner, tilt, 0, 360, 255, -1 if rng.random() < 0.4 else max(size // 12, 1), cv2.LINE_AA)
        if rng.random() < 0.6:
            cv2.ellipse(part, middle, (max(inner[0] // 2, 1), max(inner[1] // 2, 1)), tilt, 0, 360, 0, -1, cv2.LINE_AA)
        mask = cv2.GaussianBlur(part, (0, 0), 0.8).astype(np.float32) / WHITE
        lay(film, mask, x + k * s * rng.uniform(0.5, 1.2), y + k * s, level, opacity)


def chamber(film: Film, rng: np.random.Generator) -> None:
    """An access port close up: a triangular, round or square body, a ring, a stem and a catheter at any angle."""
    h, w = film.shape
    x, y, s, a = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(24, 80), float(rng.uniform(0, 360))
    side = int(s * 2.4) | 1
    part, m = np.zeros((side, side), np.uint8), side // 2
    corners, base = int(rng.choice([3, 4, 6, 30])), int(rng.uniform(60, 170))
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(0, 6.3)
    body = np.stack((m + s * 0.5 * np.cos(turn) * rng.uniform(0.7, 1.1), m + s * 0.5 * np.sin(turn)), 1)
    cv2.fillPoly(part, [np.round(body * 8).astype(np.int32)], base, cv2.LINE_AA, 3)
    cv2.polylines(part, [np.round(body * 8).astype(np.int32)], True, min(base + 30, 255), max(int(s * 0.12), 1), cv2.LINE_AA, 3)
    cv2.circle(part, (m, m), max(int(s * rng.uniform(0.18, 0.36)), 3), 255, max(int(s * rng.uniform(0.05, 0.12)), 1), cv2.LINE_AA)
    if rng.random() < 0.3:
        cv2.circle(part, (m, m), max(int(s * 0.07), 1), 255, -1, cv2.LINE_AA)
    stem = (int(m + s * np.cos(np.deg2rad(a))), int(m + s * np.sin(np.deg2rad(a))))
    cv2.line(part, (m, m), stem, 230, max(int(s * rng.uniform(0.08, 0.2)), 2), cv2.LINE_AA)
    lay(film, cv2.GaussianBlur(part, (0, 0), 0.9).astype(np.float32) / WHITE, x, y, rng.uniform(200, 255), rng.uniform(0.15, 0.85))
    path = wiggle(film, rng)
    path = np.asarray(path - path[0] + np.array([(x - m + stem[0]) * 8, (y - m + stem[1]) * 8], np.int32), np.int32)
    draw(film, rng.uniform(0.1, 0.6), 255, 0.8, lambda c: cv2.polylines(c, [path], False, 255, int(rng.integers(2, 6)), cv2.LINE_AA, 3))


def clasp(film: Film, rng: np.random.Generator) -> None:
    """A zip, spring or jewellery clasp: a straight or bent row of equal small shapes, which print is not."""
    h, w = film.shape
    x, y, a, step = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(0, np.pi), rng.uniform(5, 14)
    kind, bend, opacity = int(rng.integers(0, 4)), rng.normal(0, 0.03), rng.uniform(0.25, 0.95)
    size, line = max(int(step * rng.uniform(0.6, 1.3)), 3), int(rng.integers(1, 3))
    shape = (
        glyphs.ellipse(size, int(size * rng.uniform(1, 2)), line)
        if kind == 0
        else glyphs.rectangle(size, int(size * rng.uniform(0.6, 1.8)), line if kind == 1 else -1)
        if kind < 3
        else glyphs.ellipse(size, size)
    )
    for k in range(int(rng.integers(6, 30))):
        direction = a + bend * k
        x, y = x + step * np.cos(direction), y + step * np.sin(direction)
        off = size * 0.4 * (k % 2) if kind in (1, 2) else 0.0
        lay(film, shape, x - off * np.sin(direction), y + off * np.cos(direction), 255, opacity)


def pedicles(film: Film, rng: np.random.Generator) -> None:
    """Vertebrae seen from the front: pairs of soft ovals with a drop-shaped process between them, one below the other."""
    h, w = film.shape
    x, y, s = rng.uniform(0.1, 0.9) * w, rng.uniform(-0.2, 0.6) * h, rng.uniform(14, 60)
    step, level, opacity, tilt = s * rng.uniform(1.6, 2.6), rng.uniform(180, 255), rng.uniform(0.12, 0.5), rng.normal(0, 0.15)
    shape = (max(int(s * rng.uniform(0.3, 0.5)), 5), max(int(s * rng.uniform(0.45, 0.75)), 6))
    for k in range(int(rng.integers(1, 6))):
        cx, cy = x + tilt * k * step, y + k * step
        for side in (-1, 1):
            oval = glyphs.ellipse(*shape, -1 if rng.random() < 0.4 else max(int(s * 0.07), 1))
            lay(film, blurred(oval, 1.2), cx + side * s * 0.55, cy, level, opacity)
        drop = glyphs.ellipse(max(int(s * 0.22), 4), max(int(s * rng.uniform(0.4, 0.9)), 6))
        lay(film, blurred(drop, 1.5), cx, cy + s * 0.3, level, opacity * rng.uniform(0.5, 1.2))


def phleboliths(film: Film, rng: np.random.Generator) -> None:
    """Small round calcifications, often with a clear middle; bone islands, stones, calcified nodes."""
    h, w = film.shape
    x, y = rng.uniform(0, w), rng.uniform(0, h)
    for _ in range(int(rng.integers(1, 6))):
        s, opacity = int(rng.uniform(5, 22)), rng.uniform(0.15, 0.7)
        disc = glyphs.ellipse(s, max(int(s * rng.uniform(0.7, 1.3)), 4))
        px, py = x + rng.normal(0, 60), y + rng.normal(0, 40)
        lay(film, blurred(disc, 0.9), px, py, 255, opacity)
        if rng.random() < 0.4:
            lay(film, blurred(glyphs.ellipse(max(s // 3, 2), max(s // 3, 2)), 0.7), px, py, 120, opacity)


def device(film: Film, rng: np.random.Generator) -> None:
    """A T- or hook-shaped thing with no writing: intrauterine device, bra hook, hair pin, key, plug."""
    h, w = film.shape
    x, y, s, a = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(12, 70), rng.uniform(0, 2 * np.pi)
    bend = rng.uniform(0.2, 1.0)
    shapes = (
        [[(-0.5, -0.5), (0.5, -0.5)], [(0, -0.5), (0, 0.6)]],
        [[(-0.3, 0.5), (-0.3, -0.3), (0, -0.3 - 0.3 * bend), (0.3, -0.3), (0.3, 0.1)]],
        [[(-0.15, 0.6), (-0.15 * bend, -0.6), (0.15 * bend, -0.6), (0.15, 0.6)]],
        [[(-0.5, 0), (0.5, 0)], [(-0.5, -0.25), (-0.5, 0.25)], [(0.3, 0), (0.3, 0.25)]],
    )
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    strokes = [
        np.asarray(np.round((np.array(line) @ turn.T * s + [x, y]) * 8), np.int32) for line in shapes[int(rng.integers(0, len(shapes)))]
    ]
    width = max(int(s * rng.uniform(0.04, 0.16)), 1)
    draw(film, rng.uniform(0.35, 1), 255, 0.7, lambda c: cv2.polylines(c, strokes, False, 255, width, cv2.LINE_AA, 3))


def joint(film: Film, rng: np.random.Generator) -> None:
    """Cortical arcs and the dark cleft between them: joints, growth plates, sutures, facets."""
    h, w = film.shape
    x, y, s, a = rng.uniform(0, w), rng.uniform(0, h), int(rng.uniform(15, 110)), float(rng.uniform(0, 360))
    begin, end = a, a + float(rng.uniform(50, 220))
    level, opacity, line = rng.uniform(190, 255), rng.uniform(0.15, 0.6), int(rng.integers(1, 5))
    axes = (s, max(int(s * rng.uniform(0.4, 1)), 3))
    for grow, tone, much in ((0, level, opacity), (2 * line + 1, rng.uniform(0, 90), opacity * 0.7), (4 * line + 2, level, opacity)):
        size = (axes[0] + grow, axes[1] + grow)
        draw(film, much, tone, 1.0, lambda c, m=size: cv2.ellipse(c, (int(x), int(y)), m, 0.0, begin, end, 255, line, cv2.LINE_AA))  # type: ignore[misc]
