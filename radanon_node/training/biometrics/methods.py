"""Methods to be judged: what is released of a film, by a learned or a random field, pixelisation, or painting."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from radanon_node.biometrics.field import SMOOTH_SIDE, deform, displacement, gaussian_kernel, sigma_at
from radanon_node.biometrics.keyed import keyed_flow
from radanon_node.biometrics.pixelise import pixelise
from radanon_node.training.biometrics.learn import Recipe, tensor
from radanon_node.training.biometrics.nets import UNet

Picture: TypeAlias = NDArray[np.uint8]
Method: TypeAlias = Callable[[Picture], Picture]
"""A film, shape (side, side), to what is released of it."""


@dataclass(frozen=True)
class Deforming:
    """A method that moves places, applied as the node does: the field at its own resolution, the film at full resolution.

    Parameters
    ----------
    flow : callable
        A film to its flow, float32 of shape (2, side, side) in -1..1.
    mu : float
    """

    flow: Callable[[Picture], NDArray[np.float32]]
    mu: float

    def __call__(self, film: Picture) -> Picture:
        return deform(film, self.moves(film))

    def moves(self, film: Picture) -> NDArray[np.float32]:
        """See ``field.displacement``."""
        return displacement(self.flow(film), self.mu, *film.shape)


def learned_method(net: UNet, recipe: Recipe, mu: float | None = None, device: torch.device | None = None) -> Method:
    """A trained generator, of either kind, on a device (None: the CPU)."""
    where = device or torch.device("cpu")
    net = net.to(where)

    def made(film: Picture) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(net(tensor(film[None], recipe.side, where, half=False))[0].cpu().numpy(), np.float32)

    def paint(film: Picture) -> Picture:
        grown = cv2.resize(made(film)[0], film.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.clip(np.rint(grown * 255), 0, 255), np.uint8)

    return Deforming(made, recipe.mu if mu is None else mu) if net.made == 2 else paint


def random_method(mu: float) -> Method:
    """A smooth random field, another one for each film: what the learned field has to be better than."""
    return Deforming(lambda film: keyed_flow(hashlib.sha256(film.tobytes()).digest()), mu)


def dp_pix_method(grid: int, neighbours: int, epsilon: float) -> Method:
    """Differentially private pixelisation with the node's own code; the key is the film's hash."""

    def method(film: Picture) -> Picture:
        return pixelise(film, 0, 255, hashlib.sha256(film.tobytes()).digest(), grid, neighbours, epsilon)

    return method


def published_border(film: Picture) -> Picture:
    """No field at all, only what the paper's published code does to the border of every film.

    It smooths the grid of places to sample from, with zeros beyond its edge, not the flow: within four pixels (of 256) of the border
    places are drawn towards the middle of the film, by up to a fifth of its extent, whatever mu is.
    """
    kernel = torch.from_numpy(gaussian_kernel(sigma_at(SMOOTH_SIDE)))
    line = torch.linspace(-1, 1, SMOOTH_SIDE)
    ys, xs = torch.meshgrid(line, line, indexing="ij")
    reach = len(kernel) // 2
    across = functional.conv2d(torch.stack((xs, ys))[:, None], kernel.view(1, 1, 1, -1), padding=(0, reach))
    grid = functional.conv2d(across, kernel.view(1, 1, -1, 1), padding=(reach, 0))[:, 0]
    scale = torch.tensor([film.shape[1] - 1, film.shape[0] - 1]).view(2, 1, 1) / 2
    moves = ((grid - torch.stack((xs, ys))) * scale).permute(1, 2, 0).contiguous().numpy()
    return deform(film, moves.astype(np.float32))
