"""What a letter may stand in: a drawn ring, oval or box, or a lead or acrylic plate it is cut out of."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.pipeline.types import GrayFrame

Mask = NDArray[np.bool_]


_BEYOND = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame around a letter, in the coordinates of the picture it was looked for in.

    Parameters
    ----------
    outline : ndarray of bool
        The ring's own ink, or the rim of a plate.
    inside : ndarray of bool
        Everything within, the letter included.
    drawn : ndarray of bool
        The line of a ring, soft edges included; nothing for a plate.
    """

    outline: Mask
    inside: Mask
    drawn: Mask

    def holds(self, mask: Mask, x: int, y: int) -> bool:
        """Does a component whose mask begins at column `x`, row `y` lie within?"""
        return bool(self.inside[y : y + mask.shape[0], x : x + mask.shape[1]][mask].mean() > 0.5)


def disc(radius: int) -> NDArray[np.uint8]:
    """A round structuring element."""
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


def grown(mask: Mask, radius: int) -> Mask:
    """`mask` dilated by a disc."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc(radius)), np.bool_) if radius > 0 else mask


def frame_of(picture: GrayFrame, ink: Mask, soft: int) -> Frame | None:
    """The frame around a glyph, if there is one.

    Parameters
    ----------
    picture : ndarray of uint8, shape (rows, columns)
    ink : ndarray of bool, same shape
        The glyph.
    soft : int
        Width of soft edges in pixels.

    Returns
    -------
    Frame or None
    """
    around = grown(ink, 2 + soft) & ~grown(ink, soft)
    if not ink.any() or not around.any():
        return None
    own, ground = float(np.median(picture[ink])), float(np.median(picture[around]))
    level = (own + ground) / 2
    # A ring is as bright (or dark) as the letter, a plate is what the letter stands on.
    for as_letter in (True, False):
        bright = (own > level) == as_letter
        binary = ((picture > level) if bright else (picture < level)).astype(np.uint8)
        contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for contour in contours:
            _, _, width, height = cv2.boundingRect(contour)
            if width * height < 1.3 * ink.sum() or (width, height) == picture.shape[::-1]:
                continue
            filled = np.zeros(picture.shape, np.uint8)
            cv2.drawContours(filled, [contour], -1, 1, -1)
            if not filled[ink].all() or (filled > 0).sum() < 1.5 * ink.sum():
                continue
            rim = max(3, soft)
            # Outwards more: a plate has a ring, a ring a drawn edge and the corners of its box.
            beyond = grown(filled > 0, max(rim, round(_BEYOND * min(width, height))))
            outline = beyond & (np.asarray(cv2.erode(filled, disc(rim), borderValue=1)) == 0)
            line = np.zeros_like(outline)
            if as_letter:
                start = contour[0, 0]
                _, labels = cv2.connectedComponents(binary, connectivity=8)
                ring = labels == labels[start[1], start[0]]
                if (ring & ink).any():
                    continue
                line = grown(ring, 2) & ~ink
            return Frame((outline | line) & ~ink, filled > 0, line)
    return None
