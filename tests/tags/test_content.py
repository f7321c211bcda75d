"""Structured reports and presentation states: taken out by the Basic Profile, cleaned under their options, valid either way."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

SR, GSPS, DX = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.11.1", "1.2.840.10008.5.1.4.1.1.1.1"


def code(value: str, scheme: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def node(value_type: str, concept: tuple[str, str, str], *children: Dataset, **values: Any) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.ConceptNameCodeSequence = "CONTAINS", value_type, code(*concept)
    for keyword, value in values.items():
        setattr(item, keyword, value)
    if children:
        item.ContentSequence = Sequence(children)
    return item


def number(value: str, unit: str) -> Sequence:
    item = Dataset()
    item.NumericValue, item.MeasurementUnitsCodeSequence = value, code(unit, "UCUM", unit)
    return Sequence([item])


@pytest.fixture
def report(new_dataset):
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.5.77"
    return new_dataset(
        SR, Modality="SR", ValueType="CONTAINER", ContinuityOfContent="SEPARATE", ConceptNameCodeSequence=code("126000", "DCM", "Report"),
        ContentDate="20240305", ContentTime="101112", CompletionFlag="COMPLETE", VerificationFlag="UNVERIFIED",
        ContentSequence=Sequence([
            node("PNAME", ("121008", "DCM", "Person Observer Name"), PersonName="Nwosu^Ada"),
            node("TEXT", ("121022", "DCM", "Accession Number"), TextValue="ACC-99881"),
            node("TEXT", ("121071", "DCM", "Finding"), TextValue="Nodule in Oyelaran, 4 mm, right upper lobe"),
            node("TEXT", ("99", "99LOCAL", "Local"), TextValue="seen by Dr. Ada Nwosu, stable"),
            node("DATE", ("121031", "DCM", "Subject Birth Date"), Date="19330405"),
            node("DATETIME", ("113809", "DCM", "Start of X-Ray Irradiation"), DateTime="20240305101112"),
            node("UIDREF", ("113769", "DCM", "Irradiation Event UID"), UID="1.2.3.4.5.99"),
            node("NUM", ("121033", "DCM", "Subject Age"), MeasuredValueSequence=number("96", "a")),
            node("NUM", ("113830", "DCM", "Mean CTDIvol"), MeasuredValueSequence=number("7.5", "mGy")),
            node("CONTAINER", ("113819", "DCM", "CT Acquisition"),
                 node("IMAGE", ("121233", "DCM", "Source image for segmentation"), ReferencedSOPSequence=Sequence([image])),
                 node("PNAME", ("1", "99LOCAL", "Reader"), PersonName="Reader^Secret"), ContinuityOfContent="SEPARATE"),
        ]),
    )  # fmt: skip


def items(dataset: Dataset) -> dict[str, Dataset]:
    found: dict[str, Dataset] = {}
    for item in dataset.get("ContentSequence", ()):
        found[item.ConceptNameCodeSequence[0].CodeValue] = item
        found.update(items(item))
    return found


def test_the_basic_profile_leaves_a_valid_dummy(report, run):
    cleaned = run(report)
    (item,) = cleaned.after.ContentSequence
    assert (item.ValueType, item.TextValue, item.RelationshipType) == ("TEXT", "ANONYMIZED", "CONTAINS")
    for secret in (b"Nodule", b"Nwosu", b"Secret", b"99881", b"19330405"):
        assert secret not in cleaned.data


def test_clean_structured_content_keeps_the_tree(report, run, make_scrubber):
    cleaned = run(report, make_scrubber("clean_structured_content", "clean_descriptors", "retain_patient_characteristics"))
    found = items(cleaned.after)
    assert found["121008"].PersonName == "Anonymized" and found["1"].PersonName == "Anonymized"
    assert "121022" not in found and "121031" not in found
    assert found["121071"].TextValue == "Nodule in 4 mm, right upper lobe"
    assert found["99"].TextValue == "seen by stable"
    assert found["113809"].DateTime == "19000101000000"
    assert found["113769"].UID.startswith("2.25.")
    assert found["121033"].MeasuredValueSequence[0].NumericValue == 90
    assert found["113830"].MeasuredValueSequence[0].NumericValue == 7.5
    reference = found["121233"].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == cleaned_uid(make_scrubber, "1.2.3.4.5.77")
    assert cleaned.findings == []


def cleaned_uid(make_scrubber, original: str) -> str:
    return make_scrubber().pseudonyms.uid(original)


def test_without_clean_descriptors_text_that_the_table_removes_goes(report, run, make_scrubber):
    found = items(run(report, make_scrubber("clean_structured_content")).after)
    assert found["121071"].TextValue == "ANONYMIZED" and "121033" not in found


def test_dates_and_uids_follow_their_options(report, run, make_scrubber):
    scrubber = make_scrubber("clean_structured_content", "retain_longitudinal_full_dates", "retain_uids")
    found = items(run(report, scrubber).after)
    assert found["113809"].DateTime == "20240305101112" and found["113769"].UID == "1.2.3.4.5.99"
    moved = items(run(report, make_scrubber("clean_structured_content", "retain_longitudinal_modified_dates")).after)
    assert moved["113809"].DateTime[8:] == "101112" and moved["113809"].DateTime[:8] not in ("20240305", "19000101")


def test_references_by_position_stay_true(report, run, make_scrubber):
    reference = Dataset()
    reference.RelationshipType, reference.ReferencedContentItemIdentifier = "INFERRED FROM", [1, 9]
    report.ContentSequence[2].ContentSequence = Sequence([reference])
    after = run(report, make_scrubber("clean_structured_content")).after
    assert len(after.ContentSequence) == len(report.ContentSequence)
    assert after.ContentSequence[1].TextValue == "ANONYMIZED"


def test_acquisition_context_is_empty_where_type_2(new_dataset, run, make_scrubber):
    before = new_dataset(
        DX, Modality="DX", AcquisitionContextSequence=Sequence([node("TEXT", ("1", "99", "Who"), TextValue="by Oyelaran")])
    )
    assert len(run(before).after.AcquisitionContextSequence) == 0
    (item,) = run(before, make_scrubber("clean_structured_content")).after.AcquisitionContextSequence
    assert item.TextValue == "by"


@pytest.fixture
def state(new_dataset):
    text = Dataset()
    text.UnformattedTextValue, text.AnchorPoint, text.AnchorPointAnnotationUnits = "Oyelaran nodule", [1.0, 2.0], "PIXEL"
    text.AnchorPointVisibility = "N"
    annotation = Dataset()
    annotation.GraphicLayer, annotation.TextObjectSequence = "NOTES", Sequence([text])
    return new_dataset(GSPS, Modality="PR", GraphicAnnotationSequence=Sequence([annotation]), ContentCreatorName="Nwosu^Ada")


def test_graphics_are_taken_out_or_cleaned(state, run, make_scrubber):
    basic = run(state).after.GraphicAnnotationSequence[0]
    assert basic.GraphicLayer == "NOTES" and "TextObjectSequence" not in basic and basic.GraphicObjectSequence[0].GraphicType == "POINT"
    cleaned = run(state, make_scrubber("clean_graphics", "clean_descriptors")).after.GraphicAnnotationSequence[0]
    assert cleaned.TextObjectSequence[0].UnformattedTextValue == "nodule"
    assert (
        run(state, make_scrubber("clean_graphics")).after.GraphicAnnotationSequence[0].TextObjectSequence[0].UnformattedTextValue
        == "ANONYMIZED"
    )
