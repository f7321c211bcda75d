"""Side letters with what touches, frames and surrounds them, for the letter finder: harder groups than the films of `synth` show."""

from __future__ import annotations

import numpy as np

from radanon_node.training.synth import glyphs, words
from radanon_node.training.synth.glyphs import Mask
from radanon_node.training.synth.markers import Marker
from radanon_node.training.synth.sheet import Sheet

LETTER, AROUND, COMPANY = 0, 1, 2
"""Items of a drawn group: the character, its plate or frame, the initials beside it."""

_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Groups:
    """Draws groups; a group's letter is item `LETTER`, its box's outline `AROUND`, initials beside it `COMPANY` and later items.

    Parameters
    ----------
    rng : numpy Generator
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def character(self) -> str:
        rng = self._rng
        return str(rng.choice(list("LR"))) if rng.random() < 0.75 else str(rng.choice(list(_CAPITALS)))

    def _glyph(self, text: str, height: float) -> Mask:
        rng = self._rng
        h, style = max(int(height), 5), rng.random()
        faces = glyphs.fonts()
        face = str(rng.choice(list(faces))) if faces else ""
        if text == "L" and style < 0.4:
            mask = glyphs.bars(text, h, max(int(h * rng.uniform(0.1, 0.42)), 2))
        elif style < 0.75:
            mask = glyphs.word(text, int(h * 1.4), face, int(rng.integers(0, max(h // 12, 1) + 1)))
        else:
            mask = glyphs.stroked(text, h, max(int(h * rng.uniform(0.08, 0.22)), 1), rng)
        mask = glyphs.stretch(mask, rng.uniform(0.65, 1.3), 1.0)
        factor = h / mask.shape[0]
        return glyphs.stretch(mask, factor, factor)

    def lead(self) -> Marker:
        """A letter, often with initials that touch or overlap it, discs, rings, an acrylic carrier."""
        rng = self._rng
        sheet = Sheet()
        h = float(rng.uniform(34, 52))
        letter = self._glyph(self.character(), h)
        lh, lw = letter.shape
        item, around = sheet.item(0), sheet.item(0)
        if rng.random() < 0.25:
            wide, tall, line = int(h * rng.uniform(0.8, 1.7)), int(h * rng.uniform(1.3, 3.0)), -1 if rng.random() < 0.7 else 2
            carrier = glyphs.rectangle(wide, tall, line, int(rng.uniform(0, 0.3) * h))
            sheet.centre(carrier, lw / 2 + rng.uniform(-0.2, 0.2) * h, lh / 2 + rng.uniform(-0.6, 0.6) * h, "faint", -9)
        sheet.put(letter, 0, 0, "lead", item)
        sheet.put(letter, 0, 0, "cut", around)
        for _ in range(int(rng.choice([0, 1, 1, 1, 2]))):
            self._company(sheet, letter.shape, h)
        if rng.random() < 0.15:
            disc = glyphs.ellipse(int(h * rng.uniform(0.6, 1.3)), int(h * rng.uniform(0.6, 1.4)), int(rng.choice([-1, 3, 6])))
            angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.6) * h
            sheet.centre(disc, lw / 2 + far * np.cos(angle), lh / 2 + far * np.sin(angle), "lead", -9)
        return sheet.marker()

    def _company(self, sheet: Sheet, shape: tuple[int, int], h: float) -> None:
        rng = self._rng
        lh, lw = shape
        size, gap = h * rng.uniform(0.25, 1.0), h * rng.uniform(-0.12, 0.12)
        text = words.initials(rng)
        item = sheet.item(1)
        item = max(item, COMPANY)
        how = rng.random()
        if how < 0.45:
            mask = self._glyph(text, size)
            x = (lw - mask.shape[1]) / 2 + rng.uniform(-0.4, 0.4) * h
            sheet.put(mask, x, lh + gap if rng.random() < 0.75 else -gap - mask.shape[0], "lead", item)
        elif how < 0.65:
            mask = self._glyph(text, size)
            mask = np.ascontiguousarray(np.rot90(mask, int(rng.choice([0, 0, 1, 3]))))
            x = lw + gap if rng.random() < 0.6 else -mask.shape[1] - gap
            sheet.put(mask, x, rng.uniform(-0.3, 1.0) * max(lh - mask.shape[0], 4), "lead", item)
        elif how < 0.85:  # a staircase or a column
            x, y = float(rng.uniform(0.2, 1.1)) * lw + gap, float(rng.uniform(-0.2, 1.0)) * lh
            dx, dy = rng.uniform(-0.8, 0.9) * size * 0.6, rng.uniform(0.1, 1.0) * size * 0.6
            for character in text:
                mask = self._glyph(character, size * 0.6)
                sheet.put(mask, x, y, "lead", item)
                x, y = x + dx, y + dy
        else:  # in the angle of an L, or across the letter
            mask = self._glyph(text, size * 0.5)
            sheet.put(mask, lw * rng.uniform(0.3, 0.7), lh * rng.uniform(-0.1, 0.5), "lead", item)

    def plate(self) -> Marker:
        """A lead plate with a letter cut out of it, whole or held by bridges; or a letter on a paler plate."""
        rng = self._rng
        sheet = Sheet()
        h = float(rng.uniform(26, 44))
        letter = self._glyph(self.character(), h)
        lh, lw = letter.shape
        if rng.random() < 0.35:  # bridges of a stencil
            for _ in range(int(rng.integers(1, 3))):
                wide = max(int(rng.uniform(0.04, 0.1) * h), 1)
                if rng.random() < 0.6:
                    y = int(rng.uniform(0.2, 0.8) * lh)
                    letter[y : y + wide] = 0
                else:
                    x = int(rng.uniform(0.2, 0.8) * lw)
                    letter[:, x : x + wide] = 0
        wide, tall = int(lw + h * rng.uniform(0.2, 0.9)), int(lh + h * rng.uniform(0.2, 1.8))
        shape = rng.random()
        body = glyphs.ellipse(wide, tall) if shape < 0.25 else glyphs.rectangle(wide, tall, -1, int(rng.uniform(0, 0.5) * wide))
        if shape > 0.6:  # one end round, one end straight, as it comes in from the border
            body[: tall // 2] = 1
        row, column = int(rng.uniform(0.05, 0.95) * (tall - lh)), int((wide - lw) * rng.uniform(0.3, 0.7))
        hole = np.zeros_like(body)
        hole[row : row + lh, column : column + lw] = letter[: tall - row, : wide - column]
        item, around = sheet.item(0), sheet.item(0)
        if rng.random() < 0.8:
            sheet.put(body * (1 - hole * float(rng.uniform(0.6, 1))), 0, 0, "lead", -9)
            sheet.put(hole, 0, 0, "cut", item)
        else:
            sheet.put(body, 0, 0, "faint", -9)
            sheet.put(hole, 0, 0, "lead", item)
        sheet.put(body, 0, 0, "cut", around)
        return sheet.marker()

    def framed(self) -> Marker:
        """A letter in a ring, an oval or a box, on its own ground or on the film's, either polarity."""
        rng = self._rng
        digital = bool(rng.random() < 0.6)
        sheet = Sheet(digital)
        bright, dark = ("white", "black") if digital else ("lead", "faint")
        if digital and rng.random() < 0.25:
            bright, dark = dark, bright
        h = float(rng.uniform(22, 38))
        letter = self._glyph(self.character(), h)
        lh, lw = letter.shape
        # In a tight frame the letter's corners touch the ring.
        least = 0.35 if rng.random() < 0.6 else 0.08
        wide, tall = int(lw + h * rng.uniform(least, 1.2)), int(lh + h * rng.uniform(least, 1.0))
        if rng.random() < 0.4:
            wide = tall = max(wide, tall)
        oval, radius = rng.random() < 0.6, int(rng.uniform(0, 0.4) * h)
        solid = glyphs.ellipse(wide, tall) if oval else glyphs.rectangle(wide, tall, -1, radius)
        line = max(int(h * rng.uniform(0.04, 0.16)), 1)
        outline = glyphs.ellipse(wide, tall, line) if oval else glyphs.rectangle(wide, tall, line, radius)
        item, around = sheet.item(0), sheet.item(0)
        if rng.random() < 0.6:
            sheet.centre(solid, 0, 0, dark, -9)
        if rng.random() < 0.9:
            sheet.centre(outline, 0, 0, bright, -9)
        sheet.centre(letter, 0, 0, bright, item)
        sheet.centre(solid, 0, 0, "cut", around)
        if rng.random() < 0.2:
            text = self._glyph(words.initials(rng), h * float(rng.uniform(0.4, 0.8)))
            sheet.put(text, -text.shape[1] / 2, tall / 2 + h * rng.uniform(0, 0.2), bright, max(sheet.item(1), COMPANY))
        return sheet.marker()

    def printed(self) -> Marker:
        """A letter of the digital console: plain, outlined, with a shadow, dark on white."""
        rng = self._rng
        sheet = Sheet(True)
        letter = self._glyph(self.character(), float(rng.uniform(30, 50)))
        bright, dark = ("white", "black") if rng.random() < 0.85 else ("black", "white")
        item, around = sheet.item(0), sheet.item(0)
        style, pixels = rng.random(), int(rng.integers(1, 4))
        if style < 0.35:
            sheet.put(glyphs.grown(letter, pixels), -pixels, -pixels, dark, -9)
        elif style < 0.5:
            sheet.put(letter, pixels + 1, pixels + 1, dark, -9)
        elif style < 0.65:
            pad = int(rng.integers(3, 10))
            sheet.put(np.ones((letter.shape[0] + 2 * pad, letter.shape[1] + 2 * pad), np.float32), -pad, -pad, dark, -9)
        sheet.put(letter, 0, 0, bright, item)
        sheet.put(letter, 0, 0, "cut", around)
        if rng.random() < 0.3:
            self._company(sheet, (letter.shape[0], letter.shape[1]), 40.0)
        return sheet.marker()
