"""The field's mathematics: nothing moves at mu 0, moves are what they say, values stay within their neighbours', borders have no holes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.biometrics.field import Room, deform, displacement, gaussian_kernel, grow, smooth

RNG = np.random.default_rng(4)


def flow(seed: int = 0, side: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (2, side, side)).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int8])
def test_mu_zero_is_the_identity(dtype: type) -> None:
    limits = np.iinfo(dtype)
    values = RNG.integers(limits.min, limits.max + 1, (150, 130)).astype(dtype)
    made = deform(values, displacement(flow(), 0.0, 150, 130))
    assert made.dtype == values.dtype
    assert np.array_equal(made, values)


def test_a_constant_flow_moves_the_film_by_whole_pixels() -> None:
    values = RNG.integers(0, 65536, (128, 128)).astype(np.uint16)
    right = np.zeros((2, 64, 64), np.float32)
    right[0] = 1
    moves = displacement(right, 2 / 63, 128, 128)  # mu * (64 - 1) / 2 network pixels of 2 film pixels each: 2 pixels
    assert np.allclose(moves[..., 0], 2)
    made = deform(values, moves)
    assert np.array_equal(made[:, :-2], values[:, 2:])
    assert (made[:, -2:] == values[:, -1:]).all()  # the border goes on: no holes


def test_smoothing_keeps_a_constant_and_its_kernel_sums_to_one() -> None:
    assert np.allclose(smooth(np.full((2, 64, 64), 0.7, np.float32)), 0.7, atol=1e-6)
    for sigma in (0.5, 1.0, 2.0, 4.0):
        assert abs(gaussian_kernel(sigma).sum() - 1) < 1e-6
    assert len(gaussian_kernel(2.0)) == 9  # the paper's


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([np.uint8, np.uint16, np.int16]),
    st.integers(2, 70), st.integers(2, 70), st.floats(0, 0.05), st.integers(0, 2**16),
)  # fmt: skip
def test_every_value_lies_between_those_nearby(dtype: type, rows: int, columns: int, mu: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    values = rng.integers(limits.min, limits.max + 1, (rows, columns)).astype(dtype)
    moves = displacement(flow(seed), mu, rows, columns)
    assert np.abs(moves[..., 0]).max() <= mu * columns / 2 + 1 / 32
    assert np.abs(moves[..., 1]).max() <= mu * rows / 2 + 1 / 32
    made = deform(values, moves)
    assert made.shape == values.shape and made.dtype == values.dtype
    assert values.min() <= made.min() and made.max() <= values.max()


def test_sixteen_bits_are_mixed_without_going_through_eight() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (256, 1))
    half = np.zeros((64, 64, 2), np.float32)
    half[..., 0] = 0.5
    made = deform(ramp, half)
    wanted = (ramp[:, :-1].astype(int) + ramp[:, 1:]) / 2
    assert np.abs(made[:, :-1] - wanted).max() <= 0.5


def test_a_constant_film_stays_constant() -> None:
    values = np.full((90, 110), 4095, np.uint16)
    assert (deform(values, displacement(flow(3), 0.05, 90, 110)) == 4095).all()


def test_it_is_the_same_every_time() -> None:
    values = RNG.integers(0, 4096, (300, 240)).astype(np.uint16)
    moves = displacement(flow(5), 0.01, 300, 240)
    assert np.array_equal(deform(values, moves), deform(values, moves))


def test_torch_and_the_node_deform_alike() -> None:
    torch = pytest.importorskip("torch")
    from radanon_node.training.biometrics.warp import warp

    side = 128
    picture = np.clip(np.add.outer(np.sin(np.arange(side) / 9), np.cos(np.arange(side) / 7)) * 60 + 120, 0, 255).astype(np.uint8)
    field = flow(6, side)
    in_torch = warp(torch.from_numpy(picture / np.float32(255))[None, None], torch.from_numpy(field)[None], 0.05)[0, 0].numpy() * 255
    in_node = deform(picture, displacement(field, 0.05, side, side))
    assert np.abs(in_torch - in_node).max() < 1.5


def test_room_is_used_again_by_its_thread_and_never_by_two_at_once() -> None:
    room = Room()
    with room.lent(20, 30) as first, room.lent(20, 30) as second:
        assert first.shape == second.shape == (20, 30, 2)
        assert not np.shares_memory(first, second)
    with room.lent(20, 30) as again:
        assert np.shares_memory(again, first)
        found: list[bool] = []

        def elsewhere() -> None:
            with room.lent(20, 30) as other:
                found.append(np.shares_memory(other, again))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert found == [False]
    with room.lent(5, 6) as other:
        assert other.shape == (5, 6, 2)
    moves = np.random.default_rng(1).random((8, 8, 2), np.float32)
    with room.lent(40, 50) as lent:
        lent[:] = np.nan
        assert np.array_equal(grow(moves, 40, 50, lent), grow(moves, 40, 50))
        assert np.shares_memory(grow(moves, 40, 50, lent), lent)
