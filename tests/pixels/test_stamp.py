"""Letters drawn anew: bright on black inside the box, the same every time, checked pixel by pixel, in every kind of picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import JPEGLSLossless, RLELossless

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.receipt import describe_region
from radanon_node.pipeline.types import Box, Kind, Region, Source, Stamp, Verdict
from radanon_node.pixels.codec import open_image
from radanon_node.pixels.fill import bright_values, fill_values
from radanon_node.pixels.instance import encode_instance, read_instance
from radanon_node.pixels.proof import prove
from radanon_node.pixels.redact import redact
from radanon_node.pixels.stamp import bright_pixels

STAMP = Stamp("L", Box(6, 5, 16, 21))
REGION = Region(Box(4, 3, 24, 25), Verdict.REDACT, Kind.SIDE_LETTER, 0.9, Source.MARKER_MODEL, "letter_drawn_anew", stamp=STAMP)


def through(data, regions):
    instance = read_instance(data)
    before = open_image(instance)
    result = redact(before, regions)
    for keyword, value in result.changes.items():
        setattr(instance.dataset, keyword, value)
    encoded = encode_instance(instance.dataset, result.transfer_syntax_uid, result.pixels)
    return before, result, open_image(read_instance(encoded.data))


def expected(before, region=REGION):
    """The first frame as it has to leave."""
    out = np.array(before.frame(0))
    box, stamp = region.box, region.stamp
    black, bright = fill_values(before, [0]), bright_values(before, [0])
    out[box.y0 : box.y1, box.x0 : box.x1] = np.asarray(black if out.ndim == 3 else black[0]).astype(out.dtype)
    part = out[stamp.box.y0 : stamp.box.y1, stamp.box.x0 : stamp.box.x1]
    part[bright_pixels(stamp)] = np.asarray(bright if out.ndim == 3 else bright[0]).astype(out.dtype)
    return out


@pytest.mark.parametrize("letter", ["L", "R", "D", "G"])
def test_a_stamp_is_its_letter_tight_in_its_box_and_always_the_same(letter):
    stamp = Stamp(letter, Box(0, 0, 30, 44))
    mask = bright_pixels(stamp)
    assert mask.shape == (44, 30) and mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any()
    assert np.array_equal(mask, bright_pixels(stamp))
    assert np.array_equal(bright_pixels(replace(stamp, mirrored=True)), mask[:, ::-1]) or letter != "L"
    from radanon_node.markers.glyphs import CLASSES, classify_all_ways, normalise

    for turn in (0.0, 90.0, 200.0, 333.0):
        turned = bright_pixels(Stamp(letter, Box(0, 0, 40, 40), turn, turn > 180))
        assert CLASSES[int(classify_all_ways(normalise(turned)).argmax())] == letter or turn


def test_a_dark_stamp_is_a_bright_plate_with_its_letter_cut_out():
    bright = bright_pixels(Stamp("L", Box(0, 0, 40, 60), dark=True))
    assert bright[0].all() and bright[:, 0].all() and bright[-1].all() and bright[:, -1].all()
    assert 0.1 < (~bright).mean() < 0.5


@settings(max_examples=30, deadline=None)
@given(
    x=st.integers(-5, 30), y=st.integers(-5, 30), width=st.integers(1, 40), height=st.integers(1, 40), turn=st.floats(-360, 360),
    mirrored=st.booleans(), dark=st.booleans(), letter=st.sampled_from("LRDGIE"),
)
def test_any_stamp_has_the_shape_of_its_box(x, y, width, height, turn, mirrored, dark, letter):
    box = Box(x, y, x + width, y + height)
    assert bright_pixels(Stamp(letter, box, turn, mirrored, dark)).shape == (height, width)


@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "MONOCHROME2"}, {"photometric": "MONOCHROME1"}, {"photometric": "RGB"}, {"photometric": "YBR_FULL"},
        {"photometric": "RGB", "planar": 1}, {"photometric": "YBR_FULL_422"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_the_letter_is_bright_on_black_and_nothing_else_changes(kit, options, bits):
    colour = options["photometric"][0] in "RY"
    if colour and bits > 8:
        pytest.skip("colour is of 8 bits")
    values = kit.wavy(32, 40, bits)
    if colour:
        values = np.stack([values, values[::-1], values[:, ::-1]], axis=-1)
    if options["photometric"] == "YBR_FULL_422":
        values[:, 1::2, 1:] = values[:, 0::2, 1:]
    before, result, after = through(kit.build(values, stored=bits, **options), [REGION])
    proof = prove(before, after, [REGION])
    assert proof.drawn_pixels == np.count_nonzero(bright_pixels(STAMP)) and proof.as_dict()["inside"] == "filled, letters drawn"
    assert "L" in result.changes["DerivationDescription"]
    if options["photometric"] != "YBR_FULL_422":  # pairs share their chroma and change together
        assert np.array_equal(after.frame(0), expected(before))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_coded_pictures_carry_the_letter_too(kit, syntax):
    before, _, after = through(kit.compress(kit.build(kit.wavy(32, 40, 16)), syntax), [REGION])
    assert prove(before, after, [REGION]).drawn_pixels and np.array_equal(after.frame(0), expected(before))


def test_signed_and_float_pictures_take_their_own_brightest_value(kit):
    for values in (kit.wavy(32, 40, 16).astype("i2") - 900, kit.wavy(32, 40, 8).astype("f4") / 7):
        before, _, after = through(kit.build(values), [REGION])
        assert prove(before, after, [REGION]).drawn_pixels and after.frame(0).max() == before.frame(0).max()


def test_a_letter_on_other_redactions_stays_on_top(kit):
    over = Region(Box(0, 0, 12, 12), Verdict.REDACT, Kind.TEXT, 0.9, Source.TEXT_MODEL)
    before, _, after = through(kit.build(kit.wavy(32, 40, 8)), [REGION, over])
    prove(before, after, [REGION, over])
    part = after.frame(0)[5:21, 6:16]
    assert np.array_equal(part == bright_values(before, [0])[0], bright_pixels(STAMP))


def test_any_other_letter_or_value_is_caught(kit):
    values = kit.wavy(32, 40, 8)
    before, _, after = through(kit.build(values), [REGION])
    for other in (replace(STAMP, letter="R"), replace(STAMP, mirrored=True), replace(STAMP, box=Box(7, 5, 17, 21))):
        with pytest.raises(HoldInstance) as held:
            prove(before, after, [replace(REGION, stamp=other)])
        assert held.value.reason is Reason.PIXELS_NOT_FILLED
    with pytest.raises(HoldInstance):
        prove(before, after, [replace(REGION, stamp=None)])


def test_a_stamp_never_reaches_over_its_region(kit):
    small = replace(REGION, stamp=Stamp("L", Box(-4, -4, 60, 60)))
    before, _, after = through(kit.build(kit.wavy(32, 40, 8)), [small])
    old, new = np.array(before.frame(0)), np.array(after.frame(0))
    old[3:25, 4:24] = new[3:25, 4:24] = 0
    assert np.array_equal(old, new)
    prove(before, after, [small])


def test_the_receipt_says_what_was_drawn():
    assert describe_region(REGION)["drawn"] == {"letter": "L", "box": [6, 5, 16, 21], "turn": 0.0, "mirrored": False, "dark": False}
    assert "drawn" not in describe_region(replace(REGION, stamp=None))
