"""Drawn screens and their labels: what `radanon synthesize --modality` writes and `evaluate --screens` measures."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from radanon_node.cli import main
from radanon_node.training.screen_grounds import SIZES


@pytest.mark.parametrize("modality", ["US", "CT", "SC"])
def test_screens_come_with_exact_labels_and_ink(modality: str, tmp_path: Path) -> None:
    arguments = ["synthesize", "--modality", modality, "--count", "2", "--seed", "5", "--out"]
    assert main([*arguments, str(tmp_path / "a")]) == 0 and main([*arguments, str(tmp_path / "b")]) == 0
    assert (tmp_path / "a" / "labels.jsonl").read_text() == (tmp_path / "b" / "labels.jsonl").read_text()
    for line in (tmp_path / "a" / "labels.jsonl").read_text().splitlines():
        label = json.loads(line)
        picture = cv2.imread(str(tmp_path / "a" / label["image"]), cv2.IMREAD_GRAYSCALE)
        mask = cv2.imread(str(tmp_path / "a" / label["image"].replace("screens/", "masks/")), cv2.IMREAD_GRAYSCALE)
        assert picture is not None and mask is not None
        assert picture.shape == mask.shape == SIZES[modality] and label["modality"] == modality
        inside = np.zeros_like(mask)
        for item in label["items"]:
            x0, y0, x1, y1 = item["bbox"]
            inside[y0:y1, x0:x1] = 1
            assert set(np.unique(mask[y0:y1, x0:x1])) & {1 if item["identity"] else 2}
        assert not mask[inside == 0].any() and any(item["identity"] for item in label["items"])


def test_a_modality_that_nobody_draws_is_an_error(tmp_path: Path) -> None:
    assert main(["synthesize", "--modality", "XX", "--out", str(tmp_path)]) == 2
    assert main(["synthesize", "--modality", "US", "--rows", "5", "--out", str(tmp_path)]) == 2
    assert main(["evaluate", "--screens", "1", "--modality", "XX"]) == 2


def test_the_text_pass_is_judged_on_screens(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--screens", "1", "--modality", "CT", "--seed", "4", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    hits, of = figures["removed"]["clear"]
    assert hits == of > 0 and figures["false_boxes"][1] == 2
    assert main(["evaluate", "--screens", "1", "--modality", "CT", "--seed", "4"]) == 0
    assert "| harmless words kept |" in capsys.readouterr().out
