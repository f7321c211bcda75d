"""Damaged files through the whole room: each is held with a reason or leaves with every frame looked at and proven."""

from __future__ import annotations

import random
from collections import Counter

import cv2
import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.types import Box, Kind, Region, Source, Verdict
from radanon_node.pixels import jpeg_lossless
from radanon_node.pixels.codec import open_image
from radanon_node.pixels.elements import NewPixels
from radanon_node.pixels.instance import encode_instance, read_instance
from radanon_node.pixels.proof import prove
from radanon_node.pixels.redact import redact
from radanon_node.pixels.view import views

REGION = Region(Box(5, 5, 14, 12), Verdict.REDACT, Kind.TEXT, 0.9, Source.TEXT_MODEL)


@pytest.fixture(scope="module")
def sources(kit):
    values = kit.wavy(41, 47, 12)
    plain = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
    native = {name: kit.build(values, stored=12, syntax=name) for name in plain}
    found = list(native.values())
    found += [kit.compress(native[ExplicitVRLittleEndian], name) for name in (RLELossless, JPEGLSLossless, JPEG2000Lossless)]
    dataset = read_instance(native[ExplicitVRLittleEndian]).dataset
    stream = jpeg_lossless.encode(values, 12)
    found.append(encode_instance(dataset, "1.2.840.10008.1.2.4.70", NewPixels(0x7FE00010, "OB", [stream], (1,))).data)
    frames = np.stack([kit.wavy(41, 47, 8, seed=seed) for seed in range(2)])
    dataset = read_instance(kit.build(frames, frames=2)).dataset
    for options in ([], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]):
        streams = [cv2.imencode(".jpg", frame, options)[1].tobytes() for frame in frames]
        found.append(encode_instance(dataset, "1.2.840.10008.1.2.4.50", NewPixels(0x7FE00010, "OB", streams, (1, 1))).data)
    return found


def mutated(data: bytes, chance: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        where, kind = chance.randrange(128, len(out)), chance.random()
        if kind < 0.6:
            out[where] = chance.randrange(256)
        elif kind < 0.7:
            out[where] = chance.choice([0, 1, 127, 128, 254, 255])
        elif kind < 0.8:
            del out[where : where + chance.randint(1, 30)]
        elif kind < 0.9:
            out[where:where] = chance.randbytes(chance.randint(1, 30))
        else:
            del out[where:]
        if len(out) < 140:
            break
    return bytes(out)


def outcome(data: bytes) -> str:
    """A reason, or ``released`` after every frame was decoded, viewed, redacted, encoded, read back and proven."""
    try:
        instance = read_instance(data)
        if instance.pixels is None:
            return "no pixels"
        image = open_image(instance, max_pixels=10**7)
        for index in range(image.frames):
            assert views(image, index)[0].shape == (image.rows, image.columns)
        result = redact(image, [REGION])
        for keyword, value in result.changes.items():
            setattr(instance.dataset, keyword, value)
        encoded = encode_instance(instance.dataset, result.transfer_syntax_uid, result.pixels)
        after = open_image(read_instance(encoded.data), max_pixels=10**7)
        proof = prove(image, after, [REGION])
        assert proof.identical + proof.decoded == image.frames
    except HoldInstance as hold:
        return str(hold.reason)
    return "released"


def run(sources, first: int, count: int) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for number in range(first, first + count):
        chance = random.Random(number)
        outcomes[outcome(mutated(chance.choice(sources), chance))] += 1
    return outcomes


def test_undamaged_sources_are_released(sources):
    assert {outcome(data) for data in sources} == {"released"}


def test_damaged_files_are_held_or_proven(sources):
    outcomes = run(sources, 0, 300)
    assert outcomes.total() == 300
    assert outcomes["released"] > 20 and outcomes[Reason.UNDECODABLE_PIXELS] > 20
    assert not outcomes[Reason.INTERNAL_ERROR]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_damaged_files_are_held_or_proven(sources):
    outcomes = run(sources, 1000, 10_000)
    assert outcomes.total() == 10_000
    assert not outcomes[Reason.INTERNAL_ERROR]
