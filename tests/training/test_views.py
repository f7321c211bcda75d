"""Other views of a film: the boxes go with the picture."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from radanon_node.cli import main
from radanon_node.training.evaluate import Subject, seen
from radanon_node.training.synth.film import Item
from radanon_node.training.views import VIEWS, another_view


def _film() -> tuple[np.ndarray, Item]:
    image = np.full((200, 160), 30, np.uint8)
    image[90:120, 60:76] = 230
    return image, Item(60, 90, 76, 120, 0, "L")


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_a_box_is_where_its_ink_is(name: str) -> None:
    image, item = _film()
    (there,) = seen([Subject("film", image, (item,), ("laterality",))], name)
    ground = np.median(there.image)
    rows, columns = np.nonzero(np.abs(there.image.astype(float) - ground) > 60)
    (box,) = there.items
    if name == "framed":  # the frame is as far from the ground as the ink is
        rows, columns = np.nonzero(there.image > 130)
    ink = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    np.testing.assert_allclose((box.x0, box.y0, box.x1, box.y1), ink, atol=1.01)
    assert (box.label, box.letter, there.kinds) == (0, "L", ("laterality",))


def test_a_quarter_turn_changes_no_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 30), np.uint8)
    assert np.array_equal(VIEWS["quarter-turn"](image)[0], np.rot90(image, -1))
    assert np.array_equal(VIEWS["half-turn"](image)[0], image[::-1, ::-1])
    assert np.array_equal(VIEWS["mirrored"](image)[0], image[:, ::-1])


def test_what_is_cut_away_is_judged_neither_way() -> None:
    image, _ = _film()
    items = (Item(0, 0, 10, 10, 1), Item(60, 90, 76, 120, 0))
    (there,) = seen([Subject("film", image, items, ("text", "laterality"))], "cut")
    assert [(i.label, k) for i, k in zip(there.items, there.kinds)] == [(0, "laterality")]


def test_any_view_keeps_the_box_on_the_ink() -> None:
    image, item = _film()
    rng, told = np.random.default_rng(1), 0
    for _ in range(60):
        there, items = another_view(image, [item], rng)
        for box in (i for i in items if i.label == 0):
            x0, y0, x1, y1 = (round(v) for v in (box.x0, box.y0, box.x1, box.y1))
            inside, around = there[y0:y1, x0:x1], there[max(y0 - 6, 0) : y1 + 6, max(x0 - 6, 0) : x1 + 6]
            rim = (around.astype(float).sum() - inside.astype(float).sum()) / max(around.size - inside.size, 1)
            assert abs(inside.mean() - rim) > 25
            told += 1
    assert told > 30


def test_the_command_gives_a_line_per_view(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, _ = _film()
    cv2.imwrite(str(tmp_path / "film.png"), image)
    line = {"image": "film.png", "items": [{"bbox": [60, 90, 76, 120], "kind": "symbol"}]}
    (tmp_path / "labels.jsonl").write_text(json.dumps(line) + "\n")
    common = ["evaluate", "--labels", str(tmp_path / "labels.jsonl"), "--retain", "off", "--threads", "1"]
    assert main([*common, "--view", "mirrored", "--view", "cut"]) == 0
    lines = [row.split("|")[1].strip() for row in capsys.readouterr().out.splitlines() if row.startswith("|")]
    assert lines == ["films", "---", "labelled", "mirrored", "cut"]
    assert main([*common, "--view", "mirrored", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"packaged weights, labelled films", "packaged weights, mirrored films"}
    assert main([*common, "--view", "upside-down"]) == 2
    assert main(["evaluate", "--drawn", "1", "--view", "mirrored"]) == 2
