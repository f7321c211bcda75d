"""Random data sets with a canary of their own in every element: none that must go survives in the bytes, all that may stay do."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from radanon_node.tags.tables import profile_rows

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
TEXT = ["LO", "SH", "ST", "LT", "UT", "UC", "CS", "PN", "AE"]
NUMERIC = ["DS", "IS", "FD", "UL"]
DATES = ["DA", "TM", "DT"]
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


def canary(vr: str, number: int) -> object:
    word = "QX" + "".join(_LETTERS[(number // 20**power) % 20] for power in range(5))
    if vr in ("CS", "AE"):
        return word
    if vr == "PN":
        return f"{word}^{word[::-1]}"
    if vr == "UI":
        return f"1.2.826.0.1.{9000000 + number}"
    if vr in NUMERIC:
        return 7000000 + number
    if vr == "DA":
        return f"{1960 + number % 60}{1 + number % 12:02d}{1 + number % 28:02d}"
    if vr == "DT":
        return f"{1960 + number % 60}{1 + number % 12:02d}{1 + number % 28:02d}1112{number % 60:02d}"
    if vr == "TM":
        return f"11{number % 60:02d}{number // 60 % 60:02d}"
    return word.capitalize() if vr in TEXT else b"\x07\x07"


ROWS = profile_rows()
ELEMENTS = [
    (tag, entry[0]) for tag, entry in sorted(DicomDictionary.items())
    if entry[0] in {*TEXT, *NUMERIC, *DATES, "UI"} and 0x0008 <= tag >> 16 < 0x5000 and tag & 0xFFFF
    and tag not in (0x00080005, 0x00080016, 0x00080018, 0x00080001, 0x00120062, 0x00120063, 0x00280301, 0x00280302, 0x00280303)
]  # fmt: skip
NAMED = {tag for tag, entry in DicomDictionary.items() if entry[4]}
KEPT = [(tag, vr) for tag, vr in ELEMENTS if tag in NAMED and tag not in ROWS and vr in (*TEXT, *NUMERIC) and vr != "PN"]
GONE = [(tag, vr) for tag, vr in ELEMENTS if tag in ROWS and vr in TEXT]
SEQUENCES = [
    tag for tag, entry in DicomDictionary.items()
    if entry[0] == "SQ" and tag in NAMED and tag not in ROWS and 8 <= tag >> 16 < 0x5000
    and tag not in (0x00081115, 0x00120064)  # the second is the method's code sequence, which the engine writes itself
]  # fmt: skip


def fill(dataset: Dataset, draw: random.Random, depth: int, counter: list[int], kept: list[tuple[str, object]], gone: list[str]) -> None:
    for tag, vr in draw.sample(KEPT, 6) + draw.sample(GONE, 6):
        counter[0] += 1
        value = canary(vr, counter[0])
        dataset.add_new(tag, vr, value)
        if tag in ROWS:
            gone.append(str(value).split("^")[0])
        else:
            kept.append((vr, value))
    private = dataset.private_block(0x0029, f"Maker {draw.randrange(99)}", create=True)
    counter[0] += 1
    secret = str(canary("LO", counter[0]))
    private.add_new(draw.randrange(0x10, 0xFF), draw.choice(["LO", "UN", "OB"]), secret.encode() + b" ")
    gone.append(secret)
    if depth < 3:
        for tag in draw.sample(SEQUENCES, 2):
            items = [Dataset() for _ in range(draw.randrange(1, 3))]
            for item in items:
                fill(item, draw, depth + 1, counter, kept, gone)
            dataset.add_new(tag, "SQ", Sequence(items))


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_no_canary_survives_and_every_kept_value_does(syntax, seed, new_dataset, run):
    draw, kept, gone = random.Random(seed), [], []
    dataset = new_dataset()
    fill(dataset, draw, 0, [seed % 1000000], kept, gone)
    cleaned = run(dataset, syntax=syntax)
    lowered = cleaned.data.lower()
    for word in gone:
        assert word.lower().encode() not in lowered
    for vr, value in kept:
        if vr in TEXT or vr in ("DS", "IS"):
            assert str(value).encode() in cleaned.data, (vr, value)
    assert b"Oyelaran" not in cleaned.data and b"48151" not in cleaned.data
    assert cleaned.findings == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_the_patients_name_goes_from_any_text_element_at_any_depth(seed, new_dataset, run):
    """Also from attributes no table speaks of; the words around it stay."""
    draw = random.Random(seed)
    tags = [tag for tag, vr in KEPT if vr in ("LO", "ST", "LT", "UT", "UC")]
    dataset = new_dataset()
    level = dataset
    for tag in draw.sample(SEQUENCES, draw.randrange(3)):
        item = Dataset()
        level.add_new(tag, "SQ", Sequence([item]))
        level = item
    tag = draw.choice(tags)
    name = draw.choice(["OYELARAN", "Oyelaran", "temitope", "Temitope OYELARAN", "PID-48151", "pid-48151"])
    level.add_new(tag, DicomDictionary[tag][0], f"ruler {name} visible")
    cleaned = run(dataset)
    lowered = cleaned.data.lower()
    assert b"ruler" in lowered and b"visible" in lowered
    assert b"oyelaran" not in lowered and b"temitope" not in lowered and b"48151" not in lowered
    assert cleaned.findings == []


def test_the_received_data_set_is_not_changed(new_dataset, run, encode):
    item = Dataset()
    item.PatientName, item.ReferencedSOPInstanceUID = "Oyelaran^Temitope", "1.2.3.4.5.6"
    dataset = new_dataset(ReferencedImageSequence=Sequence([item]), StudyDescription="Oyelaran head")
    data = encode(dataset)
    cleaned = run(data)
    assert encode(cleaned.before) == data


def test_scrubbing_twice_gives_the_same_bytes(new_dataset, run):
    dataset = new_dataset(StudyDate="20240102", AccessionNumber="A1234567")
    assert run(dataset).data == run(dataset).data


NUMBERS = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "AT": 4, "OW": 2, "OB": 2, "OF": 4, "OD": 8, "UV": 8, "SV": 8}
BINARY = [
    (tag, vr)
    for tag, entry in sorted(DicomDictionary.items())
    for vr in entry[0].split(" or ")
    if vr in NUMBERS and tag in NAMED and tag not in ROWS and 8 <= tag >> 16 < 0x5000 and tag & 0xFFFF and tag >> 16 != 0x0042
]


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_numbers_and_bytes_stay_bit_for_bit(syntax, seed, new_dataset, encode, run):
    """Whatever their bytes look like, also where the dictionary leaves a choice of VRs (US or SS, OB or OW)."""
    draw = random.Random(seed)
    dataset, tags = new_dataset(), {}
    for tag, vr in draw.sample(BINARY, 40):
        tags[tag] = draw.choice([draw.randbytes(NUMBERS[vr]), b"0o" * (NUMBERS[vr] // 2), b"\x1b\xf8" * (NUMBERS[vr] // 2)])
        dataset._dict[tag] = RawDataElement(BaseTag(tag), vr, NUMBERS[vr], tags[tag], 0, syntax == IMPLICIT, True)
    dataset.set_original_encoding(syntax == IMPLICIT, True, "iso8859")
    cleaned = run(dataset, syntax=syntax)
    for tag, value in tags.items():
        assert cleaned.after.get_item(tag).value == value, f"{tag:08x}"
