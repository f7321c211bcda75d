"""Printed text on films: found at full resolution for the price of the few blocks that may hold print."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from radanon_node.markers.text import TextDetector
from radanon_node.markers.text_film import crisp_blocks, film_text
from radanon_node.pipeline.types import Box, Detection, GrayFrame, Kind, Source
from radanon_node.training.screens import font_files


@pytest.fixture(scope="module")
def detector() -> TextDetector:
    return TextDetector.load(1)


def anatomy(rows: int, columns: int, seed: int = 3) -> GrayFrame:
    """Blurred structure and a little noise, as plates give it, with a collimation edge."""
    rng = np.random.default_rng(seed)
    knots = rng.uniform(30, 200, (rows // 60, columns // 60)).astype(np.float32)
    coarse = cv2.resize(knots, (columns, rows), interpolation=cv2.INTER_CUBIC)
    film = np.clip(coarse + rng.normal(0, 2.5, (rows, columns)), 0, 255)
    film[:, : columns // 12] = 4
    return film.astype(np.uint8)


def printed(film: GrayFrame, *lines: tuple[str, int, int, int]) -> list[Box]:
    """Draw (text, x, y, size) and return the boxes."""
    picture = Image.fromarray(film)
    boxes = []
    for text, x, y, size in lines:
        font = ImageFont.truetype(next(path for path in font_files() if "Sans" in path), size)
        ImageDraw.Draw(picture).text((x, y), text, font=font, fill=250)
        boxes.append(Box(*(int(edge) for edge in ImageDraw.Draw(picture).textbbox((x, y), text, font=font))))
    film[:] = np.asarray(picture)
    return boxes


def covered(box: Box, found: Sequence[Detection]) -> bool:
    mask = np.zeros((box.height, box.width), np.bool_)
    for one in found:
        part = one.box.grown(3).intersection(box)
        if part.width > 0 and part.height > 0:
            mask[part.y0 - box.y0:part.y1 - box.y0, part.x0 - box.x0:part.x1 - box.x0] = True
    return float(mask.mean()) > 0.95


def test_anatomy_and_collimation_edges_are_not_searched() -> None:
    assert crisp_blocks(anatomy(2500, 2048)).mean() < 0.02


@pytest.mark.parametrize("soft", [False, True])
def test_print_of_8_to_60_pixels_is_among_the_blocks_searched(soft: bool) -> None:
    film = anatomy(2500, 2048)
    sizes = (8, 12, 20, 36, 60)
    lines = [(f"PETRAUSKAS {size}", 300, 200 + 300 * number, size) for number, size in enumerate(sizes) if not soft or size >= 12]
    boxes = printed(film, *lines)
    if soft:
        film = np.asarray(cv2.GaussianBlur(film, (0, 0), 0.9), np.uint8)
    blocks = crisp_blocks(film)
    for box in boxes:
        assert blocks[box.y0 // 32:(box.y1 - 1) // 32 + 1, box.x0 // 32:(box.x1 - 1) // 32 + 1].all()
    assert blocks.mean() < 0.15


def test_words_are_found_by_reading_alone(detector: TextDetector) -> None:
    film = anatomy(1200, 1000)
    boxes = printed(film, ("Kazlauskiene Ruta", 200, 100, 26), ("1957 03 12", 500, 900, 14))
    found = film_text(film, lambda: detector, [])
    assert all(covered(box, found) for box in boxes)
    assert all(one.kind is Kind.TEXT and one.source is Source.TEXT_MODEL for one in found)


def test_a_film_without_print_gets_no_box_and_loads_no_net() -> None:
    def never() -> TextDetector:
        raise AssertionError

    assert film_text(np.full((900, 700), 90, np.uint8), never, []) == [] and film_text(anatomy(1200, 1000, 4), never, []) == []


def test_large_print_is_looked_at_small_and_small_print_at_full_size(detector: TextDetector) -> None:
    film = anatomy(2500, 2048)
    boxes = printed(film, ("Kazlauskiene Ruta", 200, 300, 80), ("1957 03 12", 1400, 900, 12), ("PORTABLE 14:30", 300, 1900, 36))
    looks: list[tuple[int, Box]] = []

    class Noting(TextDetector):
        def detect_window(self, frame: GrayFrame, window: Box) -> list[Detection]:
            looks.append((film.shape[0] // frame.shape[0], window))
            return detector.detect_window(frame, window)

        def read(self, frame: GrayFrame, boxes: Sequence[Box]) -> list[tuple[str, float]]:
            return detector.read(frame, boxes)

    lines = film_text(film, lambda: Noting.__new__(Noting), [])
    assert all(covered(box, lines) for box in boxes)
    assert sum(one.box.area for one in lines) < 2.2 * sum(box.grown(3).area for box in boxes)
    full = [window for shrink, window in looks if shrink == 1]
    assert any(window.intersection(boxes[1]).area == boxes[1].area for window in full), "small print was not looked at in full size"
    assert not any(window.intersection(boxes[0]).area == boxes[0].area for window in full), "large print was"


def test_print_that_the_marker_detector_is_sure_of_is_not_searched_but_a_stroke_beside_its_box_is() -> None:
    film = anatomy(1200, 1000)
    (line,) = printed(film, ("Kazlauskiene Ruta", 200, 100, 26))
    asked: list[str] = []

    class Asked(Exception):
        pass

    def load() -> TextDetector:
        asked.append("loaded")
        raise Asked

    def seen(box: Box, kind: Kind = Kind.TEXT, confidence: float = 0.8) -> Detection:
        return Detection(box, kind, confidence, Source.MARKER_MODEL)

    assert film_text(film, load, [seen(line)]) == [] and not asked
    letter = seen(Box(line.x1 + 6, line.y0, line.x1 + 26, line.y1), Kind.SIDE_LETTER)
    for markers in ([], [seen(line, confidence=0.4)], [seen(Box(line.x0 + 20, line.y0, line.x1, line.y1))], [seen(line), letter]):
        with pytest.raises(Asked):
            film_text(film, load, markers)
    film[line.y0:line.y1, line.x0 - 16:line.x0 - 13] = 250  # an upright stroke, which no step in the other direction shows
    with pytest.raises(Asked):
        film_text(film, load, [seen(line)])


@pytest.mark.parametrize("upright", [False, True])
def test_a_side_letter_above_its_initials_is_not_searched_but_one_in_or_beside_a_line_is(upright: bool) -> None:
    film = anatomy(1200, 1000)
    letter, initials = printed(film, ("L", 400, 300, 60), ("WH", 400, 370, 34))
    if upright:
        film = np.ascontiguousarray(film.T)
        letter, initials = (Box(box.y0, box.x0, box.y1, box.x1) for box in (letter, initials))

    class Asked(Exception):
        pass

    def load() -> TextDetector:
        raise Asked

    def seen(kind: Kind, box: Box, confidence: float = 0.8) -> Detection:
        return Detection(box, kind, confidence, Source.MARKER_MODEL)

    side, print_ = seen(Kind.SIDE_LETTER, letter), seen(Kind.TEXT, initials)
    assert film_text(film, load, [side, print_]) == []
    along, across = (letter.height, 0) if upright else (0, letter.width)
    beside = Box(letter.x1 + 4 - along, letter.y0 + along, letter.x1 + 4 - along + 2 * across + letter.width, letter.y1 + 2 * along)
    for others in (
        [],  # initials that nothing holds
        [seen(Kind.TEXT, initials, 0.4)],
        [print_, seen(Kind.TEXT, beside)],  # the letter stands at the beginning of a line
        [print_, seen(Kind.TEXT, letter.grown(9))],  # what could be read either way
        [print_, seen(Kind.SIDE_LETTER, beside)],
    ):
        with pytest.raises(Asked):
            film_text(film, load, [side, *others])
    with pytest.raises(Asked):
        film_text(film, load, [seen(Kind.SIDE_LETTER, letter, 0.4), print_])
    stroke = (slice(initials.y0, initials.y1), slice(initials.x1 + 9, initials.x1 + 12))
    film[stroke if upright else (slice(initials.y1 + 9, initials.y1 + 12), slice(initials.x0, initials.x1))] = 250
    with pytest.raises(Asked):
        film_text(film, load, [side, print_])


@pytest.mark.parametrize(("rows", "columns"), [(2501, 2050), (2500, 33), (40, 2500), (1201, 130)])
def test_films_of_any_shape(rows: int, columns: int, detector: TextDetector) -> None:
    film = np.full((rows, columns), 60, np.uint8)
    for y in range(0, rows, 400):
        printed(film, ("HM 8", max(columns - 32, 0), y, 14))
    assert all(one.box.clipped(rows, columns) == one.box for one in film_text(film, lambda: detector, []))


def test_an_initial_after_a_name_is_part_of_the_line() -> None:
    name, initial, speck = Box(20, 40, 120, 60), Box(136, 41, 150, 60), Box(280, 40, 296, 60)
    assert found(_Sees([name, initial, speck], [("PETRAUSKAS", 0.9), ("B", 0.9), ("B", 0.9)])) == [name, initial]


class _Sees:
    """A text detector that finds given boxes and reads given texts."""

    def __init__(self, boxes: Sequence[Box], readings: Sequence[tuple[str, float]] = ()) -> None:
        self.boxes, self.readings, self.read_boxes = boxes, readings, 0

    def detect_window(self, frame: GrayFrame, window: Box) -> list[Detection]:
        return [Detection(box, Kind.TEXT, 0.8, Source.TEXT_MODEL) for box in self.boxes]

    def read(self, frame: GrayFrame, boxes: Sequence[Box]) -> list[tuple[str, float]]:
        self.read_boxes += len(boxes)
        return list(self.readings)


def crisp(rows: int = 96, columns: int = 320) -> GrayFrame:
    film = np.zeros((rows, columns), np.uint8)
    printed(film, ("X X X X X X", 20, 40, 20))
    return film


def found(detector: _Sees, *markers: Detection) -> list[Box]:
    return [one.box for one in film_text(crisp(), lambda: detector, markers)]  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(("reading", "believed"), [(("AP", 0.9), True), (("R", 0.99), False), (("", 0.0), False), (("AP", 0.5), False),
                                                   (("--", 0.9), False)])
def test_what_cannot_be_read_is_no_text(reading: tuple[str, float], believed: bool) -> None:
    assert found(_Sees([Box(20, 40, 120, 60)], [reading])) == ([Box(20, 40, 120, 60)] if believed else [])


def test_what_the_marker_detector_sees_too_need_not_be_read() -> None:
    sees = _Sees([Box(20, 40, 120, 60)])
    marker = Detection(Box(30, 36, 90, 64), Kind.TEXT, 0.6, Source.MARKER_MODEL)
    assert found(sees, marker) == [Box(20, 40, 120, 60)] and sees.read_boxes == 0


def test_a_line_over_a_side_letter_is_given_whole() -> None:
    letter = Detection(Box(20, 38, 42, 62), Kind.SIDE_LETTER, 0.9, Source.MARKER_MODEL)
    sees = _Sees([Box(20, 40, 160, 60)], [("R PORTABLE", 0.9)])
    assert found(sees, letter) == [Box(20, 40, 160, 60)]
