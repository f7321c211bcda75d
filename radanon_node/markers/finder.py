"""Which pixels around a detection are those of one isolated character? A small network's proposal; evidence judges it afterwards.

The connected components of a thresholded region are one object wherever initials touch a letter, and none at all where a plate
runs out of the film or a bridge of lead holds a stencil together. The network has learnt what belongs to the letter there. It
proposes only: what it marks must still be read, stand out, and stand alone like any other component.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.components import Component, Crop, labelled
from radanon_node.markers.frames import grown
from radanon_node.markers.packaged import open_packaged
from radanon_node.pipeline.types import Box, GrayFrame

SIDE = 64
"""Rows and columns of the network's picture."""
REACH = 1.5
"""The picture's side in film pixels, as a multiple of the detection's larger side."""
_DATA = Path(__file__).with_name("data")
_LEAST_RANGE = 8.0
_RIM = 0.06
MARKED, NEAR = 0.5, 0.2
"""Above the first a pixel is the character's; above the second it may be, if it is as bright."""


def window_of(box: Box) -> Box:
    """The square of film around a detection that the network looks at; it may reach over the border."""
    side = max(round(REACH * max(box.width, box.height)), 4)
    x0, y0 = (box.x0 + box.x1 - side) // 2, (box.y0 + box.y1 - side) // 2
    return Box(x0, y0, x0 + side, y0 + side)


def picture_of(view: GrayFrame, box: Box) -> NDArray[np.float32]:
    """The network's input for one detection.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)
    box : Box
        Inside the film.

    Returns
    -------
    ndarray of float32, shape (2, SIDE, SIDE)
        The film, stretched between the dark and the bright end of the detection, black beyond the border; and the detection.
    """
    window = window_of(box)
    inside = window.clipped(*view.shape)
    side = window.width
    part = cv2.copyMakeBorder(
        view[inside.y0 : inside.y1, inside.x0 : inside.x1],
        inside.y0 - window.y0, window.y1 - inside.y1, inside.x0 - window.x0, window.x1 - inside.x1, cv2.BORDER_CONSTANT, value=0,
    )
    gray = cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_AREA if side > SIDE else cv2.INTER_LINEAR)
    corners = ((box.x0 - window.x0) / side, (box.y0 - window.y0) / side, (box.x1 - window.x0) / side, (box.y1 - window.y0) / side)
    return stretched(np.asarray(gray, np.float32), corners)


def stretched(gray: NDArray[np.float32], corners: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """Both channels from the gray levels of the window and the detection's corners in shares of it."""
    x0, y0, x1, y1 = (min(max(round(value * SIDE), 0), SIDE) for value in corners)
    rim = round(_RIM * SIDE)
    core = gray[max(y0 - rim, 0) : max(y1 + rim, 1), max(x0 - rim, 0) : max(x1 + rim, 1)]
    low, high = (float(value) for value in np.percentile(core, (1, 99)))
    out = np.zeros((2, SIDE, SIDE), np.float32)
    out[0] = np.clip((gray - low) / max(high - low, _LEAST_RANGE), -0.5, 1.5) - 0.5
    out[1, y0:y1, x0:x1] = 1
    return out


@cache
def _session() -> Any:
    return open_packaged(_DATA / "finder.onnx", "the letter finder")


def find(view: GrayFrame, box: Box) -> NDArray[np.float32]:
    """The probability of each pixel around a detection to be ink of its one isolated character.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)
    box : Box
        Inside the film, not empty.

    Returns
    -------
    ndarray of float32, shape (SIDE, SIDE)
        Of `window_of` the box.

    Raises
    ------
    HoldInstance
        ``MODEL_MISSING`` when the network's file is missing or altered.
    """
    ink: NDArray[np.float32] = _session().run(None, {"pictures": picture_of(view, box)[None]})[0][0, 0]
    return ink


def find_in(view: GrayFrame, box: Box, crop: Crop) -> NDArray[np.float32]:
    """`find` in the working pixels of a detection's crop, shape of ``crop.gray``."""
    window = window_of(box)
    zoom = SIDE / window.width
    # From working pixels to the network's: both are looked at pixel centres.
    at = [
        (edge - other + 0.5 / crop.scale) * zoom - 0.5
        for edge, other in ((crop.window.x0, window.x0), (crop.window.y0, window.y0))
    ]
    matrix = np.array([[zoom / crop.scale, 0, at[0]], [0, zoom / crop.scale, at[1]]])
    size = crop.gray.shape[::-1]
    return np.asarray(cv2.warpAffine(find(view, box), matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP), np.float32)


def proposals(crop: Crop, likely: NDArray[np.float32]) -> list[Component]:
    """What the network takes for the one character of a detection, as components of its working copy.

    Parameters
    ----------
    crop : Crop
        The detection's working copy.
    likely : ndarray of float32, shape of ``crop.gray``
        `find_in` of it.

    Returns
    -------
    list of Component
        Each called cut off: where the character ends is the network's guess. First what is marked, then what of its surely marked part's
        polarity lies in and next to it.
    """
    marked = likely > MARKED
    around = grown(marked, 6) & (likely < NEAR)
    if not marked.any() or not around.any():
        return []
    own, ground = float(np.median(crop.gray[marked])), float(np.median(crop.gray[around]))
    bright, level = own > ground, (own + ground) / 2
    inked = ((crop.gray > level) if bright else (crop.gray < level)) & (likely > NEAR)
    found: list[Component] = []
    for mask in (marked, inked):
        parts = list(labelled(mask.astype(np.uint8), crop, bright, True, None))
        if parts:
            found.append(max(parts, key=lambda part: int(part.mask.sum())))
    return found
