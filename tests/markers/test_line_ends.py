"""Lines of print followed to their ends."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from radanon_node.markers import line_ends
from radanon_node.markers.line_ends import follow_lines, with_lines
from radanon_node.pipeline.types import Box, Detection, Kind, Source

FONT = "DejaVuSans.ttf"


def ground(rows: int = 200, columns: int = 600) -> NDArray[np.uint8]:
    """A soft, noisy slope as of anatomy."""
    rng = np.random.default_rng(7)
    slope = 90 + 60 * np.sin(np.linspace(0, 3, columns))[None, :] + 10 * np.cos(np.linspace(0, 2, rows))[:, None]
    return np.asarray(np.clip(slope + rng.normal(0, 1.0, (rows, columns)), 0, 255), np.uint8)


def printed(film: NDArray[np.uint8], word: str, at: tuple[int, int], size: int, add: int = 60) -> tuple[NDArray[np.uint8], Box]:
    """The film with `word` drawn on it, brighter by `add`, and the ink's box."""
    plain = Image.new("L", film.shape[::-1], 0)
    ImageDraw.Draw(plain).text(at, word, fill=255, font=ImageFont.truetype(FONT, size))
    ink = np.asarray(plain) > 128
    ys, xs = np.nonzero(ink)
    out = np.clip(film.astype(np.int16) + add * ink, 0, 255).astype(np.uint8)
    return out, Box(int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)


def text(box: Box, source: Source = Source.MARKER_MODEL) -> Detection:
    return Detection(box, Kind.TEXT, 0.8, source)


@pytest.mark.parametrize("size", [14, 28, 48])
@pytest.mark.parametrize("part", [(0.0, 0.6), (0.4, 1.0), (0.3, 0.7)])
@pytest.mark.parametrize("add", [60, -50])
def test_half_a_line_becomes_the_whole_line(size: int, part: tuple[float, float], add: int) -> None:
    film, ink = printed(ground(), "PRIMERAS 1957", (60, 60), size, add)
    half = Box(ink.x0 + round(part[0] * ink.width), ink.y0 - 2, ink.x0 + round(part[1] * ink.width), ink.y1 + 2)
    (found,) = follow_lines(film, [text(half)])
    assert found.box.x0 <= ink.x0 and found.box.x1 >= ink.x1
    assert found.box.x0 >= ink.x0 - size and found.box.x1 <= ink.x1 + size, "no further than its print"
    assert (found.box.y0, found.box.y1) == (half.y0, half.y1)


