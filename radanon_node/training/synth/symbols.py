"""Markers without characters: arrows, rulers, balls, discs, rings, crosses."""

from __future__ import annotations

import numpy as np

from radanon_node.training.synth import glyphs
from radanon_node.training.synth.printing import pick_font, printed
from radanon_node.training.synth.sheet import SYMBOL, TEXT, Marker, Sheet


def ring_with_balls(sheet: Sheet, size: float, x: float, y: float, rng: np.random.Generator) -> None:
    """A ring of about `size` pixels with its middle at (x, y) and up to three balls in it; one item."""
    item = sheet.item(SYMBOL)
    s = max(int(size), 8)
    sheet.centre(glyphs.ellipse(s, s, max(int(s * rng.uniform(0.08, 0.2)), 1)), x, y, "lead", item)
    for _ in range(int(rng.integers(0, 4))):
        ball = glyphs.ellipse(max(int(s * 0.2), 3), max(int(s * 0.2), 3))
        a = rng.uniform(0, 2 * np.pi)
        sheet.centre(ball, x + np.cos(a) * s * 0.25, y + np.sin(a) * s * 0.25, "lead", item)


def symbol(h: float, rng: np.random.Generator) -> Marker:
    """Arrow, disc, ball, ring, ring with balls, ruler, scale bar, cross."""
    kind = rng.random()
    digital = kind < 0.40
    sheet = Sheet(digital)
    if kind < 0.2:
        s = h * rng.uniform(0.8, 1.8)
        mask = glyphs.arrow(max(int(s), 9), max(int(s * rng.uniform(0.4, 0.8)), 7), rng.random() < 0.85)
        printed(sheet, mask, 0, 0, sheet.item(SYMBOL), rng, rng.uniform(0, 0.75))
    elif kind < 0.48:
        _ruler(sheet, h, rng, "white" if digital else "lead")
    elif kind < 0.54:  # a calibration ball: brightest in the middle, on a stem or in a holder
        s = max(int(h * rng.uniform(0.8, 2.0)), 10)
        yy, xx = np.mgrid[-1 : 1 : s * 1j, -1 : 1 : s * 1j]
        ball = np.sqrt(np.clip(1 - xx * xx - yy * yy, 0, 1)).astype(np.float32) ** np.float32(rng.uniform(0.15, 1.0))
        if rng.random() < 0.4:
            sheet.put(glyphs.rectangle(max(s // 6, 2), int(s * rng.uniform(0.5, 2))), s * 0.42, s * 0.9, "faint", -1)
        sheet.put(ball, 0, 0, "lead", sheet.item(SYMBOL))
    elif kind < 0.75:
        w = int(h * rng.uniform(0.7, 1.4))
        disc = glyphs.ellipse(w, int(w * rng.uniform(0.9, 1.25)))
        if rng.random() < 0.3:
            a, b = rng.uniform(0.2, 0.7), rng.uniform(-1, 1)
            yy, xx = np.mgrid[-1 : 1 : disc.shape[0] * 1j, -1 : 1 : disc.shape[1] * 1j]
            disc = disc * (1 - a * np.abs(xx * b + yy) / 1.5).astype(np.float32)
        sheet.put(disc, 0, 0, "lead", sheet.item(SYMBOL))
    elif kind < 0.95:
        ring_with_balls(sheet, h, 0, 0, rng)
    else:
        s = max(int(h), 8)
        cross = np.zeros((s, s), np.float32)
        k = max(s // 12, 1)
        cross[s // 2 - k : s // 2 + k + 1] = 1
        cross[:, s // 2 - k : s // 2 + k + 1] = 1
        sheet.put(cross, 0, 0, "lead", sheet.item(SYMBOL))
    return sheet.marker()


def _ruler(sheet: Sheet, h: float, rng: np.random.Generator, tone: str) -> None:
    """A scale bar or ruler, lying or standing, at times with numbers along it or a caption."""
    length, tick = int(h * rng.uniform(2.0, 7)), max(int(h * rng.uniform(0.12, 0.5)), 3)
    line = max(int(h * 0.05), 1)
    mask = np.zeros((tick, length), np.float32)
    mask[-line:] = 1
    every = max(int(length / rng.integers(2, 16)), 4)
    for k, x in enumerate(range(0, length, every)):
        mask[tick // 2 if k % 5 else 0 :, x : x + line] = 1
    mask[:, -line:] = 1
    if rng.random() < 0.3:
        mask = mask[::-1]
    stands = rng.random() < 0.55
    if stands:
        mask = np.ascontiguousarray(mask.T)
    item = sheet.item(SYMBOL)
    if tone == "white" and rng.random() < 0.3:
        sheet.put(glyphs.grown(mask, 1), -1, -1, "black", item)
    sheet.put(mask, 0, 0, tone, item)
    said = rng.random()
    font, size = pick_font(rng), max(int(h * rng.uniform(0.3, 0.55)), 8)
    if said < 0.4:
        caption = glyphs.word(f"{rng.choice([1, 2, 5, 10, 20])} {rng.choice(['cm', 'mm'])}", size, font)
        left, top = (tick + size * 0.3, length / 2) if stands else (length / 2 - caption.shape[1] / 2, tick + h * 0.2)
        sheet.put(caption, left, top, tone, sheet.item(TEXT))
    elif said < 0.65 and every * 5 > 1.5 * size:
        for k, x in enumerate(range(0, length, every * 5)):
            number = glyphs.word(str(k if rng.random() < 0.9 else k * 10), size, font)
            beside = tick + size * 0.3
            sheet.put(number, beside if stands else x, x if stands else beside, tone, sheet.item(TEXT))
