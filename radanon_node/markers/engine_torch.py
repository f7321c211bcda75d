"""The marker network in torch: half precision and channels-last on CUDA, plain float on a CPU (the tests' reference)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from radanon_node.errors import ConfigError
from radanon_node.markers.checkpoint import read_checkpoint
from radanon_node.markers.verifier_net import TorchVerifier, build

# cuDNN chooses its algorithm by batch size, and the last bits of a sum with it: every call has one of these sizes (the rest is
# empty pictures), so that what is found on a film does not depend on its neighbours.
_BATCH = 16


class TorchEngine:
    """Calls a YOLOv5 checkpoint; `verifier` is the second stage it holds, if any.

    Parameters
    ----------
    path : Path
        ``.pt`` of YOLOv5 v6/v7, read without running anything in it.
    classes : int
        How many classes the description promises.
    device : str
        ``cpu``, ``cuda``, ``cuda:1`` ...
    threads : int
        CPU threads of one call, on a CPU.

    Raises
    ------
    ConfigError
        No such checkpoint, other classes, no such device.
    """

    def __init__(self, path: Path, classes: int, device: str, threads: int) -> None:
        self._device = torch.device("cpu" if device == "auto" else device)
        self._cuda = self._device.type == "cuda"
        if self._cuda and (not torch.cuda.is_available() or (self._device.index or 0) >= torch.cuda.device_count()):
            raise ConfigError(f"worker.device: {device} is not available on this machine")
        checkpoint = read_checkpoint(path)
        if checkpoint.nc != classes:
            raise ConfigError(f"worker.weights: {path.name} has {checkpoint.nc} classes, its description names {classes}")
        net = checkpoint.build().fuse().to(self._device)
        if self._cuda:
            net = net.half().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._net = net
        self.verifier = TorchVerifier(build(checkpoint.verifier, classes), self._device) if checkpoint.verifier else None
        self._channels = checkpoint.channels
        if not self._cuda:
            torch.set_num_threads(max(threads, 1))

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Raw head rows of gray inputs.

        Parameters
        ----------
        batch : ndarray of uint8, shape (n, rows, columns)

        Returns
        -------
        ndarray of float32, shape (n, anchors, 5 + classes)
        """
        step = _BATCH if self._cuda else 1
        parts = [self._call(batch[first : first + step], step) for first in range(0, len(batch), step)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @torch.inference_mode()
    def _call(self, batch: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        held = torch.zeros((size, 1, *batch.shape[1:]), dtype=torch.uint8, pin_memory=self._cuda)
        held[: len(batch), 0] = torch.from_numpy(batch)
        # Bytes cross the bus, not floats; scaling is done on the other side.
        gray = held.to(self._device, non_blocking=True).to(torch.float16 if self._cuda else torch.float32) / 255
        inputs = gray.expand(-1, self._channels, -1, -1)
        if self._cuda:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        # Logits in half precision, boxes in single: half has too few bits for pixel positions.
        rows = self._net.decode([logits.float() for logits in self._net(inputs)])
        return rows[: len(batch)].cpu().numpy().astype(np.float32, copy=False)
