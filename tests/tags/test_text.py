"""Free text: identity goes, harmless words stay."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from radanon_node.tags.identifiers import Identifiers, collect
from radanon_node.tags.known import Known
from radanon_node.tags.text import clean, hunt


@pytest.fixture(scope="module")
def known() -> Identifiers:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = "Müller-Lüdenscheidt^Hans Peter^^Dr."
    dataset.PatientID = "MRN0047119"
    dataset.PatientBirthDate = "19500322"
    dataset.StudyDate = "20240305"
    dataset.AccessionNumber = "20240099123"
    dataset.ReferringPhysicianName = "O'Connell^Siobhan"
    dataset.OperatorsName = ["Long^Wei", "Petrova^Anna"]
    dataset.InstitutionName = "Krankenhaus Sankt Elsewhere"
    dataset.StationName = "CTROOM7A"
    dataset.StudyInstanceUID = "1.2.826.0.1.3680043.9.7156.1"
    return collect(dataset)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("CT Thorax mit KM, axial 5 mm", "CT Thorax mit KM, axial 5 mm"),
        ("Herr MÜLLER, Thorax", "Thorax"),
        ("Mueller Hans: Verlaufskontrolle", "Verlaufskontrolle"),
        ("muller peter chest pa", "chest pa"),
        ("Chest PA (Muller, H.)", "Chest PA (H.)"),
        ("geb. 22.03.1950, Pneumonie?", "Pneumonie?"),
        ("DOB 03/22/1950 knee left", "knee left"),
        ("22 Mar 1950 knee", "knee"),
        ("comparison 2024-03-05 and March 5, 2024", "comparison and"),
        ("MRN0047119 brain", "brain"),
        ("mrn 47119 brain", "brain"),
        ("acc 20240099123 brain", "brain"),
        ("Siobhan O'Connell asked for brain", "asked for brain"),
        ("OConnell brain", "OConnell brain"),
        ("performed by Anna Petrova at Krankenhaus Sankt Elsewhere", "performed by at"),
        ("scanner CTROOM7A ok", "scanner ok"),
        ("call 555-867-5309 or mail a.b@c.example.org now", "call or mail now"),
        ("see 1.2.826.0.1.3680043.9.7156.1 there", "see there"),
        ("Dr. Jane Doe: T2 FLAIR 3mm", "T2 FLAIR 3mm"),
        ("T1 TSE sag 256x256 TR 500 TE 12", "T1 TSE sag 256x256 TR 500 TE 12"),
        ("Hansen sign negative", "Hansen sign negative"),
        ("", ""),
        ("Müller", ""),
    ],
)
def test_examples(known, text, cleaned):
    assert clean(text, known) == cleaned


def test_only_strong_identifiers_are_hunted_where_no_table_speaks(known):
    assert hunt("long axis view of Mueller", known) == "long axis view of"
    assert clean("Long called", known) == "called"


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(
        st.sampled_from(["axial", "chest", "5mm", "T2", "lung", "with", "contrast", "views", "lateral", "B30f", "1.25"]),
        min_size=1,
        max_size=8,
    ),
    place=st.integers(0, 8),
    name=st.sampled_from(["Müller", "MUELLER", "Lüdenscheidt", "hans", "Petrova", "19500322", "1950-03-22", "MRN0047119", "Siobhan"]),
)
def test_the_words_around_stay_as_they_are(known, words, place, name):
    place = min(place, len(words))
    assert clean(" ".join([*words[:place], name, *words[place:]]), known).split() == words


def test_matches_is_what_the_retention_pass_asks(known):
    assert known.matches("MÜLLER") and known.matches("hans") and known.matches("22.3.1950") and known.matches("Long")
    assert not known.matches("L") and not known.matches("R") and not known.matches("LINKS") and not known.matches("AP")


def test_no_identifier_is_shown(known):
    assert "ller" not in repr(known) + str(known)


@pytest.mark.parametrize(
    "text",
    ["a" * 90_000, " " * 90_000 + "x", "," * 90_000 + "x", "(" * 90_000, "1" * 90_000, "Dr. " * 20_000, "A" * 90_000, "1.2." * 20_000],
)
def test_hostile_text_costs_no_more_than_its_length(known, text):
    """Would take minutes if a pattern went back over what it has read."""
    assert len(clean(f"Mueller {text} Mueller", known)) <= len(text)


def test_what_earlier_instances_told_is_hunted_too(known):
    now = Dataset()
    now.PatientName = "Anonymous"
    both = Known.of(known).added_to(collect(now))
    assert clean("knee of Mueller", both) == "knee of" and not collect(now).matches("Mueller")
