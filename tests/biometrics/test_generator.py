"""The generator in ONNX Runtime: the same film gives the same field without the network running twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from radanon_node.biometrics import generator
from radanon_node.biometrics.generator import Generator
from radanon_node.biometrics.weights import find_generator
from tests.biometrics.made import SIDE, write_generator


@pytest.fixture
def loaded(tmp_path: Path) -> Generator:
    path, digest = write_generator(tmp_path)
    found = find_generator(path, digest)
    assert found is not None
    return Generator(found, 1)


def test_a_film_asked_for_again_runs_no_network(loaded: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    films = [np.random.default_rng(number).integers(0, 256, (200, 150)).astype(np.uint8) for number in range(2)]
    runs: list[int] = []
    run = loaded._run
    monkeypatch.setattr(loaded, "_run", lambda x: (runs.append(1), run(x))[1])
    first, second, again = loaded.flow(films[0]), loaded.flow(films[1]), loaded.flow(films[0].copy())
    assert len(runs) == 2
    assert first.shape == (2, SIDE, SIDE)
    assert np.array_equal(first, again) and not np.array_equal(first, second)
    assert not first.flags.writeable


def test_only_the_last_few_fields_are_kept(loaded: Generator) -> None:
    for number in range(generator._REMEMBERED + 3):
        loaded.flow(np.full((SIDE, SIDE), number, np.uint8))
    assert len(loaded._remembered) == generator._REMEMBERED
