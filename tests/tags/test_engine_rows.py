"""Every row of Table E.1-1, alone and under every option, at the top level and inside a sequence."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radanon_node.tags.sequences import public_vr
from radanon_node.tags.tables import OPTION_COLUMNS, Row, profile_rows

CANARY = {
    "AE": "CANARYAE", "AS": "077Y", "CS": "CANARYCS", "DA": "19770717", "DS": "77.7717", "DT": "19770717070717", "IS": "7771777",
    "LO": "Canary LO", "LT": "Canary LT", "PN": "Canary^Bird", "SH": "Canary SH", "ST": "Canary ST", "TM": "070717.777717",
    "UC": "Canary UC", "UI": "1.2.826.777.1777.7", "UR": "http://canary.example/7", "UT": "Canary UT",
    "US": 7717, "UL": 77177717, "FD": 7.7717, "FL": 7.5, "SL": 77177, "SS": 7717, "OB": b"canaryob", "OW": b"canaryow", "UN": b"canaryun",
}  # fmt: skip
ROWS = [row for tag, row in sorted(profile_rows().items()) if tag >> 16 not in (0, 2, 4, 0x6000)]
IDS = {0x00100010, 0x00100020, 0x00080018, 0x0020000D, 0x0020000E}


def put(dataset: Dataset, row: Row) -> None:
    vr = row.vr or "LO"
    if vr == "SQ":
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "C77", "99CAN", "Canary meaning"
        dataset.add_new(row.tag, "SQ", Sequence([item]))
    else:
        dataset.add_new(row.tag, vr, CANARY[vr])


def nested(dataset: Dataset) -> Dataset:
    return dataset.PerformedProtocolCodeSequence[0].ProtocolContextSequence[0]


def check(row: Row, before: Dataset, after: Dataset, code: str, kind: str) -> None:
    """`after` shows what `code` means for the row; a compound code may end as any of its parts."""
    where = f"{row.keyword} {kind} {code}"
    if row.tag in IDS:
        assert after[row.tag].value != before[row.tag].value, where
        return
    present = row.tag in after
    original = before[row.tag].value
    value = after[row.tag].value if present else None
    empty = present and (value is None or (hasattr(value, "__len__") and len(value) == 0))
    if code == "X":
        assert not present or empty or value != original, where
    elif code in ("Z", "Z/D"):
        assert not present or empty or value != original, where
        assert present or row.vr == "SQ", where
    elif code in ("D", "U"):
        assert present and not empty and value != original, where
    elif code == "K":
        assert present, where
        assert value == original or (row.vr == "AS" and value), where
    else:
        assert not present or empty or value != original, where


@pytest.fixture(scope="module")
def everything(new_dataset):
    dataset = new_dataset()
    inside = Dataset()
    for row in ROWS:
        if row.tag not in IDS:
            put(dataset, row)
        put(inside, row)
    protocol = Dataset()
    protocol.CodeValue, protocol.CodingSchemeDesignator, protocol.CodeMeaning = "P", "99P", "Protocol"
    protocol.ProtocolContextSequence = Sequence([inside])
    dataset.PerformedProtocolCodeSequence = Sequence([protocol])
    return dataset


def test_basic_profile_row_by_row(everything, run):
    cleaned = run(everything)
    for row in ROWS:
        check(row, cleaned.before, cleaned.after, row.basic, "top")
        check(row, nested(cleaned.before), nested(cleaned.after), row.basic, "nested")
    assert b"anary" not in cleaned.data
    assert cleaned.findings == []


@pytest.mark.parametrize("option", sorted(set(OPTION_COLUMNS.values()) - {"retain_safe_private"}))
def test_each_option_row_by_row(everything, run, make_scrubber, option):
    cleaned = run(everything, make_scrubber(option))
    for row in ROWS:
        code = row.options.get(option)
        for before, after, kind in ((cleaned.before, cleaned.after, "top"), (nested(cleaned.before), nested(cleaned.after), "nested")):
            if code == "K":
                if row.tag in IDS:
                    assert after[row.tag].value == before[row.tag].value
                else:
                    check(row, before, after, "K", f"{kind} {option}")
            elif code is None:
                check(row, before, after, row.basic, f"{kind} {option}")
            elif code == "C" and row.vr in ("DA", "DT") and option == "retain_longitudinal_modified_dates":
                assert after[row.tag].value and after[row.tag].value != before[row.tag].value, row.keyword
            elif (
                code == "C" and row.vr not in ("OB", "OW", "UN", "SQ") and option in ("clean_descriptors", "retain_patient_characteristics")
            ):
                # "Canary SH" is nobody's name: a harmless word stays, unless it is this instance's own identifier
                assert row.tag in after, row.keyword


def test_compound_codes_follow_the_type_in_the_iod(new_dataset, run):
    # PatientID Z/D (Type 2), Series Date X/D (Type 3 in CT), Content Date Z/D (2C), Instance Creation Date X/D
    ct = run(new_dataset(SeriesDate="20240305", ContentDate="20240305", OperatorsName="Nwosu^Ada", DeviceSerialNumber="SN-998877")).after
    assert "SeriesDate" not in ct and ct.ContentDate == "" and "OperatorsName" not in ct and "DeviceSerialNumber" not in ct
    # Enhanced CT: Enhanced General Equipment makes Device Serial Number Type 1
    enhanced = run(new_dataset("1.2.840.10008.5.1.4.1.1.2.1", DeviceSerialNumber="SN-998877", ContentDate="20240305")).after
    assert enhanced.DeviceSerialNumber not in ("", "SN-998877") and enhanced.ContentDate == "19000101"


def test_presentation_state_keeps_its_type_1_creation_date_as_a_dummy(new_dataset, run):
    state = run(new_dataset("1.2.840.10008.5.1.4.1.1.11.1", Modality="PR", PresentationCreationDate="20240305")).after
    assert state.PresentationCreationDate == "19000101"


def test_no_empty_sequence_where_an_item_is_required(new_dataset, run):
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", "somebody"
    observer = Dataset()
    observer.VerifyingObserverName, observer.VerifyingOrganization = "Nwosu^Ada", "Hospital of the Canary"
    observer.VerificationDateTime = "20240305101010"
    observer.VerifyingObserverIdentificationCodeSequence = Sequence([code])
    report = new_dataset("1.2.840.10008.5.1.4.1.1.88.22", Modality="SR", VerifyingObserverSequence=Sequence([observer]))
    (item,) = run(report).after.VerifyingObserverSequence
    assert item.VerifyingObserverName == "Anonymized" and item.VerificationDateTime == "19000101000000"
    assert len(item.VerifyingObserverIdentificationCodeSequence) == 0  # Type 2: may be empty


def test_the_dictionary_knows_what_the_table_speaks_of():
    assert sum(1 for row in ROWS if public_vr(row.tag)) > 600
