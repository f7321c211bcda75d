"""An instance's picture, one frame at a time: `open_image` checks what it can without decoding, `Image.frame` decodes."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pixels import native
from radanon_node.pixels.description import Description, describe, mismatch
from radanon_node.pixels.elements import PixelElement
from radanon_node.pixels.encapsulation import FrameTable, frame_table
from radanon_node.pixels.instance import Instance
from radanon_node.pixels.isolation import decode_safely
from radanon_node.pixels.streams import SOF_BASELINE, SOF_EXTENDED, SOF_JPEG_LS, SOF_LOSSLESS, SOF_PROGRESSIVE, Stream, read_j2k, read_jpeg
from radanon_node.pixels.syntaxes import Codec

MAX_PIXELS = 2**34
_CACHED = 2**26
"""A decoded frame up to this many bytes is kept until another frame is asked for."""

_JPEG_FAMILY = frozenset({Codec.JPEG, Codec.JPEG_LOSSLESS, Codec.JPEG_LS, Codec.JPEG_LS_LOSSY})
_J2K_FAMILY = frozenset({Codec.JPEG_2000, Codec.JPEG_2000_LOSSY, Codec.HTJ2K, Codec.HTJ2K_LOSSY})
_SOFS = {
    Codec.JPEG: {SOF_BASELINE, SOF_EXTENDED, SOF_PROGRESSIVE},
    Codec.JPEG_LOSSLESS: {SOF_LOSSLESS},
    Codec.JPEG_LS: {SOF_JPEG_LS},
    Codec.JPEG_LS_LOSSY: {SOF_JPEG_LS},
}


class Image:
    """A picture of one or more frames; made by `open_image`.

    Parameters
    ----------
    instance : Instance
    description : Description
    table : FrameTable or None
        Fragments per frame of encapsulated pixels.

    Attributes
    ----------
    rows, columns, frames, samples, bits_stored, photometric
        As in the data set.
    """

    def __init__(self, instance: Instance, description: Description, table: FrameTable | None) -> None:
        self.instance = instance
        self.description = description
        self.table = table
        self.rows, self.columns, self.frames = description.rows, description.columns, description.frames
        self.samples, self.bits_stored = description.samples, description.bits_stored
        self.photometric = description.photometric
        self._decoded: tuple[int, NDArray[Any], NDArray[Any]] | None = None  # frame, as decoded, stored values
        self._streams: dict[int, Stream] = {}

    @property
    def pixels(self) -> PixelElement:
        element = self.instance.pixels
        assert element is not None
        return element

    @property
    def codec(self) -> Codec:
        return self.instance.transfer_syntax.codec

    @cached_property
    def native_data(self) -> memoryview:
        """The native value in the order the layout functions expect."""
        return native.in_order(self.pixels, self.description, self.instance.transfer_syntax.little_endian)

    def codestream(self, index: int) -> bytes:
        """The bytes of frame `index` of encapsulated pixels, all its fragments together."""
        assert self.table is not None
        return bytes(self.table.frame(self.pixels, index))

    def stream(self, index: int) -> Stream | None:
        """What the codestream of frame `index` says of itself, compared with the data set; None for RLE, deflate and native.

        Raises
        ------
        HoldInstance
            ``undecodable_pixels``, ``pixel_data_mismatch``, ``unsupported_pixels``.
        """
        codec = self.codec
        if codec not in _JPEG_FAMILY and codec not in _J2K_FAMILY:
            return None
        if index not in self._streams:
            data = self.codestream(index)
            self._streams[index] = _checked(read_jpeg(data) if codec in _JPEG_FAMILY else read_j2k(data), self.description, codec)
        return self._streams[index]

    def frame(self, index: int) -> NDArray[Any]:
        """Stored values of one frame.

        Parameters
        ----------
        index : int
            0-based.

        Returns
        -------
        ndarray, shape (rows, columns) or (rows, columns, 3)
            Read-only. Integers of Bits Allocated (sign extended, unused bits cleared), uint8 for 1-bit pixels, or floats.
            Components as they are coded: a JPEG's YCbCr is not converted, its chroma repeated to full size. JPEG 2000's own
            component transform is undone, so YBR_RCT and YBR_ICT come as RGB.

        Raises
        ------
        HoldInstance
            ``undecodable_pixels``, ``pixel_data_mismatch``, ``unsupported_pixels``, ``time_limit``.
        """
        if not 0 <= index < self.frames:
            raise IndexError(index)
        if self._decoded is not None and self._decoded[0] == index:
            return self._decoded[2]
        if self.table is None:
            return native.frame(self.native_data, self.description, index, self.instance.transfer_syntax.little_endian)
        cells = self._decode(index)
        values = native.stored_values(cells, self.description)
        values.flags.writeable = False
        self._decoded = (index, cells, values) if values.nbytes <= _CACHED else None
        return values

    def _decode(self, index: int) -> NDArray[Any]:
        told, data = self.description, self.codestream(index)
        stream = self.stream(index)
        if stream is None:
            name = "rle" if self.codec is Codec.RLE else "deflate"
            return decode_safely(name, data, told.rows, told.columns, told.samples, told.bits_allocated)
        data = data[: stream.end]
        if self.codec in _J2K_FAMILY:
            name = "jpeg_2000"
        elif stream.sof == SOF_JPEG_LS:
            name = "jpeg_ls"
        else:
            name = "jpeg8" if stream.sof != SOF_LOSSLESS and stream.precision == 8 and not stream.arithmetic else "jpeg"
        return decode_safely(name, data, told.rows, told.columns, told.samples, stream.precision)

    def raw_bits(self, index: int) -> NDArray[Any]:
        """Values of a frame with the bits outside Bits Stored still in them, unsigned; for finding what hides there."""
        if self.table is None:
            return native.raw_frame(self.native_data, self.description, index, self.instance.transfer_syntax.little_endian)
        self.frame(index)
        return self._decoded[1] if self._decoded is not None else self._decode(index)


def open_image(instance: Instance, max_pixels: int = MAX_PIXELS) -> Image:
    """Check an instance's pixel element against its attributes; decodes nothing.

    Parameters
    ----------
    instance : Instance
    max_pixels : int
        Most rows x columns x frames.

    Returns
    -------
    Image

    Raises
    ------
    HoldInstance
        ``missing_attribute``, ``pixel_data_mismatch`` (lengths, frames, fragments or attributes contradict each other),
        ``pixel_limit``, ``unsupported_pixels``, ``video``.
    """
    syntax = instance.transfer_syntax
    if syntax.codec is Codec.VIDEO:
        raise HoldInstance(Reason.VIDEO, syntax.name)
    if syntax.codec is Codec.UNSUPPORTED:
        raise HoldInstance(Reason.UNSUPPORTED_PIXELS, f"no decoder for {syntax.name}")
    description = describe(instance, max_pixels)
    pixels = instance.pixels
    assert pixels is not None
    if pixels.encapsulated != syntax.encapsulated:
        raise mismatch("native pixels in an encapsulated transfer syntax or the other way round")
    if not pixels.encapsulated:
        native.check_length(len(pixels.data), description)
        return Image(instance, description, None)
    if description.floating or description.bits_allocated == 1 or description.shift:
        raise HoldInstance(Reason.UNSUPPORTED_PIXELS, "float, one-bit or shifted pixels in an encapsulated transfer syntax")
    return Image(instance, description, frame_table(pixels, description.frames, syntax.codec))


def _checked(stream: Stream, told: Description, codec: Codec) -> Stream:
    """`stream`, if it is what the data set says it is."""
    if (stream.rows, stream.columns, stream.components) != (told.rows, told.columns, told.samples):
        raise mismatch("a codestream's rows, columns or components are not those of the data set")
    if stream.precision > told.bits_allocated:
        raise mismatch("a codestream's precision does not fit Bits Allocated")
    if stream.precision < told.bits_stored and told.signed:
        raise mismatch("a codestream's precision is less than Bits Stored of signed pixels")
    if codec in _SOFS and stream.sof not in _SOFS[codec] | ({SOF_LOSSLESS} if codec is Codec.JPEG else set()):
        raise HoldInstance(Reason.UNSUPPORTED_PIXELS, "a JPEG process that the transfer syntax does not name")
    if codec in _J2K_FAMILY and any(step != (1, 1) for step in stream.sampling):
        raise HoldInstance(Reason.UNSUPPORTED_PIXELS, "subsampled JPEG 2000 components")
    return stream
