"""The letter finder's pictures, its net, and that an exported one can be trained further."""

from __future__ import annotations

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


def test_an_exported_net_is_loaded_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("radanon_node.training.finder_samples._GROUNDS", 2)
    monkeypatch.setattr(finder, "_UNSEEN", 4)
    torch.manual_seed(1)
    net, _ = finder.train(32, 1, 5)
    finder.export(net, tmp_path, {})
    pictures, targets = finder.draw(4, 9)
    with torch.no_grad():
        expected = net(pictures.float())
        loaded = finder.load(tmp_path / "finder.onnx").eval()(pictures.float())
    assert torch.allclose(expected, loaded, atol=1e-3)
    assert float(finder.loss_of(expected, targets.float() / 255)) > 0
    further, overlap = finder.train(32, 1, 6, tmp_path / "finder.onnx")
    assert 0 <= overlap <= 1 and not further.training
