"""Stand-ins are keyed, one to one, the same everywhere, and different between projects."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from radanon_node.errors import ConfigError, HoldInstance, Reason
from radanon_node.settings_profile import PseudonymSettings, TagSettings
from radanon_node.tags.engine import Scrubber
from radanon_node.tags.pseudonyms import PatientKey, Pseudonyms, patient_key

KEY = b"0123456789abcdef"


def make(scope: str = "default", key: bytes = KEY, **settings: object) -> Pseudonyms:
    return Pseudonyms(key, PseudonymSettings(scope=scope, **settings), TagSettings())  # type: ignore[arg-type]


@given(st.from_regex(r"1\.3(\.[1-9][0-9]{0,9}){2,5}", fullmatch=True))
def test_new_uids_are_valid_and_the_same_every_time(original):
    new = make().uid(original)
    assert new == make().uid(original) != original
    assert UID(new).is_valid and len(new) <= 44


@settings(max_examples=25)
@given(st.sets(st.integers(0, 10**9).map("1.2.{}.7".format), min_size=2, max_size=40))
def test_different_uids_stay_different(originals):
    pseudonyms = make()
    assert len({pseudonyms.uid(uid) for uid in originals}) == len(originals)


def test_uids_that_the_standard_defines_stay():
    for uid in ("1.2.840.10008.1.4.1.1", "1.2.840.10008.5.1.4.1.1.2", ""):
        assert make().uid(uid) == uid
    assert make().uid("1.2.840.10008.99.99.99") != "1.2.840.10008.99.99.99"


def test_scope_and_key_change_everything():
    patient = PatientKey("4711")
    for other in (make(scope="other"), make(key=b"fedcba9876543210")):
        assert other.uid("1.2.3.4.5") != make().uid("1.2.3.4.5")
        assert other.patient_id(patient) != make().patient_id(patient)
        assert other.patient_token(patient) != make().patient_token(patient)


def test_a_secret_too_short_is_refused():
    with pytest.raises(ConfigError):
        make(key=b"short")


def test_patients_are_told_apart_by_id_and_issuer():
    def key(**values: str) -> PatientKey:
        dataset = Dataset()
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        return patient_key(dataset)

    assert key(PatientID="1 ") == key(PatientID="1")
    assert key(PatientID="1", IssuerOfPatientID="A") != key(PatientID="1", IssuerOfPatientID="B")
    assert key(PatientName="A^B", StudyInstanceUID="1.1") == key(PatientName="A^B", StudyInstanceUID="1.2")
    assert key(StudyInstanceUID="1.1") != key(StudyInstanceUID="1.2")
    assert str(key(PatientID="secret")) == "<patient>"


def test_references_resolve_across_objects(new_dataset, run):
    image = new_dataset()
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = image.SeriesInstanceUID, Sequence([reference])
    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = image.StudyInstanceUID, Sequence([series])
    note = new_dataset("1.2.840.10008.5.1.4.1.1.88.59", SOPInstanceUID="1.2.3.4.5.9", SeriesInstanceUID="1.2.3.4.5.10", Modality="KO",
                       CurrentRequestedProcedureEvidenceSequence=Sequence([study]))  # fmt: skip
    cleaned, key = run(image).after, run(note).after
    evidence = key.CurrentRequestedProcedureEvidenceSequence[0]
    assert evidence.StudyInstanceUID == cleaned.StudyInstanceUID
    assert evidence.ReferencedSeriesSequence[0].SeriesInstanceUID == cleaned.SeriesInstanceUID
    assert evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == cleaned.SOPInstanceUID
    assert evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPClassUID == image.SOPClassUID


def test_multivalued_uids_and_retained_uids(new_dataset, run, make_scrubber):
    before = new_dataset(FrameOfReferenceUID="1.2.840.10008.1.4.1.1", IrradiationEventUID=["1.2.3.4.5.6", "1.2.3.4.5.7"])
    after = run(before).after
    assert after.FrameOfReferenceUID == "1.2.840.10008.1.4.1.1"
    assert len(set(after.IrradiationEventUID) | set(before.IrradiationEventUID)) == 4
    kept = run(before, make_scrubber("retain_uids")).after
    assert kept.SOPInstanceUID == before.SOPInstanceUID and kept.IrradiationEventUID == before.IrradiationEventUID


def table_scrubber(path, unknown: str) -> Scrubber:
    tags = TagSettings()
    return Scrubber(tags, Pseudonyms(KEY, PseudonymSettings(table=path, unknown=unknown), tags))  # type: ignore[arg-type]


def test_lookup_table_csv_and_sqlite(tmp_path, new_dataset, run):
    csv = tmp_path / "table.csv"
    csv.write_text("patient_id,pseudonym\nPID-48151,STUDY-007\n", encoding="utf-8")
    database = tmp_path / "table.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("create table pseudonyms (patient_id text, pseudonym text)")
        connection.execute("insert into pseudonyms values ('PID-48151', 'STUDY-007')")
        connection.commit()
    for path in (csv, database):
        cleaned = run(new_dataset(), table_scrubber(path, "quarantine"))
        assert (cleaned.after.PatientID, str(cleaned.after.PatientName)) == ("STUDY-007", "STUDY-007")
        assert cleaned.scrubbed.folder[0] == "STUDY-007"
        with pytest.raises(HoldInstance) as held:
            run(new_dataset(PatientID="nobody"), table_scrubber(path, "quarantine"))
        assert held.value.reason is Reason.UNKNOWN_PATIENT
        assert run(new_dataset(PatientID="nobody"), table_scrubber(path, "generate")).after.PatientID.startswith("ANON-")


@pytest.mark.parametrize(
    "content", ["id,name\n1,2\n", "patient_id,pseudonym\n1,A\n2,A\n", "patient_id,pseudonym\n1,A^B\n", "patient_id,pseudonym\n1,A\n1,B\n"]
)
def test_a_lookup_table_that_cannot_be_used_is_refused_without_its_values(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        make(table=path)
    assert "A^B" not in str(refused.value)


def test_mixed_up_studies_can_be_told(new_dataset, run):
    one, two = run(new_dataset()).scrubbed, run(new_dataset(PatientID="another")).scrubbed
    assert one.study_key == two.study_key and one.patient_key != two.patient_key
    assert one.folder[0] != two.folder[0]
