"""Coverage masks of letters, words and drawn shapes: float32 arrays of 0..1 that a painter lays on a film."""

from __future__ import annotations

import unicodedata
import zlib
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_WHITE = np.float32(255)
Mask = NDArray[np.float32]

_FONT_FOLDERS = (Path("/usr/share/fonts/truetype"), Path("/usr/share/fonts/opentype"), Path("/usr/local/share/fonts"))
_NOWHERE = "\U0010ffff"
_HERSHEY = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
_SCRIPT = (cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX)


@lru_cache(maxsize=1)
def fonts() -> tuple[str, ...]:
    """Scalable fonts of this machine; empty where there are none (Pillow's own and OpenCV's stroke fonts are always there)."""
    return tuple(p for p in _installed() if "Math" not in p and "Fallback" not in p)


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    return tuple(str(p) for folder in _FONT_FOLDERS if folder.is_dir() for p in sorted(folder.rglob("*.[to]tf")))


@lru_cache(maxsize=4096)
def covers(font: str, text: str) -> bool:
    """Whether a font has a glyph for every character; without one it draws an empty box.

    Parameters
    ----------
    font : str
        One of `fonts()`, or empty for Pillow's own.
    text : str
    """
    face = _font(font, 24)
    # A code point that no font has: what is drawn for it is what is drawn for every character that is missing.
    missing = bytes(face.getmask(_NOWHERE))
    return all(bytes(face.getmask(c)) != missing for c in set(text) if not c.isspace())


@lru_cache(maxsize=4096)
def font_for(text: str, font: str = "") -> str | None:
    """`font` if it can draw the text, else one of this machine that can, always the same for a text; None if there is none."""
    if covers(font, text):
        return font
    able = [f for f in (*fonts(), *(f for f in _installed() if "Fallback" in f)) if covers(f, text)]
    return able[zlib.crc32(text.encode()) % len(able)] if able else None


def _drawable(text: str, font: str) -> tuple[str, str]:
    """The text and a font that has its characters; without such a font the text in plain Latin letters."""
    able = font_for(text, font)
    if able is not None:
        return text, able
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().strip()
    return plain or "".join("ABDEHKMNOPRSTUXY"[ord(c) % 16] for c in text), ""


@lru_cache(maxsize=512)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)


def trim(mask: Mask) -> Mask:
    """Without empty rows and columns at the border."""
    rows, columns = np.flatnonzero(mask.max(1) > 0.02), np.flatnonzero(mask.max(0) > 0.02)
    if not rows.size:
        return mask[:1, :1]
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def word(text: str, height: int, font: str = "", weight: int = 0, spacing: int = 0) -> Mask:
    """A word in a scalable font.

    Parameters
    ----------
    text : str
    height : int
        Nominal font size in pixels; capitals are about 0.7 of it.
    font : str
        One of `fonts()`; empty = Pillow's own. Where it lacks a character another one of this machine is taken.
    weight : int
        Extra stroke in pixels.
    spacing : int
        Extra pixels between letters.
    """
    text, font = _drawable(text, font)
    face = _font(font, max(height, 4))
    if spacing <= 0 or len(text) < 2:
        return _draw(text, face, weight)
    pieces = [_draw(c, face, weight, whole=True) for c in text]
    gap = np.zeros((max(p.shape[0] for p in pieces), spacing), np.float32)
    row: list[Mask] = []
    for p in pieces:
        row += [np.pad(p, ((0, gap.shape[0] - p.shape[0]), (0, 0))), gap]
    return trim(np.hstack(row))


def _draw(text: str, face: ImageFont.FreeTypeFont | ImageFont.ImageFont, weight: int, whole: bool = False) -> Mask:
    left, top, right, bottom = face.getbbox(text, stroke_width=weight) if isinstance(face, ImageFont.FreeTypeFont) else face.getbbox(text)
    width, height = int(right - min(left, 0)) + 2, int(bottom - min(top, 0)) + 2
    image = Image.new("L", (max(width, 1), max(height, 1)))
    ImageDraw.Draw(image).text((-min(left, 0) + 1, -min(top, 0) + 1), text, 255, font=face, stroke_width=weight)
    mask = np.asarray(image, np.float32) / _WHITE
    return mask if whole else trim(mask)


