"""Around a kept letter: everything in its region that is neither the letter nor plain background."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.letters import Letter
from radanon_node.pipeline.types import Box, GrayFrame

Mask = NDArray[np.bool_]

# Fainter structure than this cannot be told from noise, hence not be read either.
_FAINTEST, _NOISE = 6.0, 5.0
# Soft edges: the letter keeps, and other ink loses, this share of the letter's larger side around it, at least 2 pixels.
_SOFT = 0.05


def soft_edge(letter: Letter) -> int:
    """Width in film pixels of the letter's soft edge."""
    return max(2, round(_SOFT * max(letter.box.width, letter.box.height)))


def halo_of(letter: Letter) -> tuple[Box, Mask]:
    """The letter with its soft edge: a box (which may reach over the border) and its mask."""
    rim = soft_edge(letter)
    padded = np.pad(letter.mask.astype(np.uint8), rim)
    return letter.box.grown(rim), cv2.dilate(padded, _disc(rim)) > 0


def leftovers(view: GrayFrame, box: Box, letter: Letter) -> tuple[Box, Mask] | None:
    """Ink of a region that is not the letter's.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)
    box : Box
        The detection, inside the film.
    letter : Letter

    Returns
    -------
    (Box, ndarray of bool) or None
        `box` and the pixels to black out, soft edges included; None if the letter stands on plain background.
    """
    part = view[box.y0 : box.y1, box.x0 : box.x1]
    own = _placed(letter, box, soft_edge(letter))
    # The letter itself must not count as structure: it is filled with what surrounds it.
    rest = cv2.inpaint(part, own.astype(np.uint8), 3, cv2.INPAINT_NS) if own.any() else part
    frame, inside = _frame(part, letter, box)
    side = max(int(0.6 * max(letter.box.width, letter.box.height)) | 1, 5)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (side, side))
    hat = cv2.max(cv2.morphologyEx(rest, cv2.MORPH_TOPHAT, kernel), cv2.morphologyEx(rest, cv2.MORPH_BLACKHAT, kernel))
    quiet = ~own if frame is None else ~own & inside
    if not quiet.any():
        return None
    limit = max(_FAINTEST, _NOISE * float(np.median(hat[quiet])))
    ink = (np.asarray(hat) > limit) & ~own
    if frame is not None:
        ink &= ~frame
    solid = cv2.morphologyEx(ink.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    grown = (cv2.dilate(solid, _disc(soft_edge(letter))) > 0) & ~own
    return (box, grown) if grown.any() else None


def _frame(part: GrayFrame, letter: Letter, box: Box) -> tuple[Mask | None, Mask]:
    """Ring, oval, box or plate around the letter: its ink (or, of a plate, its rim), and what lies inside."""
    nothing = np.zeros(part.shape, np.bool_)
    own = _placed(letter, box, 0)
    around = _placed(letter, box, 2 + soft_edge(letter)) & ~_placed(letter, box, soft_edge(letter))
    if not own.any() or not around.any():
        return None, nothing
    level = (float(np.median(part[own])) + float(np.median(part[around]))) / 2
    for bright in (True, False):
        binary = ((part > level) if bright else (part < level)).astype(np.uint8)
        contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for contour in contours:
            filled = np.zeros(part.shape, np.uint8)
            cv2.drawContours(filled, [contour], -1, 1, -1)
            if not filled[own].all() or (filled > 0).sum() < 1.5 * own.sum() or filled.all():
                continue
            rim = max(3, soft_edge(letter))
            edge = (cv2.dilate(filled, _disc(rim)) > 0) & (cv2.erode(filled, _disc(rim), borderValue=1) == 0)
            ink = binary * filled
            if bright == letter.bright:
                ring = (cv2.dilate((ink > 0).astype(np.uint8) * (1 - own.astype(np.uint8)), _disc(2)) > 0) & ~own
                edge |= ring & _touches(np.asarray(ink, np.uint8), np.asarray(contour))
            return edge, filled > 0
    return None, nothing


def _touches(ink: NDArray[np.uint8], contour: NDArray[Any]) -> Mask:
    """The component of `ink` that the outer contour runs along, slightly grown."""
    _, labels = cv2.connectedComponents(ink, connectivity=8)
    x, y = contour[0, 0]
    return cv2.dilate((labels == labels[y, x]).astype(np.uint8), _disc(2)) > 0


def _placed(letter: Letter, box: Box, rim: int) -> Mask:
    """The letter's mask, grown by `rim`, in the coordinates of `box`."""
    out = np.zeros((box.height, box.width), np.bool_)
    mask = cv2.dilate(np.pad(letter.mask.astype(np.uint8), rim), _disc(rim)) > 0 if rim else letter.mask
    own = letter.box.grown(rim)
    shared = own.intersection(box)
    if shared.width > 0 and shared.height > 0:
        out[shared.y0 - box.y0 : shared.y1 - box.y0, shared.x0 - box.x0 : shared.x1 - box.x0] = mask[
            shared.y0 - own.y0 : shared.y1 - own.y0, shared.x0 - own.x0 : shared.x1 - own.x0
        ]
    return out


def _disc(radius: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)