def test_an_upright_line_is_followed_too() -> None:
    film, ink = printed(ground(200, 600), "PRIMERAS 1957", (60, 60), 24)
    turned = np.ascontiguousarray(np.rot90(film))
    columns = film.shape[1]
    whole = Box(ink.y0, columns - ink.x1, ink.y1, columns - ink.x0)
    half = Box(whole.x0 - 2, whole.y0, whole.x1 + 2, (whole.y0 + whole.y1) // 2)
    (found,) = follow_lines(turned, [text(half)])
    assert found.box.y0 <= whole.y0 and found.box.y1 >= whole.y1


def test_the_initial_of_a_printed_name_is_no_side_letter() -> None:
    film, ink = printed(ground(), "Retabos R.", (60, 60), 40)
    _, name = printed(ground(), "Retabos", (60, 60), 40)
    _, initial = printed(ground(), "Retabos R", (60, 60), 40)
    letter = Detection(Box(name.x1 + 4, ink.y0, initial.x1 + 1, ink.y1), Kind.SIDE_LETTER, 0.9, Source.MARKER_MODEL)
    line, other = follow_lines(film, [text(Box(name.x0, name.y0 - 2, name.x1, name.y1 + 2), Source.TEXT_MODEL), letter])
    assert other.kind is Kind.TEXT and other.box.x1 >= initial.x1 and other.box.width > 4 * other.box.height
    assert line.box.x1 >= initial.x1


def test_a_letter_out_of_the_middle_of_a_line_belongs_to_it_and_the_line_is_cut_beside_it() -> None:
    letter = Detection(Box(200, 60, 225, 95), Kind.SIDE_LETTER, 0.9, Source.MARKER_MODEL)
    other = Detection(Box(20, 20, 50, 60), Kind.SIDE_LETTER, 0.9, Source.MARKER_MODEL)
    line = text(Box(100, 55, 265, 98), Source.TEXT_MODEL)
    marker, apart, left, right = with_lines([letter, other], [line])
    assert (marker.kind, marker.box) == (Kind.TEXT, Box(100, 55, 265, 98)) and apart == other
    assert (left.box, right.box) == (Box(100, 55, 200, 98), Box(225, 55, 265, 98))


def test_a_letter_at_the_end_of_a_line_stays_and_the_line_is_cut_beside_it() -> None:
    letter = Detection(Box(20, 38, 42, 62), Kind.SIDE_LETTER, 0.9, Source.MARKER_MODEL)
    below = text(Box(20, 80, 160, 100), Source.TEXT_MODEL)
    assert with_lines([letter], [text(Box(20, 40, 160, 60), Source.TEXT_MODEL), below]) == [
        letter, text(Box(42, 40, 160, 60), Source.TEXT_MODEL), below
    ]
    assert with_lines([letter], [text(Box(22, 40, 50, 60), Source.TEXT_MODEL)]) == [letter], "what is left of it is no text"


@pytest.mark.parametrize("initials", ["JK", "DMD"])
def test_a_side_letter_beside_its_initials_stays_one(initials: str) -> None:
    film, small = printed(ground(), initials, (140, 92), 30)
    film, large = printed(film, "L", (100, 60), 62)
    letter = Detection(large, Kind.SIDE_LETTER, 0.9, Source.MARKER_MODEL)
    _, found = follow_lines(film, [text(small.grown(1)), letter])
    assert found == letter


def test_a_line_ends_where_the_film_changes() -> None:
    film = ground()
    film[:, 330:] = 235
    film, ink = printed(np.asarray(cv2.GaussianBlur(film, (0, 0), 1.5), np.uint8), "PRIMERAS", (60, 60), 30)
    (found,) = follow_lines(film, [text(ink.grown(2))])
    assert found.box.x1 < 330


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_box_becomes_smaller_or_leaves_the_film(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    rows, columns = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 90))
    film = np.asarray(rng.integers(0, 256, (rows, columns)), np.uint8)
    if data.draw(st.booleans()):
        film = np.asarray(cv2.GaussianBlur(film, (0, 0), 1.2), np.uint8)
    given_ = []
    for _ in range(data.draw(st.integers(0, 4))):
        x0, y0 = data.draw(st.integers(0, columns - 1)), data.draw(st.integers(0, rows - 1))
        box = Box(x0, y0, data.draw(st.integers(x0 + 1, columns)), data.draw(st.integers(y0 + 1, rows)))
        source = data.draw(st.sampled_from([Source.MARKER_MODEL, Source.TEXT_MODEL]))
        given_.append(Detection(box, data.draw(st.sampled_from(Kind)), 0.5, source))
    found = follow_lines(film, given_)
    assert len(found) == len(given_)
    for before, after in zip(given_, found):
        assert after.box.clipped(rows, columns) == after.box
        if before.kind is not Kind.SIDE_LETTER or after.kind is Kind.SIDE_LETTER:
            assert after.kind is before.kind
            assert before.box.intersection(after.box) == before.box


def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[Box]:
    """The boxes of lines that are looked at from now on."""
    seen: list[Box] = []
    follow = line_ends._follow

    def noted(view: NDArray[np.uint8], box: Box, letters: dict[int, Box], printed: bool) -> tuple[Box, list[int]]:
        seen.append(box)
        return follow(view, box, letters, printed)

    monkeypatch.setattr(line_ends, "_follow", noted)
    return seen


