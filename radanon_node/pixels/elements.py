"""The pixel element of an instance: as it was found, or as it is to be written (PS3.5 Section 8 and Annex A.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from struct import pack
from typing import TypeAlias

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.types import Buffer
from radanon_node.pixels.reader import EXTENDED_LENGTHS, EXTENDED_OFFSETS, UNDEFINED
from radanon_node.pixels.syntaxes import TransferSyntax

_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"


@dataclass(frozen=True, slots=True)
class Fragments:
    """The items of encapsulated pixels (PS3.5 A.4).

    Parameters
    ----------
    spans : tuple of (int, int)
        Start and stop of each fragment's bytes within ``PixelElement.data``.
    offsets : bytes
        The Basic Offset Table's value, empty if there is none.
    extended_offsets, extended_lengths : bytes or None
        Values of (7FE0,0001) and (7FE0,0002), 64-bit little endian.
    """

    spans: tuple[tuple[int, int], ...]
    offsets: bytes
    extended_offsets: bytes | None = None
    extended_lengths: bytes | None = None


@dataclass(frozen=True)
class PixelElement:
    """The top-level pixel element, in place in the file it came from.

    Parameters
    ----------
    tag : int
        (7FE0,0010), or (7FE0,0008)/(7FE0,0009) for float and double.
    vr : str
        OB, OW, OF or OD; ``OW`` where an implicit syntax does not say.
    data : memoryview
        The native value, or the items of the encapsulated value beginning with the Basic Offset Table's and without the
        sequence delimiter.
    fragments : Fragments or None
        None for native pixels.
    """

    tag: int
    vr: str
    data: memoryview
    fragments: Fragments | None = None

    @property
    def encapsulated(self) -> bool:
        return self.fragments is not None

    def fragment(self, index: int) -> memoryview:
        """The bytes of fragment `index`, 0-based, the Basic Offset Table not counted."""
        if self.fragments is None:
            raise IndexError("native pixels have no fragments")
        start, stop = self.fragments.spans[index]
        return self.data[start:stop]


@dataclass(frozen=True)
class NewPixels:
    """Pixels to be written: either the value of a native element in pieces, or the fragments of encapsulated frames.

    Parameters
    ----------
    tag, vr : int, str
    chunks : sequence of Buffer
        Native: pieces of the value in order, even in total. Encapsulated: one fragment each, each of even length.
    frame_sizes : tuple of int or None
        None for native pixels. Encapsulated: how many fragments each frame has, for the offset tables.
    extended : bool
        Write an Extended Offset Table instead of a Basic one (PS3.3 C.7.6.3.1.8); each frame then has one fragment.
    offset_table : bool
        Write a filled Basic Offset Table.
    """

    tag: int
    vr: str
    chunks: Sequence[Buffer]
    frame_sizes: tuple[int, ...] | None = None
    extended: bool = False
    offset_table: bool = True

    @property
    def encapsulated(self) -> bool:
        return self.frame_sizes is not None


Pixels: TypeAlias = NewPixels | PixelElement


def put_pixels(parts: list[Buffer], pixels: Pixels, syntax: TransferSyntax, position: int) -> list[tuple[int, int]]:
    """Append the pixel element.

    Parameters
    ----------
    parts : list of Buffer
        Of the file to be; appended to.
    pixels : NewPixels or PixelElement
    syntax : TransferSyntax
    position : int
        Of the element in the file.

    Returns
    -------
    list of (int, int)
        Where in the file its values are.
    """
    order = "<" if syntax.little_endian else ">"

    def header(tag: int, vr: str, length: int) -> bytes:
        if syntax.implicit_vr:
            return pack(f"{order}HHL", tag >> 16, tag & 0xFFFF, length)
        return pack(f"{order}HH2sHL", tag >> 16, tag & 0xFFFF, vr.encode(), 0, length)

    if not pixels.encapsulated:
        chunks: Sequence[Buffer] = [pixels.data] if isinstance(pixels, PixelElement) else pixels.chunks
        length = sum(map(len, chunks))
        padded = length + (length & 1)
        if padded >= UNDEFINED:
            raise HoldInstance(Reason.INVALID_OUTPUT, "native pixels do not fit a 32-bit length")
        head = header(pixels.tag, pixels.vr, padded)
        parts += [head, *chunks]
        if padded > length:
            parts.append(b"\0")
        return [(position + len(head), position + len(head) + padded)]
    if isinstance(pixels, PixelElement):
        fragments = pixels.fragments
        assert fragments is not None
        tables = b""
        for tag, value in ((EXTENDED_OFFSETS, fragments.extended_offsets), (EXTENDED_LENGTHS, fragments.extended_lengths)):
            if value is not None:
                tables += header(tag, "OV", len(value)) + value
        head = tables + header(pixels.tag, "OB", UNDEFINED)
        parts += [head, pixels.data, _SEQUENCE_END]
        base = position + len(head)
        return [(base + start, base + stop) for start, stop in fragments.spans]
    return _put_fragments(parts, pixels, header, position)


def _put_fragments(
    parts: list[Buffer], pixels: NewPixels, header: Callable[[int, str, int], bytes], position: int
) -> list[tuple[int, int]]:
    assert pixels.frame_sizes is not None
    sizes = [len(chunk) for chunk in pixels.chunks]
    padded = [size + (size & 1) for size in sizes]
    starts, offset, index = [], 0, 0
    for count in pixels.frame_sizes:
        starts.append(offset)
        offset += sum(size + 8 for size in padded[index : index + count])
        index += count
    head, table = b"", b""
    if pixels.extended:
        offsets, lengths = pack(f"<{len(starts)}Q", *starts), pack(f"<{len(sizes)}Q", *sizes)
        head = header(EXTENDED_OFFSETS, "OV", len(offsets)) + offsets + header(EXTENDED_LENGTHS, "OV", len(lengths)) + lengths
    elif pixels.offset_table and starts[-1] < UNDEFINED:
        table = pack(f"<{len(starts)}L", *starts)
    head += header(pixels.tag, "OB", UNDEFINED) + _ITEM + pack("<L", len(table)) + table
    parts.append(head)
    at = position + len(head)
    spans = []
    for chunk, size, even in zip(pixels.chunks, sizes, padded):
        parts += [_ITEM + pack("<L", even), chunk]
        if even > size:
            parts.append(b"\0")  # inside the item (PS3.5 A.4)
        spans.append((at + 8, at + 8 + even))
        at += 8 + even
    parts.append(_SEQUENCE_END)
    return spans
