"""Frames decode to the values other readers see, and whatever contradicts itself is held."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_files
from pydicom.pixels import pixel_array
from pydicom.uid import RLELossless

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.types import Box, Kind, Region, Source, Verdict
from radanon_node.pixels.codec import open_image
from radanon_node.pixels.elements import NewPixels
from radanon_node.pixels.instance import encode_instance, read_instance
from radanon_node.pixels.proof import prove
from radanon_node.pixels.redact import passthrough, redact

J2K, JPEG, SV1, JLS = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80"
LOSSY_COLOUR = {"SC_rgb_dcmtk_+eb+cy+n1.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_jpeg_lossy_gdcm.dcm", "examples_ybr_color.dcm"}
FILES = sorted(path for path in map(Path, get_testdata_files("*.dcm")) if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_values_are_those_pydicom_reads(path: Path):
    try:
        instance = read_instance(path.read_bytes())
        image = open_image(instance) if instance.pixels is not None else None
        frames = [image.frame(index) for index in range(image.frames)] if image else []
    except HoldInstance:
        return
    if image is None or image.instance.transfer_syntax.deflated:
        return
    plugin = "" if image.table is None else {"jpeg_ls": "pyjpegls"}.get(str(image.codec).removesuffix("_lossy"), "pylibjpeg")
    expected = pixel_array(path, raw=True, decoding_plugin=plugin)
    found = np.stack(frames) if image.frames > 1 else frames[0]
    assert found.shape == expected.shape
    if path.name in LOSSY_COLOUR:  # chroma is repeated here and interpolated there
        found, expected = found[..., 0], expected[..., 0]
    # Two decoders of a lossy JPEG may round differently (T.81 leaves the inverse DCT's precision to T.83).
    np.testing.assert_allclose(found, expected, rtol=0, atol=1 if str(image.codec) == "jpeg" else 0)


def coded(kit, values, syntax, chunks, sizes, **options):
    dataset = read_instance(kit.build(values, **options)).dataset
    return read_instance(encode_instance(dataset, syntax, NewPixels(0x7FE00010, "OB", chunks, sizes)).data)


def with_offsets(data, table):
    """`data` with another Basic Offset Table of the same length."""
    at = data.index(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff") + 20
    return data[:at] + table + data[at + len(table) :]


def held(instance, decode=True):
    with pytest.raises(HoldInstance) as hold:
        image = open_image(instance)
        if decode:
            for index in range(image.frames):
                image.frame(index)
    return hold.value.reason


def test_fragments_per_frame_are_found_with_wrong_or_no_offset_tables(kit):
    values = np.stack([kit.wavy(40, 40, 8, seed=seed) for seed in range(3)])
    streams = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in values]
    pieces, sizes = [], []
    for number, stream in enumerate(streams, 1):
        cuts = [len(stream) * k // number // 2 * 2 for k in range(number)] + [len(stream)]
        parts = [stream[a:b] for a, b in pairwise(cuts)]
        pieces, sizes = pieces + parts, [*sizes, len(parts)]
    right = coded(kit, values, JPEG, pieces, tuple(sizes), frames=3)
    expected = [open_image(right).frame(index) for index in range(3)]
    assert passthrough(open_image(right)).method == "untouched"
    encoded = bytes(right.data)
    for table in (struct.pack("<3L", 0, 2, 4), bytes(12), b"\xff" * 12):
        image = open_image(read_instance(with_offsets(encoded, table)))
        for index in range(3):
            np.testing.assert_array_equal(image.frame(index), expected[index])
        result = passthrough(image)
        assert result.method == "stripped"
        fixed = read_instance(encode_instance(image.instance.dataset, JPEG, result.pixels).data)
        assert fixed.pixels.fragments.offsets == right.pixels.fragments.offsets
        assert open_image(fixed).table.tables_right


def test_too_few_fragments_or_codestreams_nobody_would_look_at_are_held(kit):
    values = np.stack([kit.wavy(40, 40, 8, seed=seed) for seed in range(2)])
    streams = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in values]
    assert held(coded(kit, values, JPEG, streams[:1], (1,), frames=2)) is Reason.PIXEL_DATA_MISMATCH
    assert held(coded(kit, values[0], JPEG, streams, (1, 1))) is Reason.PIXEL_DATA_MISMATCH
    assert held(coded(kit, values, JPEG, [*streams, streams[0]], (1, 1, 1), frames=2)) is Reason.PIXEL_DATA_MISMATCH
    rle = [bytes(read_instance(kit.compress(kit.build(frame), RLELossless)).pixels.fragment(0)) for frame in values]
    one = coded(kit, values[0], RLELossless, rle, (1, 1))
    assert held(one) in (Reason.PIXEL_DATA_MISMATCH, Reason.UNDECODABLE_PIXELS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Rows": 50}, Reason.PIXEL_DATA_MISMATCH), ({"Rows": 0}, Reason.PIXEL_DATA_MISMATCH),
        ({"NumberOfFrames": 2}, Reason.PIXEL_DATA_MISMATCH), ({"BitsAllocated": 16}, Reason.PIXEL_DATA_MISMATCH),
        ({"BitsAllocated": 12}, Reason.UNSUPPORTED_PIXELS), ({"SamplesPerPixel": 3}, Reason.PIXEL_DATA_MISMATCH),
        ({"PhotometricInterpretation": "RGB"}, Reason.PIXEL_DATA_MISMATCH), ({"BitsStored": 9}, Reason.PIXEL_DATA_MISMATCH),
        ({"PhotometricInterpretation": "HSV"}, Reason.UNSUPPORTED_PIXELS), ({"Rows": 20}, Reason.PIXEL_DATA_MISMATCH),
        ({"Rows": None}, Reason.MISSING_ATTRIBUTE), ({"Columns": 65535, "Rows": 65535}, Reason.PIXEL_LIMIT),
        ({"PixelRepresentation": 7}, Reason.PIXEL_DATA_MISMATCH),
    ],
)
def test_attributes_that_contradict_the_pixels_are_held_before_anything_is_allocated(kit, change, reason):
    instance = read_instance(kit.build(kit.wavy(40, 40, 8)))
    for keyword, value in change.items():
        setattr(instance.dataset, keyword, value)
    with pytest.raises(HoldInstance) as hold:
        open_image(instance, max_pixels=10**8)
    assert hold.value.reason is reason


@pytest.mark.parametrize("syntax", [JPEG, J2K, SV1, JLS, RLELossless])
@pytest.mark.parametrize("change", [{"Rows": 39}, {"Columns": 41}, {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}])
def test_codestreams_that_are_not_what_the_data_set_says_are_held(kit, tmp_path, syntax, change):
    data = kit.build(kit.wavy(40, 40, 8))
    if syntax in (JPEG, SV1):
        data = kit.dcmtk(data, tmp_path, "dcmcjpeg", "+eb" if syntax == JPEG else "+e1")
    else:
        data = kit.compress(data, syntax)
    instance = read_instance(data)
    for keyword, value in change.items():
        setattr(instance.dataset, keyword, value)
    assert held(instance) in (Reason.PIXEL_DATA_MISMATCH, Reason.UNDECODABLE_PIXELS)


@pytest.mark.parametrize("syntax", [JPEG, J2K, SV1, JLS, RLELossless])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.9])
def test_truncated_codestreams_are_held(kit, tmp_path, syntax, keep):
    values = kit.wavy(64, 64, 8)
    data = kit.build(values)
    if syntax in (JPEG, SV1):
        data = kit.dcmtk(data, tmp_path, "dcmcjpeg", "+eb" if syntax == JPEG else "+e1")
    else:
        data = kit.compress(data, syntax)
    stream = bytes(read_instance(data).pixels.fragment(0))
    assert held(coded(kit, values, syntax, [stream[: int(len(stream) * keep)]], (1,))) is Reason.UNDECODABLE_PIXELS


@pytest.mark.parametrize(
    ("syntax", "reason"),
    [
        ("1.2.840.10008.1.2.4.102", Reason.VIDEO), ("1.2.840.10008.1.2.4.108", Reason.VIDEO),
        ("1.2.840.10008.1.2.4.94", Reason.UNSUPPORTED_PIXELS), ("1.2.840.10008.1.2.4.112", Reason.UNSUPPORTED_PIXELS),
    ],
)
def test_what_nothing_here_decodes_is_held_by_name(kit, syntax, reason):
    assert held(coded(kit, kit.wavy(8, 8, 8), syntax, [b"ab"], (1,))) is reason


@pytest.mark.parametrize("options", [["+e1"], ["+el"]])
@pytest.mark.parametrize(("dtype", "stored"), [("i2", 12), ("i2", 16), ("u2", 10), ("i1", 8)])
def test_signed_values_come_through_the_unsigned_jpeg_family(kit, tmp_path, options, dtype, stored):
    values = (kit.wavy(20, 24, stored, dtype="i8") - ((1 << (stored - 1)) if dtype[0] == "i" else 0)).astype(dtype)
    image = open_image(read_instance(kit.dcmtk(kit.build(values, stored=stored), tmp_path, "dcmcjpeg", *options)))
    np.testing.assert_array_equal(image.frame(0), values)
    image = open_image(read_instance(kit.dcmtk(kit.build(values, stored=stored), tmp_path, "dcmcjpls")))
    np.testing.assert_array_equal(image.frame(0), values)


def test_big_endian_words_of_bytes_are_put_in_order(kit):
    values = kit.wavy(5, 7, 8)
    raw = values.tobytes() + b"\0"
    dataset = dcmread(io.BytesIO(kit.build(values, syntax="1.2.840.10008.1.2.2")))
    dataset["PixelData"].VR = "OW"
    dataset["PixelData"].value = np.frombuffer(raw, "<u2").astype(">u2").tobytes()
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    np.testing.assert_array_equal(open_image(read_instance(out.getvalue())).frame(0), values)


def test_only_the_frame_asked_for_is_decoded(kit):
    values = np.stack([kit.wavy(40, 40, 8, seed=seed) for seed in range(3)])
    streams = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in values]
    streams[1] = streams[1][:300] + b"\xff\xd9"
    image = open_image(coded(kit, values, JPEG, streams, (1, 1, 1), frames=3))
    image.frame(0), image.frame(2)
    with pytest.raises(HoldInstance):
        image.frame(1)


HTJ2K = json.loads((Path(__file__).parent / "data" / "htj2k.json").read_text())


@pytest.mark.parametrize("name", sorted(HTJ2K))
def test_high_throughput_streams_of_openjph_decode_to_its_own_values(kit, name):
    """Made with OpenJPH 0.26.3, which nothing here has an encoder of; the values are those it decodes itself."""
    entry = HTJ2K[name]
    values = np.frombuffer(zlib.decompress(base64.b64decode(entry["values"])), entry["dtype"]).reshape(entry["shape"])
    uid, photometric = {
        "gray_lossless": ("1.2.840.10008.1.2.4.201", "MONOCHROME2"), "rgb_lossless": ("1.2.840.10008.1.2.4.202", "YBR_RCT"),
        "gray_lossy": ("1.2.840.10008.1.2.4.203", "MONOCHROME2"),
    }[name]
    instance = coded(kit, values, uid, [base64.b64decode(entry["stream"])], (1,), photometric=photometric)
    image = open_image(instance)
    np.testing.assert_allclose(image.frame(0), values, rtol=0, atol=1 if name == "gray_lossy" else 0)
    assert passthrough(image).method == "untouched"
    region = Region(Box(4, 4, 12, 9), Verdict.REDACT, Kind.TEXT, 1.0, Source.TEXT_MODEL)
    result = redact(image, [region])
    assert (result.method, result.transfer_syntax_uid) == ("to_lossless", J2K)
    assert ("LossyImageCompression" in result.changes) == (name == "gray_lossy")
    for keyword, value in result.changes.items():
        setattr(instance.dataset, keyword, value)
    after = open_image(read_instance(encode_instance(instance.dataset, J2K, result.pixels).data))
    assert prove(image, after, [region]).redacted_pixels == 40
