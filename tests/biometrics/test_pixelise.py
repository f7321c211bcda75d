"""DP-Pix: cells are flat, the noise has the scale that the budget demands, and the same key gives the same film."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.biometrics.pixelise import cell_edges, keyed_uniform, laplace, pixelise

KEY = bytes(range(32))


def test_cells_are_flat_and_cover_the_film() -> None:
    values = np.random.default_rng(1).integers(0, 4096, (500, 400)).astype(np.uint16)
    made = pixelise(values, 0, 4095, KEY, grid=16)
    tops, lefts = cell_edges(500, 16), cell_edges(400, 16)
    assert len(tops) == len(lefts) == 17
    for top, bottom in pairwise(tops):
        for left, right in pairwise(lefts):
            assert len(np.unique(made[top:bottom, left:right])) == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_cells_are_exact_means_at_the_ends_of_the_range(dtype: type) -> None:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(3)
    values = rng.choice(np.array([limits.min, limits.max, 1, 0], dtype), (331, 257))
    made = pixelise(values, limits.min, limits.max, KEY, grid=32, epsilon=1e12)
    tops, lefts = cell_edges(331, 32), cell_edges(257, 32)
    for top, bottom in pairwise(tops):
        for left, right in pairwise(lefts):
            assert abs(int(made[top, left]) - values[top:bottom, left:right].astype(np.int64).mean()) <= 0.5


def test_without_noise_to_speak_of_cells_are_means() -> None:
    values = np.random.default_rng(2).integers(0, 256, (256, 256)).astype(np.uint8)
    made = pixelise(values, 0, 255, KEY, grid=8, epsilon=1000.0)
    means = values.reshape(32, 8, 32, 8).mean(axis=(1, 3))
    assert np.abs(made[::8, ::8] - means).max() <= 1


def test_the_noise_has_the_stated_scale() -> None:
    values = np.full((1024, 1024), 32768, np.uint16)
    made = pixelise(values, 0, 65535, KEY, grid=8, neighbours=1, epsilon=0.5)
    noise = made[::32, ::32].astype(float) - 32768
    scale = 65535 / (64 * 0.5)
    assert abs(np.abs(noise).mean() / scale - 1) < 0.1  # the mean magnitude of Laplace noise is its scale
    assert abs(noise.mean()) < 0.2 * scale


def test_the_same_key_the_same_film_another_key_another() -> None:
    values = np.full((64, 64), 100, np.uint8)
    assert np.array_equal(pixelise(values, 0, 255, KEY), pixelise(values, 0, 255, KEY))
    assert not np.array_equal(pixelise(values, 0, 255, KEY), pixelise(values, 0, 255, bytes(32)))


def test_the_keystream_is_uniform() -> None:
    numbers = keyed_uniform(KEY, 20000)
    assert numbers.min() > 0 and numbers.max() < 1
    assert np.abs(np.histogram(numbers, 20, (0, 1))[0] / 1000 - 1).max() < 0.15
    assert abs(np.median(laplace(KEY, 20001, 3.0))) < 0.15


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 128), st.sampled_from([(0, 255, "u1"), (-2048, 2047, "i2"), (0, 65535, "u2")])
)
def test_any_shape_stays_in_range(rows: int, columns: int, grid: int, kind: tuple[int, int, str]) -> None:
    low, high, dtype = kind
    values = np.random.default_rng(rows).integers(low, high + 1, (rows, columns)).astype(dtype)
    made = pixelise(values, low, high, KEY, grid=grid)
    assert made.shape == values.shape and made.dtype == values.dtype
    assert low <= made.min() and made.max() <= high
