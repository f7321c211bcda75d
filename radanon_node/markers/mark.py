"""A letter that the retention pass has found: where it is, its ink, and how sure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radanon_node.pipeline.types import Box

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Letter:
    """A letter that passed: everything about it in film pixels.

    Parameters
    ----------
    letter : str
    box : Box
        Tight around its ink.
    mask : ndarray of bool, shape (box.height, box.width)
    bright : bool
    contrast : float
        Gray levels between ink and surroundings.
    likelihood : float
        The glyph net's mean probability, 0..1.
    cut : bool
        It was joined to other ink; where it ends is a guess.
    turn : float
        Degrees clockwise by which it lies, after mirroring.
    mirrored : bool
    """

    letter: str
    box: Box
    mask: Mask
    bright: bool
    contrast: float
    likelihood: float
    cut: bool = False
    turn: float = 0.0
    mirrored: bool = False
