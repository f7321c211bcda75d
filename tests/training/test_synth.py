"""Drawn films: functions of their seed, with labels that fit the ink."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.training.synth import anatomy, distractors, glyphs, markers, words
from radanon_node.training.synth.film import Painter, SyntheticFilm, synthesize


def _film(seed: int) -> SyntheticFilm:
    return synthesize((320, 260), np.random.default_rng(seed))


def test_the_same_seed_draws_the_same_film() -> None:
    first, second = _film(5), _film(5)
    assert np.array_equal(first.image, second.image)
    assert first.items == second.items
    assert np.array_equal(first.ink, second.ink)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_labels_lie_on_the_film_and_all_ink_lies_in_labels(seed: int) -> None:
    film = _film(seed)
    assert film.image.shape == film.ink.shape == (320, 260)
    inside = np.zeros(film.ink.shape, bool)
    for i in film.items:
        assert 0 <= i.x0 < i.x1 <= 260
        assert 0 <= i.y0 < i.y1 <= 320
        inside[int(i.y0) : int(i.y1), int(i.x0) : int(i.x1)] = True
    assert not (film.ink.astype(bool) & ~inside).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_lone_marker_has_a_tight_box_and_can_be_seen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    painter = Painter(np.full((400, 400), 60, np.uint8), rng)
    painter.place(markers.draw(40.0, rng), edges=0)
    for i in painter.items:
        if i.label < 0:
            continue
        changed = np.abs(painter.film - 60) > 3
        box = changed[int(i.y0) : int(i.y1), int(i.x0) : int(i.x1)]
        assert box.any()


def test_what_can_hardly_be_seen_is_labelled_unknown() -> None:
    """A white digital letter on white paper is nothing to learn."""
    rng = np.random.default_rng(1)
    painter = Painter(np.full((120, 120), 255, np.uint8), rng)
    mask = glyphs.word("L", 40)
    painter.paint(markers.Marker((markers.Part(mask, "white", 0), markers.Part(np.zeros_like(mask), "black", -1)), (0,), True), 40, 40)
    assert [i.label for i in painter.items] == [-1]


@pytest.mark.parametrize("build", [b for b, _ in markers._BUILDERS])
@pytest.mark.parametrize("height", [9.0, 40.0, 180.0])
def test_every_style_can_be_drawn_at_every_size(build: object, height: float) -> None:
    for seed in range(6):
        marker = build(height, np.random.default_rng(seed))  # type: ignore[operator]
        shapes = {p.mask.shape for p in marker.parts}
        assert len(shapes) == 1
        assert {p.item for p in marker.parts} - {-1} == set(range(len(marker.classes)))
        assert all(p.mask.min() >= 0 and p.mask.max() <= 1.001 for p in marker.parts)


@pytest.mark.parametrize("angle", [0.0, 90.0, 33.0])
def test_turning_keeps_the_ink(angle: float) -> None:
    marker = markers.lead_letter(40.0, np.random.default_rng(2))
    turned = markers.turned(marker, angle, True)
    for before, after in zip(marker.parts, turned.parts):
        assert after.mask.sum() == pytest.approx(before.mask.sum(), rel=0.05, abs=3)


def test_backgrounds_differ_in_size_and_content() -> None:
    rng = np.random.default_rng(0)
    films = [anatomy.background((96, 128), rng) for _ in range(12)]
    assert {f.shape for f in films} == {(96, 128)}
    assert len({f.tobytes() for f in films}) == 12


def test_distractors_stay_on_the_film() -> None:
    film = np.full((100, 150), 50.0, np.float32)
    distractors.scatter(film, 40, np.random.default_rng(3))
    assert film.shape == (100, 150)
    assert np.isfinite(film).all()
    assert film.min() >= -1
    assert film.max() <= 256


def test_words_cover_identities_dates_and_times() -> None:
    rng = np.random.default_rng(0)
    drawn = [words.text(rng) for _ in range(600)]
    assert len(set(drawn)) > 250
    assert any(":" in w and w[0].isdigit() for w in drawn)
    assert any(w.count(".") == 2 or w.count("/") == 2 for w in drawn)


def test_no_word_is_drawn_in_a_font_that_lacks_its_characters() -> None:
    """A missing glyph is an empty box: words of other scripts would all look alike."""
    boxes = glyphs.word("\U0010ffff\U0010ffff", 30)
    for text in ("ЛЕЖА", "ΟΡΘΙΑ", "NẰM", "仰卧", "שכיבה"):
        for font in ("", *glyphs.fonts()[:3]):
            drawn = glyphs.word(text, 30, font)
            assert drawn.shape[1] > drawn.shape[0] or len(text) < 3
            assert drawn.shape != boxes.shape or not np.array_equal(drawn, boxes)
    assert not glyphs.covers("", "Ж")
    assert glyphs.covers("", "AP 12:30")


def test_stroke_fonts_give_other_scripts_to_a_scalable_one() -> None:
    rng = np.random.default_rng(3)
    shapes = {glyphs.stroked(text, 24, 2, rng).tobytes() for text in ("ЛЕЖА", "СТОЯ", "ΔΕΞΙΑ")}
    assert len(shapes) == 3


def test_without_any_font_words_are_drawn_in_latin_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glyphs, "_installed", lambda: ())
    for cached in (glyphs.fonts, glyphs.font_for):
        cached.cache_clear()
    try:
        assert np.array_equal(glyphs.word("LEŽE", 30), glyphs.word("LEZE", 30))
        assert glyphs.word("ЛЕЖА", 30).shape[1] > 30
    finally:
        for cached in (glyphs.fonts, glyphs.font_for):
            cached.cache_clear()
