"""Blacks out blocks of an 8-bit DCT JPEG without decoding it: every coefficient outside them stays what it is.

A box covers whole 8x8 blocks of each component. Their AC coefficients become 0 and their DC coefficient the one that decodes to
the fill value, so that each block decodes to one uniform colour. With subsampled chroma the chroma block under a box reaches up
to 8 (4:2:0: in both directions) luma pixels farther than the luma blocks do; luma there stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radanon_node.pixels import turbo
from radanon_node.pixels.areas import Area, touched
from radanon_node.pixels.codec import Image
from radanon_node.pixels.streams import SOF_BASELINE, SOF_EXTENDED, undecodable
from radanon_node.pixels.syntaxes import Codec


def editable(image: Image, index: int) -> tuple[int, int] | None:
    """Luma pixels per chroma pixel (horizontal, vertical) if frame `index` can be edited in place, else None.

    It can if it is sequential, Huffman coded, of 8 bits and of one of the samplings that the TurboJPEG API names.
    """
    if image.codec is not Codec.JPEG:
        return None
    stream = image.stream(index)
    if stream is None or stream.sof not in (SOF_BASELINE, SOF_EXTENDED) or stream.precision != 8 or stream.arithmetic:
        return None
    if stream.components not in (1, 3):
        return None
    step = turbo.chroma_step(image.codestream(index)[: stream.end])
    if stream.components == 3 and step is not None:
        luma, *chroma = stream.sampling
        named = luma == step and all(factors == (1, 1) for factors in chroma)
        same = step == (1, 1) and len(set(stream.sampling)) == 1
        return step if named or same else None
    return (1, 1) if step is not None else None


def cell_of(component: int, step: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of picture under one block of `component`."""
    return (8, 8) if component == 0 else (8 * step[1], 8 * step[0])


def redact_frame(image: Image, index: int, areas: Sequence[Area], step: tuple[int, int], fill: Sequence[float]) -> bytes:
    """The codestream of frame `index` with the blocks under `areas` set to `fill`.

    Raises
    ------
    HoldInstance
        ``undecodable_pixels``.
    """
    stream = image.stream(index)
    if stream is None:
        raise undecodable("no JPEG stream")
    data = image.codestream(index)[: stream.end]
    masks = [touched(areas, image.rows, image.columns, cell_of(component, step)) for component in range(stream.components)]
    levels = _dc_levels(data, stream.components, fill)

    def edit(blocks: NDArray[np.int16], row: int, column: int, component: int) -> None:
        # Blocks that only fill up the last row of MCUs have no place in the mask.
        part = masks[component][row : row + blocks.shape[0], column : column + blocks.shape[1]]
        inside = blocks[: part.shape[0], : part.shape[1]]
        inside[part] = 0
        inside[part, 0, 0] = levels[component]

    return turbo.edit_blocks(data, edit, [np.asarray(mask.any(axis=1)) for mask in masks])


def _dc_levels(data: bytes, components: int, fill: Sequence[float]) -> list[int]:
    """The quantised DC coefficient per component that decodes to `fill` (T.81 A.3.3: DC is 8 times the level-shifted mean)."""
    tables = _dc_steps(data)
    out = []
    for component in range(components):
        wanted = 8 * (int(fill[component]) - 128)
        step = tables[component]
        # Away from zero, so that black and white are reached by clamping whatever the step.
        level = -(-abs(wanted) // step) * (1 if wanted >= 0 else -1)
        if abs(level) > 1024 // step + 1:
            raise undecodable("a quantisation table that cannot give black")
        out.append(max(-1024, min(1023, level)))
    return out


def _dc_steps(data: bytes) -> list[int]:
    """First entry of the quantisation table of each component."""
    pos, steps, selectors = 2, dict[int, int](), list[int]()
    while pos + 4 <= len(data):
        if data[pos + 1] == 0xFF:
            pos += 1
            continue
        marker, length = data[pos + 1], int.from_bytes(data[pos + 2 : pos + 4], "big")
        if marker == 0xDB:
            at, stop = pos + 4, pos + 2 + length
            while at < stop:
                wide, number = data[at] >> 4, data[at] & 15
                steps[number] = int.from_bytes(data[at + 1 : at + 2 + wide], "big")
                at += 1 + 64 * (1 + wide)
        elif marker in (SOF_BASELINE, SOF_EXTENDED):
            selectors = [data[pos + 12 + 3 * k] for k in range(data[pos + 9])]
        elif marker == 0xDA:
            break
        pos += 2 + length
    found: list[Any] = [steps.get(number) for number in selectors]
    if not found or not all(found):
        raise undecodable("a JPEG stream without its quantisation table")
    return found
