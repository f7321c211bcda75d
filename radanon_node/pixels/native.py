"""Native (uncompressed) pixels: where a frame lies in the value, and what its bits mean (PS3.5 Section 8.1, PS3.3 C.7.6.3.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from radanon_node.pipeline.types import Buffer
from radanon_node.pixels.description import Description, mismatch
from radanon_node.pixels.elements import PixelElement


def frame_bits(told: Description) -> int:
    """Bits of one frame; frames of one-bit pixels follow each other without padding."""
    if told.packed_422:
        return told.rows * told.columns * 2 * told.bits_allocated
    return told.frame_values * told.bits_allocated


def value_length(told: Description) -> int:
    """Bytes of the whole value without padding."""
    return (frame_bits(told) * told.frames + 7) // 8


def check_length(found: int, told: Description) -> None:
    """Hold a value that is too short, or so long that it may have a frame nobody would look at.

    Raises
    ------
    HoldInstance
        ``pixel_data_mismatch``.
    """
    if told.packed_422 and (told.columns % 2 or told.bits_allocated != 8):
        raise mismatch("native YBR_FULL_422 needs an even number of columns and 8 Bits Allocated")
    expected = value_length(told)
    if found < expected:
        raise mismatch(f"{found} bytes of pixels where {expected} are needed")
    limit = frame_bits(told) // 8
    if told.packed_422:
        limit //= 4  # three full samples per pixel instead of two would be half a frame more
    if found - expected >= max(limit, 2):
        raise mismatch(f"{found} bytes of pixels where {expected} are needed: more than a frame too many")


def is_swapped(pixels: PixelElement, told: Description, little: bool) -> bool:
    """Whether bytes lie in the value in another order than pixels: 8-bit pixels in big endian words (PS3.5 8.1.2, VR OW)."""
    return not little and told.bits_allocated <= 8 and pixels.vr == "OW"


def in_order(pixels: PixelElement, told: Description, little: bool) -> memoryview:
    """The value's bytes in the order of its pixels: a view, or a copy where `is_swapped`."""
    if is_swapped(pixels, told, little):
        return memoryview(swap_words(pixels.data))
    return pixels.data


def swap_words(data: Buffer) -> bytes:
    """`data`, padded to whole words, with the bytes of each word exchanged."""
    even = bytes(data) + b"\0" * (len(data) & 1)
    return np.frombuffer(even, "<u2").byteswap().tobytes()


def raw_frame(data: memoryview, told: Description, index: int, little: bool) -> NDArray[Any]:
    """Frame `index` as unsigned cells of Bits Allocated (floats: as they are), pixel by pixel; a view where possible."""
    bits, rows, columns = frame_bits(told), told.rows, told.columns
    if told.bits_allocated == 1:
        start = bits * index
        unpacked = np.unpackbits(np.frombuffer(data, np.uint8)[start // 8 : (start + bits + 7) // 8], bitorder="little")
        return unpacked[start % 8 : start % 8 + bits].reshape(rows, columns)
    width = told.bits_allocated // 8
    kind = "f" if told.floating else "u"
    count = bits // told.bits_allocated
    cells = np.frombuffer(data, f"{'<' if little else '>'}{kind}{width}", count, index * count * width)
    if not little:
        cells = cells.astype(cells.dtype.newbyteorder("="))
    if told.packed_422:
        return _unpack_422(cells.reshape(rows, columns // 2, 4))
    if told.samples == 1:
        return cells.reshape(rows, columns)
    if told.planar:
        return cells.reshape(told.samples, rows, columns).transpose(1, 2, 0)
    return cells.reshape(rows, columns, told.samples)


def frame(data: memoryview, told: Description, index: int, little: bool) -> NDArray[Any]:
    """Stored values of frame `index`."""
    return stored_values(raw_frame(data, told, index, little), told)


def stored_values(cells: NDArray[Any], told: Description) -> NDArray[Any]:
    """Take the stored bits out of cells that may hold others, and give them their sign.

    Returns
    -------
    ndarray
        `cells` seen as `told.dtype` where nothing has to change.
    """
    if told.floating or told.bits_allocated == 1:
        return cells
    wanted = told.dtype
    if cells.dtype.itemsize != wanted.itemsize:
        cells = cells.astype(f"{cells.dtype.kind}{wanted.itemsize}")
    values = cells.view(wanted)
    # Signed values may come with zeros above the sign bit: the sign must then be extended here.
    extended = not told.signed or told.bits_stored == told.bits_allocated or int(values.max()) <= told.high
    if told.shift == 0 and extended and not hidden_bits(cells, told):
        return values
    unused = told.bits_allocated - told.bits_stored
    left = np.left_shift(values, told.bits_allocated - 1 - told.high_bit)
    return np.right_shift(left, unused)


def hidden_bits(cells: NDArray[Any], told: Description) -> bool:
    """Whether the bits outside Bits Stored hold anything but zeros, or in signed pixels the extended sign, throughout.

    Old overlays lie there (Overlay Bit Position, retired), and anything else may.
    """
    if told.floating or told.bits_stored == told.bits_allocated:
        return False
    unsigned = cells.view(f"u{cells.dtype.itemsize}")
    mask = ((1 << told.bits_stored) - 1) << told.shift
    used = int(np.bitwise_or.reduce(unsigned, axis=None))
    if not used & ~mask:
        return False
    if not told.signed or told.shift:
        return True
    values = cells.view(f"i{cells.dtype.itemsize}")
    return int(values.min()) < told.low or int(values.max()) > told.high


def _unpack_422(pairs: NDArray[Any]) -> NDArray[Any]:
    """(rows, columns / 2, [Y0 Y1 Cb Cr]) to (rows, columns, 3), chroma repeated."""
    rows, half, _ = pairs.shape
    out = np.empty((rows, half * 2, 3), pairs.dtype)
    out[:, 0::2, 0], out[:, 1::2, 0] = pairs[..., 0], pairs[..., 1]
    for channel in (1, 2):
        out[:, 0::2, channel] = out[:, 1::2, channel] = pairs[..., channel + 1]
    return out
