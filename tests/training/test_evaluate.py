"""The figures mean what they say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radanon_node.pipeline.types import Box, Detection, Kind, Region, Source, Verdict
from radanon_node.training.evaluate import Montage, Subject, calibrate, drawn_subjects, evaluate
from radanon_node.training.measure import average_precision, ink_of, ranked_matches, redacted, whole, wilson
from radanon_node.training.synth.film import Item
from radanon_node.training.synth.markers import CLASSES


class _Oracle:
    """Stands where a detector stands: knows the labels, and what it is told to get wrong."""

    def __init__(self, subjects: Sequence[Subject], missing: int = 0, false: Box | None = None) -> None:
        self._subjects, self._missing, self._false = subjects, missing, false
        self.thresholds = dict.fromkeys(CLASSES, 0.1)

    def detect(self, frames: Sequence[np.ndarray], min_confidence: float | None = None) -> list[list[Detection]]:
        (subject,) = [s for s in self._subjects if s.image is frames[0]]
        boxes = [(whole(i), Kind(CLASSES[i.label])) for i in subject.items if i.label >= 0][self._missing :]
        if self._false is not None:
            boxes.append((self._false, Kind.TEXT))
        return [[Detection(box.clipped(*subject.image.shape), kind, 0.9, Source.MARKER_MODEL) for box, kind in boxes]]


@pytest.fixture(scope="module")
def subjects() -> list[Subject]:
    return list(drawn_subjects(4, 3, ((256, 256),)))


def test_a_detector_that_knows_all_scores_all(subjects: list[Subject]) -> None:
    report = evaluate(_Oracle(subjects), subjects, retain=None)  # type: ignore[arg-type]
    assert report.items()
    assert all(i.found and i.gone and not i.kept for i in report.items())
    assert report.false_boxes == 0
    assert report.ap == pytest.approx(1)
    assert "| markers found | 100.0% |" in report.table()


def test_misses_and_false_boxes_are_counted_and_pictured(subjects: list[Subject], tmp_path: Path) -> None:
    empty = Subject("empty", np.full((256, 256), 90, np.uint8), (), ())
    several = [*subjects, empty]
    montage = Montage(tmp_path)
    report = evaluate(_Oracle(several, 1, Box(100, 100, 120, 118)), several, retain=None, on_film=montage)  # type: ignore[arg-type]
    assert sum(not i.found for i in report.items()) >= 1
    assert 1 <= report.false_boxes <= len(several)
    assert any(p.name == "false.png" and p.stat().st_size for p in montage.write())
    assert report.ap < 1


def test_a_side_letter_that_is_not_retained_counts_as_text() -> None:
    film = np.full((200, 200), 60, np.uint8)
    for x in (20, 120):
        film[40:80, x : x + 30] = 220
    items = (Item(20, 40, 50, 80, 0, "L"), Item(120, 40, 150, 80, 0, "P"))
    subject = Subject("two", film, items, ("side_letter", "side_letter"))
    report = evaluate(_Oracle([subject]), [subject], retain=("L", "R"))  # type: ignore[arg-type]
    assert [i.kind for i in report.items()] == ["side_letter", "other_letter"]
    assert len(report.items("other_letter")) == 1 and report.items("other_letter")[0].gone
    local = evaluate(_Oracle([subject]), [subject], retain=("L", "P"))  # type: ignore[arg-type]
    assert [i.kind for i in local.items()] == ["side_letter", "side_letter"]


def test_drawn_side_letters_say_what_they_are() -> None:
    letters = [i.letter for s in drawn_subjects(12, 5, ((512, 512),)) for i, kind in zip(s.items, s.kinds) if kind == "side_letter"]
    assert letters and all(len(letter) == 1 for letter in letters)
    assert {"L", "R"} <= set(letters)


def test_calibration_keeps_a_floor_below_what_is_right(subjects: list[Subject]) -> None:
    floor, curve = calibrate(_Oracle(subjects), subjects)  # type: ignore[arg-type]
    assert 0 < floor < 0.9
    assert all(missed == 0 and false == 0 for _, missed, false in curve)


@given(st.integers(0, 500), st.integers(0, 500))
def test_wilson_intervals_hold_the_share(hits: int, more: int) -> None:
    low, high = wilson(hits, hits + more)
    assert 0 <= low <= high <= 1
    if hits + more:
        assert low - 1e-9 <= hits / (hits + more) <= high + 1e-9


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=30), st.integers(1, 40))
def test_average_precision_lies_between_nothing_and_recall(ranked: list[tuple[float, bool]], extra: int) -> None:
    hits = sum(tp for _, tp in ranked)
    value = average_precision(ranked, hits + extra)
    assert 0 <= value <= hits / (hits + extra) + 1e-9


def test_average_precision_of_a_known_case() -> None:
    """Right, wrong, right of two: 0.5 x 1 + 0.5 x 2/3."""
    assert average_precision([(0.9, True), (0.8, False), (0.7, True)], 2) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_doubtful_items_count_neither_way() -> None:
    detections = [Detection(Box(0, 0, 10, 10), Kind.TEXT, 0.9, Source.MARKER_MODEL)]
    assert ranked_matches(detections, [Item(0, 0, 10, 10, -1)]) == []
    assert ranked_matches(detections, [Item(0, 0, 10, 10, 1)]) == [(0.9, True)]
    assert ranked_matches(detections, []) == [(0.9, False)]


def test_ink_is_what_stands_out() -> None:
    image = np.full((60, 60), 100, np.uint8)
    image[20:40, 25:30] = 220
    ink = ink_of(image, Item(20, 18, 40, 42, 0))
    assert ink.sum() == 100
    assert ink[2:22, 5:10].all()


def test_only_masked_pixels_of_redacted_regions_go() -> None:
    mask = np.zeros((4, 4), bool)
    mask[0] = True
    one = Region(Box(2, 2, 6, 6), Verdict.REDACT, Kind.TEXT, 1, Source.MARKER_MODEL, mask=mask)
    kept = Region(Box(0, 0, 2, 2), Verdict.KEEP, Kind.SIDE_LETTER, 1, Source.MARKER_MODEL)
    gone = redacted((5, 5), [one, kept])
    assert gone.sum() == 3
    assert gone[2, 2:5].all()


def test_what_the_whole_node_leaves_is_what_counts(subjects: list[Subject]) -> None:
    """The detector finds all, but the core leaves everything on one film and holds another."""

    def core(image: np.ndarray) -> np.ndarray | None:
        return None if image is subjects[0].image else np.zeros(image.shape, bool)

    report = evaluate(_Oracle(subjects), subjects, core=core, retain=None)  # type: ignore[arg-type]
    assert (report.held, len(report.films)) == (1, len(subjects) - 1)
    assert all(i.found and not i.gone for i in report.items())
