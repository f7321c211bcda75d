"""Fine-tuning makes weights the node loads, and says where they come from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from radanon_node.errors import ConfigError  # noqa: E402
from radanon_node.markers.checkpoint import read_checkpoint  # noqa: E402
from radanon_node.markers.yolov5 import YoloV5  # noqa: E402
from radanon_node.training.export import export  # noqa: E402
from radanon_node.training.films import LabelledFilm  # noqa: E402
from radanon_node.training.finetune import finetune, split  # noqa: E402
from radanon_node.training.synth.film import Item  # noqa: E402


def _films(folder: Path, count: int) -> list[LabelledFilm]:
    out = []
    for k in range(count):
        image = np.full((200, 200), 30, np.uint8)
        image[50:90, 60 : 80 + k] = 240
        cv2.imwrite(str(folder / f"f{k}.png"), image)
        out.append(LabelledFilm(folder / f"f{k}.png", (Item(60, 50, 80 + k, 90, 0),)))
    return out


def test_new_weights_load_and_name_their_base(tmp_path: Path) -> None:
    from radanon_node.markers.detector import MarkerDetector

    torch.save({"state_dict": YoloV5("n").state_dict()}, tmp_path / "w.pt")
    floors = {"side_letter": 0.11, "text": 0.12, "symbol": 0.13}
    base = export(tmp_path / "w.pt", tmp_path / "base", thresholds=floors, input_size=256).with_suffix(".pt")
    tuned = finetune(_films(tmp_path, 5), tmp_path / "out", base=base, held_out=0.2, passes=4, workers=0, threads=1)
    assert tuned.sha256 == hashlib.sha256(tuned.weights.read_bytes()).hexdigest()
    assert len(tuned.held_out) == 1
    card = json.loads(tuned.weights.with_suffix(".json").read_text())
    assert card["provenance"]["base_sha256"] == hashlib.sha256(base.read_bytes()).hexdigest()
    assert (card["provenance"]["films"], card["input_size"], card["thresholds"]) == (4, 256, floors)
    assert MarkerDetector.load(tuned.weights, tuned.sha256, "cpu", 1).thresholds == floors


def test_films_kept_out_are_not_tuned_on(tmp_path: Path) -> None:
    films = _films(tmp_path, 10)
    tune, held = split(films, 0.2)
    assert len(held) == 2
    assert not {f.path for f in tune} & {f.path for f in held}


def test_films_without_markers_cannot_be_tuned_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no labelled marker"):
        split([LabelledFilm(tmp_path / "a.png", ())], 0.0)


def test_a_share_of_the_base_is_kept(tmp_path: Path) -> None:
    torch.manual_seed(1)
    torch.save({"state_dict": YoloV5("n").state_dict()}, tmp_path / "w.pt")
    floors = {"side_letter": 0.1, "text": 0.1, "symbol": 0.1}
    base = export(tmp_path / "w.pt", tmp_path / "base", thresholds=floors, input_size=256).with_suffix(".pt")
    states = {}
    for keep in (0.0, 0.5, 1.0):
        tuned = finetune(_films(tmp_path, 2), tmp_path / f"out{keep}", base=base, passes=4, keep=keep, workers=0, threads=1)
        states[keep] = read_checkpoint(tuned.weights.with_suffix(".pt")).state
        assert json.loads(tuned.weights.with_suffix(".json").read_text())["provenance"]["kept_of_base"] == keep
    old = read_checkpoint(base).state
    name = "model.0.conv.weight"
    assert not torch.equal(states[0.0][name], old[name])
    torch.testing.assert_close(states[1.0][name], old[name], atol=1e-3, rtol=0)
    torch.testing.assert_close(states[0.5][name], (states[0.0][name] + old[name]) / 2, atol=1e-3, rtol=0)


def test_a_share_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--keep"):
        finetune(_films(tmp_path, 2), tmp_path / "out", base=tmp_path / "w.pt", keep=1.5)
