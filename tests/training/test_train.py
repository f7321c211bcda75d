"""Training goes on where it stopped, as if it had not."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from radanon_node.errors import ConfigError  # noqa: E402
from radanon_node.markers.checkpoint import read_checkpoint  # noqa: E402
from radanon_node.training.train import Recipe, learning_rate, recipe_of, train  # noqa: E402

_TINY = Recipe(image=64, passes=12, batch=4, warmup=4, seed=3)


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    straight = read_checkpoint(train(_TINY, [], tmp_path / "a", workers=0, threads=1)).state
    train(_TINY, [], tmp_path / "b", workers=0, threads=1, stop=lambda: True)
    held = torch.load(tmp_path / "b" / "last.pt", weights_only=True)
    assert held["seen"] == 4
    resumed = read_checkpoint(train(_TINY, [], tmp_path / "b", workers=0, threads=1)).state
    for key, value in straight.items():
        torch.testing.assert_close(resumed[key], value, rtol=1e-4, atol=1e-5)
    assert recipe_of(tmp_path / "b" / "recipe.json") == _TINY


def test_another_recipe_does_not_go_on_with_a_run(tmp_path: Path) -> None:
    train(_TINY, [], tmp_path, workers=0, threads=1, stop=lambda: True)
    with pytest.raises(ConfigError, match="another recipe"):
        train(replace(_TINY, rate=0.1), [], tmp_path, workers=0, threads=1)


def test_a_start_of_another_size_is_a_clear_error(tmp_path: Path) -> None:
    best = train(_TINY, [], tmp_path / "n", workers=0, threads=1, stop=lambda: True)
    with pytest.raises(ConfigError, match="size n"):
        train(replace(_TINY, size="s"), [], tmp_path / "s", start=best, workers=0, threads=1)


@pytest.mark.parametrize("wrong", [{"image": 100}, {"passes": 0}, {"size": "q"}])
def test_a_recipe_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(_TINY, **wrong)  # type: ignore[arg-type]


def test_the_rate_rises_then_falls_to_its_end() -> None:
    recipe = Recipe(passes=1000, warmup=100, batch=10, rate=0.01, final=0.1)
    rates = [learning_rate(recipe, seen) for seen in range(0, 1001, 10)]
    assert max(rates) == pytest.approx(0.01)
    assert rates.index(max(rates)) == 10
    assert rates[-1] == pytest.approx(0.001)
    assert all(a <= b for a, b in pairwise(rates[:11]))
    assert all(a >= b for a, b in pairwise(rates[10:]))
