"""Redaction of native pixels: the value is handed on in pieces, and only the rows under a box are copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radanon_node.pipeline.types import Buffer
from radanon_node.pixels import native
from radanon_node.pixels.areas import Area, bands, touched
from radanon_node.pixels.codec import Image
from radanon_node.pixels.description import Description
from radanon_node.pixels.fill import Paint


def redact_native(image: Image, areas: dict[int, list[Area]], paint: Paint) -> tuple[list[Buffer], bool]:
    """The value with `areas` filled, hidden bits cleared and nothing behind the last pixel.

    Parameters
    ----------
    image : Image
        With native pixels.
    areas : dict of int to list of Area
    paint : Paint
        Stored values per component.

    Returns
    -------
    chunks : list of Buffer
        Pieces of the value; all but the changed rows are views into the original.
    cleaned : bool
        Whether bits outside Bits Stored held something that is gone now.
    """
    told = image.description
    data = image.native_data
    chunks: list[Buffer] = []
    cleaned = False
    if told.bits_allocated == 1:
        chunks = _one_bit(image, areas, paint)
    else:
        size = native.frame_bits(told) // 8
        for index in range(image.frames):
            start = size * index
            hidden = native.hidden_bits(image.raw_bits(index), told)
            if hidden:
                cleaned = True
                block: Buffer = _cells(image, index).tobytes()
                chunks += _with_areas(block, 0, size, image, areas.get(index, []), paint)
            elif index in areas:
                chunks += _with_areas(data, start, size, image, areas[index], paint)
            else:
                chunks.append(data[start : start + size])
    if native.is_swapped(image.pixels, told, image.instance.transfer_syntax.little_endian):
        chunks = [native.swap_words(b"".join(chunks))]
    return chunks, cleaned


def _cells(image: Image, index: int) -> NDArray[Any]:
    """A frame's cells as they lie in the value, with nothing in them but the stored bits (sign extended)."""
    told = image.description
    little = image.instance.transfer_syntax.little_endian
    values = native.frame(image.native_data, told, index, little).view(f"u{told.bits_allocated // 8}")
    if told.shift:
        values = (values & values.dtype.type((1 << told.bits_stored) - 1)) << values.dtype.type(told.shift)
    if told.packed_422:
        values = np.stack([values[:, 0::2, 0], values[:, 1::2, 0], values[:, 0::2, 1], values[:, 0::2, 2]], axis=-1)
    elif told.planar and told.samples > 1:
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<" if little else ">"))


def _cell_fill(told: Description, fill: Sequence[float], little: bool) -> NDArray[Any]:
    """The fill as cells: shifted, and as the pattern of its bits."""
    order = "<" if little else ">"
    if told.floating:
        return np.asarray(fill, f"{order}f{told.bits_allocated // 8}")
    bits = told.bits_allocated
    mask = (1 << told.bits_stored) - 1 if told.shift else (1 << bits) - 1
    return np.asarray([((int(value) & mask) << told.shift) & ((1 << bits) - 1) for value in fill], f"{order}u{bits // 8}")


def _with_areas(
    data: Buffer, start: int, size: int, image: Image, areas: Sequence[Area], paint: Paint
) -> list[Buffer]:
    """The frame of `size` bytes at `start` in pieces, the rows under `areas` copied and filled."""
    told, view = image.description, memoryview(data)
    little = image.instance.transfer_syntax.little_endian
    cells = {area.bright: _cell_fill(told, paint.of(area), little) for area in areas}
    pattern = [0, 0, 1, 2] if told.packed_422 else list(range(told.samples))
    planes, width = (told.samples if told.planar and not told.packed_422 else 1), told.columns // (2 if told.packed_422 else 1)
    per_pixel = len(pattern) // planes
    row_bytes = width * per_pixel * (told.bits_allocated // 8)
    chunks: list[Buffer] = []
    for plane in range(planes):
        base = start + plane * told.rows * row_bytes
        value = {bright: cell[pattern[plane * per_pixel : (plane + 1) * per_pixel]] for bright, cell in cells.items()}
        at = 0
        for top, bottom in bands(areas):
            if top > at:
                chunks.append(view[base + at * row_bytes : base + top * row_bytes])
            kind = next(iter(cells.values())).dtype
            band = np.frombuffer(view[base + top * row_bytes : base + bottom * row_bytes], kind).copy()
            _fill(band.reshape(bottom - top, width, per_pixel), top, areas, value, told.packed_422)
            chunks.append(band.tobytes())
            at = bottom
        if at < told.rows:
            chunks.append(view[base + at * row_bytes : base + told.rows * row_bytes])
    return chunks


def _fill(band: NDArray[Any], top: int, areas: Sequence[Area], values: dict[bool, NDArray[Any]], packed: bool) -> None:
    rows, width, _ = band.shape
    for area in areas:
        box = area.box
        if not top <= box.y0 < top + rows:
            continue
        first, last = (box.x0 // 2, (box.x1 + 1) // 2) if packed else (box.x0, box.x1)
        part, value = band[box.y0 - top : box.y1 - top, first:last], values[area.bright]
        if area.mask is None:
            part[...] = value
        elif packed:
            pairs = touched([area], box.y1, width * 2, (1, 2), (box.y0, box.y1))[:, first:last]
            part[pairs] = value
        else:
            part[area.mask] = value


def _one_bit(image: Image, areas: dict[int, list[Area]], paint: Paint) -> list[Buffer]:
    """One-bit frames follow each other bit by bit: eight of them begin and end on whole bytes."""
    told, data = image.description, image.native_data
    bits = native.frame_bits(told)
    chunks: list[Buffer] = []
    for first in range(0, image.frames, 8):
        group = range(first, min(first + 8, image.frames))
        start, stop = first * bits // 8, (group.stop * bits + 7) // 8
        if not any(index in areas for index in group) and (group.stop * bits) % 8 == 0:
            chunks.append(data[start:stop])
            continue
        cells = np.unpackbits(np.frombuffer(data[start:stop], np.uint8), bitorder="little")
        for index in group:
            frame = cells[(index - first) * bits : (index - first + 1) * bits].reshape(told.rows, told.columns)
            for area in areas.get(index, []):
                part = frame[area.box.y0 : area.box.y1, area.box.x0 : area.box.x1]
                part[area.mask if area.mask is not None else ...] = int(paint.of(area)[0])
        cells[(group.stop - first) * bits :] = 0
        chunks.append(np.packbits(cells, bitorder="little").tobytes())
    return chunks
