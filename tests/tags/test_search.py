"""The second look finds identifiers in bytes, in any spelling, and nothing where there is nothing."""

from __future__ import annotations

import random
import struct

import pytest
from pydicom.dataset import Dataset

from radanon_node.tags.identifiers import collect
from radanon_node.tags.search import find_identity


@pytest.fixture(scope="module")
def known():
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = "Müller^Temitope=山田^太郎"
    dataset.PatientID = "PX-48151"
    dataset.AccessionNumber = "7710023"
    dataset.PatientBirthDate = "19500322"
    dataset.StudyInstanceUID = "1.2.826.0.1.3680043.9.7156.1"
    return collect(dataset)


LEAKS = [
    (b"Temitope", "name"),
    (b"x^TEMITOPE ", "name"),
    ("Müller".encode(), "name"),
    ("MÜLLER".encode("latin-1"), "name"),
    (b"Mueller", "name"),
    (b"MULLER", "name"),
    ("temitope".encode("utf-16-le"), "name"),
    ("Temitope".encode("utf-16-be"), "name"),
    ("山田".encode(), "name"),
    ("山田".encode("shift_jis"), "name"),
    ("山田".encode("gb18030"), "name"),
    ("山田".encode("iso2022_jp"), "name"),
    ("山田".encode("euc_jp"), "name"),
    (b"PX-48151", "id"),
    (b"px-48151", "id"),
    (b"no7710023", "id"),
    (b"19500322", "date"),
    (b"1950-03-22", "date"),
    (b"22.03.1950", "date"),
    (b"3/22/1950", "date"),
    (b"22-Mar-1950", "date"),
    (b"March 22, 1950", "date"),
    (b"19500322101112.5", "date"),
    (b"1.2.826.0.1.3680043.9.7156.1", "uid"),
    (b"TemitopeMueller", "name"),
    (b"tmueller", "name"),
    ("Mu\u0308ller".encode(), "name"),
    (b"M&#252;ller", "name"),
    (b"22031950", "date"),
    (b"0007710023", "id"),
    (b"PX48151", "id"),
    ("患者Temitope様".encode("gb18030"), "name"),
    ("山田太郎".encode(), "name"),
]


@pytest.mark.parametrize(("leak", "kind"), LEAKS)
def test_every_spelling_is_found(known, leak, kind):
    head = b"LO" + struct.pack("<H", len(leak))
    for after in (b"\x54\x00\x10\x00", b"\x32\x00\x10\x10", b"\x08\x00", b" ", b"\\x", b""):
        found = find_identity(bytes(200) + head + leak + after + bytes(50), [], known)
        assert kind in {finding.kind for finding in found}, after
        assert all(190 < finding.offset < 300 for finding in found)


@pytest.mark.parametrize(
    "harmless",
    [
        b"mullerian",
        b"temitopes",
        b"77100234",
        b"17710023",
        b"1.7710023.5",
        b"119500322",
        b"19500323",
        b"2.25.19500322123456789",
        b"1.2.826.0.1.3680043.9.7156.12",
        b"12.03.1950",
    ],
)
def test_parts_of_other_words_and_numbers_are_none(known, harmless):
    assert find_identity(b"\0\0" + harmless + b"\x08\x00\x05\x00", [], known) == []


def test_pixels_are_skipped(known):
    data = b"\0" * 10 + b"Temitope" + b"\0" * 10
    assert find_identity(data, [(10, 18)], known) == []
    assert len(find_identity(data, [(10, 12)], known)) <= 1


def test_random_bytes_hold_nothing(known):
    assert find_identity(random.Random(5).randbytes(300_000), [], known) == []


def test_a_finding_names_no_value(known):
    assert "Temitope" not in repr(find_identity(b"Temitope", [], known))
