"""What text may stay: full matches of harmless words, read beyond doubt; everything else goes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.markers.text_boxes import with_stray_letters
from radanon_node.markers.text_judge import allow_list, judge_frame
from radanon_node.pipeline.types import Box, Detection, GrayFrame, Kind, Source, Verdict
from radanon_node.training.screens import harmless_text, identity_text

VIEW = np.zeros((400, 400), np.uint8)


class Reads:
    """A reader that answers what the test wants."""

    def __init__(self, *answers: tuple[str, float]) -> None:
        self.answers = answers

    def read(self, frame: GrayFrame, boxes: Sequence[Box]) -> list[tuple[str, float]]:
        return list(self.answers[:len(boxes)])


class Patient:
    def __init__(self, *names: str) -> None:
        self.names = names

    def matches(self, text: str) -> bool:
        return any(name in text.upper() for name in self.names)

    def certain(self, text: str) -> bool:
        return self.matches(text)


def box_for(text: str, x: int = 10, y: int = 10) -> Detection:
    return Detection(Box(x, y, x + 4 + 9 * len(text), y + 18), Kind.TEXT, 0.9, Source.TEXT_MODEL)


def verdict(text: str, confidence: float = 0.99, modality: str = "US", retain: Sequence[str] = (), patient: Patient | None = None) -> str:
    [region] = judge_frame(VIEW, [box_for(text)], reader=Reads((text, confidence)), modality=modality,
                           identifiers=patient or Patient(), retain=retain)
    return f"{region.verdict}:{region.why}"


@pytest.mark.parametrize(("text", "modality", "expected"), [
    ("TIs 0.6", "US", "keep:allowed_text"), ("Tls 0.6", "US", "keep:allowed_text"), ("MI 1.1", "US", "keep:allowed_text"),
    ("Gain 45%", "US", "keep:allowed_text"), ("FR 34Hz", "US", "keep:allowed_text"), ("12.5 cm", "US", "keep:allowed_text"),
    ("W 400", "CT", "keep:allowed_text"), ("TR 4500 ms", "MR", "keep:allowed_text"), ("LAO 30", "XA", "keep:allowed_text"),
    ("LAO 30", "RF", "keep:allowed_text"), ("LAO 30", "US", "redact:text"), ("10", "US", "keep:scale_tick"), ("67", "US", "redact:text"),
    ("+", "US", "keep:caliper"), ("X", "CT", "redact:text"),
    ("10", "CT", "redact:text"), ("12.03.1957", "US", "redact:text"), ("12:30", "US", "redact:text"), ("067Y", "US", "redact:text"),
    ("4471", "US", "redact:text"), ("R", "CT", "redact:text"), ("", "US", "redact:reading_unsure")])
def test_allow_lists(text: str, modality: str, expected: str) -> None:
    assert verdict(text, modality=modality) == expected


def test_the_letters_a_profile_retains_stay_when_they_stand_alone() -> None:
    assert verdict("R", modality="CT", retain=("L", "R")) == "keep:retained_word"
    first, second = box_for("R"), box_for("DOE", 40)
    regions = judge_frame(VIEW, [first, second], reader=Reads(("R", 0.99), ("DOE", 0.99)), modality="CT", identifiers=Patient(),
                          retain=("R",))
    assert [region.why for region in regions] == ["not_isolated", "text"]


def test_doubt_removes() -> None:
    assert verdict("TIs 0.6", confidence=0.85) == "redact:reading_unsure"
    assert verdict("10", patient=Patient("10")) == "redact:identifier"
    assert verdict("12.5 cm", patient=Patient("12.5")) == "redact:identifier"
    [region] = judge_frame(VIEW, [box_for("12.5 cm")], reader=Reads(("12.5 cm", 0.99)), modality="US", identifiers=None)
    assert region.verdict is Verdict.REDACT
    [region] = judge_frame(VIEW, [box_for("12.5 cm")], reader=None, modality="US", identifiers=Patient())
    assert region.verdict is Verdict.REDACT


def test_a_speck_far_from_all_text_stays_and_beside_text_it_goes() -> None:
    speck, near, far = (Detection(Box(x, 200, x + 13, 211), Kind.TEXT, 0.5, Source.TEXT_MODEL) for x in (100, 150, 350))
    beside = Detection(Box(100, 240, 160, 258), Kind.TEXT, 0.9, Source.TEXT_MODEL)

    def whys(detections: Sequence[Detection], *readings: tuple[str, float]) -> list[str]:
        return [region.why for region in judge_frame(VIEW, detections, reader=Reads(*readings), modality="US", identifiers=Patient())]

    assert whys([speck], ("L", 0.8)) == whys([speck], ("", 0.0)) == ["lone_mark"]
    assert whys([speck, far], ("L", 0.8), ("", 0.0)) == ["lone_mark", "lone_mark"]
    assert whys([speck, near], ("L", 0.8), ("", 0.0)) == ["reading_unsure", "reading_unsure"]
    assert whys([speck, beside], ("L", 0.8), ("DOE", 0.9)) == ["reading_unsure", "text"]
    assert whys([speck], ("L", 0.95)) == ["text"] and whys([speck], ("LI", 0.5)) == ["reading_unsure"]
    assert whys([box_for("DOE")], ("", 0.0)) == ["reading_unsure"]


def test_a_box_wider_than_its_reading_hides_more_than_was_read() -> None:
    wide = Detection(Box(10, 10, 110, 28), Kind.TEXT, 0.9, Source.TEXT_MODEL)
    [region] = judge_frame(VIEW, [wide], reader=Reads(("Gen", 0.99)), modality="US", identifiers=Patient())
    assert region.why == "reading_unsure"


def test_long_lines_are_not_even_read() -> None:
    class Never:
        def read(self, frame: GrayFrame, boxes: Sequence[Box]) -> list[tuple[str, float]]:
            raise AssertionError

    line = Detection(Box(0, 0, 399, 20), Kind.TEXT, 0.9, Source.TEXT_MODEL)
    assert judge_frame(VIEW, [line], reader=Never(), modality="US", identifiers=Patient())[0].why == "text"


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 10**6), modality=st.sampled_from(["US", "CT", "MR", "XA", "RF", "ES", "NM", "PT", "OT", "SC", "XC", ""]))
def test_no_made_up_identity_is_on_any_allow_list_and_harmless_words_are(seed: int, modality: str) -> None:
    rng = np.random.default_rng(seed)
    text = identity_text(rng)
    assert not allow_list(modality).allows(text), text
    assert allow_list(modality).allows(harmless_text(modality, rng))


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=14), confidence=st.floats(0, 1, allow_subnormal=False), modality=st.sampled_from(["US", "CT", "XA", ""]))
def test_any_reading_gets_one_verdict_and_its_text_is_nowhere_in_it(text: str, confidence: float, modality: str) -> None:
    [region] = judge_frame(VIEW, [box_for("12345")], reader=Reads((text, confidence)), modality=modality, identifiers=Patient("A", "1"))
    assert region.why in {"text", "identifier", "reading_unsure", "allowed_text", "scale_tick", "caliper", "not_isolated",
                          "retained_word", "lone_mark"}
    if region.verdict is Verdict.KEEP:
        assert confidence >= 0.88 and "1" not in text and not any(month in text for month in ("/", ":"))


@settings(max_examples=200, deadline=None)
@given(day=st.integers(1, 31), month=st.integers(1, 12), year=st.integers(1900, 2030), joint=st.sampled_from([".", "/", "-", " ", ""]),
       modality=st.sampled_from(["US", "CT", "MR", "XA", "PT", ""]))
def test_no_date_is_ever_harmless(day: int, month: int, year: int, joint: str, modality: str) -> None:
    listed = allow_list(modality)
    for parts in ((f"{day:02d}", f"{month:02d}", str(year)), (str(year), f"{month:02d}", f"{day:02d}")):
        assert not listed.allows(joint.join(parts)) and not listed.is_tick(joint.join(parts))


def test_a_box_to_be_blacked_out_is_drawn_over_an_initial_beside_it_and_not_over_what_stays() -> None:
    view = np.zeros((60, 400), np.uint8)
    view[20:40, 100:200:4] = 200  # a line of strokes
    view[20:40, 216:226:3] = 200  # an initial, set apart
    line, beside = (Detection(Box(98, 18, 202, 42), Kind.TEXT, 0.9, Source.TEXT_MODEL),
                    Detection(Box(214, 18, 228, 42), Kind.TEXT, 0.9, Source.TEXT_MODEL))
    [alone] = judge_frame(view, [line], reader=None, modality="US", identifiers=None)
    assert alone.box.x1 >= 226 and alone.box.x0 == 98
    both = judge_frame(view, [line, beside], reader=Reads(("DOE", 0.9), ("2D", 0.99)), modality="US", identifiers=Patient("DOE"))
    assert [region.verdict for region in both] == [Verdict.REDACT, Verdict.KEEP]
    assert both[0].box.x1 <= 214


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), x0=st.integers(0, 90), y0=st.integers(0, 90), width=st.integers(1, 60), height=st.integers(1, 60))
def test_a_drawn_out_box_holds_the_box_and_lies_in_the_frame(seed: int, x0: int, y0: int, width: int, height: int) -> None:
    frame = np.random.default_rng(seed).choice(np.array([0, 0, 0, 255], np.uint8), (100, 100))
    box = Box(x0, y0, min(x0 + width, 100), min(y0 + height, 100))
    drawn = with_stray_letters(frame, box, [Box(40, 40, 60, 60)])
    assert drawn.intersection(box) == box and drawn.clipped(100, 100) == drawn


def test_a_box_that_runs_into_blacked_out_text_is_a_part_of_it_whatever_it_reads_as() -> None:
    """`Acc 15603`, cut in two by a detector, must not leave a harmless `C 15603` behind."""
    first, second = Detection(Box(10, 10, 160, 50), Kind.TEXT, 0.9, Source.TEXT_MODEL), Detection(
        Box(60, 10, 185, 50), Kind.TEXT, 0.9, Source.TEXT_MODEL)
    regions = judge_frame(VIEW, [first, second], reader=Reads(("Acc 1560", 0.99), ("C 1603", 0.99)), modality="SC", identifiers=Patient())
    assert [str(region.verdict) for region in regions] == ["redact", "redact"] and regions[1].why == "not_isolated"


class ReadsByWidth:
    def __init__(self, answers: dict[int, str]) -> None:
        self.answers = answers

    def read(self, frame: GrayFrame, boxes: Sequence[Box]) -> list[tuple[str, float]]:
        return [(self.answers[box.width], 0.99) for box in boxes]


@pytest.mark.parametrize(("whole", "names", "verdicts"), [
    ("10 mm", (), ["keep", "keep"]), ("10 mrn", (), ["redact", "redact"]), ("10 mm", ("10",), ["redact", "redact"])])
def test_a_harmless_word_that_wide_spacing_takes_apart_is_read_together(whole: str, names: tuple[str, ...], verdicts: list[str]) -> None:
    number, unit = (Detection(Box(x, 10, x + width, 34), Kind.TEXT, 0.9, Source.TEXT_MODEL) for x, width in ((10, 31), (60, 33)))
    reader = ReadsByWidth({31: "10", 33: "mm", 83: whole})
    regions = judge_frame(VIEW, [number, unit], reader=reader, modality="CT", identifiers=Patient(*names))
    assert [str(region.verdict) for region in regions] == verdicts


@pytest.mark.parametrize(("beside", "expected"), [("House", "redact"), ("54 dB", "keep")])
def test_a_bare_word_beside_text_that_goes_is_a_part_of_it(beside: str, expected: str) -> None:
    first, second = box_for("Dr"), box_for(beside, 50)
    regions = judge_frame(VIEW, [first, second], reader=Reads(("Dr", 0.99), (beside, 0.99)), modality="US", identifiers=Patient())
    assert str(regions[0].verdict) == expected
    apart = judge_frame(VIEW, [first, box_for(beside, 200)], reader=Reads(("Dr", 0.99), (beside, 0.99)), modality="US",
                        identifiers=Patient())
    assert str(apart[0].verdict) == "keep"
