"""The modality table: every storage SOP class has a row, the most specific rule wins, doubt is looked at or held."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.policy import PixelPlan, plan, policy_table
from radanon_node.settings_profile import PixelSettings

CT = "1.2.840.10008.5.1.4.1.1.2"
CR = "1.2.840.10008.5.1.4.1.1.1"
US = "1.2.840.10008.5.1.4.1.1.6.1"
SC = "1.2.840.10008.5.1.4.1.1.7"
SR = "1.2.840.10008.5.1.4.1.1.88.11"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"
VIDEO = "1.2.840.10008.5.1.4.1.1.77.1.4.1"


def axial(**changes: object) -> Dataset:
    dataset = Dataset()
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SamplesPerPixel, dataset.BitsStored = 1, 12
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def test_every_storage_sop_class_of_the_dictionary_has_a_row() -> None:
    rows = policy_table().sop_classes
    services = {"1.2.840.10008.1.3.10", "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.2"}  # directory and commitment: no composite objects
    missing = [entry[0] for uid, entry in UID_dictionary.items()
               if entry[1] == "SOP Class" and "Storage" in entry[0] and uid not in rows and uid not in services]
    assert missing == []


@pytest.mark.parametrize(("uid", "markers", "text"), [
    (CR, True, True), ("1.2.840.10008.5.1.4.1.1.1.1.1", True, True), ("1.2.840.10008.5.1.4.1.1.1.2", True, True),
    (US, False, True), ("1.2.840.10008.5.1.4.1.1.12.1", False, True), (SC, False, True), ("1.2.840.10008.5.1.4.1.1.77.1.4", False, True),
    ("1.2.840.10008.5.1.4.1.1.128", False, True), ("1.2.840.10008.5.1.4.1.1.481.1", True, True)])
def test_the_table_decides_by_sop_class(uid: str, markers: bool, text: bool) -> None:
    decided = plan(Dataset(), uid, PixelSettings(), 3)
    assert (decided.markers, decided.text, decided.frames) == (markers, text, None)
    assert decided.rule.startswith("table.")


def test_an_original_axial_slice_is_passed_without_a_look() -> None:
    assert plan(axial(), CT, PixelSettings(), 1) == PixelPlan(False, False, (), "table.slices.original")


@pytest.mark.parametrize("change", [
    {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}, {"ImageType": ["ORIGINAL", "SECONDARY", "AXIAL"]},
    {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "SCREEN SAVE"]}, {"ImageType": None},
    {"ImageType": ["ORIGINAL"]}, {"SamplesPerPixel": 3}, {"SamplesPerPixel": None}, {"BitsStored": 8}, {"BitsStored": None},
    {"ConversionType": "WSD"}, {"ImageOrientationPatient": None}, {"BurnedInAnnotation": "YES"}])
def test_every_doubt_about_a_slice_makes_the_text_detector_look(change: dict[str, object]) -> None:
    decided = plan(axial(**change), CT, PixelSettings(), 1)
    assert decided.text and decided.frames is None


def test_burned_in_annotation_no_is_not_believed() -> None:
    dataset = Dataset()
    dataset.BurnedInAnnotation = "NO"
    assert plan(dataset, US, PixelSettings(), 1).text
    assert plan(dataset, CR, PixelSettings(), 1) == PixelPlan(True, True, None, "table.radiograph")


def test_burned_in_annotation_yes_adds_the_text_detector_even_where_the_profile_looks_less() -> None:
    dataset = Dataset()
    dataset.BurnedInAnnotation = "YES"
    assert plan(axial(BurnedInAnnotation="YES"), CT, PixelSettings(), 1).rule == "table.slices.original+burned_in_annotation"
    assert plan(dataset, CR, PixelSettings(detect="markers"), 1) == PixelPlan(True, True, None, "profile.detect+burned_in_annotation")
    assert plan(dataset, CR, PixelSettings(detect="off"), 1).text


def test_a_scanned_film_is_looked_at_by_both_detectors() -> None:
    dataset = Dataset()
    dataset.Modality = "CR"
    decided = plan(dataset, SC, PixelSettings(), 1)
    assert decided.markers and decided.text


@pytest.mark.parametrize(("uid", "reason"), [
    (PDF, Reason.ENCAPSULATED_DOCUMENT), (VIDEO, Reason.VIDEO), ("1.2.840.10008.5.1.4.1.1.66", Reason.POLICY_HOLD),
    ("1.2.840.10008.5.1.4.1.1.9.4.1", Reason.POLICY_HOLD), ("1.3.46.670589.2.5.1.1", Reason.UNKNOWN_SOP_CLASS)])
@pytest.mark.parametrize("detect", ["auto", "off", "both"])
def test_what_no_rule_can_clean_is_held(uid: str, reason: Reason, detect: str) -> None:
    with pytest.raises(HoldInstance) as held:
        plan(Dataset(), uid, PixelSettings.model_validate({"detect": detect}), 1)
    assert held.value.reason is reason


def test_structured_reports_need_no_look_but_may_not_carry_pixels() -> None:
    assert plan(Dataset(), SR, PixelSettings(), 0) == PixelPlan(False, False, (), "table.tags_only")
    with pytest.raises(HoldInstance) as held:
        plan(Dataset(), SR, PixelSettings(), 1)
    assert held.value.reason is Reason.POLICY_HOLD


def test_the_most_specific_override_wins() -> None:
    dataset = axial(Modality="XC")
    by_modality = PixelSettings(sop_classes={"XC": "hold"})
    with pytest.raises(HoldInstance):
        plan(dataset, CT, by_modality, 1)
    both = PixelSettings(sop_classes={"XC": "hold", CT: "both"}, detect="off")
    assert plan(dataset, CT, both, 1) == PixelPlan(True, True, None, "profile.sop_class")
    private = "1.3.46.670589.2.5.1.1"
    assert plan(Dataset(), private, PixelSettings(sop_classes={private: "text"}), 1).text


def test_video_passes_unseen_only_when_the_profile_says_so() -> None:
    assert plan(Dataset(), VIDEO, PixelSettings(unknown="pass"), 1).rule == "profile.unknown_pass"


@settings(max_examples=150, deadline=None)
@given(uid=st.sampled_from(sorted(policy_table().sop_classes)), burned=st.sampled_from(["", "YES", "NO", "MAYBE"]),
       detect=st.sampled_from(["auto", "markers", "text", "both", "off"]), frames=st.integers(0, 200),
       image_type=st.lists(st.sampled_from(["ORIGINAL", "PRIMARY", "DERIVED", "", "AXIAL"]), max_size=4))
def test_a_plan_or_a_hold_and_all_frames_wherever_a_detector_looks(uid: str, burned: str, detect: str, frames: int,
                                                                   image_type: list[str]) -> None:
    dataset = Dataset()
    dataset.BurnedInAnnotation, dataset.ImageType = burned, image_type
    try:
        decided = plan(dataset, uid, PixelSettings.model_validate({"detect": detect}), frames)
    except HoldInstance:
        return
    assert decided.frames == (None if decided.looks else ())
    assert decided.looks <= (frames > 0)
    if burned == "YES" and frames:
        assert decided.text


def test_the_documentation_names_every_family_with_its_reason() -> None:
    text = (Path(__file__).parents[2] / "docs" / "modalities.md").read_text("utf-8")
    for name, family in policy_table().families.items():
        row = next((line for line in text.splitlines() if line.startswith(f"| `{name}`")), "")
        assert row, name
        if family.look == "hold":
            assert f"`{family.reason}`" in row, name
