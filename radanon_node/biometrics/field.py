"""The mathematics of a deformation field: smoothing, growth to the film's resolution, sampling of stored values.

A flow has two channels (right, down) in -1..1, where 1 times mu is that share of half the film's extent between its first and
last pixel centre. PriCheXy-Net (Packhaeuser et al., MICCAI 2023): ``x'(p) = x(p + smooth(mu * flow)(p))``, bilinear. The moves are
rounded to 1/32 pixel, so that tiny differences in the network's arithmetic between machines hardly ever reach a sample.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SMOOTH_SIDE = 256
SMOOTH_SIGMA = 2.0
SMOOTH_KERNEL = 9
"""The paper smooths with a Gaussian of 2 pixels, cut off at 9, on a grid of 256: other grids take the same share of the film."""

_STEPS = 32


def sigma_at(side: int) -> float:
    """Width of the smoothing on a grid of `side`, in its pixels."""
    return SMOOTH_SIGMA * side / SMOOTH_SIDE


def gaussian_kernel(sigma: float) -> NDArray[np.float32]:
    """One-dimensional Gaussian that sums to 1, cut off where the paper does (twice sigma)."""
    reach = max(1, round(sigma * (SMOOTH_KERNEL // 2) / SMOOTH_SIGMA))
    at = np.arange(-reach, reach + 1, dtype=np.float64)
    values = np.exp(-0.5 * (at / sigma) ** 2)
    return np.asarray(values / values.sum(), np.float32)


def smooth(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gaussian-smoothed flow.

    Parameters
    ----------
    flow : ndarray of float32, shape (2, side, side)

    Returns
    -------
    ndarray of float32, shape (2, side, side)
    """
    kernel = gaussian_kernel(sigma_at(flow.shape[-1]))
    return np.stack([cv2.sepFilter2D(channel, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT_101) for channel in flow])


def displacement(flow: NDArray[np.float32], mu: float, rows: int, columns: int) -> NDArray[np.float32]:
    """What the field moves, at the network's resolution, in pixels of the film.

    Parameters
    ----------
    flow : ndarray of float32, shape (2, side, side)
        As the network gives it.
    mu : float
        Largest move, as a share of half the film's extent; 0 moves nothing.
    rows, columns : int
        Of the film.

    Returns
    -------
    ndarray of float32, shape (side, side, 2)
        (right, down), in steps of 1/32 pixel.
    """
    side = flow.shape[-1]
    moved = smooth(flow) * np.float32(mu * (side - 1) / 2)
    pixels = np.stack([moved[0] * np.float32(columns / side), moved[1] * np.float32(rows / side)], axis=-1)
    return np.ascontiguousarray(np.rint(pixels * _STEPS) / np.float32(_STEPS), np.float32)


def deform(values: NDArray[Any], moves: NDArray[np.float32], nearest: bool = False) -> NDArray[Any]:
    """A film seen through the field.

    Parameters
    ----------
    values : ndarray of 8 or 16-bit integers, shape (rows, columns)
        Stored values.
    moves : ndarray of float32, shape (side, side, 2)
        From `displacement`.
    nearest : bool
        Take the nearest value instead of mixing four.

    Returns
    -------
    ndarray
        Same shape and type. Each value is the rounded weighted mean of four neighbours, so none lies outside their range; beyond
        the border the outermost pixels go on, so there are no holes.
    """
    return sample(values, grow(moves, *values.shape), nearest) if moves.any() else values.copy()


def grow(moves: NDArray[np.float32], rows: int, columns: int, room: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Moves for each pixel of the film, float32 of shape (rows, columns, 2), from those at the network's resolution; made in `room`."""
    # Half-pixel centres on both sides: a pixel of the network lies in the middle of the film's pixels it was averaged from.
    return np.asarray(cv2.resize(moves, (columns, rows), dst=room, interpolation=cv2.INTER_LINEAR), np.float32)


class Room(threading.local):
    """Memory for the grown moves of one film at a time per thread: 40 MB asked for anew cost as much as filling them."""

    def __init__(self) -> None:
        self._free: NDArray[np.float32] | None = None

    @contextmanager
    def lent(self, rows: int, columns: int) -> Iterator[NDArray[np.float32]]:
        """An array of shape (rows, columns, 2) with any content, until the block ends; one inside another gets its own."""
        shape = (rows, columns, 2)
        taken, self._free = self._free, None
        room = taken if taken is not None and taken.shape == shape else np.empty(shape, np.float32)
        try:
            yield room
        finally:
            self._free = room


def sample(values: NDArray[Any], grown: NDArray[np.float32], nearest: bool = False) -> NDArray[Any]:
    """`deform` with moves for each pixel, from `grow`: each value is taken from where its move points."""
    how = (cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR) | cv2.WARP_RELATIVE_MAP
    source = np.ascontiguousarray(values, np.int16 if values.dtype == np.int8 else values.dtype)  # OpenCV samples no int8
    made = cv2.remap(source, grown, None, how, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]  # relative maps have no second
    return np.asarray(made).astype(values.dtype, copy=False)
