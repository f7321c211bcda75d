"""What is no picture in a codestream does not leave, also where nothing has to be decoded."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pixels.codec import open_image
from radanon_node.pixels.elements import NewPixels
from radanon_node.pixels.instance import encode_instance, read_instance
from radanon_node.pixels.proof import prove
from radanon_node.pixels.redact import passthrough

DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
NAME = b"OYELARAN^TEMITOPE"


def segment(marker: int) -> bytes:
    return struct.pack(">HH", marker, len(NAME) + 2) + NAME


def with_stream(data: bytes, syntax: str, stream: bytes):
    """The picture of `data` with another codestream."""
    coded = encode_instance(read_instance(data).dataset, syntax, NewPixels(0x7FE00010, "OB", [stream], (1,)))
    return open_image(read_instance(coded.data))


# Reserved, JPGn, DNL, application and comment segments of JPEG; reserved ones, comments and registration of JPEG 2000.
@pytest.mark.parametrize("syntax, marker, after", [
    (JPEGLSLossless, 0xFF02, 2), (JPEGLSLossless, 0xFFF0, 2), (JPEGLSLossless, 0xFFFD, 2), (JPEGLSLossless, 0xFFDC, 2),
    (JPEGLSLossless, 0xFFEF, 2), (JPEGLSLossless, 0xFFFE, 2), (JPEG2000Lossless, 0xFF70, 45), (JPEG2000Lossless, 0xFF64, 45),
    (JPEG2000Lossless, 0xFF50 + 0x0B, 45),
])  # fmt: skip
def test_segments_of_no_known_kind_are_cut_out(kit, syntax, marker, after):
    values = kit.wavy(40, 48, 12)
    data = kit.compress(kit.build(values, stored=12), syntax)
    plain = open_image(read_instance(data))
    stream = plain.codestream(0)
    image = with_stream(data, syntax, stream[:after] + segment(marker) + stream[after:])
    assert NAME in image.codestream(0)
    result = passthrough(image)
    assert result.method == "stripped"
    clean = open_image(read_instance(encode_instance(image.instance.dataset, syntax, result.pixels).data))
    assert NAME not in clean.codestream(0)
    np.testing.assert_array_equal(clean.frame(0), values)
    assert passthrough(plain).method == "untouched"


@pytest.mark.parametrize("marker", [0xFFD8, 0xFFD0, 0xFF01, 0xFFDE])
def test_jpeg_markers_that_have_no_place_are_held(kit, marker):
    data = kit.compress(kit.build(kit.wavy(40, 48, 12), stored=12), JPEGLSLossless)
    stream = open_image(read_instance(data)).codestream(0)
    with pytest.raises(HoldInstance) as held:
        passthrough(with_stream(data, JPEGLSLossless, stream[:2] + segment(marker) + stream[2:]))
    assert held.value.reason is Reason.UNDECODABLE_PIXELS


def test_a_segment_in_a_tile_header_is_held(kit):
    """It cannot be cut out without moving the tile."""
    data = kit.compress(kit.build(kit.wavy(40, 48, 12), stored=12), JPEG2000Lossless)
    stream = open_image(read_instance(data)).codestream(0)
    at = stream.index(b"\xff\x90")
    (length,) = struct.unpack_from(">L", stream, at + 6)
    extra = segment(0xFF70)
    longer = stream[: at + 6] + struct.pack(">L", length + len(extra)) + stream[at + 10 : at + 12] + extra + stream[at + 12 :]
    with pytest.raises(HoldInstance) as held:
        passthrough(with_stream(data, JPEG2000Lossless, longer))
    assert held.value.reason is Reason.UNSUPPORTED_PIXELS


@pytest.mark.parametrize("tail", [b"", b"\0\0", NAME])
def test_bytes_behind_a_deflated_frame_are_held(kit, tail):
    values = kit.wavy(40, 48, 16)
    deflater = zlib.compressobj(wbits=-15)
    stream = deflater.compress(values.tobytes()) + deflater.flush() + tail
    image = with_stream(kit.build(values), DEFLATED_FRAMES, stream)
    if tail == NAME:
        with pytest.raises(HoldInstance):
            passthrough(image)
    else:
        assert prove(image, image, []).identical == 1
        passthrough(image)
