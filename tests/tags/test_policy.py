"""Site rules, precedence, and what the output says was done."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radanon_node.errors import ConfigError, HoldInstance, Reason
from radanon_node.tags.engine import PixelFacts
from radanon_node.tags.policy import Action, by_type

PDF = "1.2.840.10008.5.1.4.1.1.104.1"


def step(**values: str) -> Sequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def test_the_most_specific_rule_wins(new_dataset, run, make_scrubber):
    dataset = new_dataset(
        StudyDescription="Study seven", SeriesDescription="Series seven", Manufacturer="ACME",
        RequestAttributesSequence=step(ScheduledProcedureStepID="STEP-1", RequestedProcedureID="REQ-1"),
    )  # fmt: skip
    scrubber = make_scrubber(
        retain=("StudyDescription", "(0008,103E)", "RequestAttributesSequence", "RequestAttributesSequence/ScheduledProcedureStepID"),
        remove=("ScheduledProcedureStepID", "Manufacturer"), replace={"SeriesDescription": "series"},
    )  # fmt: skip
    cleaned = run(dataset, scrubber)
    after = cleaned.after
    assert after.StudyDescription == "Study seven" and after.SeriesDescription == "series" and "Manufacturer" not in after
    assert after.RequestAttributesSequence[0].ScheduledProcedureStepID == "STEP-1"
    assert "RequestedProcedureID" not in after.RequestAttributesSequence[0]
    assert cleaned.findings == []  # what the site keeps is not taken for a leak


@pytest.mark.parametrize(
    "settings",
    [
        {"retain": ("PatientsName",)}, {"remove": ("(0009,0010)",)}, {"retain": ("(12,34)x",)}, {"replace": {"Rows": "7"}},
        {"replace": {"StudyDate": "a\nb"}}, {"retain": ("RequestAttributesSequence/Nothing",)},
    ],
)  # fmt: skip
def test_rules_that_cannot_be_understood_are_refused(make_scrubber, settings):
    with pytest.raises(ConfigError):
        make_scrubber(**settings)


def test_codes_say_exactly_what_was_applied(new_dataset, run, make_scrubber):
    def codes(facts: PixelFacts, *options: str) -> list[str]:
        after = run(new_dataset(BurnedInAnnotation="YES"), make_scrubber(*options), facts=facts).after
        assert after.PatientIdentityRemoved == "YES"
        assert after.BurnedInAnnotation == ("NO" if "clean_pixel_data" in options and facts.looked else "YES")
        assert after.get("RecognizableVisualFeatures") == ("NO" if facts.visual_features_cleaned else None)
        return [item.CodeValue for item in after.DeidentificationMethodCodeSequence]

    looked, blind = PixelFacts(True, True, True), PixelFacts(True, False, False)
    assert codes(blind) == ["113100"]
    assert codes(blind, "clean_pixel_data", "clean_recognizable_visual_features") == ["113100"]
    assert codes(looked, "clean_pixel_data", "clean_descriptors") == ["113100", "113101", "113105"]
    seen = PixelFacts(True, True, True, visual_features_cleaned=True)
    assert codes(seen, "clean_recognizable_visual_features", "retain_uids") == ["113100", "113102", "113110"]


def test_older_claims_are_replaced(new_dataset, run):
    before = new_dataset(DeidentificationMethod="by hand of Oyelaran", LongitudinalTemporalInformationModified="UNMODIFIED")
    after = run(before).after
    assert "hand" not in str(after.DeidentificationMethod) and after.LongitudinalTemporalInformationModified == "REMOVED"


def test_ages_and_characteristics(new_dataset, run, make_scrubber):
    before = new_dataset(PatientAge="097Y", PatientSex="F", PatientWeight="70", Allergies="nuts, says Oyelaran")
    after = run(before, make_scrubber("retain_patient_characteristics")).after
    assert (after.PatientAge, after.PatientSex, after.PatientWeight, after.Allergies) == ("090Y", "F", 70, "nuts, says")


def test_documents_are_held_or_replaced(new_dataset, run, make_scrubber):
    before = new_dataset(PDF, Modality="DOC", EncapsulatedDocument=b"%PDF Oyelaran", MIMETypeOfEncapsulatedDocument="application/pdf")
    before.EncapsulatedDocumentLength = 13
    with pytest.raises(HoldInstance) as held:
        run(before)
    assert held.value.reason is Reason.ENCAPSULATED_DOCUMENT
    after = run(before, make_scrubber(encapsulated_documents="replace")).after
    assert after.EncapsulatedDocument.startswith(b"%PDF-1.4") and b"Oyelaran" not in after.EncapsulatedDocument
    assert len(after.EncapsulatedDocument) == after.EncapsulatedDocumentLength


def test_unknown_classes_are_held(new_dataset, run):
    with pytest.raises(HoldInstance) as held:
        run(new_dataset("1.2.3.4.5.6.7.8"))
    assert held.value.reason is Reason.UNKNOWN_SOP_CLASS
    assert run(new_dataset("1.2.840.10008.5.1.4.1.1.6")).after.SOPClassUID == "1.2.840.10008.5.1.4.1.1.6"  # retired US Image


def test_resolution_of_compound_codes():
    table = {
        "X/Z": ("X", "Z", "D"), "X/D": ("X", "D", "D"), "X/Z/D": ("X", "Z", "D"), "Z/D": ("Z", "Z", "D"), "X/Z/U*": ("X", "Z", "U"),
    }  # fmt: skip
    for code, actions in table.items():
        for kinds, action in zip(((None, "3"), ("2", "2C"), ("1", "1C")), actions, strict=True):
            assert {by_type(code, kind, is_sequence=code.endswith("*")) for kind in kinds} == {Action(action)}, code


def test_a_missing_patient_id_is_added(new_dataset, run):
    dataset = new_dataset()
    del dataset.PatientID
    assert run(dataset).after.PatientID.startswith("ANON-")
