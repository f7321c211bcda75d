"""Markers as they are seen on films, each a stack of coverage masks: what is painted, how it is toned, what is labelled.

Styles: lead letters with initials, staircases, stacks and overlaps, acrylic carriers, discs, rings with balls, plates with a
cut-out letter, digital ovals, boxes and circles, outlined words, arrows, rulers, scratched or handwritten tape, burnt-in names,
numbers, dates and times.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from radanon_node.training.synth import glyphs, words
from radanon_node.training.synth.glyphs import Mask
from radanon_node.training.synth.printing import pick_font, printed
from radanon_node.training.synth.sheet import CLASSES, SIDE_LETTER, SYMBOL, TEXT, Marker, Part, Sheet, turned
from radanon_node.training.synth.symbols import ring_with_balls, symbol

__all__ = ["CLASSES", "SIDE_LETTER", "SYMBOL", "TEXT", "Marker", "Part", "draw", "symbol", "turned"]


def _lead_glyphs(text: str, height: float, rng: np.random.Generator) -> Mask:
    h = max(int(height), 6)
    style = rng.random()
    if len(text) == 1 and text == "L" and style < 0.5:
        mask = glyphs.bars(text, h, max(int(h * rng.uniform(0.13, 0.26)), 2))
    elif style < 0.75:
        mask = glyphs.word(
            text, int(h * 1.4), pick_font(rng), int(rng.integers(0, max(h // 14, 1) + 1)), int(rng.integers(0, 4)) * (h // 12)
        )
    else:
        mask = glyphs.stroked(text, h, max(int(h * rng.uniform(0.1, 0.22)), 1), rng)
    mask = glyphs.stretch(mask, rng.uniform(0.75, 1.2), 1.0)
    return glyphs.stretch(mask, h / mask.shape[0], h / mask.shape[0])


def _initials(sheet: Sheet, letter: Mask, h: float, tone: str, rng: np.random.Generator) -> None:
    text = words.initials(rng)
    size = h * rng.uniform(0.3, 0.75)
    gap = h * rng.uniform(-0.06, 0.14)
    lh, lw = letter.shape
    item = sheet.item(TEXT)
    how = rng.random()
    if how < 0.5:
        mask = _lead_glyphs(text, size, rng)
        x = (lw - mask.shape[1]) / 2 + rng.uniform(-0.3, 0.3) * h
        sheet.put(mask, x, lh + gap if rng.random() < 0.8 else -gap - mask.shape[0], tone, item)
    elif how < 0.65:
        mask = _lead_glyphs(text, size, rng)
        sheet.put(mask, lw + gap if rng.random() < 0.6 else -mask.shape[1] - gap, rng.uniform(0, max(lh - mask.shape[0], 1)), tone, item)
    elif how < 0.85:  # stacked or a staircase, in a column beside or below
        y = rng.uniform(-0.2, 1.1) * lh
        x = lw + gap if rng.random() < 0.7 else lw * rng.uniform(-0.3, 0.6)
        if y < lh * 0.9 and x < lw:
            x = lw + gap
        step = rng.uniform(-0.5, 0.9) * size
        for c in text:
            mask = _lead_glyphs(c, size, rng)
            sheet.put(mask, x, y, tone, item)
            x += step
            y += mask.shape[0] + rng.uniform(0.02, 0.3) * size
    else:  # inside the angle of the L
        mask = _lead_glyphs(text, size * 0.6, rng)
        sheet.put(mask, lw * 0.45, lh * 0.2, tone, item)


def lead_letter(h: float, rng: np.random.Generator) -> Marker:
    """A lead letter, alone or with initials, carrier, disc and ring around it."""
    sheet = Sheet()
    tone = "lead"
    side = words.side_letter(rng)
    mask = _lead_glyphs(side, h, rng)
    lh, lw = mask.shape
    if rng.random() < 0.3:
        cw, ch = int(h * rng.uniform(0.8, 1.5)), int(h * rng.uniform(1.6, 3.0))
        x, y = lw / 2 - cw / 2, lh / 2 - ch * rng.uniform(0.25, 0.7)
        carrier = glyphs.rectangle(cw, ch, -1 if rng.random() < 0.6 else max(int(h / 24), 1), int(rng.uniform(0, 0.3) * h))
        if rng.random() < 0.5:
            hole = glyphs.ellipse(int(h * 0.28), int(h * 0.28))
            r, c = int(h * 0.12), cw // 2 - hole.shape[1] // 2
            if r + hole.shape[0] < ch and c >= 0 and c + hole.shape[1] < cw:
                carrier[r : r + hole.shape[0], c : c + hole.shape[1]] *= 1 - hole
        sheet.put(carrier, x, y, "faint", -1)
    sheet.put(mask, 0, 0, tone, sheet.item(SIDE_LETTER, side))
    if rng.random() < 0.55:
        _initials(sheet, mask, h, tone, rng)
    if rng.random() < 0.13:
        way = -1 if rng.random() < 0.5 else 1
        disc = glyphs.ellipse(int(h * rng.uniform(0.8, 1.3)), int(h * rng.uniform(0.9, 1.4)))
        sheet.centre(disc, lw / 2 + rng.uniform(-0.8, 0.8) * h, lh / 2 + way * h * rng.uniform(1.2, 2.2), tone, sheet.item(SYMBOL))
    if rng.random() < 0.12:
        ring_with_balls(sheet, h * rng.uniform(0.7, 1.1), lw / 2 + rng.uniform(-0.6, 0.6) * h, lh + h * rng.uniform(0.6, 1.8), rng)
    return sheet.marker()


def plate(h: float, rng: np.random.Generator) -> Marker:
    """A lead plate with a cut-out letter (labelled as a whole), or without any (a symbol)."""
    sheet = Sheet()
    w, t = int(h * rng.uniform(1.1, 1.8)), int(h * rng.uniform(1.4, 3.0))
    body = glyphs.rectangle(w, t, -1, int(rng.uniform(0, 0.5) * w)) if rng.random() < 0.7 else glyphs.ellipse(w, t)
    kind = rng.random()
    if kind < 0.8:
        side = words.side_letter(rng)
        letter = _lead_glyphs(side, h * 0.85, rng)
        r = int(rng.uniform(0.3, 0.95) * max(t - letter.shape[0], 1))
        c = max((w - letter.shape[1]) // 2, 0)
        piece = letter[: t - r, : w - c]
        body[r : r + piece.shape[0], c : c + piece.shape[1]] *= 1 - piece * rng.uniform(0.7, 1)
        sheet.put(body, 0, 0, "lead", sheet.item(SIDE_LETTER, side))
    elif kind < 0.9:
        letter = _lead_glyphs(words.initials(rng), h * 0.6, rng)
        r, c = max((t - letter.shape[0]) // 2, 0), max((w - letter.shape[1]) // 2, 0)
        piece = letter[: t - r, : w - c]
        body[r : r + piece.shape[0], c : c + piece.shape[1]] *= 1 - piece
        sheet.put(body, 0, 0, "lead", sheet.item(TEXT))
    else:
        sheet.put(body, 0, 0, "lead", sheet.item(SYMBOL))
    return sheet.marker()


def framed(h: float, rng: np.random.Generator) -> Marker:
    """A digital or lead letter in an oval, circle or box, either polarity."""
    digital = rng.random() < 0.75
    sheet = Sheet(digital)
    bright, dark = ("white", "black") if digital else ("lead", "")
    if digital and rng.random() < 0.2:
        bright, dark = dark, bright
    side = words.side_letter(rng)
    item = sheet.item(SIDE_LETTER, side)
    letter = glyphs.word(side, max(int(h * 0.75), 7), pick_font(rng)) if digital else _lead_glyphs(side, h * 0.6, rng)
    w, t = int(max(h * rng.uniform(0.85, 1.15), letter.shape[1] * 1.5)), int(max(h * rng.uniform(1.0, 1.3), letter.shape[0] * 1.4))
    shape = rng.random()
    line = max(int(h * rng.uniform(0.04, 0.1)), 1)
    make: Callable[[int], Mask] = (
        (lambda k: glyphs.ellipse(w, t, k))
        if shape < 0.65
        else (lambda k: glyphs.rectangle(w, t, k, int(shape * 0.3 * h) if shape > 0.85 else 0))
    )
    if dark and rng.random() < 0.7:
        outline = max(line // 2, 1)
        if rng.random() < 0.5:
            sheet.centre(glyphs.grown(make(-1), outline), 0, 0, dark, item)
        sheet.centre(make(-1), 0, 0, dark, item)
    sheet.centre(make(line), 0, 0, bright, item)
    sheet.centre(letter, 0, 0, bright, item)
    return sheet.marker()


def digital_letter(h: float, rng: np.random.Generator) -> Marker:
    """A printed letter without a frame."""
    sheet = Sheet(True)
    side = words.side_letter(rng)
    mask = glyphs.word(side, max(int(h * 1.3), 8), pick_font(rng), int(rng.integers(0, 2)))
    printed(sheet, mask, 0, 0, sheet.item(SIDE_LETTER, side), rng, rng.uniform(0, 0.75) if rng.random() < 0.9 else 0.95)
    return sheet.marker()


def printed_text(h: float, rng: np.random.Generator) -> Marker:
    """One to four lines of burnt-in text; every line is an item."""
    sheet = Sheet(True)
    style, font = rng.random(), pick_font(rng)
    lines = 1 if rng.random() < 0.7 else int(rng.integers(2, 5))
    weight, spacing = int(rng.random() < 0.3), int(rng.integers(0, 3)) if rng.random() < 0.3 else 0
    size, y, right = max(int(h * rng.uniform(0.5, 1)), 8), 0.0, rng.random() < 0.3
    for _ in range(lines):
        mask = glyphs.word(words.text(rng)[:26], size, font, weight if size > 14 else 0, spacing)
        printed(sheet, mask, -mask.shape[1] if right else 0, y, sheet.item(TEXT), rng, style)
        y += mask.shape[0] + size * rng.uniform(0.25, 0.6)
    return sheet.marker()


def id_block(h: float, rng: np.random.Generator) -> Marker:
    """A flashed or printed label: two to five lines about a person on one white, black or gray ground; every line is an item."""
    sheet = Sheet(True)
    font, size = pick_font(rng), max(int(h * rng.uniform(0.35, 0.7)), 8)
    said = [words.identity(rng) if rng.random() < 0.5 else words.text(rng) for _ in range(int(rng.integers(2, 6)))]
    lines = [glyphs.word(value[:24], size, font) for value in said]
    pad, step = max(size // 2, 3), size * rng.uniform(1.1, 1.6)
    width, height = max(m.shape[1] for m in lines), int(step * (len(lines) - 1)) + lines[-1].shape[0]
    ground = rng.random()
    tone, ink = ("white", "black") if ground < 0.45 else ("black", "white") if ground < 0.85 else ("faint", "white")
    sheet.put(np.ones((height + 2 * pad, width + 2 * pad), np.float32), -pad, -pad, tone, -1)
    for number, mask in enumerate(lines):
        sheet.put(mask, 0, number * step, ink, sheet.item(TEXT))
    return sheet.marker()


def spaced_text(h: float, rng: np.random.Generator) -> Marker:
    """Letters stuck or printed one by one, far apart, each with its own tilt; one item."""
    digital = rng.random() < 0.35
    sheet = Sheet(digital)
    value = (words.initials(rng) + str(rng.integers(0, 100)) if rng.random() < 0.4 else words.text(rng)).replace(" ", "")[:9]
    item, x, y = sheet.item(TEXT), 0.0, 0.0
    gap, drop = h * rng.uniform(0.15, 0.9), h * rng.normal(0, 0.12)
    font, tone = pick_font(rng), "white" if digital else "lead"
    for character in value:
        mask = glyphs.word(character, max(int(h), 8), font) if digital else _lead_glyphs(character, h, rng)
        sheet.put(mask, x, y + (0 if digital else h * rng.normal(0, 0.08)), tone, item)
        x += mask.shape[1] + gap * (1 if digital else rng.uniform(0.6, 1.3))
        y += 0 if digital else drop
    return sheet.marker()


def digital_group(h: float, rng: np.random.Generator) -> Marker:
    """A printed side letter and, somewhere near it, the position, the time or the technologist in smaller print."""
    sheet = Sheet(True)
    style, font = float(rng.uniform(0, 0.75)), pick_font(rng)
    beside = words.side_letter(rng)
    letter = glyphs.word(beside, max(int(h * 1.3), 8), font, int(rng.integers(0, 2)))
    printed(sheet, letter, 0, 0, sheet.item(SIDE_LETTER, beside), rng, style)
    size, gap = max(int(h * rng.uniform(0.3, 0.9)), 8), h * rng.uniform(0.25, 1.2)
    lines = [glyphs.word(words.text(rng)[:16], size, font) for _ in range(int(rng.choice([1, 1, 2])))]
    height = sum(mask.shape[0] for mask in lines) + size * 0.4 * (len(lines) - 1)
    side = rng.random()
    x = letter.shape[1] + gap if side < 0.25 else -gap - max(m.shape[1] for m in lines) if side < 0.4 else 0.0
    y = 0.0 if side < 0.4 else letter.shape[0] + gap if side < 0.8 else -gap - height
    for mask in lines:
        printed(sheet, mask, x, y, sheet.item(TEXT), rng, style)
        y += mask.shape[0] + size * 0.4
    return sheet.marker()


def lead_text(h: float, rng: np.random.Generator) -> Marker:
    """Words, numbers or initials in lead, on tape or scratched."""
    sheet = Sheet()
    value = words.initials(rng) if rng.random() < 0.45 else words.text(rng)[:12]
    script = rng.random() < 0.2
    mask = glyphs.stroked(value, int(h), max(int(h * 0.12), 1), rng, True) if script and value.isascii() else _lead_glyphs(value, h, rng)
    tone = "lead"
    if rng.random() < 0.2:
        tape = glyphs.rectangle(int(mask.shape[1] + h * rng.uniform(0.4, 2)), int(mask.shape[0] * rng.uniform(1.3, 1.9)))
        x, y = mask.shape[1] / 2 - tape.shape[1] / 2, mask.shape[0] / 2 - tape.shape[0] / 2
        cut = rng.random() < 0.5
        if cut:
            r, c = int(-y), int(-x)
            tape[r : r + mask.shape[0], c : c + mask.shape[1]] *= 1 - mask
            sheet.put(tape, x, y, "lead", sheet.item(TEXT))
            return sheet.marker()
        sheet.put(tape, x, y, "faint", -1)
    sheet.put(mask, 0, 0, tone, sheet.item(TEXT))
    return sheet.marker()


_BUILDERS: tuple[tuple[Callable[[float, np.random.Generator], Marker], float], ...] = (
    (lead_letter, 0.28),
    (plate, 0.06),
    (framed, 0.10),
    (digital_letter, 0.09),
    (printed_text, 0.17),
    (digital_group, 0.06),
    (id_block, 0.03),
    (lead_text, 0.11),
    (spaced_text, 0.04),
    (symbol, 0.13),
)


def draw(h: float, rng: np.random.Generator) -> Marker:
    """Any marker whose letters are about `h` pixels high."""
    weights = np.array([w for _, w in _BUILDERS])
    return _BUILDERS[int(rng.choice(len(_BUILDERS), p=weights / weights.sum()))][0](h, rng)
