"""Synthetic screens of every modality with known text: what the text pass is measured on. All identities are made up.

A screen is a picture as a scanner saves it (ultrasound with banner, depth scale and speckle; slices with corner texts; angiograms;
endoscopy; dose reports; photographs) with text of many fonts, sizes, contrasts and tilts, of which box, ink and content are known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from radanon_node.pipeline.types import Box, GrayFrame
from radanon_node.training.screen_grounds import draw_furniture, grain, ground

FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts")
_LAST = ("SMITH", "JONES", "MUELLER", "NOVAK", "GARCIA", "ROSSI", "KOWALSKA", "SVENSSON", "IVANOVA", "TANAKA", "OKAFOR", "HORVAT",
         "Petrauskas", "Dubois", "Hansen", "O'Brien", "van der Berg", "Nguyen", "Li", "Kazlauskiene")
_FIRST = ("JOHN", "MARY", "ANNA", "PETER", "Jose", "Maria", "HANS", "EVA", "Luca", "Jan", "Olga", "Ali", "WEI", "Jonas", "Ruta")
_PLACES = ("CITY HOSPITAL", "St. Anna Klinik", "University Hospital", "MEDICAL CENTER", "Dept. Radiology", "Room 3", "Dr. House", "Op: KM")
_HARMLESS = {
    "any": ("Zoom 1.5x", "W 400", "L 40", "W:350 L:50", "5 cm", "10 mm"),
    "US": ("TIs 0.6", "MI 1.1", "TIb 0.4", "FR 34Hz", "FR 27 Hz", "Gain 45%", "DR 60", "12.5 cm", "15cm", "5.0 MHz", "PRF 1.5kHz",
           "WF 80 Hz", "Gen", "Res", "2D", "THI", "54 dB", "18 fps", "Depth 12 cm", "Dist 2.34 cm"),
    "CT": ("120 kV", "kV 120", "mA 250", "ST 5 mm", "FOV 380 mm", "5.0 mm", "-35 HU"),
    "MR": ("TR 500", "TE 12", "FA 90", "TR 4500 ms", "ST 4 mm", "FOV 240 mm"),
    "XA": ("LAO 30", "RAO 15", "CRAN 20", "80 kV", "15 fps", "SID 110 cm"),
}


@dataclass(frozen=True, slots=True, eq=False)
class ScreenText:
    """One drawn text.

    Parameters
    ----------
    text : str
    box : Box
        Tight around its ink.
    ink : ndarray of bool, shape (box.height, box.width)
        Pixels that differ visibly from what was there before.
    identity : bool
        Whether it must go (True) or is on the allow-list of harmless words.
    size : int
        Font size, pixels.
    contrast : float
        Gray levels between the text and the mean of what is around it.
    tilt : float
        Degrees, counter-clockwise.
    frames : tuple of int or None
        In loops: the frames that show it; None means all.
    """

    text: str
    box: Box
    ink: NDArray[np.bool_]
    identity: bool
    size: int
    contrast: float
    tilt: float
    frames: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Screen:
    """A drawn screen and its texts."""

    modality: str
    pixels: GrayFrame
    texts: tuple[ScreenText, ...]


@dataclass(slots=True, eq=False)
class _Canvas:
    pixels: GrayFrame
    texts: list[ScreenText] = field(default_factory=list)
    taken: list[Box] = field(default_factory=list)


@lru_cache(maxsize=1)
def font_files() -> tuple[str, ...]:
    """TrueType fonts of this machine that can draw Latin text, sorted."""
    found = [path for folder in FONT_FOLDERS for path in Path(folder).rglob("*.ttf") if "Math" not in path.name]
    return tuple(sorted(map(str, found)))


@lru_cache(maxsize=512)
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


def identity_text(rng: np.random.Generator) -> str:
    """A made-up name, number, date, age, time or place as screens show it."""
    last, first = str(rng.choice(_LAST)), str(rng.choice(_FIRST))
    day, month, year = int(rng.integers(1, 29)), int(rng.integers(1, 13)), int(rng.integers(1925, 2026))
    number = "".join(map(str, rng.integers(0, 10, int(rng.integers(5, 11)))))
    clock = ":".join(f"{int(rng.integers(0, limit)):02d}" for limit in (24, 60, 60))
    choices = (
        f"{last}, {first}", f"{last}^{first}", f"{first} {last}", last, f"{last}, {first[0]}. {int(rng.integers(20, 90))} y F",
        f"ID {number}", number, f"MRN: {number}", f"Acc {number}", str(rng.choice(_PLACES)), clock, f"{int(rng.integers(1, 99)):03d}Y",
        f"{day:02d}.{month:02d}.{year}", f"{year}-{month:02d}-{day:02d}", f"{month:02d}/{day:02d}/{year % 100:02d}",
        f"DOB {day}.{month}.{year}")
    return str(rng.choice(choices))


def harmless_text(modality: str, rng: np.random.Generator) -> str:
    """A word that the allow-list of the modality keeps."""
    own = _HARMLESS.get("XA" if modality == "RF" else modality, ())
    return str(rng.choice((*own, *own, *_HARMLESS["any"])))


def draw_text(canvas: _Canvas, text: str, identity: bool, size: int, contrast: float, tilt: float, rng: np.random.Generator,
              at: tuple[int, int] | None = None) -> bool:
    """Draw one text where nothing else stands; False if no place was found in 30 tries."""
    rows, columns = canvas.pixels.shape
    mask = _text_mask(text, size, tilt, str(rng.choice(font_files())))
    height, width = mask.shape
    if height >= rows or width >= columns:
        return False
    for _ in range(30 if at is None else 1):
        x, y = at if at is not None else (int(rng.integers(0, columns - width)), int(rng.integers(0, rows - height)))
        box = Box(x, y, x + width, y + height)
        # A free strip around it: two texts that touch are one line to any detector.
        reach = Box(x - size, y - size // 2, box.x1 + size, box.y1 + size // 2)
        if any(reach.intersection(other).width > 0 and reach.intersection(other).height > 0 for other in canvas.taken):
            continue
        around = canvas.pixels[y:box.y1, x:box.x1].astype(np.float32)
        level = _level(around, contrast, rng)
        if level is None:
            continue
        after = around + mask * (level - around)
        ink = (mask > 0.35)
        canvas.pixels[y:box.y1, x:box.x1] = after.astype(np.uint8)
        canvas.texts.append(ScreenText(text, box, ink, identity, size, abs(level - float(around.mean())), tilt))
        canvas.taken.append(box)
        return True
    return False


def _level(around: NDArray[np.float32], contrast: float, rng: np.random.Generator) -> float | None:
    mean, spread = float(around.mean()), float(around.std())
    if spread > 0.35 * contrast:  # text as bright as the speckle around it is no text that anybody could read
        return None
    levels = [level for level in (mean + contrast, mean - contrast) if 0 <= level <= 255]
    return float(rng.choice(levels)) if levels else None


def _text_mask(text: str, size: int, tilt: float, font: str) -> NDArray[np.float32]:
    face = _font(font, size)
    left, top, right, bottom = (int(edge) for edge in face.getbbox(text))
    picture = Image.new("L", (right - left + 4, bottom - top + 4), 0)
    ImageDraw.Draw(picture).text((2 - left, 2 - top), text, font=face, fill=255)
    if tilt:
        picture = picture.rotate(tilt, resample=Image.Resampling.BICUBIC, expand=True)
    mask: NDArray[np.float32] = np.asarray(picture, np.float32) / np.float32(255)
    ys, xs = np.nonzero(mask > 0.1)
    return mask[ys.min():ys.max() + 1, xs.min():xs.max() + 1]


def make_screen(modality: str, rng: np.random.Generator, identities: int = 8, harmless: int = 6, sizes: tuple[int, int] = (8, 60),
                contrasts: tuple[int, int] = (30, 220), tilted: float = 0.1) -> Screen:
    """Draw one screen.

    Parameters
    ----------
    modality : str
        A key of `screen_grounds.SIZES`; others are drawn as slices.
    rng : numpy Generator
    identities, harmless : int
        How many texts of each kind are tried.
    sizes, contrasts : (int, int)
        Ranges; sizes are drawn evenly over their logarithm.
    tilted : float
        Part of the identities that are turned, by any angle.
    """
    canvas = _Canvas(ground(modality, rng))
    draw_furniture(canvas.pixels, modality, rng)
    for index in range(identities + harmless):
        identity = index < identities
        low, high = sizes if identity else (max(sizes[0], 10), min(sizes[1], 28))
        size = round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
        contrast = float(rng.uniform(*contrasts)) if identity else float(rng.uniform(max(80, contrasts[0]), 220))
        tilt = float(rng.choice([90, 270, rng.uniform(-45, 45)])) if identity and rng.random() < tilted else 0.0
        draw_text(canvas, identity_text(rng) if identity else harmless_text(modality, rng), identity, size, contrast, tilt, rng)
    return Screen(modality, canvas.pixels, tuple(canvas.texts))


def ink_mask(screen: Screen) -> NDArray[np.uint8]:
    """What each pixel of a screen is: 0 no text, 1 ink of an identity, 2 of a harmless word; shape (rows, columns)."""
    mask = np.zeros(screen.pixels.shape, np.uint8)
    for one in screen.texts:
        part = mask[one.box.y0:one.box.y1, one.box.x0:one.box.x1]
        part[one.ink] = 1 if one.identity else 2
    return mask


def make_loop(modality: str, rng: np.random.Generator, frames: int, static: int = 8, moving: int = 1) -> tuple[list[GrayFrame], Screen]:
    """Draw a cine loop: grain that changes with every frame, static text, a running clock and text that moves for part of the loop.

    Parameters
    ----------
    modality : str
    rng : numpy Generator
    frames : int
    static, moving : int
        How many texts of each kind.

    Returns
    -------
    list of GrayFrame
    Screen
        The first frame's picture with all texts; a text of one frame names it in ``frames``.
    """
    still = ground(modality, rng).astype(np.float32) * 0.6  # what is drawn over it can be read everywhere
    rows, columns = still.shape
    overlay = _Canvas(np.zeros((rows, columns), np.uint8))
    draw_furniture(overlay.pixels, modality, rng)
    for _ in range(static):
        draw_text(overlay, identity_text(rng), True, int(rng.integers(10, 26)), 200.0, 0.0, rng)
    texts = list(overlay.texts)
    font = str(rng.choice(font_files()))
    walkers = [(_text_mask(identity_text(rng), int(rng.integers(12, 22)), 0.0, font), int(rng.integers(rows // 4, rows * 3 // 4)))
               for _ in range(moving)]
    pictures = []
    for number in range(frames):
        speckle = np.hypot(grain(rows, columns, 3, rng), grain(rows, columns, 3, rng)) * 0.35 + 0.6
        picture = np.asarray(np.where(overlay.pixels > 0, overlay.pixels, np.clip(still * speckle, 0, 255)), np.uint8)
        clock = f"{number // 60 % 24:02d}:{number % 60:02d}"
        drawn = [(clock, _text_mask(clock, 14, 0.0, font), rows - 60, columns - 120)]
        drawn += [("moving", mask, y, columns // 5 + 7 * number) for mask, y in walkers if frames // 5 <= number < frames * 3 // 5]
        for text, mask, y, x in drawn:
            box = Box(x, y, x + mask.shape[1], y + mask.shape[0])
            if box.x1 > columns or box.y1 > rows:
                continue
            around = picture[y:box.y1, x:box.x1].astype(np.float32)
            picture[y:box.y1, x:box.x1] = (around + mask * (240 - around)).astype(np.uint8)
            texts.append(ScreenText(text, box, mask > 0.35, True, 14, 240 - float(around.mean()), 0.0, (number,)))
        pictures.append(picture)
    return pictures, Screen(modality, pictures[0], tuple(texts))
