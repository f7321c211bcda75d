"""Law 3: outside the boxes every stored value is what it was, inside there is one value, on all frames concerned."""

from __future__ import annotations

import io
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.pixels import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from radanon_node.errors import HoldInstance
from radanon_node.pipeline.types import Box, Kind, Region, Source, Verdict
from radanon_node.pixels.codec import open_image
from radanon_node.pixels.fill import fill_values
from radanon_node.pixels.instance import encode_instance, read_instance
from radanon_node.pixels.proof import prove
from radanon_node.pixels.redact import passthrough, redact

NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def region(x0, y0, x1, y1, frames=None, mask=None, verdict=Verdict.REDACT):
    return Region(Box(x0, y0, x1, y1), verdict, Kind.TEXT, 0.9, Source.TEXT_MODEL, frames=frames, mask=mask)


def through(data, regions):
    """Redact, encode, read back: (image before, result, image after)."""
    instance = read_instance(data)
    before = open_image(instance)
    result = redact(before, regions)
    for keyword, value in result.changes.items():
        setattr(instance.dataset, keyword, value)
    encoded = encode_instance(instance.dataset, result.transfer_syntax_uid, result.pixels)
    return before, result, open_image(read_instance(encoded.data)), encoded.data


def expect(before, after, boxes):
    """An oracle of its own, without the proof's code: boxes is {frame: [(box, mask)]}."""
    fill = fill_values(before, sorted(boxes))
    for index in range(before.frames):
        old, new = np.array(before.frame(index)), after.frame(index)
        for box, mask in boxes.get(index, []):
            part = old[box.y0 : box.y1, box.x0 : box.x1]
            part[mask if mask is not None else ...] = np.asarray(fill if old.ndim == 3 else fill[0]).astype(old.dtype)
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize(
    ("bits", "stored", "dtype"),
    [
        (8, 8, "u1"), (8, 8, "i1"), (8, 6, "u1"), (16, 12, "u2"), (16, 12, "i2"), (16, 10, "u2"), (16, 16, "i2"),
        (32, 32, "u4"), (32, 20, "i4"),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_native_grayscale_changes_inside_the_box_only(kit, syntax, bits, stored, dtype, photometric):
    values = kit.wavy(21, 34, stored, dtype="i8" if dtype[0] == "i" else dtype)
    if dtype[0] == "i":
        values = (values - (1 << (stored - 1))).astype(dtype)
    data = kit.build(values, photometric=photometric, stored=stored, syntax=syntax)
    before, result, after, _ = through(data, [region(5, 3, 17, 9), region(30, 18, 99, 99)])
    np.testing.assert_array_equal(before.frame(0), values)
    assert result.method == "native"
    assert after.instance.transfer_syntax_uid == (ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax)
    expect(before, after, {0: [(Box(5, 3, 17, 9), None), (Box(30, 18, 34, 21), None)]})
    proof = prove(before, after, [region(5, 3, 17, 9), region(30, 18, 99, 99)])
    assert proof.redacted_pixels == 12 * 6 + 4 * 3
    inside = after.frame(0)[4, 6]
    assert inside == (before.frame(0).max() if photometric == "MONOCHROME1" else before.frame(0).min()) or dtype[0] == "u"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize(("photometric", "dtype"), [("RGB", "u1"), ("YBR_FULL", "u1"), ("RGB", "u2")])
def test_native_colour_in_both_planar_configurations(kit, syntax, planar, photometric, dtype):
    values = kit.wavy(13, 18, 8 * int(dtype[1]), samples=3)
    data = kit.build(values, photometric=photometric, planar=planar, syntax=syntax)
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    before, _, after, _ = through(data, [region(4, 5, 12, 11, mask=mask)])
    np.testing.assert_array_equal(before.frame(0), values)
    expect(before, after, {0: [(Box(4, 5, 12, 11), mask)]})
    assert tuple(after.frame(0)[7, 8]) == ((0, 128, 128) if photometric == "YBR_FULL" else (0, 0, 0))


def test_native_422_is_filled_by_pairs(kit):
    values = kit.wavy(9, 16, 8, samples=3)
    values[:, 1::2, 1:] = values[:, 0::2, 1:]
    before, _, after, _ = through(kit.build(values, photometric="YBR_FULL_422"), [region(3, 2, 6, 5)])
    np.testing.assert_array_equal(before.frame(0), values)
    expect(before, after, {0: [(Box(2, 2, 6, 5), None)]})
    assert prove(before, after, [region(3, 2, 6, 5)]).grain == "pairs"


def test_palette_is_filled_with_the_darkest_entry(kit):
    values = kit.wavy(10, 12, 8)
    red, green, blue = (np.random.default_rng(k).integers(40, 255, 256).astype("u1") for k in range(3))
    for table in (red, green, blue):
        table[77] = 3
    extra = {}
    for name, table in (("Red", red), ("Green", green), ("Blue", blue)):
        extra[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        extra[f"{name}PaletteColorLookupTableData"] = table.tobytes()
    before, _, after, _ = through(kit.build(values, photometric="PALETTE COLOR", extra=extra), [region(0, 0, 4, 4)])
    assert (after.frame(0)[:4, :4] == 77).all()
    expect(before, after, {0: [(Box(0, 0, 4, 4), None)]})


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_float_pixels(kit, dtype):
    values = (kit.wavy(8, 9, 16) / 100.0 - 50).astype(dtype)
    values[7, 8] = np.nan
    before, _, after, _ = through(kit.build(values), [region(1, 1, 5, 3)])
    assert (after.frame(0)[1:3, 1:5] == np.nanmin(values)).all()
    np.testing.assert_array_equal(after.frame(0)[3:], values[3:])
    prove(before, after, [region(1, 1, 5, 3)])


@given(st.integers(1, 19), st.integers(1, 7), st.integers(1, 11), st.integers(0, 18), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_bit_frames_that_do_not_end_on_bytes(kit, frames, rows, columns, where, seed):
    values = np.random.default_rng(seed).random((frames, rows, columns) if frames > 1 else (rows, columns)) > 0.4
    where = min(where, frames - 1)
    before, _, after, _ = through(kit.build(values, frames=frames), [region(0, 0, max(1, columns // 2), rows, frames=(where,))])
    stack = values.reshape(frames, rows, columns)
    for index in range(frames):
        expected = stack[index].copy()
        if index == where:
            expected[:, : max(1, columns // 2)] = False
        np.testing.assert_array_equal(before.frame(index), stack[index])
        np.testing.assert_array_equal(after.frame(index), expected)
    prove(before, after, [region(0, 0, max(1, columns // 2), rows, frames=(where,))])


boxes = st.tuples(st.integers(-5, 45), st.integers(-5, 45), st.integers(1, 20), st.integers(1, 20))


@given(
    st.sampled_from([("u1", 8), ("u2", 12), ("i2", 13), ("u2", 16)]),
    st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4)),
    st.lists(st.tuples(boxes, st.integers(0, 3), st.booleans()), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_boxes_and_masks_on_any_frames(kit, kind, shape, wanted, seed):
    dtype, stored = kind
    rows, columns, frames = shape
    rng = np.random.default_rng(seed)
    low, high = (-(1 << (stored - 1)), 1 << (stored - 1)) if dtype[0] == "i" else (0, 1 << stored)
    values = rng.integers(low, high, (frames, rows, columns) if frames > 1 else (rows, columns)).astype(dtype)
    regions, oracle = [], {}
    for (x0, y0, width, height), frame, masked in wanted:
        mask = rng.random((height, width)) > 0.5 if masked else None
        numbers = (frame,) if frame < frames else None
        regions.append(region(x0, y0, x0 + width, y0 + height, numbers, mask))
        box = Box(x0, y0, x0 + width, y0 + height).clipped(rows, columns)
        if box.width > 0 and box.height > 0:
            part = None if mask is None else mask[box.y0 - y0 : box.y1 - y0, box.x0 - x0 : box.x1 - x0]
            for number in numbers or range(frames):
                oracle.setdefault(number, []).append((box, part))
    before, _, after, _ = through(kit.build(values, stored=stored, frames=frames), regions)
    if oracle:
        expect(before, after, oracle)
    else:
        np.testing.assert_array_equal(after.frame(0), before.frame(0))
    prove(before, after, regions)


LOSSLESS = [
    (syntax, *kind)
    for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless)
    for kind in (
        ("MONOCHROME2", "u1", 8, 1), ("MONOCHROME1", "u2", 12, 3), ("MONOCHROME2", "u2", 16, 1), ("RGB", "u1", 8, 2),
        ("MONOCHROME2", "i2", 12, 1), ("MONOCHROME2", "i2", 16, 1), ("PALETTE COLOR", "u1", 8, 1),
    )
    if (syntax, kind[1]) != (JPEGLSLossless, "i2")  # pydicom does not encode these; test_codec.py has them by DCMTK
]


@pytest.mark.parametrize(("syntax", "photometric", "dtype", "stored", "frames"), LOSSLESS)
def test_lossless_syntaxes_keep_their_syntax_and_untouched_frames_their_bytes(kit, syntax, photometric, dtype, stored, frames):
    samples = 3 if photometric == "RGB" else 1
    stack = [kit.wavy(35, 41, stored, samples, seed) for seed in range(frames)]  # OpenJPEG's encoder wants 32 rows
    values = np.stack(stack) if frames > 1 else stack[0]
    if dtype == "i2":
        values = (values.astype("i4") - (1 << (stored - 1))).astype("i2")
    data = kit.compress(kit.build(values, photometric=photometric, stored=stored, frames=frames), syntax)
    before, result, after, encoded = through(data, [region(7, 5, 20, 12, frames=(0,))])
    np.testing.assert_array_equal(before.frame(0), values[0] if frames > 1 else values)
    assert (result.method, result.transfer_syntax_uid) == ("reencoded", syntax)
    expect(before, after, {0: [(Box(7, 5, 20, 12), None)]})
    proof = prove(before, after, [region(7, 5, 20, 12, frames=(0,))])
    assert (proof.identical, proof.decoded) == (frames - 1, 1)
    # A decoder that is not ours reads the same.
    if photometric != "RGB":
        other = pixel_array(io.BytesIO(encoded), decoding_plugin="pyjpegls" if syntax == JPEGLSLossless else "pylibjpeg")
        np.testing.assert_array_equal(other[0] if frames > 1 else other, after.frame(0))


@pytest.mark.parametrize(
    ("program", "photometric"),
    [
        *product(["jpeg_lossless_sv1", "jpeg_lossless", "progressive", "jpeg_ls_lossy"], ["MONOCHROME2", "RGB"]),
        ("jpeg_12", "MONOCHROME2"),
    ],
)
def test_what_cannot_stay_goes_to_the_nearest_lossless_syntax(kit, tmp_path: Path, program, photometric):
    stored = 12 if program == "jpeg_12" else 8
    data = kit.build(kit.wavy(40, 56, stored, 3 if photometric == "RGB" else 1), photometric=photometric, stored=stored)
    converter, *options = {
        "jpeg_lossless_sv1": ["dcmcjpeg", "+e1"], "jpeg_lossless": ["dcmcjpeg", "+el"], "jpeg_12": ["dcmcjpeg", "+ee"],
        "progressive": ["dcmcjpeg", "+ep"], "jpeg_ls_lossy": ["dcmcjpls", "+en"],
    }[program]
    data = kit.dcmtk(data, tmp_path, converter, *options)
    before, result, after, _ = through(data, [region(9, 9, 23, 17)])
    expected = {
        "jpeg_lossless_sv1": ("reencoded", "1.2.840.10008.1.2.4.70"), "jpeg_lossless": ("reencoded", "1.2.840.10008.1.2.4.57"),
        "jpeg_12": ("to_lossless", "1.2.840.10008.1.2.4.70"), "progressive": ("to_lossless", "1.2.840.10008.1.2.4.70"),
        "jpeg_ls_lossy": ("to_lossless", "1.2.840.10008.1.2.4.80"),
    }[program]
    assert (result.method, result.transfer_syntax_uid) == expected
    expect(before, after, {0: [(Box(9, 9, 23, 17), None)]})
    prove(before, after, [region(9, 9, 23, 17)])
    if result.method == "to_lossless":
        assert after.instance.dataset.LossyImageCompression == "01"
        assert after.instance.dataset.get("LossyImageCompressionMethod")


def test_near_lossless_jpeg_ls_from_pydicom_goes_lossless_and_keeps_its_history(kit):
    data = kit.compress(kit.build(kit.wavy(20, 30, 8)), JPEGLSNearLossless, jls_error=2)
    before, result, after, _ = through(data, [region(2, 2, 9, 9)])
    assert result.transfer_syntax_uid == JPEGLSLossless
    assert result.changes["LossyImageCompression"] == "01"
    expect(before, after, {0: [(Box(2, 2, 9, 9), None)]})


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (33, 4000), (4000, 3)])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_odd_shapes_survive_their_encoders(kit, shape, syntax):
    values = kit.wavy(*shape, 12)
    try:
        data = kit.compress(kit.build(values, stored=12), syntax)
    except RuntimeError:
        assert (syntax == JPEG2000Lossless and min(shape) < 32) or (syntax == JPEGLSLossless and shape[0] == 1)
        return
    before, _, after, _ = through(data, [region(0, 0, 2, 1)])
    expect(before, after, {0: [(Box(0, 0, min(2, shape[1]), 1), None)]})


def test_a_frame_its_encoder_does_not_take_leaves_uncompressed(kit, tmp_path: Path):
    """CharLS as it is bound here has no room for the stream of a very small picture; DCMTK has."""
    data = kit.dcmtk(kit.build(kit.wavy(1, 7, 12), stored=12), tmp_path, "dcmcjpls")
    before, result, after, _ = through(data, [region(1, 0, 4, 1)])
    assert (result.method, result.transfer_syntax_uid) == ("to_lossless", ExplicitVRLittleEndian)
    assert "LossyImageCompression" not in result.changes
    expect(before, after, {0: [(Box(1, 0, 4, 1), None)]})
    prove(before, after, [region(1, 0, 4, 1)])


def test_nothing_to_redact_leaves_the_very_bytes(kit):
    data = kit.build(kit.wavy(15, 15, 12), stored=12)
    for regions in ([], [region(0, 0, 5, 5, verdict=Verdict.KEEP)], [region(20, 20, 25, 25)]):
        before, result, after, _ = through(data, regions)
        assert result.method == "untouched"
        assert bytes(after.pixels.data) == bytes(before.pixels.data)
        assert result.digests["before"] == result.digests["after"]
        assert prove(before, after, regions).as_dict()["inside"] == "none"


def test_the_bits_above_bits_stored_and_the_bytes_behind_the_last_pixel_are_emptied(kit):
    values = kit.wavy(15, 14, 12)
    clean = kit.build(values, stored=12)
    data = kit.build(values, stored=12, high=0b1010, tail=b"SMITH^JOHN")
    instance = read_instance(data)
    image = open_image(instance)
    np.testing.assert_array_equal(image.frame(0), values)
    result = passthrough(image)
    assert result.method == "stripped"
    encoded = encode_instance(instance.dataset, result.transfer_syntax_uid, result.pixels)
    after = open_image(read_instance(encoded.data))
    assert bytes(after.pixels.data) == bytes(read_instance(clean).pixels.data)
    assert b"SMITH" not in encoded.data
    prove(image, after, [])


def test_hidden_bits_in_a_compressed_frame_are_emptied(kit):
    values = kit.wavy(15, 14, 12)
    data = kit.compress(kit.build(values, stored=16, extra={"BitsStored": 16, "HighBit": 15}), RLELossless)
    dirty = kit.compress(kit.build(values | np.uint16(0x5000), stored=16), RLELossless)
    for source, method in ((data, "untouched"), (dirty, "stripped")):
        instance = read_instance(source)
        instance.dataset.BitsStored, instance.dataset.HighBit = 12, 11
        image = open_image(instance)
        result = passthrough(image)
        assert result.method == method
        after = open_image(read_instance(encode_instance(instance.dataset, result.transfer_syntax_uid, result.pixels).data))
        np.testing.assert_array_equal(after.frame(0), values)
        assert not (after.raw_bits(0) & 0xF000).any()


def test_old_left_aligned_pixels_keep_their_alignment(kit):
    values = kit.wavy(9, 11, 12)
    data = kit.build(values << np.uint16(4), stored=16, extra={"BitsStored": 12, "HighBit": 15})
    before, _, after, _ = through(data, [region(1, 1, 4, 4)])
    np.testing.assert_array_equal(before.frame(0), values)
    expect(before, after, {0: [(Box(1, 1, 4, 4), None)]})
    assert not (np.frombuffer(after.pixels.data, "<u2") & 15).any()


def test_image_type_and_pixel_extremes_follow_the_change(kit):
    data = kit.build(kit.wavy(9, 11, 12) + np.uint16(7), stored=13, extra={"SmallestImagePixelValue": 7, "LargestImagePixelValue": 4102})
    _, result, after, _ = through(data, [region(1, 1, 4, 4)])
    assert list(after.instance.dataset.ImageType) == ["DERIVED", "PRIMARY"]
    assert result.changes["SmallestImagePixelValue"] == 0 and "LargestImagePixelValue" not in result.changes


def test_a_region_that_names_a_frame_that_is_not_there_is_no_release(kit):
    image = open_image(read_instance(kit.build(kit.wavy(9, 11, 8))))
    with pytest.raises(HoldInstance):
        redact(image, [region(0, 0, 2, 2, frames=(1,))])
