"""The cleaning core on whole instances: one bad one costs itself alone, and no result depends on its neighbours."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.errors import Reason
from radanon_node.pipeline import clean as core
from radanon_node.pipeline.clean import clean_batch
from radanon_node.pipeline.explain import explain
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.tools import Policy, Tools
from radanon_node.pipeline.types import Box, Detection, GrayFrame, Kind, Quarantined, Received, Source
from radanon_node.settings_profile import PixelSettings, ProfileSettings, TagSettings
from radanon_node.training.films_dicom import dx_dataset, encoded, invent
from tests.integration.harness import assert_clean, ct, film

PERSON = invent(np.random.default_rng(5))
OPTIONS = ("clean_pixel_data", "retain_longitudinal_modified_dates")


class Finds:
    """A marker detector that finds a text in the corner of every frame; stands in for weights, so that the test does not depend on them."""

    model_hash = "0" * 64

    def __init__(self, fail_on: int | None = None) -> None:
        self.fail_on = fail_on
        self.calls: list[int] = []

    def detect(self, frames: Sequence[GrayFrame], min_confidence: float | None = None) -> list[list[Detection]]:
        self.calls.append(len(frames))
        if self.fail_on is not None and any(frame.shape[0] == self.fail_on for frame in frames):
            raise RuntimeError("CANARY in a library's message")
        return [[Detection(Box(10, 10, 40, 20), Kind.TEXT, 0.9, Source.MARKER_MODEL)] for _ in frames]


def tools(detector: Finds | None = None) -> Tools:
    made = Tools(bytes(range(32)))
    made._markers = detector or Finds()  # type: ignore[assignment]
    return made


def policy(**pixels: Any) -> Policy:
    return Policy("IN", "p", ProfileSettings(tags=TagSettings(options=OPTIONS), pixels=PixelSettings(**pixels)))


def run(data: Sequence[bytes], detector: Finds | None = None, rules: Policy | None = None, **claims: str) -> list[Released | Quarantined]:
    return clean_batch([Received(item, str(number), **claims) for number, item in enumerate(data)], rules or policy(), tools(detector))


def one(data: bytes, **options: Any) -> Released | Quarantined:
    (result,) = run([data], **options)
    return result


def plain_film(number: int = 1, **options: int) -> bytes:
    return encoded_again(film(PERSON, number, **options), BurnedInAnnotation="NO")


def encoded_again(data: bytes, **changes: Any) -> bytes:
    ds = pydicom.dcmread(io.BytesIO(data))
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


def test_a_slice_without_a_box_leaves_with_the_same_pixel_bytes() -> None:
    source = ct(PERSON, 1)
    result = one(source)
    assert isinstance(result, Released)
    before, after = pydicom.dcmread(io.BytesIO(source)), pydicom.dcmread(io.BytesIO(bytes(result.encoded)))
    assert before.PixelData == after.PixelData
    assert_clean(bytes(result.encoded), before)
    assert result.receipt["proof"]["identity_search"] == "clean"
    assert result.receipt["boxes"] == []


def test_a_box_is_black_and_nothing_else_changed() -> None:
    source = plain_film()
    result = one(source)
    assert isinstance(result, Released)
    before = pydicom.dcmread(io.BytesIO(source)).pixel_array
    ds = pydicom.dcmread(io.BytesIO(bytes(result.encoded)))
    changed = before != ds.pixel_array
    x0, y0, x1, y1 = result.receipt["boxes"][0]["box"]
    assert (x0, y0, x1, y1) == (7, 7, 43, 23)  # the margin of 3
    assert changed[y0:y1, x0:x1].all()
    assert changed.sum() == (x1 - x0) * (y1 - y0)
    assert ds.BurnedInAnnotation == "NO"
    assert "113101" in {item.CodeValue for item in ds.DeidentificationMethodCodeSequence}


def test_the_batch_makes_no_difference() -> None:
    data = [ct(PERSON, 1), plain_film(2), plain_film(3, rows=300, columns=200), b"garbage", ct(PERSON, 4)]
    together = run(data)
    alone = [one(item) for item in data]
    for left, right in zip(together, alone, strict=True):
        assert type(left) is type(right)
        if isinstance(left, Released) and isinstance(right, Released):
            assert bytes(left.encoded) == bytes(right.encoded)


def test_one_call_of_the_model_per_batch() -> None:
    detector = Finds()
    run([plain_film(1), ct(PERSON, 2), plain_film(3)], detector)
    assert len(detector.calls) == 1


def test_a_frame_that_breaks_the_model_costs_its_instance_alone() -> None:
    results = run([plain_film(1), plain_film(2, rows=300, columns=200), ct(PERSON, 3)], Finds(fail_on=300))
    assert [type(result) for result in results] == [Released, Quarantined, Released]
    held = results[1]
    assert isinstance(held, Quarantined)
    assert held.reason is Reason.INTERNAL_ERROR
    assert "CANARY" not in held.detail
    assert "RuntimeError" in held.detail


@pytest.mark.parametrize(
    "claims",
    [
        {"claimed_sop_class_uid": "1.2.840.10008.5.1.4.1.1.7"},
        {"claimed_sop_instance_uid": "1.2.3.4"},
        {"claimed_transfer_syntax_uid": "1.2.840.10008.1.2"},
    ],
)
def test_what_the_sender_claimed_must_be_so(claims: dict[str, str]) -> None:
    result = one(ct(PERSON, 1), **claims)
    assert isinstance(result, Quarantined)
    assert result.reason is Reason.UID_MISMATCH


def test_missing_weights_hold_films_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radanon_node.markers.weights._PACKAGED", (tmp_path / "none.onnx",))
    film_result, slice_result = clean_batch([Received(plain_film(), "1"), Received(ct(PERSON, 2), "2")], policy(), Tools(bytes(32)))
    assert isinstance(film_result, Quarantined)
    assert film_result.reason is Reason.MODEL_MISSING
    assert isinstance(slice_result, Released)


def test_a_page_of_text_is_held_and_a_reviewer_may_let_it_pass() -> None:
    rules = policy(max_text_share=0.001)
    data = plain_film()
    (held,) = clean_batch([Received(data, "1")], rules, tools())
    assert isinstance(held, Quarantined)
    assert held.reason is Reason.TOO_MUCH_TEXT
    (passed,) = clean_batch([Received(data, "1", waived="too_much_text")], rules, tools())
    assert isinstance(passed, Released)


def test_a_waiver_is_for_its_own_reason_only() -> None:
    (held,) = clean_batch([Received(plain_film(), "1", waived="identity_left")], policy(max_text_share=0.001), tools())
    assert isinstance(held, Quarantined)


def test_explain_says_what_clean_does_and_shows_no_value() -> None:
    source = plain_film()
    found = explain(Received(source, "x"), policy(), tools(), picture=True)
    result = one(source)
    assert isinstance(result, Released)
    assert found.boxes == result.receipt["boxes"]
    assert found.reason == ""
    assert found.picture is not None
    assert found.picture.startswith(b"\x89PNG")
    text = str(found.as_dict())
    for word in (PERSON.patient_id, *PERSON.name.split("^"), PERSON.accession, PERSON.study_date):
        assert word not in text
    fates = {item["keyword"]: item["fate"] for item in found.elements}
    assert fates["PatientName"] != "K"


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), place=st.integers(0, 3))
def test_no_identity_in_what_leaves(seed: int, place: int) -> None:
    person = invent(np.random.default_rng(seed))
    keyword = ("StudyDescription", "ImageComments", "PatientComments", "AdditionalPatientHistory")[place]
    source = encoded_again(ct(person, seed % 1000), **{keyword: f"seen {person.name.replace('^', ' ')} {person.patient_id}"})
    result = one(source)
    assert isinstance(result, Released)
    assert_clean(bytes(result.encoded), pydicom.dcmread(io.BytesIO(source)))


def test_every_way_out_is_one_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a stage raises, the instance is quarantined, never lost and never released."""

    def broken(*_: Any) -> Any:
        raise KeyError("CANARY")

    for stage in ("read_instance", "collect", "open_image", "encode_instance", "verify", "passthrough"):
        with monkeypatch.context() as patch:
            patch.setattr(core, stage, broken)
            result = one(ct(PERSON, 1))
            assert isinstance(result, Quarantined), stage
            assert result.reason is Reason.INTERNAL_ERROR
            assert "CANARY" not in result.detail


def test_monochrome1_is_filled_with_what_displays_black() -> None:
    picture = np.full((200, 200), 1000, np.uint16)
    source = encoded(dx_dataset(picture, 12, PERSON, 1, monochrome1=True, burned_in="NO"))
    result = one(source)
    assert isinstance(result, Released)
    after = pydicom.dcmread(io.BytesIO(bytes(result.encoded))).pixel_array
    assert after[12, 12] == 4095


def test_a_letter_that_contradicts_the_declared_side_is_flagged_in_the_receipt(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def judge(view: GrayFrame, detections: Any, retain: Any, identifiers: Any, laterality: str = "", *more: Any) -> list[Any]:
        asked.append(laterality)
        return []

    monkeypatch.setattr(core, "judge", judge)
    run([encoded_again(plain_film(), ImageLaterality="R")])
    assert asked == ["R"]
