"""Every byte of a file is accounted for, or the file is held; what is written is a valid Part 10 file again."""

from __future__ import annotations

import io
import mmap
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_files
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from radanon_node import IMPLEMENTATION_CLASS_UID
from radanon_node.errors import HoldInstance, Reason
from radanon_node.pixels.elements import NewPixels
from radanon_node.pixels.instance import encode_instance, read_instance

SKIPPED = {".py", ".txt", ".zip", ".gz", ".json", ".xml", ".hdr", ".pyc", ".md5", ".icc", ".dump"}
FILES = sorted(
    path for path in map(Path, get_testdata_files()) if path.is_file() and path.suffix not in SKIPPED and path.name != "README"
)
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def element(tag, vr, value):
    """One explicit little endian element with a 16-bit length."""
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


BASIC = element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.7\0") + element(0x00080018, b"UI", b"1.2.3\0")


def file(body, syntax=ExplicitVRLittleEndian, meta=b""):
    syntax = syntax.encode() + b"\0" * (len(syntax) % 2)
    return bytes(128) + b"DICM" + element(0x00020010, b"UI", syntax) + meta + body


def reason_of(data):
    with pytest.raises(HoldInstance) as held:
        read_instance(data)
    return held.value.reason


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_read_and_written_says_the_same_to_pydicom(path: Path):
    data = path.read_bytes()
    try:
        instance = read_instance(data)
    except HoldInstance as hold:
        assert hold.reason in (
            Reason.UNPARSABLE_DATASET, Reason.NOT_DICOM, Reason.MISSING_ATTRIBUTE, Reason.UID_MISMATCH, Reason.UNKNOWN_TRANSFER_SYNTAX,
        )
        return
    encoded = encode_instance(instance.dataset, instance.transfer_syntax_uid, instance.pixels)
    before, after = dcmread(path, force=True), dcmread(io.BytesIO(encoded.data))
    for dataset in (before, after):
        for tag in [tag for tag in dataset.keys() if tag.element == 0]:  # noqa: SIM118
            del dataset[tag]
        if "PixelData" in dataset and after.file_meta.TransferSyntaxUID.is_encapsulated:
            dataset["PixelData"].VR = "OB"
    if instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        assert len(before) <= len(after)  # pydicom gives up on files with a gzip trailer
    else:
        assert before == after
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
    assert after.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert after.preamble == bytes(128)
    again = read_instance(encoded.data)
    if not instance.transfer_syntax.deflated:
        assert again.pixel_spans == encoded.pixel_spans
    for _, stop in again.pixel_spans:
        assert stop <= len(again.data)
    if instance.pixels is not None:
        assert bytes(again.pixels.data) == bytes(instance.pixels.data)


def values(depth):
    text = st.text("ABCÄ xyz^", max_size=12)
    leaf = st.tuples(st.sampled_from(["PatientName", "StudyDescription", "PatientComments"]), text)
    number = st.tuples(st.sampled_from(["Rows", "Columns", "SmallestImagePixelValue"]), st.integers(0, 65535))
    floating = st.tuples(st.just("RescaleSlope"), st.sampled_from(["1.5", "-2", "0.001"]))
    many = st.tuples(st.just("OtherPatientNames"), st.lists(text.filter(lambda t: "\\" not in t), min_size=2, max_size=3))
    choices = [leaf, number, floating, many]
    if depth:
        items = st.lists(values(depth - 1), max_size=3)
        choices.append(st.tuples(st.sampled_from(["ReferencedImageSequence", "ProcedureCodeSequence"]), items))
    return st.lists(st.one_of(choices), max_size=5)


def dataset_of(entries):
    dataset = Dataset()
    for keyword, value in entries:
        setattr(dataset, keyword, [dataset_of(item) for item in value] if keyword.endswith("Sequence") else value)
    return dataset


@given(values(2), st.sampled_from(SYNTAXES), st.sampled_from(SYNTAXES), st.booleans(), st.booleans())
@settings(max_examples=120, deadline=None)
def test_any_data_set_survives_in_any_syntax(entries, source, target, undefined, touch):
    dataset = dataset_of(entries)
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66", "1.2.3.4"
    dataset.PixelRepresentation = 0
    for item in dataset:
        if item.VR == "SQ":
            item.is_undefined_length = undefined
            for part in item.value:
                part.is_undefined_length_sequence_item = undefined
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = source
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    instance = read_instance(out.getvalue())
    if touch:
        list(instance.dataset.iterall())
    encoded = encode_instance(instance.dataset, target, None)
    assert dcmread(io.BytesIO(encoded.data)) == dcmread(io.BytesIO(out.getvalue()))
    read_instance(encoded.data)


