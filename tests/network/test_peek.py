"""The look at the first elements: right for whatever pydicom can write, cut anywhere, and calm about noise."""

from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from radanon_node.network.peek import HEAD, NotADataSet, peek, study_hint
from tests.network.kit import CT, EXPLICIT, IMPLICIT, encoded, make_instance

BIG, DEFLATED, JPEG = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50"
SYNTAXES = [EXPLICIT, IMPLICIT, BIG, JPEG]


def deflated(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


@given(uid=st.from_regex(r"1\.2(\.[1-9][0-9]{0,9}){1,4}", fullmatch=True), syntax=st.sampled_from(SYNTAXES), cut=st.integers(0, 600),
       nested=st.integers(0, 3), undefined=st.booleans())
@settings(max_examples=150, deadline=None)
def test_what_is_told_is_true_wherever_the_head_is_cut(uid: str, syntax: str, cut: int, nested: int, undefined: bool) -> None:
    instance = make_instance(100, uid=uid)
    item = Dataset()
    item.SOPInstanceUID = "9.9.9"  # not of the top level
    for _ in range(nested):
        outer = Dataset()
        outer.LanguageCodeSequence = [item]
        outer["LanguageCodeSequence"].is_undefined_length = undefined
        item = outer
    instance.LanguageCodeSequence = [item]
    instance["LanguageCodeSequence"].is_undefined_length = undefined
    data = encoded(instance, syntax)
    seen = peek(data, syntax)
    assert (seen.sop_class_uid, seen.sop_instance_uid, seen.complete) == (CT, uid, True)
    part = peek(data[:cut], syntax)
    assert part.sop_class_uid in (None, CT)
    assert part.sop_instance_uid in (None, uid)
    assert not part.complete or (part.sop_class_uid, part.sop_instance_uid) == (CT, uid)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_missing_uid_is_seen_to_be_missing(syntax: str) -> None:
    instance = make_instance(100)
    del instance.SOPInstanceUID
    seen = peek(encoded(instance, syntax), syntax)
    assert (seen.sop_class_uid, seen.sop_instance_uid, seen.complete) == (CT, None, True)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_study_is_found_to_share_turns_by(syntax: str) -> None:
    instance = make_instance(100)
    instance.StudyInstanceUID = "1.2.840.77.1"
    assert study_hint(encoded(instance, syntax), syntax) == "1.2.840.77.1"
    del instance.StudyInstanceUID
    assert study_hint(encoded(instance, syntax), syntax) == ""
    assert study_hint(b"\x20\x00\x0d\x00UI", EXPLICIT) == ""


def test_a_deflated_data_set_is_looked_into() -> None:
    instance = make_instance(100)
    data = deflated(encoded(instance))
    assert peek(data, DEFLATED).sop_instance_uid == instance.SOPInstanceUID
    assert peek(data[:40], DEFLATED).sop_instance_uid in (None, instance.SOPInstanceUID)
    with pytest.raises(NotADataSet):
        peek(b"\xff" * 40, DEFLATED)


def test_a_deflated_bomb_is_inflated_no_further_than_the_head() -> None:
    bomb = deflated(b"\x08\x00\x05\x00UN\0\0\xff\xff\xff\x0f" + bytes(50 * 2**20))
    assert len(bomb) < HEAD
    assert not peek(bomb, DEFLATED).complete


NONE = {
    "implicit data under an explicit syntax": (encoded(make_instance(50), IMPLICIT), EXPLICIT),
    "little endian under big endian": (encoded(make_instance(50)), BIG),
    "text": (b"This is no DICOM data set, but a long enough line of text.", EXPLICIT),
    "text, implicit": (b"This is no DICOM data set, but a long enough line of text.", IMPLICIT),
    "a Part 10 file with its preamble": (bytes(128) + b"DICM" + encoded(make_instance(50)), IMPLICIT),
    "file meta elements": (b"\x02\x00\x10\x00UI\x04\x001.2\x00", EXPLICIT),
    "tags that go backwards": (encoded(make_instance(50))[:34] + encoded(make_instance(50))[:34], EXPLICIT),
    "command elements": (b"\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00", IMPLICIT),
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_data_set_is_said_to_be_none(name: str) -> None:
    data, syntax = NONE[name]
    with pytest.raises(NotADataSet):
        peek(data, syntax)


def test_a_whole_data_set_that_ends_inside_its_first_elements_is_none() -> None:
    data = encoded(make_instance(50))[:20]
    assert not peek(data, EXPLICIT).complete
    with pytest.raises(NotADataSet):
        peek(data, EXPLICIT, whole=True)


@given(st.binary(max_size=300), st.sampled_from([*SYNTAXES, DEFLATED]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_noise_raises_nothing_else(noise: bytes, syntax: str, whole: bool) -> None:
    with contextlib.suppress(NotADataSet):
        peek(noise, syntax, whole)


def test_a_uid_of_other_length_than_even_is_read_without_its_padding() -> None:
    uid = generate_uid()[:31]
    assert peek(encoded(make_instance(50, uid=uid)), EXPLICIT).sop_instance_uid == uid
