"""A smooth random field from a key: the deformation that all films of one patient share where the policy says so."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.biometrics.pixelise import keyed_uniform

SIDE = 256
_KNOTS = 16


def keyed_flow(key: bytes) -> NDArray[np.float32]:
    """A field of random moves at 16 x 16 knots, smooth between them.

    Parameters
    ----------
    key : bytes
        32 bytes, such as one per patient and project.

    Returns
    -------
    ndarray of float32, shape (2, 256, 256), in -1..1
    """
    knots = (keyed_uniform(key, 2 * _KNOTS * _KNOTS) * 2 - 1).astype(np.float32).reshape(2, _KNOTS, _KNOTS)
    grown = np.stack([cv2.resize(channel, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for channel in knots])
    return np.asarray(np.clip(grown, -1, 1), np.float32)
