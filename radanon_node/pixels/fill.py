"""The stored values that redaction writes: the one that displays as black and, for letters drawn anew, a bright one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radanon_node.pixels import display
from radanon_node.pixels.areas import Area
from radanon_node.pixels.codec import Image


@dataclass(frozen=True, slots=True)
class Paint:
    """The stored values that redaction writes, one per component.

    Parameters
    ----------
    black : tuple of float
        `fill_values`.
    bright : tuple of float
        `bright_values`, for letters drawn anew; empty where there is none.
    """

    black: tuple[float, ...]
    bright: tuple[float, ...] = ()

    def of(self, area: Area) -> tuple[float, ...]:
        """What an area is set to."""
        return self.bright if area.bright else self.black


def paint_of(image: Image, areas: Mapping[int, Sequence[Area]]) -> Paint:
    """The values for `areas` (by frame) of an image."""
    frames = sorted(areas)
    stamped = any(area.bright for parts in areas.values() for area in parts)
    return Paint(fill_values(image, frames), bright_values(image, frames) if stamped else ())


def fill_values(image: Image, frames: Iterable[int]) -> tuple[float, ...]:
    """What redacted pixels are set to: one value for all pixels of all frames, so that nothing of the text shows through.

    Parameters
    ----------
    image : Image
    frames : iterable of int
        Frames that will be filled.

    Returns
    -------
    tuple of float
        One per component, as stored values; whole numbers but for float pixels.

    Notes
    -----
    Unsigned grayscale: 0 where 0 displays black, else the greatest value of Bits Stored (MONOCHROME1, or a falling rescale).
    Signed and float grayscale: Pixel Padding Value if there is one at the dark end, else the darkest value in `frames`: the
    end of a signed range would ruin the display range of viewers that take it from the pixels. RGB: 0. YBR: (0, 128, 128), for
    partial range (16, 128, 128), scaled to Bits Stored (PS3.3 C.7.6.3.1.2). Palette: the index of the darkest colour.
    """
    told, dataset = image.description, image.instance.dataset
    if image.samples == 3:
        if image.photometric in ("RGB", "YBR_RCT", "YBR_ICT"):
            return (0, 0, 0)
        scale = 1 << (told.bits_stored - 8) if told.bits_stored >= 8 else 1
        return (16 * scale if "PARTIAL" in image.photometric else 0, 128 * scale, 128 * scale)
    if image.photometric == "PALETTE COLOR":
        found = display.palette(dataset)
        if found is None:
            return (max(told.low, 0),)
        first, colours = found
        entry = int((colours.astype(int) @ np.array([299, 587, 114])).argmin())
        return (min(max(first + entry, told.low), told.high),)
    bright_is_high = not display.is_inverted(dataset, image.photometric)
    if told.bits_allocated == 1 or not (told.signed or told.floating):
        return (told.low if bright_is_high else told.high,)
    darkest_values: list[float] = []
    for index in frames:
        values = image.frame(index)
        finite = values[np.isfinite(values)] if told.floating else values
        if finite.size:
            darkest_values.append(float(finite.min() if bright_is_high else finite.max()))
    darkest = float((min if bright_is_high else max)(darkest_values, default=0.0))
    padding = display.numbers(dataset, "FloatPixelPaddingValue" if told.floating else "PixelPaddingValue")
    for value in padding[:1]:
        fits = np.isfinite(value) and (told.floating or told.low <= value <= told.high)
        if fits and (value <= darkest if bright_is_high else value >= darkest):
            return (value,)
    return (darkest,)


def bright_values(image: Image, frames: Iterable[int]) -> tuple[float, ...]:
    """What the pixels of a letter drawn anew are set to: one value for all frames.

    Parameters
    ----------
    image : Image
    frames : iterable of int
        Frames that are redacted.

    Returns
    -------
    tuple of float
        One per component, as stored values.

    Notes
    -----
    Grayscale: the brightest value in `frames`, so that no viewer's display range changes; the end of the range where the frames
    are black all over. Colour: white. Palette: the index of the brightest colour.
    """
    told, dataset = image.description, image.instance.dataset
    if image.samples == 3:
        top = (1 << told.bits_stored) - 1
        if image.photometric in ("RGB", "YBR_RCT", "YBR_ICT"):
            return (top, top, top)
        scale = 1 << (told.bits_stored - 8) if told.bits_stored >= 8 else 1
        return (235 * scale if "PARTIAL" in image.photometric else top, 128 * scale, 128 * scale)
    if image.photometric == "PALETTE COLOR":
        found = display.palette(dataset)
        if found is None:
            return (told.high,)
        first, colours = found
        entry = int((colours.astype(int) @ np.array([299, 587, 114])).argmax())
        return (min(max(first + entry, told.low), told.high),)
    bright_is_high = not display.is_inverted(dataset, image.photometric)
    end = 1.0 if told.floating else float(told.high if bright_is_high else told.low)
    if told.bits_allocated == 1:
        return (end,)
    pick, black = (max if bright_is_high else min), fill_values(image, frames := sorted(frames))[0]
    found_values: list[float] = []
    for index in frames:
        values = image.frame(index)
        finite = values[np.isfinite(values)] if told.floating else values
        if finite.size:
            found_values.append(float(finite.max() if bright_is_high else finite.min()))
    brightest = pick(found_values, default=end)
    return (brightest,) if brightest != black or end == black else (end,)
