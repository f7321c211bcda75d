"""The second stage's network in torch: trained here, run here on CUDA; see `markers.verifier`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radanon_node.errors import ConfigError
from radanon_node.markers.verifier import SHIFT, in_batches


def _conv(c1: int, c2: int, k: int, s: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c1, c2, k, s, k // 2, bias=False), nn.BatchNorm2d(c2), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.first = _conv(c, c, 3, 1)
        self.second = nn.Sequential(nn.Conv2d(c, c, 3, 1, 1, bias=False), nn.BatchNorm2d(c))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


def _tower(widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(2, widths[0], 5, 2)]
    for c1, c2 in zip(widths, (*widths[1:], 0)):
        layers.append(_Residual(c1))
        if c2:
            layers.append(_conv(c1, c2, 3, 2))
    return nn.Sequential(*layers)


class VerifierNet(nn.Module):
    """Two towers, one for the close view and one for the surroundings; logits of nothing and each class, of the IoU, and a shift.

    Parameters
    ----------
    classes : int
        Of the detector.
    """

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.classes = classes
        self.close, self.wide = _tower((24, 48, 96)), _tower((16, 32, 64))
        # As a convolution: a matrix product would add up in another order for another number of rows.
        self.head = nn.Sequential(nn.Conv2d(2 * (96 + 64) + 3, 96, 1), nn.ReLU(inplace=True), nn.Conv2d(96, 2 + classes + SHIFT, 1))

    def forward(self, crops: Tensor, sizes: Tensor) -> Tensor:
        """Logits.

        Parameters
        ----------
        crops : Tensor of uint8, shape (N, 4, 64, 64)
        sizes : Tensor of float32, shape (N, 3)

        Returns
        -------
        Tensor, shape (N, 6 + classes)
        """
        dtype = cast(Tensor, self.head[0].weight).dtype
        x = crops.to(torch.float32) / 255
        close, wide = x[:, 0:1], x[:, 2:3]
        # Close up only shape counts, however faint; from afar brightness tells air from bone.
        close = close - close.mean((2, 3), keepdim=True)
        close = close / ((close * close).mean((2, 3), keepdim=True).sqrt() + 0.03)
        pictures = torch.cat((close, x[:, 1:2]), 1).to(dtype), torch.cat((wide * 4 - 2, x[:, 3:4]), 1).to(dtype)
        pooled = []
        for tower, picture in zip((self.close, self.wide), pictures):
            y = tower(picture)
            pooled += [y.mean((2, 3), keepdim=True), y.amax((2, 3), keepdim=True)]
        return cast(Tensor, self.head(torch.cat((*pooled, sizes.to(dtype)[:, :, None, None]), 1)).flatten(1))


class Probabilities(nn.Module):
    """A network's logits as the node reads them: probabilities of nothing and each class, the expected IoU, the shift."""

    def __init__(self, net: VerifierNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, crops: Tensor, sizes: Tensor) -> Tensor:
        logits = self.net(crops, sizes).float()
        classes = 1 + self.net.classes
        return torch.cat((logits[:, :classes].softmax(1), logits[:, classes : classes + 1].sigmoid(), logits[:, classes + 1 :]), 1)


def build(state: Mapping[str, Tensor], classes: int) -> VerifierNet:
    """The network with these weights, in evaluation mode; a network from before shifts were learnt moves no box.

    Raises
    ------
    ConfigError
        They do not fit.
    """
    net = VerifierNet(classes)
    held = {key: (value.float() if value.is_floating_point() else value) for key, value in state.items()}
    for key in ("head.2.weight", "head.2.bias"):
        if key in held and len(held[key]) == 2 + classes:
            held[key] = torch.cat((held[key], torch.zeros(SHIFT, *held[key].shape[1:])))
    try:
        net.load_state_dict(held)
    except RuntimeError:
        raise ConfigError("weights: the second stage in the checkpoint does not fit this version") from None
    return net.eval()


class TorchVerifier:
    """The second stage in torch.

    Parameters
    ----------
    net : VerifierNet
    device : torch.device
    """

    def __init__(self, net: VerifierNet, device: torch.device) -> None:
        self._net = Probabilities(net).eval().to(device)
        self._device, self._width = device, 2 + net.classes + SHIFT

    def __call__(self, crops: NDArray[np.uint8], sizes: NDArray[np.float32]) -> NDArray[np.float32]:
        return in_batches(self._call, crops, sizes, self._width)

    @torch.inference_mode()
    def _call(self, crops: NDArray[np.uint8], sizes: NDArray[np.float32]) -> NDArray[np.float32]:
        rows: Tensor = self._net(torch.from_numpy(crops).to(self._device), torch.from_numpy(sizes).to(self._device))
        return np.asarray(rows.cpu().numpy(), np.float32)
