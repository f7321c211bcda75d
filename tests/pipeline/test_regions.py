"""Margins around what is blacked out, and the limit on text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.regions import check_text_share, with_margins
from radanon_node.pipeline.types import Box, Kind, Region, Source, Verdict


def region(box: tuple[int, int, int, int], verdict: Verdict = Verdict.REDACT, kind: Kind = Kind.TEXT) -> Region:
    return Region(Box(*box), verdict, kind, 0.9, Source.MARKER_MODEL)


def painted(regions: list[Region], rows: int, columns: int) -> np.ndarray:
    out = np.zeros((rows, columns), bool)
    for item in regions:
        if item.verdict is Verdict.REDACT:
            part = out[item.box.y0 : item.box.y1, item.box.x0 : item.box.x1]
            part |= True if item.mask is None else item.mask
    return out


def test_the_margin_grows_a_box_and_stops_at_the_border() -> None:
    (grown,) = with_margins([region((1, 1, 5, 5))], 3, 100, 6)
    assert grown.box == Box(0, 0, 6, 8)


def test_the_margin_yields_to_a_kept_letter() -> None:
    letter = region((10, 10, 20, 30), Verdict.KEEP, Kind.SIDE_LETTER)
    done = painted(with_margins([letter, region((10, 31, 20, 36))], 3, 60, 60), 60, 60)
    assert not done[10:30, 10:20].any()
    assert done[31:36, 10:20].all()
    assert done[33, 8]


def test_what_was_judged_never_yields() -> None:
    letter = region((10, 10, 20, 30), Verdict.KEEP, Kind.SIDE_LETTER)
    done = painted(with_margins([letter, region((10, 28, 20, 36))], 3, 60, 60), 60, 60)
    assert done[28:36, 10:20].all()


box = st.tuples(st.integers(-5, 60), st.integers(-5, 60), st.integers(1, 30), st.integers(1, 30)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(st.lists(box, max_size=4), st.lists(box, max_size=3), st.integers(0, 6))
def test_every_judged_pixel_is_painted_and_none_beyond_the_margin(redact: list, keep: list, margin: int) -> None:
    regions = [region(b) for b in redact] + [region(b, Verdict.KEEP, Kind.SIDE_LETTER) for b in keep]
    done = painted(with_margins(regions, margin, 50, 50), 50, 50)
    core, outer = np.zeros((50, 50), bool), np.zeros((50, 50), bool)
    for b in redact:
        core[max(b[1], 0) : max(b[3], 0), max(b[0], 0) : max(b[2], 0)] = True
        outer[max(b[1] - margin, 0) : max(b[3] + margin, 0), max(b[0] - margin, 0) : max(b[2] + margin, 0)] = True
    assert (done | ~core).all()
    assert (outer | ~done).all()


def test_a_page_of_text_is_held() -> None:
    check_text_share([region((0, 0, 100, 30))], 0.4, 100, 100)
    check_text_share([region((0, 0, 100, 90), kind=Kind.SYMBOL)], 0.4, 100, 100)
    with pytest.raises(HoldInstance) as caught:
        check_text_share([region((0, 0, 100, 30)), region((0, 30, 100, 60))], 0.4, 100, 100)
    assert caught.value.reason is Reason.TOO_MUCH_TEXT


def test_text_share_counts_what_lies_in_several_boxes_once_and_nothing_outside_the_picture() -> None:
    twice = [region((0, 0, 100, 30)), region((0, 10, 100, 40)), region((90, 90, 300, 300))]
    check_text_share(twice, 0.41, 100, 100)
    with pytest.raises(HoldInstance):
        check_text_share(twice, 0.4099, 100, 100)
