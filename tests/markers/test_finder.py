"""The letter finder: where it looks, what it proposes, and that evidence still decides."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from radanon_node.errors import HoldInstance, Reason
from radanon_node.markers import finder
from radanon_node.markers.candidates import Candidate
from radanon_node.markers.components import Component, crop_of
from radanon_node.markers.letters import _part_of_another
from radanon_node.pipeline.types import Box
from tests.markers.drawn import Film, stencil


def joined() -> tuple[Film, Box, np.ndarray]:
    """An R whose leg a Z overlaps: one component, and the R's own pixels."""
    film = Film(seed=4)
    ink = np.zeros((90, 70), bool)
    own = stencil("R", 56, 9)
    ink[: own.shape[0], : own.shape[1]] = own
    letter = ink.copy()
    other = stencil("Z", 30, 6)
    ink[50 : 50 + other.shape[0], 20 : 20 + other.shape[1]] |= other
    film.add(ink, 70, 60, 110)
    return film, Box(70, 60, 70 + own.shape[1], 60 + own.shape[0]), letter


def test_the_window_is_a_square_around_the_detection() -> None:
    assert finder.window_of(Box(10, 20, 50, 40)) == Box(0, 0, 60, 60)
    small = finder.window_of(Box(5, 5, 6, 6))
    assert small.width == small.height == 4


def test_the_picture_is_stretched_and_black_beyond_the_film() -> None:
    view = np.full((40, 40), 90, np.uint8)
    view[10:20, 0:10] = 200
    picture = finder.picture_of(view, Box(0, 10, 10, 20))
    assert picture.shape == (2, finder.SIDE, finder.SIDE) and picture.dtype == np.float32
    assert picture[0].min() == pytest.approx(-0.5) and picture[0].max() == pytest.approx(0.5)
    share = picture[1].mean()
    assert share == pytest.approx((10 / 15) ** 2, abs=0.03)


def test_a_joined_letter_is_proposed_without_what_overlaps_it() -> None:
    film, box, letter = joined()
    view = film.view()
    crop = crop_of(view, box, 0.3)
    proposed = finder.proposals(crop, finder.find_in(view, box, crop))
    assert proposed and all(component.cut for component in proposed)
    rows, columns = np.nonzero(letter)
    best = 0.0
    for component in proposed:
        mask = np.zeros(crop.gray.shape, np.uint8)
        mask[component.box.y0 : component.box.y1, component.box.x0 : component.box.x1] = component.mask
        at = crop.on_film(Box(0, 0, mask.shape[1], mask.shape[0]))
        marked = np.zeros(view.shape, bool)
        marked[at.y0 : at.y1, at.x0 : at.x1] = cv2.resize(mask, (at.width, at.height), interpolation=cv2.INTER_NEAREST) > 0
        truth = np.zeros(view.shape, bool)
        truth[rows + 60, columns + 70] = True
        best = max(best, (marked & truth).sum() / (marked | truth).sum())
    assert best > 0.6


def test_the_same_box_gives_the_same_pixels() -> None:
    film, box, _ = joined()
    assert np.array_equal(finder.find(film.view(), box), finder.find(film.view(), box))


def test_nothing_is_proposed_on_plain_ground() -> None:
    view = np.full((200, 200), 80, np.uint8)
    box = Box(60, 60, 110, 120)
    crop = crop_of(view, box, 0.3)
    assert all(component.mask.mean() < 0.9 for component in finder.proposals(crop, finder.find_in(view, box, crop)))


@pytest.mark.parametrize("whole", ["E", "F", "B"])
def test_no_part_of_another_letter_is_taken(whole: str) -> None:
    mask = stencil(whole, 60, 9)
    part = mask.copy()
    part[: mask.shape[0] // 2, mask.shape[1] // 3 :] = False
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    box = Box(20 + int(columns[0]), 20 + int(rows[0]), 21 + int(columns[-1]), 21 + int(rows[-1]))
    piece = Component(box, part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], True, True)
    all_of_it = Component(Box(20, 20, 20 + mask.shape[1], 20 + mask.shape[0]), mask, True)
    assert _part_of_another(Candidate(piece, "L", 0.95), [all_of_it])
    assert not _part_of_another(Candidate(piece, "L", 0.95), [])


def test_an_altered_network_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("finder.onnx", "finder.json"):
        (tmp_path / name).write_bytes((finder._DATA / name).read_bytes() + b" ")
    monkeypatch.setattr(finder, "_DATA", tmp_path)
    finder._session.cache_clear()
    try:
        with pytest.raises(HoldInstance) as held:
            finder.find(np.zeros((50, 50), np.uint8), Box(10, 10, 30, 30))
    finally:
        monkeypatch.undo()
        finder._session.cache_clear()
    assert held.value.reason is Reason.MODEL_MISSING