def stroked(text: str, height: int, thickness: int, rng: np.random.Generator, script: bool = False) -> Mask:
    """A word in a stroke font, as bent lead, engraving or handwriting shows it; what is not ASCII in a scalable font."""
    if not text.isascii():
        return word(text, round(max(height, 6) * 1.4), weight=max(thickness // 3, 0))
    face = int(rng.choice(_SCRIPT if script else _HERSHEY))
    scale = max(height, 6) / 22
    thickness = max(thickness, 1)
    (w, h), base = cv2.getTextSize(text, face, scale, thickness)
    canvas = np.zeros((h + base + 2 * thickness + 4, w + 2 * thickness + 4), np.uint8)
    cv2.putText(canvas, text, (thickness + 2, h + thickness + 1), face, scale, 255, thickness, cv2.LINE_AA)
    return trim(canvas.astype(np.float32) / _WHITE)


def bars(letter: str, height: int, stroke: int) -> Mask:
    """A plain L, T, I, V or other letter of straight bars, the commonest lead letter."""
    width = max(int(height * 0.62), stroke + 2)
    canvas = np.zeros((height, width), np.float32)
    if letter == "L":
        canvas[:, :stroke] = 1
        canvas[-stroke:] = 1
        return canvas
    text, font = _drawable(letter, _bold())
    return _draw(text, _font(font, int(height * 1.36)), max(stroke // 8, 0))


@lru_cache(maxsize=1)
def _bold() -> str:
    wanted = [f for f in fonts() if "Narrow-Bold.ttf" in f or "SansBold.ttf" in f or "Sans-Bold.ttf" in f]
    return wanted[0] if wanted else ""


def stretch(mask: Mask, width: float, height: float) -> Mask:
    """Scaled by factors, with area averaging where it shrinks."""
    size = (max(round(mask.shape[1] * width), 1), max(round(mask.shape[0] * height), 1))
    shrinks = width < 1 or height < 1
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.float32)


def _empty(height: int, width: int) -> NDArray[np.uint8]:
    return np.zeros((max(height, 1), max(width, 1)), np.uint8)


def ellipse(width: int, height: int, line: int = -1) -> Mask:
    """Filled (`line` < 0) or a ring of `line` pixels."""
    canvas = _empty(height, width)
    inset = max(line, 0) // 2 + 1
    cv2.ellipse(
        canvas, (width // 2, height // 2), (max(width // 2 - inset, 1), max(height // 2 - inset, 1)), 0, 0, 360, 255, line, cv2.LINE_AA
    )
    return canvas.astype(np.float32) / _WHITE


def rectangle(width: int, height: int, line: int = -1, radius: int = 0) -> Mask:
    """Filled or outlined, corners rounded by `radius` pixels."""
    canvas = _empty(height, width)
    radius = min(radius, width // 2, height // 2)
    cv2.rectangle(canvas, (radius, 0), (width - 1 - radius, height - 1), 255, -1)
    cv2.rectangle(canvas, (0, radius), (width - 1, height - 1 - radius), 255, -1)
    for x in (radius, width - 1 - radius):
        for y in (radius, height - 1 - radius):
            cv2.circle(canvas, (x, y), radius, 255, -1, cv2.LINE_AA)
    if line > 0 and min(width, height) > 2 * line + 2:
        inner = rectangle(width - 2 * line, height - 2 * line, -1, max(radius - line, 0))
        canvas[line:-line, line:-line] = ((1 - inner) * 255).astype(np.uint8)
    return canvas.astype(np.float32) / _WHITE


def arrow(length: int, width: int, filled: bool = True) -> Mask:
    """Pointing up."""
    canvas = _empty(length, width)
    c, head = width / 2, length * 0.45
    shaft = max(width * 0.18, 1)
    points = [(c, 0), (width - 1, head), (c + shaft, head), (c + shaft, length - 1), (c - shaft, length - 1), (c - shaft, head), (0, head)]
    polygon = np.array(points, np.int32)
    if filled:
        cv2.fillPoly(canvas, [polygon], 255, cv2.LINE_AA)
    else:
        cv2.polylines(canvas, [polygon], True, 255, max(width // 12, 1), cv2.LINE_AA)
    return canvas.astype(np.float32) / _WHITE


def grown(mask: Mask, pixels: int) -> Mask:
    """Dilated, on a canvas larger by `pixels` on every side."""
    padded = np.pad(mask, pixels)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate(padded, kernel), np.float32)
