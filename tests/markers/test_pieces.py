"""Joined marks are cut apart, and what a bridge parts is put together."""

from __future__ import annotations

import numpy as np

from radanon_node.markers.components import Component, components_of, crop_of
from radanon_node.markers.pieces import cut_apart, cut_straight, joined_pieces
from radanon_node.pipeline.types import Box
from tests.markers.drawn import Film


def test_two_marks_joined_by_a_neck_are_cut_apart() -> None:
    film, mask = Film(3), np.zeros((70, 40), bool)
    mask[:40, :] = True
    mask[40:46, 16:22] = True
    mask[46:, 6:34] = True
    box = film.add(mask, 60, 50, 100)
    crop = crop_of(film.view(), box, 0.15)
    joined = max((component for component in components_of(crop, True) if component.whole), key=lambda component: component.mask.sum())
    parts = list(cut_apart(joined, crop))
    assert all(part.cut for part in parts)
    largest = max(parts, key=lambda part: part.mask.sum())
    assert 0.45 < largest.mask.sum() / joined.mask.sum() < 0.75


def test_pieces_that_a_bridge_parts_are_joined_and_read_without_the_gap() -> None:
    mask = np.ones((20, 30), bool)
    upper, lower = Component(Box(10, 10, 40, 30), mask, False), Component(Box(12, 36, 42, 56), mask, False)
    (joined,) = joined_pieces([upper, lower])
    assert joined.box == Box(10, 10, 42, 56) and joined.glyph.shape == (40, 32) and joined.mask.shape == (46, 32)
    assert not list(joined_pieces([upper, Component(lower.box, mask, True)]))
    assert not list(joined_pieces([upper, Component(Box(12, 60, 42, 80), mask, False)]))


def test_straight_cuts_give_connected_parts_of_the_ink_alone() -> None:
    film, mask = Film(3), np.zeros((70, 40), bool)
    mask[:40], mask[40:, 6:34] = True, True
    box = film.add(mask, 60, 50, 100)
    crop = crop_of(film.view(), box, 0.15)
    joined = max((component for component in components_of(crop, True) if component.whole), key=lambda component: component.mask.sum())
    parts = list(cut_straight(joined, crop, 0.0))
    assert parts and all(part.cut and part.mask.sum() < joined.mask.sum() for part in parts)
    assert any(abs(part.mask.sum() / joined.mask.sum() - 0.65) < 0.08 for part in parts)
