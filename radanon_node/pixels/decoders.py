"""One frame's codestream to the values of its components, by the library that does it best (docs/pixels.md has the table).

Every function takes bytes and plain numbers and gives an array, so that it can run in another process (isolation.py). Errors of
the libraries become ``undecodable_pixels``; what libraries guess or patch up is refused beforehand by streams.py.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import ConfigError, HoldInstance
from radanon_node.pixels import turbo
from radanon_node.pixels.streams import undecodable

Decoded = NDArray[Any]

_LIBRARIES = ("libjpeg.utils", "jpeg_ls", "openjpeg.utils", "rle.rle")


def load_libraries() -> None:
    """Load what decodes and encodes now, so that what is missing shows at the start and not as a verdict on the first film.

    Raises
    ------
    ConfigError
        With one line per library that cannot be loaded.
    """
    problems = []
    for name in _LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError:
            problems.append(f"{name.partition('.')[0]} cannot be loaded: install radanon_node's dependencies again")
    if not turbo.available():
        problems.append("libturbojpeg cannot be loaded: install the package libturbojpeg0")
    if problems:
        raise ConfigError(problems)


def decode(name: str, data: bytes, rows: int, columns: int, samples: int, depth: int) -> Decoded:
    """Decode one frame.

    Parameters
    ----------
    name : str
        Which decoder: ``jpeg8``, ``jpeg``, ``jpeg_ls``, ``jpeg_2000``, ``rle``, ``deflate``.
    data : bytes
        The codestream.
    rows, columns, samples : int
    depth : int
        Bits per value: the codestream's precision, or Bits Allocated for RLE and deflate.

    Returns
    -------
    ndarray, shape (rows, columns) or (rows, columns, samples)
        Integers that hold `depth` bits, not yet extended to the data set's sign.

    Raises
    ------
    HoldInstance
        ``undecodable_pixels``.
    """
    try:
        out = _DECODERS[name](data, rows, columns, samples, depth)
    except (HoldInstance, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  a decoder's complaint, whatever its class, is a verdict on the frame
        raise undecodable(f"the {name} decoder refuses a frame ({type(error).__name__})") from None
    expected = (rows, columns) if samples == 1 else (rows, columns, samples)
    if out.shape != expected:
        raise undecodable(f"the {name} decoder gave a picture of another size")
    return out


def _jpeg8(data: bytes, *_: int) -> Decoded:
    return turbo.decode(data)


def _jpeg(data: bytes, *_: int) -> Decoded:
    import libjpeg.utils

    out: Decoded = libjpeg.utils.decode(data, colour_transform=0)
    return out


def _jpeg_ls(data: bytes, rows: int, columns: int, samples: int, depth: int) -> Decoded:
    import jpeg_ls

    buffer, info = jpeg_ls.decode_buffer(data)
    out = np.frombuffer(buffer, np.uint8 if depth <= 8 else "<u2")
    if samples == 1:
        return out.reshape(rows, columns)
    # Planes one after the other where the scans were not interleaved (T.87 C.2.3, ILV 0).
    if info.get("interleave_mode") == 0:
        return out.reshape(samples, rows, columns).transpose(1, 2, 0)
    return out.reshape(rows, columns, samples)


def _jpeg_2000(data: bytes, *_: int) -> Decoded:
    import openjpeg.utils

    out: Decoded = openjpeg.utils.decode(data, j2k_format=0)
    return out


def _rle(data: bytes, rows: int, columns: int, samples: int, depth: int) -> Decoded:
    """PS3.5 Annex G: one segment per byte plane, most significant first."""
    from rle.rle import decode_segment

    width = depth // 8
    count = samples * width
    if len(data) < 64:
        raise undecodable("an RLE frame without header")
    header = np.frombuffer(data, "<u4", 16)
    offsets = [int(value) for value in header[1 : 1 + count]]
    if header[0] != count:
        raise undecodable("an RLE frame with the wrong number of segments")
    if offsets[0] != 64 or offsets != sorted(set(offsets)) or offsets[-1] >= len(data) or header[1 + count :].any():
        raise undecodable("an RLE frame with wrong segment offsets")
    pixels = rows * columns
    out = np.empty((pixels, samples, width), np.uint8)
    for index, (start, stop) in enumerate(zip(offsets, [*offsets[1:], len(data)], strict=True)):
        plane = decode_segment(data[start:stop])
        # One byte more is what decoding the padding of an odd segment may give.
        if not pixels <= len(plane) <= pixels + 1:
            raise undecodable("an RLE segment of the wrong length")
        sample, significance = divmod(index, width)
        out[:, sample, width - 1 - significance] = np.frombuffer(plane, np.uint8, pixels)
    values = out.reshape(pixels, samples * width).view(f"<u{width}").reshape(rows, columns, samples)
    return values[..., 0] if samples == 1 else values


def _deflate(data: bytes, rows: int, columns: int, samples: int, depth: int) -> Decoded:
    size = rows * columns * samples * depth // 8
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    raw = inflater.decompress(data, size + 1)
    if len(raw) != size or not inflater.eof:
        raise undecodable("a deflated frame of the wrong length")
    if any(inflater.unused_data):
        raise undecodable("bytes behind a deflated frame")
    out = np.frombuffer(raw, f"<u{depth // 8}").reshape(rows, columns, samples)
    return out[..., 0] if samples == 1 else out


_DECODERS: dict[str, Callable[[bytes, int, int, int, int], Decoded]] = {
    "jpeg8": _jpeg8,
    "jpeg": _jpeg,
    "jpeg_ls": _jpeg_ls,
    "jpeg_2000": _jpeg_2000,
    "rle": _rle,
    "deflate": _deflate,
}
