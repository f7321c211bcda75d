"""The glyph net and Tesseract as two witnesses: what each says about upright, turned and foreign glyphs."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from radanon_node.errors import HoldInstance, Reason
from radanon_node.markers import glyphs, ocr
from radanon_node.markers.glyphs import CLASSES, SIDE, classify, classify_all_ways, normalise
from tests.markers.drawn import stencil, turned


def test_a_glyph_fills_the_nets_input_with_its_proportions() -> None:
    picture = normalise(np.ones((10, 40), bool))
    assert picture.shape == (SIDE, SIDE)
    rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
    assert len(columns) == 28 and len(rows) == 7


def test_a_verdict_does_not_depend_on_the_glyphs_beside_it() -> None:
    pictures = [normalise(turned(stencil(letter), 37 * number, False)) for number, letter in enumerate("LRKB8XLR")]
    together = classify(pictures)
    assert together.shape == (8, len(CLASSES)) and np.allclose(together.sum(1), 1, atol=1e-5)
    for picture, row in zip(pictures, together):
        assert np.array_equal(classify([picture])[0], row)
    assert classify([]).shape == (0, len(CLASSES))


@pytest.mark.parametrize("letter", ["L", "R"])
def test_the_net_knows_side_letters_in_every_way_they_lie(letter: str) -> None:
    for degrees in range(0, 360, 20):
        mean = classify_all_ways(normalise(turned(stencil(letter, 60, 8), degrees, degrees % 40 == 0)))
        assert CLASSES[int(mean.argmax())] == letter


def test_an_altered_net_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("glyphs.onnx", "glyphs.json"):
        (tmp_path / name).write_bytes((glyphs._DATA / name).read_bytes() + b" ")
    monkeypatch.setattr(glyphs, "_DATA", tmp_path)
    glyphs._session.cache_clear()
    try:
        with pytest.raises(HoldInstance) as held:
            classify([np.zeros((SIDE, SIDE), np.uint8)])
    finally:
        monkeypatch.undo()
        glyphs._session.cache_clear()
    assert held.value.reason is Reason.MODEL_MISSING


@pytest.mark.parametrize("letter", ["L", "R", "D", "G"])
def test_tesseract_reads_an_upright_letter(letter: str) -> None:
    assert ocr.reader()(ocr.page(stencil(letter, 60, 8)), word=False) == letter


def test_both_ways_to_call_tesseract_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [ocr.page(stencil(letter, 60, 8)) for letter in "LRK"]
    assert [ocr._ByCommand()(picture, False) for picture in pages] == [ocr.reader()(picture, False) for picture in pages]


def test_every_thread_has_its_own_reader() -> None:
    found: list[object] = []

    def read() -> None:
        found.append((ocr.reader(), ocr.reader()(ocr.page(stencil("L", 60, 8)), False)))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(reader) for reader, _ in found}) == 3 and {text for _, text in found} == {"L"}


def test_without_tesseracts_data_the_instance_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "_TESSDATA", ())
    monkeypatch.delenv("TESSDATA_PREFIX", raising=False)
    with pytest.raises(HoldInstance) as held:
        ocr.tessdata()
    assert held.value.reason is Reason.MODEL_MISSING


def test_what_was_read_is_forgotten() -> None:
    blank: NDArray[np.uint8] = np.full((72, 72), 255, np.uint8)
    reader = ocr.reader()
    assert reader(ocr.page(stencil("R", 60, 8)), False) == "R"
    assert reader(blank, False) != "R"
