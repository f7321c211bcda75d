"""Differentially private pixelisation, DP-Pix (Fan, "Image Pixelization with Differential Privacy", DBSec 2018).

The film is cut into cells; each cell becomes its mean plus Laplace noise of scale ``range * m / (b * b * epsilon)``, where two films
are neighbours when they differ in at most m pixels. The range is that of Bits Stored, never taken from the film, or the noise
would tell about it.

b and m count pixels of a film of 256 x 256, as the paper's films have; a film of other size gets cells that cover the same share of
it, and m grows by the same factor, so the noise stays the same.

The noise is the keystream of AES-256 in counter mode under a key derived from the node's secret, the instance and its pixels. It cannot
be told from true randomness without the secret; the same instance sent again becomes the same object, so nobody can average
several releases; and two films that differ get independent noise.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

REFERENCE_SIDE = 256


def keyed_uniform(key: bytes, count: int) -> NDArray[np.float64]:
    """Numbers strictly between 0 and 1 from a keystream.

    Parameters
    ----------
    key : bytes
        32 bytes, used for nothing else.
    count : int
    """
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(8 * count))
    whole = np.frombuffer(stream, "<u8") >> np.uint64(11)
    return (whole.astype(np.float64) + 0.5) / 2.0**53


def laplace(key: bytes, count: int, scale: float) -> NDArray[np.float64]:
    """Laplace noise of mean 0 from a keystream, by the inverse of its distribution function."""
    centred = keyed_uniform(key, count) - 0.5
    return np.asarray(-scale * np.sign(centred) * np.log1p(-2 * np.abs(centred)))


def cell_edges(length: int, grid: int) -> NDArray[np.int64]:
    """Where cells begin along a side of `length` pixels, its end included.

    Parameters
    ----------
    length : int
    grid : int
        Cell side b in pixels of a side of 256.
    """
    count = max(1, min(length, round(REFERENCE_SIDE / grid)))
    return np.rint(np.linspace(0, length, count + 1)).astype(np.int64)


def pixelise(
    values: NDArray[Any], low: int, high: int, key: bytes, grid: int = 8, neighbours: int = 1, epsilon: float = 0.1
) -> NDArray[Any]:
    """Pixelise a film.

    Parameters
    ----------
    values : ndarray of integers, shape (rows, columns)
        Stored values.
    low, high : int
        Least and greatest value that Bits Stored allows.
    key : bytes
        32 bytes for this film alone.
    grid : int
        b, in pixels of a film of 256 x 256.
    neighbours : int
        m, likewise.
    epsilon : float
        Privacy budget; smaller is more private.

    Returns
    -------
    ndarray
        Same shape and type, values within `low`..`high`. Rounding to whole stored values and cutting off at the range come after the
        noise and so cost no privacy; they also remove the low-order bits of the floating-point noise, which would leak (Mironov 2012).
    """
    rows, columns = values.shape
    tops, lefts = cell_edges(rows, grid), cell_edges(columns, grid)
    # OpenCV sums no int8. Sums of whole numbers in float64 are exact up to 2**53, far beyond those of a film.
    source = np.ascontiguousarray(values, np.int16 if values.dtype == np.int8 else values.dtype)
    bands = np.concatenate([cv2.reduce(source[top:bottom], 0, cv2.REDUCE_SUM, dtype=cv2.CV_64F) for top, bottom in pairwise(tops)])
    sums = np.add.reduceat(bands, lefts[:-1], axis=1)
    heights, widths = np.diff(tops), np.diff(lefts)
    means = sums / np.outer(heights, widths)
    # The cell in pixels of the reference film: its share of the film, not its pixel count, sets the noise.
    cell = (REFERENCE_SIDE / len(heights)) * (REFERENCE_SIDE / len(widths))
    noise = laplace(key, means.size, (high - low) * neighbours / (cell * epsilon)).reshape(means.shape)
    cells = np.clip(np.rint(means + noise), low, high).astype(values.dtype)
    return np.asarray(cells.repeat(heights, axis=0).repeat(widths, axis=1), values.dtype)
