"""The detector sees what a person sees, and once more where that hides something."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pydicom.dataset import Dataset

from radanon_node.pipeline.types import Box, Kind, Region, Source, Verdict
from radanon_node.pixels.codec import open_image
from radanon_node.pixels.fill import fill_values
from radanon_node.pixels.instance import read_instance
from radanon_node.pixels.picture import before_after_png
from radanon_node.pixels.view import main_view, views


def looked(kit, values, index=0, **options):
    image = open_image(read_instance(kit.build(values, **options)))
    found = views(image, index)
    assert np.array_equal(main_view(image, index), found[0])
    return found


def ramp(rows=64, columns=256, top=4095):
    return np.repeat(np.linspace(0, top, columns)[None], rows, 0).astype("u2")


def test_without_a_window_the_whole_range_is_shown(kit):
    (main,) = looked(kit, ramp(), stored=12)
    assert main.dtype == np.uint8 and main.shape == (64, 256)
    assert (main[:, 0] == 0).all() and (main[:, -1] == 255).all()
    assert (np.diff(main[0].astype(int)) >= 0).all()


def test_monochrome1_and_a_falling_rescale_are_inverted_but_not_both(kit):
    falling = {"RescaleSlope": "-1", "RescaleIntercept": "4095"}
    for photometric, extra, inverted in (
        ("MONOCHROME1", {}, True), ("MONOCHROME2", falling, True), ("MONOCHROME1", falling, False), ("MONOCHROME2", {}, False),
    ):
        main = looked(kit, ramp(), stored=12, photometric=photometric, extra=extra)[0]
        assert bool(main[0, 0] > main[0, -1]) == inverted
        image = open_image(read_instance(kit.build(ramp(), stored=12, photometric=photometric, extra=extra)))
        filled = fill_values(image, [0])[0]
        assert filled == (4095 if inverted else 0)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_window_is_followed_and_what_it_clips_gets_a_second_view(kit, photometric):
    values = ramp()
    values[20:30, 200:240] += 60  # text, bright on what the window shows white
    found = looked(kit, values, stored=13, photometric=photometric, extra={"WindowCenter": "1000", "WindowWidth": "800"})
    main, *others = found
    black, white = (255, 0) if photometric == "MONOCHROME1" else (0, 255)
    assert (main[:, :30] == black).all() and (main[:, 100:] == white).all()
    text, ground = (slice(20, 30), slice(200, 240)), (slice(40, 50), slice(200, 240))
    assert max(abs(int(view[text].mean()) - int(view[ground].mean())) for view in others) >= 4


def test_a_window_that_shows_nothing_of_the_frame_is_not_used(kit):
    main = looked(kit, ramp(), stored=12, extra={"WindowCenter": "60000", "WindowWidth": "10"})[0]
    assert main.std() > 30


def test_bright_on_bright_gets_a_stretched_view(kit):
    rng = np.random.default_rng(0)
    values = np.full((200, 200), 3800, "u2") + rng.integers(0, 20, (200, 200)).astype("u2")
    values[:60] = np.linspace(0, 3700, 200).astype("u2")
    values[100:120, 50:100] = 3900
    found = looked(kit, values, stored=12)
    contrast = [abs(float(view[100:120, 50:100].mean()) - float(view[140:160, 50:100].mean())) for view in found]
    assert len(found) == 2 and contrast[1] > 4 * contrast[0]


def test_padding_does_not_set_the_range(kit):
    values = (ramp(top=1000).astype("i4") + 1000).astype("i2")
    values[:, :100] = -2000
    with_padding = looked(kit, values, extra={"PixelPaddingValue": -2000})[0]
    assert with_padding[0, 110] < 120 < with_padding[0, 250]


def test_lookup_tables_are_applied(kit):
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    item.LUTData = (65535 - np.arange(4096) * 16).astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    main = looked(kit, ramp(), stored=12, extra={"VOILUTSequence": [item]})[0]
    assert main[0, 0] > 250 and main[0, -1] < 5


def test_colour_is_shown_as_luma_and_strongest_channel_where_they_differ(kit):
    gray = np.repeat(kit.wavy(32, 32, 8)[..., None], 3, 2)
    assert len(looked(kit, gray, photometric="RGB")) == 1
    blue = np.zeros((32, 32, 3), "u1")
    blue[8:16, 8:24, 2] = 255
    main, strongest = looked(kit, blue, photometric="RGB")
    assert main[10, 10] < 40 and strongest[10, 10] == 255
    ycc = cv2.cvtColor(blue, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    main, strongest = looked(kit, ycc, photometric="YBR_FULL")
    assert main[10, 10] < 40 and strongest[10, 10] > 200
    table = {}
    for name, values in (("Red", np.zeros(256)), ("Green", np.zeros(256)), ("Blue", np.arange(256))):
        table[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        table[f"{name}PaletteColorLookupTableData"] = (values.astype("<u2") * 257).tobytes()
    _, strongest = looked(kit, blue[..., 2].copy(), photometric="PALETTE COLOR", extra=table)
    assert strongest[10, 10] == 255


def test_one_bit_float_wide_and_constant_frames_have_views_too(kit):
    assert set(np.unique(looked(kit, np.eye(9, dtype=bool))[0])) == {0, 255}
    for values in (kit.wavy(20, 20, 16).astype("f4") - 1e3, kit.wavy(20, 20, 20, dtype="u4"), kit.wavy(20, 20, 16).astype("f8")):
        assert looked(kit, values)[0].std() > 20
    for values in (np.zeros((5, 5), "u2"), np.full((5, 5), np.nan, "f4"), np.zeros((1, 1), "u1")):
        assert looked(kit, values)[0].shape == values.shape


def test_the_picture_shows_both_sides_and_the_boxes_without_text_chunks(kit):
    before = kit.wavy(300, 200, 8)
    after = before.copy()
    after[20:60, 20:100] = 0
    region = Region(Box(20, 20, 100, 60), Verdict.REDACT, Kind.TEXT, 0.9, Source.TEXT_MODEL)
    png = before_after_png(before, after, [region], max_side=150)
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (150, 208, 3)
    assert picture[20, 108 + 30].max() < 10 and (picture[9, 30] == (60, 60, 255)).all()
    assert not any(chunk in png for chunk in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"))
    with pytest.raises(ValueError):
        before_after_png(before, after[1:], [])
