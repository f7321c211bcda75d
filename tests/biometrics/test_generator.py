"""The generator in ONNX Runtime: the same film gives the same field without the network running twice."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from radanon_node.biometrics import generator
from radanon_node.biometrics.generator import Generator, reduced
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


@pytest.mark.parametrize(("rows", "columns", "apart"), [(2500, 2048, 10), (2501, 2048, 0), (300, 200, 0)])
def test_a_film_is_reduced_to_the_means_of_its_parts(rows: int, columns: int, apart: int) -> None:
    film = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (rows, columns)).astype(np.uint8), (0, 0), 3)
    found, exact = reduced(film, 64), cv2.resize(film, (64, 64), interpolation=cv2.INTER_AREA)
    assert found.shape == (64, 64) and found.dtype == np.uint8
    assert np.abs(found.astype(int) - exact).max() <= apart  # halved first where that costs no geometry
