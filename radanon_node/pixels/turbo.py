"""libturbojpeg through ctypes: decode without colour conversion, and edit DCT coefficients in place.

The TurboJPEG API (version 2, in libjpeg-turbo 1.3 to 3.x) is the one maintained libjpeg binding whose lossless transform hands
the quantised coefficients of every block to a callback before they are entropy-coded again: nothing is dequantised, so nothing
outside the edited blocks can change. Debian's package is libturbojpeg0.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import ConfigError, HoldInstance, Reason

_GRAY_PIXELS, _RGB_PIXELS = 6, 0  # TJPF_GRAY, TJPF_RGB
_CS_RGB, _CS_YCBCR, _CS_GRAY = 0, 1, 2
_SAMP_444, _SAMP_422, _SAMP_420, _SAMP_GRAY, _SAMP_440, _SAMP_411 = range(6)
# Luma pixels per chroma pixel (horizontal, vertical) of each TJSAMP.
SUBSAMPLING = {_SAMP_444: (1, 1), _SAMP_422: (2, 1), _SAMP_420: (2, 2), _SAMP_GRAY: (1, 1), _SAMP_440: (1, 2), _SAMP_411: (4, 1)}
_ACCURATE_DCT, _STOP_ON_WARNING, _NO_REALLOC = 4096, 8192, 1024
_COPY_NONE, _TRIM_OFF = 64, 0  # TJXOPT_COPYNONE

Edit = Callable[[NDArray[np.int16], int, int, int], None]
"""Called with the blocks of one slab, shape (block rows, block columns, 8, 8), its first block row and column, and the component."""


class _Region(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_int), ("w", ctypes.c_int), ("h", ctypes.c_int)]


class _Transform(ctypes.Structure):
    pass


_Filter = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), _Region, _Region, ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Transform)
)
_Transform._fields_ = [
    ("r", _Region), ("op", ctypes.c_int), ("options", ctypes.c_int), ("data", ctypes.c_void_p), ("customFilter", _Filter),
]


@cache
def _library() -> Any:
    for name in (ctypes.util.find_library("turbojpeg"), "libturbojpeg.so.0", "libturbojpeg.dylib"):
        if name:
            try:
                library = ctypes.CDLL(name)
            except OSError:
                continue
            library.tjInitDecompress.restype = library.tjInitTransform.restype = ctypes.c_void_p
            library.tjGetErrorStr2.restype = ctypes.c_char_p
            library.tjGetErrorStr2.argtypes = [ctypes.c_void_p]
            library.tjDestroy.argtypes = [ctypes.c_void_p]
            library.tjFree.argtypes = [ctypes.c_void_p]
            pointer, size = ctypes.c_char_p, ctypes.c_ulong
            integer, out = ctypes.c_int, ctypes.POINTER(ctypes.c_int)
            library.tjDecompressHeader3.argtypes = [ctypes.c_void_p, pointer, size, out, out, out, out]
            library.tjDecompress2.argtypes = [ctypes.c_void_p, pointer, size, ctypes.c_void_p, integer, integer, integer, integer, integer]
            library.tjDecompressToYUVPlanes.argtypes = [
                ctypes.c_void_p, pointer, size, ctypes.POINTER(ctypes.c_void_p), integer, out, integer, integer,
            ]
            library.tjTransform.argtypes = [
                ctypes.c_void_p, pointer, size, integer, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_ulong),
                ctypes.POINTER(_Transform), integer,
            ]
            return library
    raise ConfigError("libturbojpeg cannot be loaded: install the package libturbojpeg0")


def available() -> bool:
    """Whether the library can be loaded."""
    try:
        _library()
    except ConfigError:
        return False
    return True


class _Handle:
    """One TurboJPEG instance, destroyed at the end of the block."""

    def __init__(self, transform: bool) -> None:
        self.library = _library()
        self.value = self.library.tjInitTransform() if transform else self.library.tjInitDecompress()
        if not self.value:
            raise MemoryError("libturbojpeg gives no handle")

    def __enter__(self) -> _Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.library.tjDestroy(self.value)

    def check(self, status: int) -> None:
        if status:
            raise HoldInstance(Reason.UNDECODABLE_PIXELS, "libturbojpeg refuses a frame")


def _header(handle: _Handle, data: bytes) -> tuple[int, int, int, int]:
    width, height, sampling, space = (ctypes.c_int() for _ in range(4))
    handle.check(handle.library.tjDecompressHeader3(handle.value, data, len(data), width, height, sampling, space))
    return width.value, height.value, sampling.value, space.value


def chroma_step(data: bytes) -> tuple[int, int] | None:
    """Luma pixels per chroma pixel (horizontal, vertical), or None where the TurboJPEG API has no name for the sampling."""
    with _Handle(False) as handle:
        try:
            _, _, sampling, space = _header(handle, data)
        except HoldInstance:
            return None
    return SUBSAMPLING.get(sampling) if space in (_CS_RGB, _CS_YCBCR, _CS_GRAY) else None


def decode(data: bytes) -> NDArray[np.uint8]:
    """The components of an 8-bit DCT JPEG as they are stored: no colour conversion, chroma repeated and not interpolated.

    Parameters
    ----------
    data : bytes
        From SOI to EOI; baseline, extended or progressive.

    Returns
    -------
    ndarray of uint8, shape (rows, columns) or (rows, columns, 3)

    Raises
    ------
    HoldInstance
        ``undecodable_pixels``, also for what libjpeg only warns of (premature end, corrupt data).
    """
    flags = _ACCURATE_DCT | _STOP_ON_WARNING
    with _Handle(False) as handle:
        width, height, sampling, space = _header(handle, data)
        if sampling not in SUBSAMPLING:
            raise HoldInstance(Reason.UNSUPPORTED_PIXELS, "a chroma sampling that libturbojpeg does not know")
        if space in (_CS_GRAY, _CS_RGB) or sampling == _SAMP_GRAY:
            shape = (height, width) if space == _CS_GRAY else (height, width, 3)
            out = np.empty(shape, np.uint8)
            form = _GRAY_PIXELS if space == _CS_GRAY else _RGB_PIXELS
            handle.check(handle.library.tjDecompress2(handle.value, data, len(data), out.ctypes.data, width, 0, height, form, flags))
            return out
        step_x, step_y = SUBSAMPLING[sampling]
        # Planes are padded to whole chroma pixels.
        wide, high = -(-width // step_x) * step_x, -(-height // step_y) * step_y
        planes = [np.empty((high, wide), np.uint8)] + [np.empty((high // step_y, wide // step_x), np.uint8) for _ in range(2)]
        pointers = (ctypes.c_void_p * 3)(*(plane.ctypes.data for plane in planes))
        strides = (ctypes.c_int * 3)(*(plane.shape[1] for plane in planes))
        handle.check(
            handle.library.tjDecompressToYUVPlanes(handle.value, data, len(data), pointers, width, strides, height, flags)
        )
    out = np.empty((height, width, 3), np.uint8)
    for index, plane in enumerate(planes):
        if index and (step_x, step_y) != (1, 1):
            plane = plane.repeat(step_y, axis=0).repeat(step_x, axis=1)
        out[..., index] = plane[:height, :width]
    return out


def edit_blocks(data: bytes, edit: Edit, rows: Sequence[Sequence[bool] | NDArray[np.bool_]] | None = None) -> bytes:
    """Entropy-code an 8-bit DCT JPEG anew after `edit` has changed some of its quantised coefficients.

    Parameters
    ----------
    data : bytes
        Baseline or extended sequential, Huffman coded.
    edit : callable
        Changes blocks in place; called for every slab (row of blocks) of every component.
    rows : sequence of sequences of bool, optional
        Per component: which rows of blocks to call `edit` for; rows past the end are left alone. Default: all.

    Returns
    -------
    bytes
        Sequential Huffman JPEG with the same quantisation tables; no comment or application segments but what the colour
        space needs. Decodes to the same coefficients wherever `edit` did nothing.

    Raises
    ------
    HoldInstance
        ``undecodable_pixels``.
    """
    failures: list[BaseException] = []

    def callback(pointer: Any, slab: _Region, plane: _Region, component: int, _: int, __: Any) -> int:
        row, high, wide = slab.y // 8, slab.h // 8, slab.w // 8
        if rows is not None and not any(rows[component][row : row + high]):
            return 0
        try:
            memory = (ctypes.c_short * (high * wide * 64)).from_address(ctypes.addressof(pointer.contents))
            edit(np.frombuffer(memory, np.int16).reshape(high, wide, 8, 8), row, slab.x // 8, component)
        except Exception as error:  # noqa: BLE001  must not run through C frames: kept and raised below
            failures.append(error)
            return -1
        return 0

    filter_callback = _Filter(callback)
    with _Handle(True) as handle:
        transform = _Transform(_Region(0, 0, 0, 0), 0, _COPY_NONE, None, filter_callback)
        buffer, size = ctypes.c_void_p(), ctypes.c_ulong()
        try:
            status = handle.library.tjTransform(
                handle.value, data, len(data), 1, ctypes.byref(buffer), ctypes.byref(size), ctypes.byref(transform), _STOP_ON_WARNING
            )
            if failures:
                raise failures[0]
            handle.check(status)
            return ctypes.string_at(buffer, size.value)
        finally:
            handle.library.tjFree(buffer)
