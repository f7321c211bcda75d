"""The letter finder's pictures, its net, and that a stopped training goes on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from radanon_node.markers.finder import SIDE  # noqa: E402
from radanon_node.training import finder  # noqa: E402
from radanon_node.training.finder_samples import Sampler  # noqa: E402


def test_pictures_and_targets_have_the_nets_shape_and_the_seed_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radanon_node.training.finder_samples._GROUNDS", 2)
    first, again = Sampler(3), Sampler(3)
    letters = 0
    for _ in range(24):
        picture, target = first.sample()
        other, same = again.sample()
        assert picture.shape == (2, SIDE, SIDE) and target.shape == (SIDE, SIDE)
        assert np.array_equal(picture, other) and np.array_equal(target, same)
        assert np.abs(picture).max() <= 1 and target.min() >= 0 and target.max() <= 1.01
        letters += target.max() > 0.5
    assert 6 <= letters <= 23


def test_a_stopped_run_goes_on_to_the_same_net(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("radanon_node.training.finder_samples._GROUNDS", 2)
    monkeypatch.setattr(finder, "_UNSEEN", 4)
    straight, overlap = finder.train(32, 2, 5)
    assert 0 <= overlap <= 1 and not straight.training

    checkpoint, drawn = tmp_path / "finder.pt", finder.draw
    seeds: list[int] = []

    def stops(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        seeds.append(seed)
        if len(seeds) == 3:
            raise KeyboardInterrupt
        return drawn(count, seed)

    monkeypatch.setattr(finder, "draw", stops)
    with pytest.raises(KeyboardInterrupt):
        finder.train(32, 2, 5, checkpoint)
    monkeypatch.setattr(finder, "draw", drawn)
    resumed, _ = finder.train(32, 2, 5, checkpoint)
    pictures, targets = finder.draw(4, 9)
    with torch.no_grad():
        expected = straight(pictures.float())
        assert torch.allclose(expected, resumed(pictures.float()), atol=1e-4)
    assert float(finder.loss_of(expected, targets.float() / 255)) > 0
    with pytest.raises(SystemExit, match="another recipe"):
        finder.train(32, 3, 5, checkpoint)


def test_the_command_exports_a_net_with_its_hash_and_takes_its_checkpoint_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("radanon_node.training.finder_samples._GROUNDS", 2)
    monkeypatch.setattr(finder, "_UNSEEN", 4)
    monkeypatch.setattr("sys.argv", ["finder", "--out", str(tmp_path), "--count", "32", "--epochs", "1"])
    finder.main()
    card = json.loads((tmp_path / "finder.json").read_text(encoding="utf-8"))
    assert card["sha256"] == hashlib.sha256((tmp_path / "finder.onnx").read_bytes()).hexdigest() and card["drawn"] == 32
    assert not (tmp_path / "finder.pt").exists()
