"""What the detectors look at: a frame as a person sees it on a screen, in 8 bits, and once more where that hides something."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.pipeline.types import GrayFrame
from radanon_node.pixels import display
from radanon_node.pixels.codec import Image

_CLIPPED = 0.004
"""Share of the picture at full white (or black) with differences in it, above which it gets a view of its own."""
_CROWDED = 0.25
"""Share of the picture in the brightest tenth of the scale, above which that tenth is stretched in a view of its own."""
_COLOURED = 48
"""Difference of a channel to the luma, out of 255, above which coloured text may be invisible in gray."""


def views(image: Image, index: int) -> list[GrayFrame]:
    """Frame `index` as a person sees it, and again where that hides text.

    Parameters
    ----------
    image : Image
    index : int
        0-based frame number.

    Returns
    -------
    list of ndarray of uint8, shape (rows, columns), 0 = displayed black
        The first is the main view: modality LUT, then VOI LUT or window if the data set has one, else the range between the
        0.1st and 99.9th percentile; MONOCHROME1 inverted; colour as luma. Others follow only where the first clips values that
        differ (a second window), crowds the picture into its brightest tenth (that tenth stretched), or shows as gray what
        differs in colour (the strongest channel).

    Raises
    ------
    HoldInstance
        As ``Image.frame``.
    """
    values = image.frame(index)
    if image.samples == 3:
        return _from_rgb(rgb(image, values))
    if image.photometric == "PALETTE COLOR":
        return _palette(image, values)
    if image.description.bits_allocated == 1:
        shown = values * np.uint8(255)
        return [255 - shown if image.photometric == "MONOCHROME1" else shown]
    return _gray(image, values)


def main_view(image: Image, index: int) -> GrayFrame:
    """The first of `views` alone, without the search for what it hides."""
    told = image.description
    if image.samples == 3 or image.photometric == "PALETTE COLOR" or told.bits_allocated == 1:
        return views(image, index)[0]
    return _shown(image, image.frame(index))[0]


def _shown(image: Image, values: NDArray[Any]) -> tuple[GrayFrame, float, float, float, float]:
    """The main view of a gray frame; the stored values at which its ramp begins and ends; the least and greatest stored value."""
    told, dataset = image.description, image.instance.dataset
    padding = display.numbers(dataset, "PixelPaddingValue")
    least, low, high, most = display.percentiles(values, padding[0] if padding else None, (0, 0.1, 99.9, 100))
    inverted = display.is_inverted(dataset, image.photometric)
    table = voi_table(image) if told.bits_allocated <= 16 and not told.floating else None
    if table is None:
        bounds = window_bounds(image)
        # A window that shows nothing of this frame is no window.
        if bounds is None or bounds[0] >= most or bounds[1] <= least:
            bounds = low, max(high, low + 1e-6)
        return _ramped(image, values, *bounds, inverted), *bounds, least, most
    return _looked_up(values, table), least, most, least, most


def _gray(image: Image, values: NDArray[Any]) -> list[GrayFrame]:
    main, start, stop, least, most = _shown(image, values)
    inverted = display.is_inverted(image.instance.dataset, image.photometric)
    found = [main]
    white, black = (start, stop) if inverted else (stop, start)
    step = max(1, int((main.size / (1 << 18)) ** 0.5))
    sample, stored = main[::step, ::step], values[::step, ::step]
    span = max(most - least, 1e-6)
    for level, clipped_at in ((255, white), (0, black)):
        hidden = sample == level
        if np.count_nonzero(hidden) > _CLIPPED * hidden.size:
            inside = stored[hidden]
            first, last = (float(bound) for bound in np.percentile(inside, (0.5, 99.9 if level else 99.5)))
            if last - first > 0.03 * span and clipped_at not in (first, last):
                found.append(_ramped(image, values, first, last, inverted))
    bright_part = sample >= 230
    if np.count_nonzero(bright_part) > _CROWDED * sample.size and len(found) == 1:
        bright = stored[bright_part]
        first, last = float(bright.min()), float(bright.max())
        if last > first:
            found.append(_ramped(image, values, first, last, inverted))
    return found


def window_bounds(image: Image) -> tuple[float, float] | None:
    """The stored values that Window Center and Width show black and white (PS3.3 C.11.2.1.2)."""
    dataset = image.instance.dataset
    found = display.window(dataset)
    if found is None:
        return None
    center, width = found
    slope, intercept = display.modality(dataset)
    bounds = (center - 0.5 - (width - 1) / 2 - intercept) / slope, (center - 0.5 + (width - 1) / 2 - intercept) / slope
    return (min(bounds), max(max(bounds), min(bounds) + 1e-6))


def voi_table(image: Image) -> NDArray[np.uint8] | None:
    """The whole way to the screen as one table by bit pattern, where a Modality LUT or a VOI LUT is part of it."""
    dataset, told = image.instance.dataset, image.description
    modality_lut, voi_lut = display.lut_of(dataset, "ModalityLUTSequence"), display.lut_of(dataset, "VOILUTSequence")
    if modality_lut is None and (voi_lut is None or display.window(dataset) is not None):
        return None
    bits = 8 if told.bits_allocated <= 8 else 16
    stored = np.arange(1 << bits, dtype=np.int64)
    if told.signed:
        stored[1 << (bits - 1) :] -= 1 << bits
    if modality_lut is not None:
        first, entries = modality_lut
        out: NDArray[np.floating[Any]] = entries[np.clip(stored - first, 0, len(entries) - 1)].astype(np.float64)
    else:
        slope, intercept = display.modality(dataset)
        out = stored * slope + intercept
    found = display.window(dataset)
    if found is not None:
        low, high = found[0] - 0.5 - (found[1] - 1) / 2, found[0] - 0.5 + (found[1] - 1) / 2
    elif voi_lut is not None:
        first, entries = voi_lut
        out = entries[np.clip(np.rint(out).astype(np.int64) - first, 0, len(entries) - 1)].astype(np.float64)
        low, high = float(entries.min()), float(entries.max())
    else:
        used = out[: 1 << told.bits_stored] if not told.signed else out
        low, high = float(used.min()), float(used.max())
    table = np.rint(np.clip((out - low) * 255 / max(high - low, 1e-6), 0, 255)).astype(np.uint8)
    return np.asarray(255 - table if image.photometric == "MONOCHROME1" else table, np.uint8)


def _ramped(image: Image, values: NDArray[Any], low: float, high: float, inverted: bool) -> GrayFrame:
    told = image.description
    if told.bits_allocated <= 16 and not told.floating:
        return _looked_up(values, display.ramp(told, low, high, inverted))
    shown = (np.nan_to_num(values.astype(np.float64), nan=low) - low) * (255.0 / max(high - low, 1e-300))
    gray = np.rint(np.clip(shown, 0, 255)).astype(np.uint8)
    return 255 - gray if inverted else gray


def _looked_up(values: NDArray[Any], table: NDArray[np.uint8]) -> GrayFrame:
    patterns = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
    return np.asarray(cv2.LUT(patterns, table.reshape(1, -1)), np.uint8)


def _eight_bit(image: Image, values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype.itemsize == 1:
        return values.view(np.uint8)
    return (values.view(np.uint16) >> max(image.bits_stored - 8, 0)).astype(np.uint8)


def rgb(image: Image, values: NDArray[Any]) -> NDArray[np.uint8]:
    """A colour frame's stored values as red, green and blue of 8 bits, shape (rows, columns, 3)."""
    shown = np.ascontiguousarray(_eight_bit(image, values))
    if image.photometric.startswith("YBR_") and image.photometric not in ("YBR_RCT", "YBR_ICT"):
        # OpenCV's order is Y, Cr, Cb.
        shown = np.asarray(cv2.cvtColor(np.ascontiguousarray(shown[..., [0, 2, 1]]), cv2.COLOR_YCrCb2RGB), np.uint8)
    return shown


def _from_rgb(rgb: NDArray[np.uint8]) -> list[GrayFrame]:
    gray = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    strongest = rgb.max(axis=2)
    if int(cv2.subtract(strongest, gray).max()) > _COLOURED:
        return [gray, strongest]
    return [gray]


def _palette(image: Image, values: NDArray[Any]) -> list[GrayFrame]:
    found = display.palette(image.instance.dataset)
    if found is None:  # segmented or broken tables: the indices themselves still show text
        return [_ramped(image, values, float(values.min()), float(values.max()), False)]
    return _from_rgb(palette_rgb(values, found))


def palette_rgb(values: NDArray[Any], palette: tuple[int, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The colours that a palette (`display.palette`) gives to a frame's indices."""
    first, colours = palette
    return np.ascontiguousarray(colours[np.clip(values.astype(np.int64) - first, 0, len(colours) - 1)])
