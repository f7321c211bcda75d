"""Around a kept letter: everything in its region that is neither the letter nor plain background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.frames import frame_of, grown
from radanon_node.markers.mark import Letter
from radanon_node.pipeline.types import Box, GrayFrame

Mask = NDArray[np.bool_]

# Fainter structure than this cannot be told from noise, hence not be read either.
_FAINTEST, _NOISE = 6.0, 5.0
# Where initials fill most of the box its median is theirs: then what stands out by this share of the letter's contrast is ink.
_AS_A_LETTER = 0.5
# Dark ground goes on so far beyond the box, in sizes of the letter, and nearly all of it is as dark.
_FAR, _ALL_DARK = 0.5, 0.95
# Soft edges: the letter keeps, and other ink loses, this share of the letter's larger side around it, at least 2 pixels.
_SOFT = 0.05


def soft_edge(letter: Letter) -> int:
    """Width in film pixels of the letter's soft edge."""
    return max(2, round(_SOFT * max(letter.box.width, letter.box.height)))


def halo_of(letter: Letter, rim: int) -> tuple[Box, Mask]:
    """The letter and `rim` pixels around its ink: a box (which may reach over the border) and its mask."""
    return letter.box.grown(rim), grown(np.pad(letter.mask, rim), rim)


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
    frame = frame_of(part, _placed(letter, box, 0), soft_edge(letter))
    side = max(int(0.6 * max(letter.box.width, letter.box.height)) | 1, 5)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (side, side))
    bright = np.asarray(cv2.morphologyEx(rest, cv2.MORPH_TOPHAT, kernel))
    dark = np.asarray(cv2.morphologyEx(rest, cv2.MORPH_BLACKHAT, kernel))
    hat = np.maximum(bright, dark)
    quiet = ~own if frame is None else ~own & frame.inside
    if not quiet.any():
        return None
    limit = max(_FAINTEST, _NOISE * float(np.median(hat[quiet])))
    ink = hat > limit
    if letter.bright:
        ink &= ~_ground(view, box, (dark > limit) & (bright <= limit), round(_FAR * max(letter.box.width, letter.box.height)))
    if letter.bright and limit > letter.contrast:
        ink |= bright > max(_FAINTEST, _AS_A_LETTER * letter.contrast)
    ink &= ~own
    if frame is not None:
        # The frame may stay, but for what is on its rim and as bright as ink: a bright letter's own ground may pass for a plate.
        ink &= ~(frame.drawn | (frame.outline & ~_like_ink(part, letter, box, frame.inside)))
    solid = cv2.morphologyEx(ink.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    black = grown(solid > 0, soft_edge(letter)) & ~own
    return (box, black) if black.any() else None


def _ground(view: GrayFrame, box: Box, dark: Mask, reach: int) -> Mask:
    """What is dark and goes on beyond the box as dark for `reach` pixels: the film outside the beam, no ink."""
    out = np.zeros_like(dark)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(dark.astype(np.uint8), connectivity=4)
    for number in range(1, count):
        x, y, width, height = (int(value) for value in stats[number, :4])
        beyond = []
        for touches, strip in (
            (x == 0, Box(box.x0 - reach, box.y0 + y, box.x0, box.y0 + y + height)),
            (y == 0, Box(box.x0 + x, box.y0 - reach, box.x0 + x + width, box.y0)),
            (x + width == box.width, Box(box.x1, box.y0 + y, box.x1 + reach, box.y0 + y + height)),
            (y + height == box.height, Box(box.x0 + x, box.y1, box.x0 + x + width, box.y1 + reach)),
        ):
            strip = strip.clipped(*view.shape)
            if touches and strip.width > 0 and strip.height > 0 and max(strip.width, strip.height) >= reach // 2:
                beyond.append(view[strip.y0 : strip.y1, strip.x0 : strip.x1])
        own = labels == number
        brightest = int(np.percentile(view[box.y0 : box.y1, box.x0 : box.x1][own], 95))
        out |= own & any(float((part <= brightest).mean()) >= _ALL_DARK for part in beyond)
    return out


def _like_ink(part: GrayFrame, letter: Letter, box: Box, inside: Mask) -> Mask:
    """What is as bright as a bright letter; around a letter cut out of a plate, what is as bright as the plate."""
    own, near = _placed(letter, box, 0), _placed(letter, box, 2 + soft_edge(letter)) & ~_placed(letter, box, soft_edge(letter))
    if not own.any() or not near.any():
        return np.ones_like(own)
    bright = part > (float(np.median(part[own])) + float(np.median(part[near]))) / 2
    return bright if letter.bright else bright & ~inside


def _placed(letter: Letter, box: Box, rim: int) -> Mask:
    """The letter's mask, grown by `rim`, in the coordinates of `box`."""
    out = np.zeros((box.height, box.width), np.bool_)
    own, mask = halo_of(letter, rim)
    shared = own.intersection(box)
    if shared.width > 0 and shared.height > 0:
        out[shared.y0 - box.y0 : shared.y1 - box.y0, shared.x0 - box.x0 : shared.x1 - box.x0] = mask[
            shared.y0 - own.y0 : shared.y1 - own.y0, shared.x0 - own.x0 : shared.x1 - own.x0
        ]
    return out