def test_values_nobody_changed_stay_raw_and_pixels_are_not_copied(kit):
    data = kit.build(kit.wavy(8, 9, 8))
    instance = read_instance(data)
    assert isinstance(instance.dataset.get_item(Tag("Modality")), RawDataElement)
    assert "PixelData" not in instance.dataset
    assert instance.pixels.data.obj is data


def test_text_is_written_anew_when_the_character_set_changes():
    body = element(0x00080005, b"CS", b"ISO_IR 100") + BASIC + element(0x00100010, b"PN", "MÜLLER".encode("latin-1"))
    instance = read_instance(file(body))
    instance.dataset.SpecificCharacterSet = "ISO_IR 192"
    encoded = encode_instance(instance.dataset, ExplicitVRLittleEndian, None)
    assert "MÜLLER".encode() in encoded.data
    assert dcmread(io.BytesIO(encoded.data)).PatientName == "MÜLLER"


def test_odd_values_are_padded_and_too_long_ones_become_un():
    instance = read_instance(file(BASIC + element(0x00100020, b"LO", b"abc")))
    encoded = encode_instance(instance.dataset, ExplicitVRLittleEndian, None)
    assert element(0x00100020, b"LO", b"abc ") in encoded.data
    instance.dataset.add_new(0x00104000, "LT", "x" * 70000)
    read_instance(encode_instance(instance.dataset, ExplicitVRLittleEndian, None).data)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_odd_values_of_unknown_vr_are_padded_at_every_depth(syntax):
    inner, outer = Dataset(), Dataset()
    inner.add_new(0x00091002, "UN", b"odd")
    outer.add_new(0x00091001, "UN", b"odd")
    outer.add_new(0x00081140, "SQ", [inner])
    outer.SOPClassUID, outer.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    found = read_instance(encode_instance(outer, syntax, None).data)
    assert found.dataset[0x00091001].value == b"odd\0"
    assert found.dataset[0x00081140].value[0][0x00091002].value == b"odd\0"


def test_group_lengths_commands_and_meta_elements_inside_the_data_set_do_not_leave():
    body = element(0x00080000, b"UL", struct.pack("<L", 99)) + BASIC
    stray = read_instance(file(body))
    stray.dataset.add_new(0x00000002, "UI", "1.2")
    encoded = encode_instance(stray.dataset, ExplicitVRLittleEndian, None)
    assert sorted(read_instance(encoded.data).dataset.keys()) == [0x00080016, 0x00080018]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (BASIC + element(0x00100020, b"LO", b"a ") * 2, Reason.UNPARSABLE_DATASET),
        (BASIC + b"\x10\x00\x20\x00LO\x40\x00short", Reason.UNPARSABLE_DATASET),
        (BASIC + b"garbage", Reason.UNPARSABLE_DATASET),
        (BASIC + b"\x10\x00\x20\x00lo\x02\x00ab", Reason.UNPARSABLE_DATASET),
        (BASIC + b"\xfe\xff\x00\xe0\0\0\0\0", Reason.UNPARSABLE_DATASET),
        (BASIC + b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff", Reason.UNPARSABLE_DATASET),
        (BASIC + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\x08\0\0\0abc", Reason.UNPARSABLE_DATASET),
        (BASIC + b"\x10\x00\x10\x00UT\0\0\xff\xff\xff\xff", Reason.UNPARSABLE_DATASET),
        (element(0x00080016, b"UI", b"1.2\0"), Reason.MISSING_ATTRIBUTE),
        (b"", Reason.MISSING_ATTRIBUTE),
    ],
)
def test_broken_data_sets_are_held(body, expected):
    assert reason_of(file(body)) is expected


def test_what_is_no_dicom_is_held():
    assert reason_of(b"") is Reason.NOT_DICOM
    assert reason_of(b"%PDF-1.7" + bytes(500)) is Reason.NOT_DICOM
    assert reason_of(file(BASIC, "1.2.3.4.5")) is Reason.UNKNOWN_TRANSFER_SYNTAX
    assert reason_of(bytes(128) + b"DICM" + element(0x00020002, b"UI", b"1.2\0") + BASIC) is Reason.UNKNOWN_TRANSFER_SYNTAX


def test_meta_information_that_names_another_instance_is_held_and_none_is_not():
    assert reason_of(file(BASIC, meta=element(0x00020003, b"UI", b"9.9\0"))) is Reason.UID_MISMATCH
    assert read_instance(BASIC).notes == ("no preamble", "no meta information")
    assert read_instance(bytes(128) + b"DICM" + BASIC).sop_instance_uid == "1.2.3"
    assert read_instance(file(BASIC + bytes(10))).notes == ("zero bytes after the last element",)


