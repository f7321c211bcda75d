"""One frame's stored values to a lossless codestream; the counterpart of decoders.py, with the same rules."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radanon_node.pixels import jpeg_lossless
from radanon_node.pixels.description import Description
from radanon_node.pixels.syntaxes import Codec


class CannotEncode(Exception):
    """This encoder cannot take such a frame: choose another transfer syntax."""


def encode(codec: Codec, values: NDArray[Any], told: Description, transform: bool) -> bytes:
    """Encode one frame without loss.

    Parameters
    ----------
    codec : Codec
        One of RLE, JPEG_LOSSLESS, JPEG_LS, JPEG_2000, DEFLATED_FRAMES.
    values : ndarray, shape (rows, columns) or (rows, columns, 3)
        Stored values.
    told : Description
    transform : bool
        JPEG 2000: apply the reversible component transform (Photometric Interpretation YBR_RCT).

    Returns
    -------
    bytes
        The codestream, not padded.

    Raises
    ------
    CannotEncode
        Too many bits, an odd shape, or whatever else the library does not take.
    """
    if codec not in _ENCODERS:
        raise CannotEncode
    try:
        return _ENCODERS[codec](np.ascontiguousarray(values), told, transform)
    except MemoryError:
        raise
    except Exception as error:
        raise CannotEncode from error


def _patterns(values: NDArray[Any], told: Description) -> NDArray[Any]:
    """Stored values as unsigned numbers of Bits Stored: the JPEG family knows no sign (PS3.5 8.2.1)."""
    unsigned = values.view(f"u{values.dtype.itemsize}")
    return unsigned & unsigned.dtype.type((1 << told.bits_stored) - 1) if told.signed else unsigned


def _rle(values: NDArray[Any], told: Description, _: bool) -> bytes:
    from rle.rle import encode_frame

    return bytes(encode_frame(values.tobytes(), told.rows, told.columns, told.samples, told.bits_allocated, "<"))


def _jpeg_ls(values: NDArray[Any], told: Description, _: bool) -> bytes:
    import jpeg_ls

    if told.bits_allocated > 16 or told.bits_stored < 2:
        raise CannotEncode
    data = _patterns(values, told)
    if told.bits_stored <= 8:
        data = data.astype(np.uint8)
    return bytes(
        jpeg_ls.encode_buffer(
            data.tobytes(), told.rows, told.columns, told.samples, told.bits_stored, interleave_mode=0 if told.samples == 1 else 2
        )
    )


def _jpeg_2000(values: NDArray[Any], told: Description, transform: bool) -> bytes:
    import openjpeg.utils

    if told.bits_stored > 24:
        raise CannotEncode
    data = values if told.bits_stored > 8 else values.astype("i1" if told.signed else "u1")
    return bytes(
        openjpeg.utils.encode_buffer(
            data.tobytes(), told.columns, told.rows, told.samples, told.bits_stored, told.signed,
            photometric_interpretation=1 if transform else 0, use_mct=transform,
        )
    )


def _jpeg_lossless(values: NDArray[Any], told: Description, _: bool) -> bytes:
    if told.bits_allocated > 16:
        raise CannotEncode
    return jpeg_lossless.encode(_patterns(values, told), max(told.bits_stored, 2))


def _deflate(values: NDArray[Any], told: Description, _: bool) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(values.tobytes()) + deflater.flush()


_ENCODERS: dict[Codec, Callable[[NDArray[Any], Description, bool], bytes]] = {
    Codec.RLE: _rle,
    Codec.JPEG_LS: _jpeg_ls,
    Codec.JPEG_2000: _jpeg_2000,
    Codec.JPEG_LOSSLESS: _jpeg_lossless,
    Codec.DEFLATED_FRAMES: _deflate,
}
