"""What speaks for and against a mark by what stands around it: arcs of rings, steep ground, initials that fill its box."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from radanon_node.markers.components import Component, How, components_of, crop_of
from radanon_node.markers.contrast import contrast_of
from radanon_node.markers.leftovers import leftovers
from radanon_node.markers.mark import Letter
from radanon_node.markers.surroundings import _arc_around, isolated
from radanon_node.pipeline.types import Box
from tests.markers.drawn import Film, stencil

OWN = Box(60, 55, 80, 85)


def component(picture: np.ndarray) -> Component:
    rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
    box = Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return Component(box, picture[box.y0 : box.y1, box.x0 : box.x1] > 0, True)


@pytest.mark.parametrize("start", range(0, 360, 45))
def test_a_part_of_a_ring_about_the_letter_is_an_arc(start: int) -> None:
    picture = np.zeros((140, 140), np.uint8)
    cv2.ellipse(picture, (70, 70), (26, 30), 0, start, start + 110, 1, 3)
    assert _arc_around(OWN, component(picture), 30.0)


@pytest.mark.parametrize("text", ["I", "U", "C", "J", "S", "DOD", "L"])
@pytest.mark.parametrize("where", [(92, 55), (58, 92), (30, 55), (50, 20)])
def test_a_character_beside_the_letter_is_none(text: str, where: tuple[int, int]) -> None:
    picture = np.zeros((160, 200), np.uint8)
    mask = np.ones((30, 6), bool) if text == "I" else stencil(text, 28, 4)
    picture[where[1] : where[1] + mask.shape[0], where[0] : where[0] + mask.shape[1]] = mask
    assert not _arc_around(OWN, component(picture), 30.0)


def test_a_letter_on_a_steep_edge_stands_out_only_where_the_ground_is_taken_away() -> None:
    film = Film(seed=2)
    film.picture[:, 92:] += 90
    box = film.add(stencil("R", 50, 8), 80, 70, 100)
    crop = crop_of(film.view(), box, 0.3)
    mask = np.zeros(crop.gray.shape, np.uint8)
    own = stencil("R", 50, 8).astype(np.uint8)
    size = crop.inner.width, crop.inner.height
    mask[crop.inner.y0 : crop.inner.y1, crop.inner.x0 : crop.inner.x1] = cv2.resize(own, size, interpolation=cv2.INTER_NEAREST)
    letter = component(mask)
    assert (contrast_of(crop, letter, True) or 0) >= (contrast_of(crop, letter) or 0)
    ground = np.zeros(crop.gray.shape, np.uint8)
    ground[10:60, 70:90] = 1
    assert contrast_of(crop, component(ground), True) is None


def test_initials_that_fill_the_letters_box_go() -> None:
    film = Film(seed=1)
    own = stencil("L", 60, 6)
    box = film.add(own, 70, 60, 120)
    initials = stencil("S", 44, 7)
    at = film.add(initials[:, : box.width - 14], 83, 62, 120)
    letter = Letter("L", box, own, True, 115.0, 0.98)
    rest = leftovers(film.view(), box, letter)
    assert rest is not None
    black = np.zeros(film.view().shape, bool)
    black[rest[0].y0 : rest[0].y1, rest[0].x0 : rest[0].x1] = rest[1]
    ink = initials[:, : box.width - 14][:, : box.x1 - at.x0]
    assert black[at.y0 : at.y0 + ink.shape[0], at.x0 : at.x0 + ink.shape[1]][ink].mean() > 0.9
    assert not black[box.y0 : box.y1, box.x0 : box.x1][own].any()


def test_dark_ground_that_goes_on_beyond_the_box_stays_beside_a_bright_letter() -> None:
    film = Film(seed=3, ground=150)
    film.picture[:, :76] = 5
    own = stencil("L", 60, 10)
    box = film.add(own, 70, 60, 90)
    rest = leftovers(film.view(), box.grown(4), Letter("L", box, own, True, 90.0, 0.98))
    assert rest is None or not rest[1][:, :4].any()


def test_a_cut_out_letter_that_fades_is_found_whole() -> None:
    film = Film(seed=5, ground=60)
    plate = np.ones((110, 56), bool)
    film.add(plate, 70, 40, 120)
    own = stencil("L", 40, 4)
    fading = np.linspace(90, 14, 40)[:, None] * cv2.GaussianBlur(own.astype(np.float32), (0, 0), 0.8)
    film.picture[90:130, 84 : 84 + own.shape[1]] -= fading
    crop = crop_of(film.view(), Box(70, 40, 126, 150), 0.3)
    boxes = [crop.on_film(part.box) for part in components_of(crop, False, How.NARROW)]
    assert any(abs(box.y0 - 90) <= 3 and abs(box.y1 - 130) <= 4 and abs(box.width - own.shape[1]) <= 5 for box in boxes)


def test_a_large_letter_of_hair_lines_can_be_looked_at() -> None:
    view = np.random.default_rng(2).integers(60, 66, (900, 900)).astype(np.uint8)
    mask = np.zeros((400, 240), np.bool_)
    mask[:, 0] = mask[-1] = True
    view[250:650, 300:540][mask] = 200
    assert isolated(view, Letter("L", Box(300, 250, 540, 650), mask, True, 135.0, 0.9), 0.0)
