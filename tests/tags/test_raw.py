"""What this room relies on inside pydicom, and the reading of sequences in disguise."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from radanon_node.pixels.instance import read_instance
from radanon_node.tags import raw
from radanon_node.tags.engine import PixelFacts
from radanon_node.tags.sequences import items_of


def test_a_data_set_keeps_its_elements_raw_and_by_tag(new_dataset, encode):
    """The private place that `raw.elements` reads: pydicom is pinned because of it."""
    dataset = read_instance(encode(new_dataset(StudyDescription="x"))).dataset
    stored = raw.elements(dataset)
    assert isinstance(stored[0x00081030], RawDataElement) and stored[0x00081030].value == b"x "
    made = Dataset(dict(stored))
    assert raw.elements(made).keys() == stored.keys() and isinstance(raw.elements(made)[0x00081030], RawDataElement)


@pytest.mark.parametrize(("terms", "text"), [
    (("ISO_IR 100",), "Jürgen"), (("ISO_IR 192",), "山田"), (("", "ISO 2022 IR 87"), "abc 山田 def"), (("GB18030",), "王小东"),
    (("ISO_IR 144",), "Иванов"), (("",), "plain"),
])  # fmt: skip
def test_text_comes_back_from_every_character_set(terms, text):
    codecs = raw.python_codecs(terms)
    encoded = raw.encode(text, codecs)
    assert encoded is not None and raw.decode(encoded, codecs, "LO") == text


def test_what_cannot_be_written_loses_its_accents_only():
    assert raw.encoded("Jürgen 山", raw.python_codecs(("",))) == b"Jurgen ?"
    assert raw.decode(b"J\xfcrgen", raw.python_codecs(("",)), "LO") is None
    assert raw.decode(b"\xff\xfe", raw.python_codecs(("ISO_IR 192",)), "LO") is None


@given(st.binary(max_size=60))
def test_hostile_bytes_as_a_sequence_never_raise(value):
    dataset = Dataset()
    dataset.set_original_encoding(False, True, "iso8859")
    for vr in ("UN", "SQ", None):
        dataset._dict = {0x00540220: RawDataElement(0x00540220, vr, len(value), value, 0, False, True)}
        found = items_of(dataset, 0x00540220)
        assert found is None or isinstance(found, list)


def test_a_study_of_many_slices_does_not_grow_in_memory(new_dataset, make_scrubber):
    scrubber = make_scrubber("clean_descriptors", "retain_longitudinal_modified_dates")
    facts = PixelFacts(has_pixels=False, looked=False, redacted=False)

    def scrub(number: int) -> None:
        item = Dataset()
        item.ReferencedSOPInstanceUID = f"1.2.826.0.1.{number}"
        dataset = new_dataset(
            SOPInstanceUID=f"1.2.826.0.9.{number}",
            StudyDate="20240305",
            SliceLocation=str(number),
            ReferencedImageSequence=Sequence([item]),
            AcquisitionTime=f"1011{number % 60:02d}",
        )
        scrubber.scrub(dataset, facts, "1.2.840.10008.1.2.1")

    # The cache of UIDs is bounded: it is full before the first measurement.
    scrubber.pseudonyms.uid.cache_clear()
    for number in range(9000):
        scrubber.pseudonyms.uid(f"1.2.3.{number}")
    for number in range(100):
        scrub(number)
    tracemalloc.start()
    try:
        for number in range(100, 200):
            scrub(number)
        before, _ = tracemalloc.get_traced_memory()
        for number in range(200, 700):
            scrub(number)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 400_000


def test_a_data_set_made_at_once_is_what_pydicom_makes() -> None:
    """`dataset_of` rests on the attributes that `Dataset.__init__` sets."""
    stored = {BaseTag(0x00080060): RawDataElement(BaseTag(0x00080060), "CS", 2, b"CT", 0, False, True)}
    plain, other = Dataset(dict(stored)), raw.dataset_of({}, None, None, "")
    plain.set_original_encoding(False, True, ["iso8859"])
    made = raw.dataset_of(dict(stored), False, True, ["iso8859"])
    assert vars(made) == vars(plain)
    assert made.Modality == "CT"
    for name, value in vars(made).items():  # nothing that can be changed is shared with another
        if isinstance(value, (dict, list)):
            assert value is not vars(other)[name]
