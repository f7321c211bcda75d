"""The marker network in ONNX Runtime, on CPU threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import ConfigError
from radanon_node.onnx_session import open_session

VERIFIER_KEY = "verifier_sha256"
"""Key of the graph's metadata under which the hash of its second stage stands."""


class OnnxEngine:
    """Calls an exported YOLOv5; the answer for one input is bit for bit the same in every batch.

    `verifier_sha256` is the hash of the second stage that belongs to it, empty for none.

    Parameters
    ----------
    path : Path
        ONNX file: one input float32 (n, 1 or 3, rows, columns) in 0..1, one output (n, anchors, 5 + classes).
    threads : int
        CPU threads of one call.

    Raises
    ------
    ConfigError
        The file is no such network.
    """

    def __init__(self, path: Path, threads: int) -> None:
        try:
            self._session = open_session(str(path), threads)
            (source,), (self._output,) = self._session.get_inputs(), [output.name for output in self._session.get_outputs()][:1]
        except Exception as error:  # noqa: BLE001 - the runtime raises its own, undocumented types
            raise ConfigError(f"worker.weights: {path.name} cannot be loaded: {type(error).__name__}") from None
        if len(source.shape) != 4 or source.shape[1] not in (1, 3):
            raise ConfigError(f"worker.weights: {path.name} does not take gray or colour pictures")
        self.verifier_sha256: str = self._session.metadata.get(VERIFIER_KEY, "")
        self._input = source.name
        self._channels = int(source.shape[1])
        self._fixed = source.shape[0] if isinstance(source.shape[0], int) else None

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Raw head rows of gray inputs.

        Parameters
        ----------
        batch : ndarray of uint8, shape (n, rows, columns)

        Returns
        -------
        ndarray of float32, shape (n, anchors, 5 + classes)
        """
        # One by one: on a CPU a larger call is no faster, and holds the intermediate pictures of all at once, some 55 MB a film.
        step = self._fixed or 1
        parts = [self._call(batch[first : first + step]) for first in range(0, len(batch), step)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _call(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        wanted = self._fixed or len(batch)
        inputs = np.zeros((wanted, self._channels, *batch.shape[1:]), np.float32)
        np.multiply(batch[:, None], np.float32(1 / 255), out=inputs[: len(batch)], casting="unsafe")
        rows: NDArray[np.float32] = self._session.run([self._output], {self._input: inputs})[0]
        return rows[: len(batch)]
