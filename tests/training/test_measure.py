"""Neighbours' ink does not count for or against an item; a kept letter counts also where its ring went."""

from __future__ import annotations

import numpy as np

from radanon_node.pipeline.types import Box
from radanon_node.training.measure import film_outcome
from radanon_node.training.synth.film import Item


def _film() -> tuple[np.ndarray, list[Item]]:
    """An L whose angle holds initials: the boxes overlap."""
    image = np.full((100, 100), 20, np.uint8)
    image[20:80, 20:28] = 230
    image[72:80, 20:60] = 230
    image[40:60, 40:58] = 230
    return image, [Item(20, 20, 60, 80, 0), Item(40, 40, 58, 60, 1)]


def test_initials_inside_a_letters_box_can_go_while_the_letter_stays() -> None:
    image, items = _film()
    gone = np.zeros(image.shape, bool)
    gone[38:62, 38:60] = True
    outcome = film_outcome(0, image, items, ("laterality", "text"), [], gone, ())
    letter, text = outcome.items
    assert (letter.kept, letter.gone, text.gone, text.kept) == (True, False, True, False)


def test_a_letters_stroke_in_the_box_of_its_initials_is_not_theirs() -> None:
    image, _ = _film()
    items = [Item(20, 20, 60, 80, 0), Item(22, 40, 58, 74, 1)]  # a box that takes in half the stem of the L
    gone = np.zeros(image.shape, bool)
    gone[38:62, 38:60] = True
    letter, text = film_outcome(0, image, items, ("laterality", "text"), [], gone, ()).items
    assert letter.kept and text.gone
    image[44:50, 28:40] = 230  # where they are one piece of ink with it, nobody can tell, and what stays counts as left
    assert not film_outcome(0, image, items, ("laterality", "text"), [], gone, ()).items[1].gone


def test_a_letter_that_lost_its_foot_is_neither_kept_nor_gone() -> None:
    image, items = _film()
    gone = np.zeros(image.shape, bool)
    gone[70:82, 18:62] = True
    letter = film_outcome(0, image, items, ("laterality", "text"), [], gone, ()).items[0]
    assert not letter.kept
    assert not letter.gone


def test_a_letter_left_in_a_ring_that_went_is_kept() -> None:
    image = np.full((100, 100), 90, np.uint8)
    image[20:80, 20:70] = 0
    image[20:24, 20:70] = image[76:80, 20:70] = 240
    image[35:65, 40:45] = image[60:65, 40:55] = 240
    item = Item(20, 20, 70, 80, 0)
    gone = np.zeros(image.shape, bool)
    gone[18:82, 18:72] = True
    gone[33:67, 38:57] = False
    keep = Box(38, 33, 57, 67)
    assert film_outcome(0, image, [item], ("laterality",), [], gone, (), keeps=[keep]).items[0].kept
    assert not film_outcome(0, image, [item], ("laterality",), [], gone, ()).items[0].kept
    gone[:] = True
    assert not film_outcome(0, image, [item], ("laterality",), [], gone, (), keeps=[keep]).items[0].kept
