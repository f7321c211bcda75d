"""The generator in ONNX Runtime: a film's gray view to its flow field."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.biometrics.weights import GeneratorWeights
from radanon_node.errors import ConfigError, HoldInstance, Reason
from radanon_node.onnx_session import open_session
from radanon_node.pipeline.types import GrayFrame

_REMEMBERED = 16
"""Fields kept: the verifier, which works out a film again, asks for the field of a film that was just made, or of the batch before it."""


def reduced(view: GrayFrame, side: int) -> GrayFrame:
    """A film as a square of `side`, each pixel the mean of what it covers.

    A large film is halved first, which OpenCV does many times faster than an odd share; a film of odd size is not, since its last
    line would count twice.
    """
    rows, columns = view.shape
    if rows % 2 == 0 and columns % 2 == 0 and min(rows, columns) >= 4 * side:
        view = np.asarray(cv2.resize(view, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(view, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


class Generator:
    """A loaded network; the same film gives the same field, whatever was before it.

    Parameters
    ----------
    weights : GeneratorWeights
    threads : int
        CPU threads of one call.

    Raises
    ------
    ConfigError
        The file is no such network.
    """

    def __init__(self, weights: GeneratorWeights, threads: int) -> None:
        self.weights = weights
        self._remembered: dict[bytes, NDArray[np.float32]] = {}
        try:
            self._session = open_session(str(weights.path), threads)
            (source,), (result,) = self._session.get_inputs(), self._session.get_outputs()
            self._names = source.name, result.name
            found = self._run(np.zeros((1, 1, weights.side, weights.side), np.float32))
        except Exception as error:  # noqa: BLE001 - the runtime raises its own, undocumented types
            raise ConfigError(f"profiles.NAME.biometrics.weights: {weights.path.name} cannot be used: {type(error).__name__}") from None
        if found.shape != (1, 2, weights.side, weights.side):
            raise ConfigError(f"profiles.NAME.biometrics.weights: {weights.path.name} gives no field of {weights.side} x {weights.side}")

    def _run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._session.run([self._names[1]], {self._names[0]: x})[0]
        return found

    def flow(self, view: GrayFrame) -> NDArray[np.float32]:
        """The field for one film.

        Parameters
        ----------
        view : ndarray of uint8, shape (rows, columns)
            As displayed, 0 = black, markers blackened.

        Returns
        -------
        ndarray of float32, shape (2, side, side), in -1..1
            Right and down; see `field`.

        Raises
        ------
        HoldInstance
            ``internal_error`` if the network gives anything but finite numbers.
        """
        side = self.weights.side
        small = reduced(view, side)
        # The same input gives the same field: half of the stage's time is not spent twice. Everything else is worked out again.
        key = hashlib.sha256(np.ascontiguousarray(small).data).digest()
        remembered = self._remembered.get(key)
        if remembered is not None:
            return remembered
        flow = self._run((small.astype(np.float32) / np.float32(255))[None, None])[0]
        if not np.isfinite(flow).all():
            raise HoldInstance(Reason.INTERNAL_ERROR, "the deformation network gave no numbers")
        made = np.asarray(np.clip(flow, -1, 1), np.float32)
        made.flags.writeable = False
        kept = list(self._remembered.items())[1 - _REMEMBERED :]
        self._remembered = dict([*kept, (key, made)])
        return made