def test_sequences_too_deep_are_held():
    body = b""
    for _ in range(40):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(body)) + body
        body = b"\x08\x00\x40\x11SQ\0\0" + struct.pack("<L", len(item)) + item
    assert reason_of(file(BASIC + body)) is Reason.UNPARSABLE_DATASET


def test_a_deflate_bomb_is_held(monkeypatch):
    monkeypatch.setattr("radanon_node.pixels.instance.MAX_INFLATED", 10_000)
    deflater = zlib.compressobj(wbits=-15)
    body = deflater.compress(BASIC + b"\x10\x00\x00\x40UT\0\0" + struct.pack("<L", 10**6) + bytes(10**6)) + deflater.flush()
    assert reason_of(file(body, DeflatedExplicitVRLittleEndian)) is Reason.PIXEL_LIMIT
    assert reason_of(file(body[:-5], DeflatedExplicitVRLittleEndian)) in (Reason.UNPARSABLE_DATASET, Reason.PIXEL_LIMIT)


def test_pixels_inside_sequences_are_named_and_two_pixel_elements_held(kit):
    icon = Dataset()
    icon.Rows = icon.Columns = 2
    icon.add_new(0x7FE00010, "OB", b"abcd")
    data = kit.build(kit.wavy(4, 4, 8), extra={"IconImageSequence": [icon]})
    assert read_instance(data).nested_pixels == ("(0088,0200)/(7FE0,0010)",)
    double = BASIC + b"\xe0\x7f\x08\x00OF\0\0\x04\0\0\0aaaa" + b"\xe0\x7f\x10\x00OW\0\0\x04\0\0\0aaaa"
    assert reason_of(file(double)) is Reason.UNSUPPORTED_PIXELS


@pytest.mark.parametrize("extended", [False, True])
def test_fragments_are_written_with_right_offset_tables(extended):
    dataset = read_instance(file(BASIC)).dataset
    pixels = NewPixels(0x7FE00010, "OB", [b"abc", b"defg", b"h"], (1, 1, 1), extended)
    encoded = encode_instance(dataset, RLELossless, pixels)
    back = read_instance(encoded.data)
    assert [bytes(back.pixels.fragment(k)) for k in range(3)] == [b"abc\0", b"defg", b"h\0"]
    assert [encoded.data[start:stop] for start, stop in encoded.pixel_spans] == [b"abc\0", b"defg", b"h\0"]
    table = struct.pack("<3Q", 0, 12, 24) if extended else struct.pack("<3L", 0, 12, 24)
    assert (back.pixels.fragments.extended_offsets if extended else back.pixels.fragments.offsets) == table
    if extended:
        assert back.pixels.fragments.extended_lengths == struct.pack("<3Q", 3, 4, 1)


@given(st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_mutation_of_a_file_does_anything_but_parse_or_hold(kit, data):
    item = Dataset()
    item.CodeValue = "1"
    source = bytearray(kit.build(kit.wavy(4, 5, 8), extra={"ProcedureCodeSequence": [item, item], "PatientName": "A^B"}))
    for _ in range(data.draw(st.integers(1, 5))):
        where = data.draw(st.integers(128, len(source) - 1))
        source[where] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(source)))
    try:
        instance = read_instance(bytes(source[: cut if data.draw(st.booleans()) else len(source)]))
        encode_instance(instance.dataset, instance.transfer_syntax_uid, instance.pixels)
    except HoldInstance:
        pass


def test_invalid_values_are_not_quoted_in_warnings_or_logs(recwarn, caplog):
    body = BASIC + element(0x00080060, b"CS", b"smith^john") + element(0x00280008, b"IS", b"smith^john")
    dataset = read_instance(file(body)).dataset
    assert dataset.Modality == "smith^john"
    assert dataset.NumberOfFrames == "smith^john"
    assert not [warning for warning in recwarn if "smith" in str(warning.message)]
    assert "smith" not in caplog.text


def test_a_large_file_is_mapped_and_says_the_same(kit, monkeypatch):
    instance = read_instance(kit.build(kit.wavy(30, 40, 12), stored=12))
    small = encode_instance(instance.dataset, ImplicitVRLittleEndian, instance.pixels)
    monkeypatch.setattr("radanon_node.pixels.instance.MAPPED_FROM", 100)
    large = encode_instance(instance.dataset, ImplicitVRLittleEndian, instance.pixels)
    assert isinstance(large.data, mmap.mmap) and bytes(large.data) == small.data and large.pixel_spans == small.pixel_spans
    assert bytes(read_instance(large.data).pixels.data) == bytes(instance.pixels.data)
