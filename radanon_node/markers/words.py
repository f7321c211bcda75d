"""Side words (LEFT, RT, DROITE ...) that may stay: the whole of a region must read exactly so, and nothing else be in it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.components import components_of, crop_of, span_of
from radanon_node.markers.contrast import contrast_of
from radanon_node.markers.mark import Letter
from radanon_node.markers.ocr import SPECKS, page, reader
from radanon_node.markers.orientation import tilt_of, turned
from radanon_node.pipeline.types import Box, GrayFrame

Mask = NDArray[np.bool_]

_LEAST_CONTRAST = 0.4
# Another mark this near, in heights of the word, makes it part of a longer line.
_NEAR = 1.2
_READING_SIDE = 160


def find_word(view: GrayFrame, box: Box, words: Sequence[str]) -> tuple[Letter | None, str]:
    """The side word that a region consists of, or why there is none.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)
    box : Box
        The detection, inside the film.
    words : sequence of str
        Upper case, two characters or more.

    Returns
    -------
    word : Letter or None
        Its mask holds all of the word's ink.
    why : str
    """
    crop = crop_of(view, box, 0.25)
    low, high = span_of(crop.gray)
    level = cv2.threshold(crop.gray, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0]
    for bright in (True, False):
        ink = (crop.gray > level) if bright else (crop.gray <= level)
        inner = np.zeros_like(ink)
        inner[crop.inner.y0 : crop.inner.y1, crop.inner.x0 : crop.inner.x1] = True
        # Print has its ground all around it; a region that Otsu cuts through the middle is no word.
        if not (ink & inner).any() or (ink & ~inner).mean() > 0.02 * inner.mean():
            continue
        inside, around = float(np.median(crop.gray[ink & inner])), float(np.median(crop.gray[~ink]))
        if abs(inside - around) < max(_LEAST_CONTRAST * (high - low), 8):
            continue
        rows, columns = np.flatnonzero((ink & inner).any(1)), np.flatnonzero((ink & inner).any(0))
        word_ink = (ink & inner)[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        text = _read(word_ink, words)
        if text is None:
            continue
        at = crop.on_film(Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))
        mask = np.asarray(cv2.resize(word_ink.astype(np.uint8) * 255, (at.width, at.height), interpolation=cv2.INTER_LINEAR)) > 127
        word = Letter(text, at, mask, bright, abs(inside - around), 1.0)
        return (word, "isolated_side_word") if _alone(view, word) else (None, "not_isolated")
    return None, "no_word"


def _read(ink: Mask, words: Sequence[str]) -> str | None:
    """The one of the words that it reads as in one orientation, if it reads as no other of them in any."""
    level = turned(ink, tilt_of(ink), _READING_SIDE)
    found: set[str] = set()
    for mirrored in (False, True):
        for quarter in range(4):
            upright = np.rot90(level[:, ::-1] if mirrored else level, quarter)
            if upright.shape[1] > upright.shape[0]:
                found.add(reader()(page(upright), word=True).strip(SPECKS))
    found &= set(words)
    return found.pop() if len(found) == 1 else None


def _alone(view: GrayFrame, word: Letter) -> bool:
    height = min(word.box.width, word.box.height)
    reach = max(3, round(_NEAR * height))
    around = crop_of(view, word.box.grown(reach).clipped(*view.shape), 0.0)
    x0, y0 = word.box.x0 - around.window.x0, word.box.y0 - around.window.y0
    own = Box(*(round(value * around.scale) for value in (x0, y0, x0 + word.box.width, y0 + word.box.height)))
    for component in components_of(around, word.bright, smallest=0.6 * height * around.scale):
        shared = component.box.intersection(own)
        apart = shared.width <= 0 or shared.height <= 0
        if apart and (contrast_of(around, component) or 0.0) > 0.5 * word.contrast:
            return False
    return True
