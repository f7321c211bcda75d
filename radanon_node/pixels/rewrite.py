"""A frame given new values throughout: encoded without loss in the film's own syntax, or the nearest lossless one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.types import Region
from radanon_node.pixels import native
from radanon_node.pixels.areas import Area, areas_of
from radanon_node.pixels.codec import Image
from radanon_node.pixels.description import Description
from radanon_node.pixels.elements import NewPixels
from radanon_node.pixels.encoders import CannotEncode, encode
from radanon_node.pixels.fill import Paint, paint_of
from radanon_node.pixels.redact import _LOSSLESS, Redacted, _digest, _filled, _lossy_history, _original, _plain_syntax
from radanon_node.pixels.syntaxes import EXPLICIT_LITTLE


def redacted_values(image: Image, regions: Sequence[Region]) -> tuple[NDArray[Any], list[Area], Paint]:
    """The values of a single frame with `regions` blacked out (and letters drawn anew), not encoded.

    Returns
    -------
    values : ndarray
        As ``image.frame(0)``; a copy where anything changed.
    areas : list of Area
        What was filled.
    paint : Paint
        With which values.
    """
    areas = areas_of(regions, image.rows, image.columns, image.frames)
    if not areas:
        return image.frame(0), [], Paint(())
    paint = paint_of(image, areas)
    return _filled(image, 0, areas, paint), areas.get(0, []), paint


def rewrite(image: Image, values: NDArray[Any], method: str) -> Redacted:
    """Put `values` in place of the picture's own.

    Parameters
    ----------
    image : Image
        One frame, one sample per pixel, 8 or 16 Bits Allocated.
    values : ndarray, shape (rows, columns)
        Stored values within Bits Stored, of the type of ``image.frame(0)``.
    method : str
        For the receipt.

    Returns
    -------
    Redacted
        Pixels, syntax, and what the data set must say: ImageType DERIVED, the range of the values where it is stated, and that
        what once was compressed with loss stays so (PS3.3 C.7.6.1.1.5) though the new coding has none.

    Raises
    ------
    HoldInstance
        ``unsupported_pixels`` for another kind of picture.
    """
    told = image.description
    if told.frames != 1 or told.samples != 1 or told.floating or told.bits_allocated not in (8, 16):
        raise HoldInstance(Reason.UNSUPPORTED_PIXELS, "only single gray frames of 8 or 16 Bits Allocated can be given new values")
    if values.shape != (told.rows, told.columns) or values.dtype != told.dtype:
        raise HoldInstance(Reason.INTERNAL_ERROR, "the new picture has another size or type than the film")
    before = _digest(_original(image.pixels))
    changes = _changes(image, values) | _lossy_history_of(image)
    if image.table is None:
        syntax = _plain_syntax(image)
        pixels = NewPixels(image.pixels.tag, image.pixels.vr, [_native(image, values, told)])
    else:
        codec, uid = _LOSSLESS[image.codec]
        syntax = uid or image.instance.transfer_syntax_uid
        try:
            pixels = NewPixels(image.pixels.tag, "OB", [encode(codec, values, told, False)], (1,))
        except CannotEncode:
            syntax = EXPLICIT_LITTLE
            little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"))
            pixels = NewPixels(image.pixels.tag, "OW" if told.bits_allocated > 8 else "OB", [little.tobytes()])
    return Redacted(pixels, syntax, changes, method, {"before": before, "after": _digest(pixels.chunks)})


def _lossy_history_of(image: Image) -> dict[str, Any]:
    return _lossy_history(image) if image.table is not None else {}


def _native(image: Image, values: NDArray[Any], told: Description) -> bytes:
    """The value as it lies in the file: shifted where High Bit says so, in the file's byte order."""
    little = image.instance.transfer_syntax.little_endian
    cells = np.ascontiguousarray(values).view(f"u{told.bits_allocated // 8}")
    if told.shift:
        cells = (cells & cells.dtype.type((1 << told.bits_stored) - 1)) << cells.dtype.type(told.shift)
    data = cells.astype(cells.dtype.newbyteorder("<" if little else ">")).tobytes()
    return native.swap_words(data) if native.is_swapped(image.pixels, told, little) else data


def _changes(image: Image, values: NDArray[Any]) -> dict[str, Any]:
    dataset = image.instance.dataset
    out: dict[str, Any] = {}
    try:
        kind = dataset.get("ImageType")
        parts = [kind] if isinstance(kind, str) else [str(value) for value in kind or []]
        if parts and parts[0] != "DERIVED":
            out["ImageType"] = ["DERIVED", *parts[1:]]
        for keyword, found in (("SmallestImagePixelValue", values.min()), ("LargestImagePixelValue", values.max())):
            if isinstance(dataset.get(keyword), int):
                out[keyword] = int(found)
    except Exception:  # noqa: BLE001  an attribute that cannot be read cannot be corrected; the tags room judges it
        return out
    return out
