"""A reviewer adds boxes and takes boxes of detectors back, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.pipeline.reviewed import edits_as_json, edits_from, reviewed
from radanon_node.pipeline.types import Box, Edit, Edits, Kind, Region, Source, Verdict


def region(box: tuple[int, int, int, int], source: Source = Source.MARKER_MODEL, frames: tuple[int, ...] | None = None,
           verdict: Verdict = Verdict.REDACT) -> Region:  # fmt: skip
    return Region(Box(*box), verdict, Kind.TEXT, 0.9, source, "x", frames)


def test_an_added_box_is_blacked_out_as_drawn_and_clipped() -> None:
    (one,) = reviewed([], Edits((Edit(Box(-5, 10, 50, 200)),)), 100, 80, 1)
    assert (one.box, one.verdict, one.source, one.frames) == (Box(0, 10, 50, 100), Verdict.REDACT, Source.REVIEWER, None)
    assert reviewed([], Edits((Edit(Box(90, 10, 95, 20)),)), 100, 80, 1) == []


def test_a_box_taken_back_is_kept_even_if_it_lies_a_little_off() -> None:
    edits = Edits(removed=(Edit(Box(12, 11, 42, 41)),))
    (one,) = reviewed([region((10, 10, 40, 40))], edits, 100, 100, 1)
    assert (one.verdict, one.source, one.why) == (Verdict.KEEP, Source.REVIEWER, "reviewer_took_back")
    (other,) = reviewed([region((60, 60, 90, 90))], edits, 100, 100, 1)
    assert other.verdict is Verdict.REDACT


def test_device_rules_are_not_taken_back() -> None:
    rule = region((10, 10, 40, 40), Source.DEVICE_RULE)
    assert reviewed([rule], Edits(removed=(Edit(rule.box),)), 100, 100, 1) == [rule]


def test_frames_are_respected() -> None:
    loop, still = region((10, 10, 40, 40)), region((10, 10, 40, 40), frames=(3,))
    on_three = Edits(removed=(Edit(Box(10, 10, 40, 40), (3,)),))
    assert [one.verdict for one in reviewed([loop, still], on_three, 100, 100, 9)] == [Verdict.REDACT, Verdict.KEEP]
    (added,) = reviewed([], Edits((Edit(Box(1, 1, 9, 9), (2, 99)),)), 100, 100, 9)
    assert added.frames == (2,)
    assert reviewed([], Edits((Edit(Box(1, 1, 9, 9), (99,)),)), 100, 100, 9) == []


boxes = st.tuples(*[st.integers(-1000, 1000)] * 2, *[st.integers(1, 500)] * 2).map(lambda b: Box(b[0], b[1], b[0] + b[2], b[1] + b[3]))
edits = st.lists(st.builds(Edit, boxes, st.none() | st.lists(st.integers(0, 99), min_size=1).map(tuple), st.sampled_from(Kind))).map(tuple)


@settings(max_examples=50, deadline=None)
@given(st.builds(Edits, edits, edits))
def test_the_ledger_gives_back_what_it_was_given(one: Edits) -> None:
    assert edits_from(edits_as_json(one)) == one


@pytest.mark.parametrize("raw", [
    [], {"more": []}, {"added": {}}, {"added": [1]}, {"added": [{"box": [1, 2, 3]}]}, {"added": [{"box": [5, 2, 3, 9]}]},
    {"added": [{"box": [1, 2, 3, 9.5]}]}, {"added": [{"box": [1, 2, 3, 4], "frames": []}]}, {"added": [{"box": [1, 2, 3, 4], "kind": "x"}]},
    {"added": [{"box": [0, 0, 1, 2**40]}]}, {"removed": [{"box": [0, 0, 1, 1]}] * 501},
])  # fmt: skip
def test_what_is_no_correction_is_refused(raw: object) -> None:
    with pytest.raises(ValueError):
        edits_from(raw)
