"""A frame as the review page takes it: in all its depth, with the window a viewer begins with, or as a PNG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.pixels import display
from radanon_node.pixels.codec import Image
from radanon_node.pixels.view import palette_rgb, rgb, views, voi_table, window_bounds

_MOST = 2**24


@dataclass(frozen=True, slots=True)
class Shown:
    """One frame for a viewer.

    Parameters
    ----------
    pixels : ndarray of uint8 or uint16, shape (rows, columns) or (rows, columns, 3)
        Gray levels or red, green, blue. A signed frame is moved up by half its range, so that frames of one image compare.
    low, high : float
        The levels first shown black and white.
    inverted : bool
        `low` is white and `high` black.
    scale : int
        Pixels of the frame per pixel here, in each direction: frames of more than 16 Mi pixels are reduced.
    """

    pixels: NDArray[Any]
    low: float
    high: float
    inverted: bool
    scale: int = 1

    def png(self) -> bytes:
        """The picture as first shown, PNG without any text chunk."""
        if self.pixels.ndim == 3:
            picture: NDArray[Any] = cv2.cvtColor(self.pixels, cv2.COLOR_RGB2BGR)
        else:
            levels = (self.pixels.astype(np.float32) - self.low) * (255.0 / max(self.high - self.low, 1e-6))
            picture = np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
            picture = 255 - picture if self.inverted else picture
        done, encoded = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not done:
            raise ValueError("the PNG encoder refused the picture")
        return bytes(encoded)


def shown(image: Image, index: int) -> Shown:
    """Frame `index` for a viewer; where tables or depth stand in the way of a window, the main view of `views`.

    Raises
    ------
    HoldInstance
        As ``Image.frame``.
    """
    values = image.frame(index)
    told, dataset = image.description, image.instance.dataset
    if image.samples == 3:
        return _reduced(Shown(rgb(image, values), 0, 255, False))
    if image.photometric == "PALETTE COLOR":
        found = display.palette(dataset)
        if found is not None:
            return _reduced(Shown(palette_rgb(values, found), 0, 255, False))
    plain = told.bits_allocated in (8, 16) and not told.floating and image.photometric != "PALETTE COLOR"
    if not plain or voi_table(image) is not None:
        return _reduced(Shown(views(image, index)[0], 0, 255, False))
    padding = display.numbers(dataset, "PixelPaddingValue")
    least, low, high, most = display.percentiles(values, padding[0] if padding else None, (0, 0.1, 99.9, 100))
    bounds = window_bounds(image)
    if bounds is not None and bounds[0] < most and bounds[1] > least:
        low, high = bounds
    offset = 1 << (told.bits_allocated - 1) if told.signed else 0
    dtype = np.uint8 if told.bits_allocated == 8 else np.uint16
    levels = (values.astype(np.int32) + offset).astype(dtype) if told.signed else values.astype(dtype, copy=False)
    return _reduced(Shown(levels, low + offset, max(high, low + 1) + offset, display.is_inverted(dataset, image.photometric)))


def _reduced(one: Shown) -> Shown:
    rows, columns = one.pixels.shape[:2]
    scale = int(np.ceil((rows * columns / _MOST) ** 0.5))
    if scale <= 1:
        return one
    size = max(1, columns // scale), max(1, rows // scale)
    return Shown(np.asarray(cv2.resize(one.pixels, size, interpolation=cv2.INTER_AREA)), one.low, one.high, one.inverted, scale)
