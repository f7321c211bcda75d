"""Which fragments belong to which frame (PS3.5 A.4), whether the offset tables are right or not."""

from __future__ import annotations

from dataclasses import dataclass
from struct import unpack

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pixels.elements import PixelElement
from radanon_node.pixels.syntaxes import Codec

_STARTS = {
    Codec.JPEG: b"\xff\xd8", Codec.JPEG_LOSSLESS: b"\xff\xd8", Codec.JPEG_LS: b"\xff\xd8", Codec.JPEG_LS_LOSSY: b"\xff\xd8",
    Codec.JPEG_2000: b"\xff\x4f\xff\x51", Codec.JPEG_2000_LOSSY: b"\xff\x4f\xff\x51",
    Codec.HTJ2K: b"\xff\x4f\xff\x51", Codec.HTJ2K_LOSSY: b"\xff\x4f\xff\x51",
}


@dataclass(frozen=True, slots=True)
class FrameTable:
    """Fragments per frame.

    Parameters
    ----------
    groups : tuple of (int, int)
        First fragment and one past the last, per frame.
    tables_right : bool
        Whether every offset table present says the same; a wrong one is not passed on.
    """

    groups: tuple[tuple[int, int], ...]
    tables_right: bool

    def frame(self, pixels: PixelElement, index: int) -> memoryview | bytes:
        """The codestream of frame `index`, with the padding byte it may end in."""
        first, last = self.groups[index]
        if last - first == 1:
            return pixels.fragment(first)
        return b"".join(pixels.fragment(number) for number in range(first, last))


def frame_table(pixels: PixelElement, frames: int, codec: Codec) -> FrameTable:
    """Assign every fragment of `pixels` to one of `frames` frames.

    The tables are believed only where the fragments cannot be counted out otherwise and each frame so found begins as a
    frame of `codec` does.

    Raises
    ------
    HoldInstance
        ``pixel_data_mismatch``: fewer fragments than frames, or fragments that belong to no frame.
    """
    fragments = pixels.fragments
    assert fragments is not None
    spans, count = fragments.spans, len(fragments.spans)
    if count < frames:
        raise HoldInstance(Reason.PIXEL_DATA_MISMATCH, f"{count} fragments for {frames} frames")
    magic = _STARTS.get(codec, b"")
    begins = [not magic or bytes(pixels.data[start : start + len(magic)]) == magic for start, _ in spans]
    starts: list[int] | None
    if frames == 1:
        starts = [0]
    elif count == frames:
        starts = list(range(count))
    elif magic:
        starts = [index for index, begin in enumerate(begins) if begin]
    else:
        starts = _table_starts(pixels)
    if starts is None or len(starts) != frames or starts[0] != 0 or not all(begins[index] for index in starts):
        raise HoldInstance(Reason.PIXEL_DATA_MISMATCH, f"{count} fragments cannot be told apart into {frames} frames")
    if frames == 1 and magic and sum(begins) != 1:
        raise HoldInstance(Reason.PIXEL_DATA_MISMATCH, f"one frame, but {sum(begins)} codestreams")
    ends = [*starts[1:], count]
    groups = tuple(zip(starts, ends, strict=True))
    return FrameTable(groups, _tables_right(pixels, starts))


def _item_offsets(pixels: PixelElement) -> list[int]:
    """Offset of each fragment's item from the first one's, as offset tables count."""
    assert pixels.fragments is not None
    spans = pixels.fragments.spans
    return [start - spans[0][0] for start, _ in spans]


def _tables(pixels: PixelElement) -> list[tuple[int, ...]]:
    fragments = pixels.fragments
    assert fragments is not None
    found: list[tuple[int, ...]] = []
    for value, width, code in ((fragments.offsets, 4, "L"), (fragments.extended_offsets, 8, "Q")):
        if value:
            if len(value) % width:
                found.append(())
            else:
                found.append(unpack(f"<{len(value) // width}{code}", value))
    return found


def _table_starts(pixels: PixelElement) -> list[int] | None:
    positions = {offset: index for index, offset in enumerate(_item_offsets(pixels))}
    for table in _tables(pixels):
        starts = [positions.get(offset, -1) for offset in table]
        if starts and -1 not in starts and starts == sorted(set(starts)):
            return starts
    return None


def _tables_right(pixels: PixelElement, starts: list[int]) -> bool:
    fragments = pixels.fragments
    assert fragments is not None
    offsets = _item_offsets(pixels)
    right = tuple(offsets[index] for index in starts)
    if any(table != right for table in _tables(pixels)):
        return False
    lengths = fragments.extended_lengths
    if lengths is None:
        return fragments.extended_offsets is None
    if len(lengths) != 8 * len(starts) or fragments.extended_offsets is None or len(starts) != len(fragments.spans):
        return False
    # The stated length is that of the frame without its padding byte, or with it in what some writers make.
    return all(
        stated in (stop - start, stop - start - 1) for stated, (start, stop) in zip(unpack(f"<{len(starts)}Q", lengths), fragments.spans)
    )
