"""A JPEG edited in place: blocks under the boxes are uniform, every other coefficient decodes to the same bits."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from radanon_node.errors import HoldInstance
from radanon_node.pipeline.types import Box, Kind, Region, Source, Verdict
from radanon_node.pixels import turbo
from radanon_node.pixels.areas import Area, touched
from radanon_node.pixels.codec import open_image
from radanon_node.pixels.elements import NewPixels
from radanon_node.pixels.instance import encode_instance, read_instance
from radanon_node.pixels.jpeg_blocks import cell_of, editable
from radanon_node.pixels.proof import prove
from radanon_node.pixels.redact import passthrough, redact
from radanon_node.pixels.streams import read_jpeg

BASELINE = "1.2.840.10008.1.2.4.50"


def region(x0, y0, x1, y1, frames=None):
    return Region(Box(x0, y0, x1, y1), Verdict.REDACT, Kind.TEXT, 0.9, Source.TEXT_MODEL, frames=frames)


def through(data, regions):
    instance = read_instance(data)
    before = open_image(instance)
    result = redact(before, regions)
    encoded = encode_instance(instance.dataset, result.transfer_syntax_uid, result.pixels)
    return before, result, open_image(read_instance(encoded.data))


def coefficients(stream):
    """All quantised coefficients per component, as libjpeg reads them."""
    found = {}

    def look(blocks, row, column, component):
        found.setdefault(component, {})[row] = blocks.copy()

    turbo.edit_blocks(stream, look)
    return {component: np.concatenate([rows[row] for row in sorted(rows)]) for component, rows in found.items()}


def check_coefficients(before, after, index, boxes):
    step = editable(before, index)
    old, new = coefficients(before.codestream(index)), coefficients(after.codestream(index))
    assert old.keys() == new.keys()
    for component in old:
        mask = touched([Area(box, None) for box in boxes], before.rows, before.columns, cell_of(component, step))
        # Blocks that only fill up the last MCU are below the picture: libjpeg makes them anew.
        first, second = (found[: mask.shape[0], : mask.shape[1]] for found in (old[component], new[component]))
        np.testing.assert_array_equal(first[~mask], second[~mask])
        assert (second[mask].reshape(-1, 64)[:, 1:] == 0).all()


@pytest.mark.parametrize(
    ("photometric", "options", "expected"),
    [
        ("MONOCHROME2", ["+eb"], (0,)),
        ("MONOCHROME1", ["+eb", "+q", "60"], (255,)),
        ("MONOCHROME2", ["+ee"], (0,)),
        ("RGB", ["+eb", "+cy", "+s4"], (0, 128, 128)),
        ("RGB", ["+eb", "+cy", "+s2"], (0, 128, 128)),
        ("RGB", ["+eb", "+cy", "+n1"], (0, 128, 128)),
        ("RGB", ["+eb", "+cr"], (0, 0, 0)),
    ],
)
@pytest.mark.parametrize("frames", [1, 3])
def test_what_dcmcjpeg_makes_is_edited_in_place(kit, tmp_path: Path, photometric, options, expected, frames):
    samples = 3 if photometric == "RGB" else 1
    stack = [kit.wavy(61, 83, 8, samples, seed) for seed in range(frames)]
    native = kit.build(np.stack(stack) if frames > 1 else stack[0], photometric=photometric, frames=frames)
    data = kit.dcmtk(native, tmp_path, "dcmcjpeg", *options)
    wanted = [region(13, 9, 30, 21, frames=(0,)), region(70, 50, 83, 61, frames=(0,))]
    before, result, after = through(data, wanted)
    assert result.method == "jpeg_blocks"
    assert result.transfer_syntax_uid == before.instance.transfer_syntax_uid
    boxes = [item.box for item in wanted]
    check_coefficients(before, after, 0, boxes)
    for box in boxes:
        inside = after.frame(0)[box.y0 : box.y1, box.x0 : box.x1].reshape(-1, samples)
        np.testing.assert_array_equal(inside, np.broadcast_to(expected, inside.shape))
    proof = prove(before, after, wanted)
    assert (proof.grain, proof.identical) == ("blocks", frames - 1)
    for index in range(1, frames):
        assert after.codestream(index) == before.codestream(index)


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("restart", [0, 3])
@given(
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=3),
    st.integers(25, 100),
    st.booleans(),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_box_on_any_size_quality_sampling_and_restart_interval(kit, sampling, restart, shape, wanted, quality, optimised):
    values = kit.wavy(*shape, 8, 3, seed=quality)
    out = io.BytesIO()
    options = {"restart_marker_blocks": restart} if restart else {}
    PillowImage.fromarray(values).save(out, "JPEG", quality=quality, subsampling=sampling, optimize=optimised, **options)
    stream = out.getvalue()
    instance = read_instance(kit.build(values, photometric="YBR_FULL"))
    coded = encode_instance(instance.dataset, BASELINE, NewPixels(0x7FE00010, "OB", [stream], (1,)))
    regions = [region(x, y, x + w, y + h) for x, y, w, h in wanted]
    before, result, after = through(coded.data, regions)
    boxes = [item.box.clipped(*shape) for item in regions]
    boxes = [box for box in boxes if box.width > 0 and box.height > 0]
    if not boxes:
        assert result.method in ("untouched", "stripped")
        return
    assert result.method == "jpeg_blocks"
    check_coefficients(before, after, 0, boxes)
    prove(before, after, regions)
    # Another decoder, with its own upsampling, sees black inside the box away from its rim.
    other = cv2.imdecode(np.frombuffer(after.codestream(0), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert other.shape == shape
    for box in boxes:
        inner = Box(box.x0 + 2, box.y0 + 2, box.x1 - 2, box.y1 - 2)
        if inner.width > 0 and inner.height > 0:
            assert other[inner.y0 : inner.y1, inner.x0 : inner.x1].max() <= 1


def test_comments_and_camera_segments_are_cut_out_and_the_picture_is_the_same(kit):
    values = kit.wavy(24, 32, 8)
    done, plain = cv2.imencode(".jpg", values)
    assert done
    stream = plain.tobytes()
    segment = b"\xff\xfe\x00\x12DOE^JANE 19700101"[:20]
    exif = b"\xff\xe1\x00\x10Exif\0\0SECRET!!"
    dirty = stream[:2] + exif + segment + stream[2:] + b"\0\0TRAILING NAME"
    instance = read_instance(kit.build(values))
    coded = encode_instance(instance.dataset, BASELINE, NewPixels(0x7FE00010, "OB", [dirty], (1,)))
    image = open_image(read_instance(coded.data))
    result = passthrough(image)
    assert result.method == "stripped"
    after = open_image(read_instance(encode_instance(instance.dataset, BASELINE, result.pixels).data))
    np.testing.assert_array_equal(after.frame(0), image.frame(0))
    assert not any(word in after.codestream(0) for word in (b"DOE", b"SECRET", b"TRAILING"))
    redacted = redact(image, [region(0, 0, 8, 8)])
    assert not any(word in bytes(chunk) for chunk in redacted.pixels.chunks for word in (b"DOE", b"SECRET", b"TRAILING"))


def test_a_truncated_or_damaged_stream_is_held(kit):
    values = kit.wavy(64, 64, 8)
    stream = cv2.imencode(".jpg", values)[1].tobytes()
    for damaged in (stream[:-40], stream[: len(stream) // 2] + b"\xff\xd9"):
        instance = read_instance(kit.build(values))
        coded = encode_instance(instance.dataset, BASELINE, NewPixels(0x7FE00010, "OB", [damaged], (1,)))
        with pytest.raises(HoldInstance):
            image = open_image(read_instance(coded.data))
            image.frame(0)


def test_decoding_is_without_colour_conversion_and_interpolation(kit):
    values = kit.wavy(17, 23, 8, 3)
    out = io.BytesIO()
    PillowImage.fromarray(values).save(out, "JPEG", quality=95, subsampling="4:2:0")
    decoded = turbo.decode(out.getvalue())
    assert read_jpeg(out.getvalue()).sampling == ((2, 2), (1, 1), (1, 1))
    np.testing.assert_array_equal(decoded[0:16:2, 0:22:2, 1:], decoded[1:16:2, 1:22:2, 1:])
    luma = cv2.imdecode(np.frombuffer(out.getvalue(), np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(decoded[..., 0], luma)