@pytest.mark.parametrize("upright", [False, True])
def test_a_piece_of_a_line_that_was_followed_has_its_ends_without_another_look(monkeypatch: pytest.MonkeyPatch, upright: bool) -> None:
    film, ink = printed(ground(), "PRIMERAS 1957", (60, 60), 28)
    first = Box(ink.x0 + 20, ink.y0 - 2, ink.x1 - 60, ink.y1 + 2)
    second = Box(ink.x0 + 40, ink.y0 - 3, ink.x1 - 40, ink.y1 + 2)
    boxes = [line_ends._turned(box) if upright else box for box in (first, second)]
    seen = looked_at(monkeypatch)
    longer, same = follow_lines(np.ascontiguousarray(film.T) if upright else film, [text(box) for box in boxes])
    assert seen == [first]
    ends = [line_ends._turned(one.box) if upright else one.box for one in (longer, same)]
    assert ends[0].x0 <= ink.x0 and ends[0].x1 >= ink.x1
    assert (ends[1].x0, ends[1].x1) == (ends[0].x0, ends[0].x1) and (ends[1].y0, ends[1].y1) == (second.y0, second.y1)


def test_a_piece_that_a_followed_line_holds_for_the_most_part_is_followed_from_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    film, ink = printed(ground(), "PRIMERAS 1957", (160, 60), 28)
    first = Box(ink.x0 + 20, ink.y0 - 2, ink.x1 - 60, ink.y1 + 2)
    over = Box(ink.x0 + 60, ink.y0 - 3, ink.x1 + 30, ink.y1 + 3)
    little = Box(ink.x1 - 20, ink.y0 - 3, ink.x1 + 60, ink.y1 + 3)
    seen = looked_at(monkeypatch)
    line, longer, alone = follow_lines(film, [text(first), text(over), text(little)])
    assert seen[0] == first and seen[2] == little, "a line that holds little of a box says nothing of it"
    assert line.box.x0 - 2 <= seen[1].x0 <= line.box.x0 and seen[1].x1 == over.x1
    assert longer.box.x0 <= ink.x0 and longer.box.x1 >= over.x1 and alone.box.x1 >= little.x1


def test_many_pieces_of_a_line_do_not_push_its_ends_outwards() -> None:
    film, ink = printed(ground(), "PRIMERAS 1957", (160, 60), 28)
    pieces = [text(Box(ink.x0 + 10 * k, ink.y0 - 2 - k % 3, ink.x1 - 7 * k, ink.y1 + 2 + k % 2)) for k in range(8)]
    found = follow_lines(film, pieces)
    assert min(one.box.x0 for one in found) >= ink.x0 - 14 and max(one.box.x1 for one in found) <= ink.x1 + 14


def test_a_box_of_two_lines_is_looked_at_unless_both_were_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    film, upper = printed(ground(), "PRIMERAS 1957", (60, 60), 28)
    film, lower = printed(film, "HOSPITAL 42", (60, 90), 28)
    both = Box(upper.x0, upper.y0, upper.x0 + 180, lower.y1)
    seen = looked_at(monkeypatch)
    follow_lines(film, [text(upper), text(both)])
    assert seen == [upper, both]
    seen.clear()
    follow_lines(film, [text(upper.grown(3)), text(lower.grown(3)), text(both)])
    assert seen == [upper.grown(3), lower.grown(3)]


def test_every_piece_is_looked_at_where_a_side_letter_stands_near_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    film, ink = printed(ground(), "PRIMERAS 1957", (60, 60), 28)
    letter = Detection(Box(ink.x1 + 40, ink.y0, ink.x1 + 60, ink.y1), Kind.SIDE_LETTER, 0.9, Source.MARKER_MODEL)
    seen = looked_at(monkeypatch)
    follow_lines(film, [text(ink), text(ink), letter])
    assert len(seen) == 2
