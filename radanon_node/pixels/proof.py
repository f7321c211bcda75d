"""Law 3 checked on what was encoded: decoded again, outside the boxes nothing changed, inside nothing is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.types import Region
from radanon_node.pixels import native
from radanon_node.pixels.areas import Area, areas_of, bands, touched
from radanon_node.pixels.codec import Image
from radanon_node.pixels.fill import Paint, paint_of
from radanon_node.pixels.jpeg_blocks import cell_of, editable


@dataclass(frozen=True, slots=True)
class PixelProof:
    """What was compared and found as it must be.

    Parameters
    ----------
    frames : int
        Frames of the picture.
    identical : int
        Frames whose bytes are the same before and after.
    decoded : int
        Frames that were decoded before and after and compared value by value.
    redacted_pixels : int
        Pixels that redaction was allowed to change, over all frames.
    drawn_pixels : int
        Those of them that are the bright pixels of letters drawn anew, each checked to be the stated one.
    grain : str
        ``pixels``, ``pairs`` (native 4:2:2) or ``blocks`` (JPEG edited in place): what changes together at the rim of a box.
    """

    frames: int
    identical: int
    decoded: int
    redacted_pixels: int
    grain: str
    drawn_pixels: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For the receipt."""
        return {
            "outside": "equal",
            "inside": ("filled, letters drawn" if self.drawn_pixels else "filled") if self.redacted_pixels else "none",
            "frames": self.frames,
            "frames_identical_bytes": self.identical,
            "frames_compared_decoded": self.decoded,
            "redacted_pixels": self.redacted_pixels,
            **({"drawn_pixels": self.drawn_pixels} if self.drawn_pixels else {}),
            "grain": self.grain,
        }


def prove(before: Image, after: Image, regions: Sequence[Region]) -> PixelProof:
    """Compare the received picture with the one that is about to leave.

    Parameters
    ----------
    before, after : Image
        `after` read back from the encoded file.
    regions : sequence of Region
        What was to be blacked out; other verdicts than ``REDACT`` do not count.

    Returns
    -------
    PixelProof

    Raises
    ------
    HoldInstance
        ``pixels_changed_outside``, ``pixels_not_filled``.
    """
    told, now = before.description, after.description
    if (told.rows, told.columns, told.frames, told.samples) != (now.rows, now.columns, now.frames, now.samples):
        raise HoldInstance(Reason.PIXELS_CHANGED_OUTSIDE, "the picture has another size than before")
    if (told.bits_stored, told.signed, told.floating) != (now.bits_stored, now.signed, now.floating):
        raise HoldInstance(Reason.PIXELS_CHANGED_OUTSIDE, "stored values have another meaning than before")
    areas = areas_of(regions, told.rows, told.columns, told.frames)
    paint = paint_of(before, areas) if areas else Paint(())
    identical = decoded = pixels = 0
    grain = "pixels"
    for index in range(told.frames):
        if index not in areas and _same_bytes(before, after, index):
            identical += 1
            continue
        decoded += 1
        old, new = before.frame(index), after.frame(index)
        if index not in areas:
            if not np.array_equal(old, new, equal_nan=told.floating):
                raise HoldInstance(Reason.PIXELS_CHANGED_OUTSIDE, f"frame {index + 1} was not to change and did")
            continue
        drawn = any(area.bright for area in areas[index])
        step = editable(before, index) if before.codec is after.codec and not drawn else None
        if step is not None:
            grain = "blocks"
            pixels += _compare_blocks(old, new, areas[index], step, index)
        else:
            if told.packed_422 and before.table is None:
                grain = "pairs"
            pixels += _compare(old, new, areas[index], (1, 2) if grain == "pairs" else (1, 1), paint, index)
    drawn_pixels = sum(
        int(np.count_nonzero(area.mask)) for parts in areas.values() for area in parts if area.bright and area.mask is not None
    )
    return PixelProof(told.frames, identical, decoded, pixels, grain, drawn_pixels)


