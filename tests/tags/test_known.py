"""What a patient is known by: bounded, merged, and gone through JSON unchanged."""

from __future__ import annotations

from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from radanon_node.tags.identifiers import collect
from radanon_node.tags.known import Known, remembered
from radanon_node.tags.pseudonyms import patient_key
from radanon_node.tags.text import clean

KINDS = st.sampled_from(["name", "staff", "id", "site"])
KNOWN = st.builds(
    Known, st.lists(st.tuples(st.text(min_size=1, max_size=8), KINDS), unique=True, max_size=12).map(tuple),
    st.lists(st.dates(), unique=True, max_size=5).map(tuple), st.lists(st.dates(), unique=True, max_size=3).map(tuple))


def instance(**attributes: str) -> Dataset:
    dataset = Dataset()
    dataset.PatientID = "P1"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


@settings(max_examples=40, deadline=None)
@given(KNOWN, KNOWN)
def test_a_merge_holds_both_and_a_second_one_changes_nothing(one: Known, other: Known) -> None:
    both = one.with_(other)
    assert set(both.values) == {*one.values, *other.values} and set(both.days) == {*one.days, *other.days}
    assert both.with_(one) is both and both.with_(other) is both
    assert Known.from_json(both.as_json()) == both


def test_the_oldest_of_a_kind_make_room_and_other_kinds_do_not() -> None:
    known = Known((("Mueller", "name"),))
    for number in range(200):
        known = known.with_(Known(((f"ACC{number:05d}", "id"),), (date(2000, 1, 1).replace(year=1900 + number % 100),)))
    ids = [value for value, kind in known.values if kind == "id"]
    assert len(ids) == 64 and ids[-1] == "ACC00199" and ids[0] == "ACC00136"
    assert ("Mueller", "name") in known.values and len(known.days) == 48


def test_what_is_known_is_hunted_beside_the_instances_own() -> None:
    earlier = collect(instance(PatientName="Oyelaran^Temitope", AccessionNumber="A-774411", OtherPatientIDs="Z91827",
                               PatientBirthDate="19610307", ReferringPhysicianName="Kazlauskas^Jonas"))
    own = collect(instance(PatientName="Smith-Jones^Temi"))
    both = Known.of(earlier).added_to(own)
    text = "knee of Oyelaran, also A-774411 / z91827, born 7.3.1961, asked by KAZLAUSKAS; Smith-Jones"
    assert clean(text, both) == "knee of also / asked by"
    assert own.matches("Smith-Jones") and not own.matches("Oyelaran") and both.uids == own.uids


def test_nothing_new_makes_no_new_tables() -> None:
    own = collect(instance(PatientName="Oyelaran^Temitope", PatientBirthDate="19610307"))
    assert Known.of(own).added_to(own) is own


def test_serial_numbers_of_devices_and_uids_are_not_kept() -> None:
    known = Known.of(collect(instance(PatientName="Oyelaran", DeviceSerialNumber="SN-5566778", StudyInstanceUID="1.2.3.4.5.6.7")))
    assert set(dict(known.values)) == {"P1", "Oyelaran"}


def test_its_text_form_shows_no_value() -> None:
    shown = repr(Known((("Oyelaran", "name"),), (date(1961, 3, 7),)))
    assert "Oyelaran" not in shown and "1961" not in shown


def test_a_patient_without_id_and_name_is_not_remembered() -> None:
    nobody = Dataset()
    nobody.StudyInstanceUID = "1.2.3"
    assert not remembered(patient_key(nobody)) and remembered(patient_key(instance()))
