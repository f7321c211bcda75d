"""A teacher's labels: sure ones are learnt, doubtful ones left out, films of validation patients never touched."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from radanon_node.pipeline.types import Box, Detection, Kind, Source
from radanon_node.training.films import LabelledFilm
from radanon_node.training.selftrain import label_films, unlabelled_films


class _Teacher:
    def detect(self, frames: list[np.ndarray], min_confidence: float | None = None) -> list[list[Detection]]:
        found = [(Kind.TEXT, 0.9), (Kind.SYMBOL, 0.3), (Kind.SIDE_LETTER, 0.01)]
        return [
            [Detection(Box(0, 0, 9, 9), kind, c, Source.MARKER_MODEL) for kind, c in found if c >= (min_confidence or 0)] for _ in frames
        ]


def test_doubtful_findings_become_unknown(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 20), np.uint8))
    (film,) = label_films(_Teacher(), [tmp_path / "a.png"])  # type: ignore[arg-type]
    assert [i.label for i in film.items] == [1, -1]
    assert film.kinds == ("text", "unknown")


def test_patients_kept_for_validation_are_left_out(tmp_path: Path) -> None:
    for name in ("7_000.png", "7_001.png", "8_000.png", "notes.txt"):
        (tmp_path / name).touch()
    labelled = [LabelledFilm(Path("x/7_003.png"), (), split="val"), LabelledFilm(Path("x/8_001.png"), (), split="train")]
    assert [p.name for p in unlabelled_films(tmp_path, labelled)] == ["8_000.png"]