def _same_bytes(before: Image, after: Image, index: int) -> bool:
    if before.instance.transfer_syntax_uid != after.instance.transfer_syntax_uid and before.table is not None:
        return False
    if before.photometric != after.photometric or before.description != after.description:
        return False
    if before.table is None:
        if after.table is not None or before.instance.transfer_syntax.little_endian != after.instance.transfer_syntax.little_endian:
            return False
        if before.description.bits_allocated == 1 or native.is_swapped(before.pixels, before.description, False):
            return bool(before.pixels.data == after.pixels.data)
        size = native.frame_bits(before.description) // 8
        part = slice(index * size, (index + 1) * size)
        return _equal(before.pixels.data[part], after.pixels.data[part])
    if after.table is None:
        return False
    return before.codestream(index) == after.codestream(index)


def _equal(first: memoryview, second: memoryview) -> bool:
    # memoryview's own comparison goes item by item; numpy's is vectorised.
    return len(first) == len(second) and bool(np.array_equal(np.frombuffer(first, np.uint8), np.frombuffer(second, np.uint8)))


def _compare(
    old: NDArray[Any], new: NDArray[Any], areas: Sequence[Area], cell: tuple[int, int], paint: Paint, index: int
) -> int:
    """Whole frame against whole frame: rows under a box with a mask, the others as they are."""
    rows, columns = old.shape[:2]
    floating = old.dtype.kind == "f"
    redacted = at = 0
    for top, bottom in [*bands(areas), (rows, rows)]:
        if not np.array_equal(old[at:top], new[at:top], equal_nan=floating):
            raise _changed(index)
        at = bottom
        if top == bottom:
            continue
        mask = touched(areas, rows, columns, cell, (top, bottom))
        drawn = touched([area for area in areas if area.bright], rows, columns, cell, (top, bottom))
        if cell != (1, 1):
            mask, drawn = (part.repeat(cell[1], axis=1)[:, :columns] for part in (mask, drawn))
        first, second = old[top:bottom], new[top:bottom]
        # Whole rows are compared, which is faster than picking the pixels out first.
        if (_over_samples(_differs(first, second)) & ~mask).any():
            raise _changed(index)
        for part, value in ((mask & ~drawn, paint.black), (drawn, paint.bright)):
            stated = np.asarray(value if old.ndim == 3 else value[0]).astype(old.dtype) if part.any() else None
            if stated is not None and (_over_samples(second != stated) & part).any():
                raise _not_filled(index)
        redacted += int(np.count_nonzero(mask))
    return redacted


def _differs(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    """Values that are not the same; one NaN is as good as another."""
    differs = np.asarray(first != second)
    return differs & ~(np.isnan(first) & np.isnan(second)) if first.dtype.kind == "f" else differs


def _over_samples(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels with it in any sample."""
    return np.asarray(found.any(axis=2)) if found.ndim == 3 else found


def _compare_blocks(old: NDArray[Any], new: NDArray[Any], areas: Sequence[Area], step: tuple[int, int], index: int) -> int:
    """Each component by its own blocks; both frames are decoded without interpolation, so blocks do not mix."""
    rows, columns = old.shape[:2]
    for component in range(1 if old.ndim == 2 else old.shape[2]):
        cell = cell_of(component, step)
        blocks = touched(areas, rows, columns, cell)
        mask = blocks.repeat(cell[0], axis=0).repeat(cell[1], axis=1)[:rows, :columns]
        first, second = (old, new) if old.ndim == 2 else (old[..., component], new[..., component])
        if ((first != second) & ~mask).any():
            raise _changed(index)
        inside = second[mask]
        if inside.size and (inside != inside[0]).any():
            raise _not_filled(index)
    return int(np.count_nonzero(touched(areas, rows, columns)))


def _changed(index: int) -> HoldInstance:
    return HoldInstance(Reason.PIXELS_CHANGED_OUTSIDE, f"frame {index + 1} differs outside the boxes")


def _not_filled(index: int) -> HoldInstance:
    return HoldInstance(Reason.PIXELS_NOT_FILLED, f"frame {index + 1} is not filled inside the boxes")
