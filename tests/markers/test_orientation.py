"""Orientation correction: the tilt is found from the strokes, and the letter's own way up comes first."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.markers.orientation import corner_of, tilt_of, turned, ways
from tests.markers import drawn


@settings(max_examples=50, deadline=None)
@given(letter=st.sampled_from("LEFHT"), tilt=st.integers(-40, 40), height=st.integers(30, 90), mirrored=st.booleans())
def test_the_tilt_of_straight_strokes_is_found_to_two_degrees(letter: str, tilt: int, height: int, mirrored: bool) -> None:
    mask = drawn.turned(drawn.stencil(letter, height, max(height // 9, 4)), tilt, mirrored)
    assert abs(tilt_of(mask) - tilt) <= 2.5


@settings(max_examples=50, deadline=None)
@given(letter=st.sampled_from("LR"), degrees=st.integers(0, 359), mirrored=st.booleans())
def test_the_way_in_which_it_was_put_there_is_the_first_one(letter: str, degrees: int, mirrored: bool) -> None:
    upright = drawn.stencil(letter, 60, 8)
    best = ways(drawn.turned(upright, degrees, mirrored), letter)[0]
    assert best.mirrored == mirrored
    assert min((best.turn - degrees) % 360, (degrees - best.turn) % 360) <= 10
    assert abs(best.mask.shape[1] / best.mask.shape[0] - upright.shape[1] / upright.shape[0]) < 0.15


def test_turning_back_and_forth_keeps_the_shape() -> None:
    mask = drawn.stencil("R", 48, 6)
    there = turned(mask, 30)
    assert abs(turned(there, -30).mean() - mask.mean()) < 0.08


@settings(max_examples=50, deadline=None)
@given(degrees=st.integers(0, 359), height=st.integers(40, 90), mirrored=st.booleans())
def test_the_corner_of_an_l_is_right_and_that_of_a_seven_or_a_v_acute(degrees: int, height: int, mirrored: bool) -> None:
    def corner(character: str) -> float:
        return corner_of(drawn.turned(drawn.stencil(character, height, max(height // 9, 3)), degrees, mirrored))

    assert corner("L") > 80
    assert corner("7") < 73 and corner("V") < 73


def test_a_single_stroke_has_no_corner() -> None:
    assert corner_of(np.ones((60, 9), bool)) >= 80
