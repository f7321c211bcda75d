"""Labels of four formats say the same."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from radanon_node.errors import ConfigError
from radanon_node.training.films import read_labels
from radanon_node.training.synth.film import Item

_WANT = (Item(10, 20, 40, 60, 0), Item(50, 70, 90, 80, 1))


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((100, 200), np.uint8))
    return folder


def _ours(films: Path) -> Path:
    items = [{"bbox": [10, 20, 40, 60], "kind": "laterality"}, {"bbox": [50, 70, 90, 80], "kind": "text"}]
    path = films / "labels.jsonl"
    path.write_text(json.dumps({"image": "a.png", "items": items}) + "\n\n")
    return path


def _labelme(films: Path) -> Path:
    shapes = [
        {"label": "side_letter", "shape_type": "rectangle", "points": [[40, 60], [10, 20]]},
        {"label": "text", "shape_type": "polygon", "points": [[50, 70], [90, 75], [60, 80]]},
    ]
    folder = films.parent / "labelme"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps({"imagePath": "..\\films\\a.png", "shapes": shapes}))
    return folder


def _yolo(films: Path) -> Path:
    folder = films.parent / "yolo"
    folder.mkdir()
    (folder / "a.txt").write_text("0 0.125 0.4 0.15 0.4\n1 0.35 0.75 0.2 0.1\n")
    return folder


def _coco(films: Path) -> Path:
    notes = [
        {"image_id": 7, "category_id": 1, "bbox": [10, 20, 30, 40]},
        {"image_id": 7, "category_id": 2, "bbox": [50, 70, 40, 10]},
    ]
    held = {
        "images": [{"id": 7, "file_name": "x/a.png"}],
        "annotations": notes,
        "categories": [{"id": 1, "name": "letter"}, {"id": 2, "name": "word"}],
    }
    path = films.parent / "coco.json"
    path.write_text(json.dumps(held))
    return path


@pytest.mark.parametrize("make", [_ours, _labelme, _yolo, _coco])
def test_all_formats_say_the_same(films: Path, make: object) -> None:
    (film,) = read_labels(make(films), films)  # type: ignore[operator]
    assert film.path == films / "a.png"
    for got, want in zip(film.items, _WANT, strict=True):
        assert got.label == want.label
        assert (got.x0, got.y0, got.x1, got.y1) == pytest.approx((want.x0, want.y0, want.x1, want.y1))


def test_an_unknown_label_name_is_named(films: Path) -> None:
    path = films / "l.jsonl"
    path.write_text(json.dumps({"image": "a.png", "items": [{"bbox": [0, 0, 1, 1], "kind": "zebra"}]}))
    with pytest.raises(ConfigError, match="zebra"):
        read_labels(path)


def test_a_missing_film_is_named(films: Path) -> None:
    path = films / "l.jsonl"
    path.write_text(json.dumps({"image": "gone.png", "items": []}))
    with pytest.raises(ConfigError, match=r"gone\.png"):
        read_labels(path)


@pytest.mark.parametrize("content", ["", "{", '{"image": "a.png"}', '{"shapes": 3}'])
def test_broken_labels_are_a_clear_error(films: Path, content: str) -> None:
    for name in ("l.jsonl", "l.json"):
        path = films / name
        path.write_text(content)
        with pytest.raises(ConfigError, match="l\\.json"):
            read_labels(path)


def test_what_is_no_marker_is_no_item_but_a_decoy(films: Path) -> None:
    path = films / "l.jsonl"
    items = [{"bbox": [0, 0, 5, 5], "kind": "not_a_marker"}, {"bbox": [9, 9, 20, 20], "kind": "symbol"}]
    path.write_text(json.dumps({"image": "a.png", "items": items}))
    (film,) = read_labels(path)
    assert (film.items, film.kinds, film.decoys) == ((Item(9, 9, 20, 20, 2),), ("symbol",), (Item(0, 0, 5, 5, -2),))
