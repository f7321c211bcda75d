"""The proof finds what redaction must not do: each kind of cheating is caught."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pydicom.uid import RLELossless

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.types import Box, Kind, Region, Source, Verdict
from radanon_node.pixels.codec import open_image
from radanon_node.pixels.elements import NewPixels
from radanon_node.pixels.instance import encode_instance, read_instance
from radanon_node.pixels.proof import prove

BOX = Region(Box(3, 4, 9, 8), Verdict.REDACT, Kind.TEXT, 0.9, Source.TEXT_MODEL)


def image(kit, values, **options):
    return open_image(read_instance(kit.build(values, **options)))


def reason(before, after, regions=(BOX,)):
    with pytest.raises(HoldInstance) as hold:
        prove(before, after, regions)
    return hold.value.reason


def test_one_changed_value_outside_is_found_wherever_it_is(kit):
    values = kit.wavy(12, 14, 8)
    good = values.copy()
    good[4:8, 3:9] = 0
    before = image(kit, values)
    assert prove(before, image(kit, good), [BOX]).redacted_pixels == 24
    for row, column in ((0, 0), (11, 13), (4, 2), (7, 9), (3, 5), (8, 5)):
        bad = good.copy()
        bad[row, column] ^= 1
        assert reason(before, image(kit, bad)) is Reason.PIXELS_CHANGED_OUTSIDE


def test_one_value_left_inside_is_found(kit):
    values = kit.wavy(12, 14, 8)
    bad = values.copy()
    bad[4:8, 3:9] = 0
    bad[7, 8] = 1
    assert reason(image(kit, values), image(kit, bad)) is Reason.PIXELS_NOT_FILLED
    assert reason(image(kit, values), image(kit, values)) is Reason.PIXELS_NOT_FILLED


def test_another_frame_must_not_change_and_every_named_frame_must(kit):
    values = np.stack([kit.wavy(12, 14, 8, seed=seed) for seed in range(3)])
    before = image(kit, values, frames=3)
    one = values.copy()
    one[0, 4:8, 3:9] = 0
    assert reason(before, image(kit, one, frames=3)) is Reason.PIXELS_NOT_FILLED
    only = Region(BOX.box, Verdict.REDACT, Kind.TEXT, 0.9, Source.TEXT_MODEL, frames=(0,))
    assert prove(before, image(kit, one, frames=3), [only]).identical == 2
    one[2, 0, 0] ^= 1
    assert reason(before, image(kit, one, frames=3), [only]) is Reason.PIXELS_CHANGED_OUTSIDE


def test_another_meaning_of_the_same_bytes_is_a_change(kit):
    values = kit.wavy(12, 14, 8)
    before = image(kit, values)
    assert reason(before, image(kit, values[:, :7].copy()), []) is Reason.PIXELS_CHANGED_OUTSIDE
    signed = image(kit, values.view("i1"))
    assert reason(before, signed, []) is Reason.PIXELS_CHANGED_OUTSIDE


def test_the_same_values_in_another_coding_are_compared_decoded(kit):
    data = kit.build(kit.wavy(12, 14, 8))
    before, after = open_image(read_instance(data)), open_image(read_instance(kit.compress(data, RLELossless)))
    proof = prove(before, after, [])
    assert (proof.identical, proof.decoded) == (0, 1)


def test_a_recompressed_jpeg_is_no_in_place_edit(kit):
    values = kit.wavy(40, 40, 8)
    dataset = read_instance(kit.build(values)).dataset

    def jpeg(frame, quality):
        stream = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        coded = encode_instance(dataset, "1.2.840.10008.1.2.4.50", NewPixels(0x7FE00010, "OB", [stream], (1,)))
        return open_image(read_instance(coded.data))

    before = jpeg(values, 90)
    again = before.frame(0).copy()
    again[0:8, 0:16] = 0
    assert reason(before, jpeg(again, 70)) in (Reason.PIXELS_CHANGED_OUTSIDE, Reason.PIXELS_NOT_FILLED)
