"""Components of a region: every level and polarity, what goes on beyond it, joined marks cut apart."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.markers.components import components_of, crop_of, levels_of, span_of
from radanon_node.pipeline.types import Box
from tests.markers.drawn import Film, stencil


@settings(max_examples=40, deadline=None)
@given(x0=st.integers(0, 190), y0=st.integers(0, 190), width=st.integers(1, 200), height=st.integers(1, 200))
def test_a_crops_boxes_lie_in_the_film_and_its_own_box_comes_back(x0: int, y0: int, width: int, height: int) -> None:
    view, box = Film().view(), Box(x0, y0, x0 + width, y0 + height).clipped(200, 200)
    crop = crop_of(view, box, 0.15)
    assert max(crop.gray.shape) <= 96 * 1.5 + 4 * 6 + 2
    assert crop.window.clipped(200, 200) == crop.window
    back = crop.on_film(crop.inner)
    slack = 1 + 1 / crop.scale
    for one, other in zip((back.x0, back.y0, back.x1, back.y1), (box.x0, box.y0, box.x1, box.y1)):
        assert abs(one - other) <= slack


def test_a_mark_is_found_in_its_own_polarity_with_its_shape() -> None:
    for level in (90, -50):
        film, mask = Film(1, 110), stencil("R", 48, 6)
        box = film.add(mask, 60, 50, level)
        crop = crop_of(film.view(), box, 0.15)
        best = max(components_of(crop, level > 0), key=lambda component: component.mask.sum() if component.whole else 0)
        assert best.whole and not best.cut
        found = crop.on_film(best.box)
        assert found.intersection(box).area > 0.9 * max(found.area, box.area) - 60


def test_what_goes_on_beyond_the_crop_is_not_whole() -> None:
    film = Film(2)
    film.picture[:, 90:100] += 100
    crop = crop_of(film.view(), Box(70, 70, 120, 120), 0.1)
    bars = [component for component in components_of(crop, True) if component.mask.sum() > 500]
    assert bars and not any(component.whole for component in bars)


def test_a_flat_region_has_no_levels() -> None:
    flat = np.full((40, 40), 77, np.uint8)
    assert span_of(flat) == (77, 77) and levels_of(flat, (0.5,)) == []
    assert components_of(crop_of(flat, Box(0, 0, 40, 40), 0.1), True) == []
