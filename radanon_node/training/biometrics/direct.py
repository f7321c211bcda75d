"""The strongest field there is for one film and known opponents: searched by gradient, film by film, without a generator.

A generator has to guess from the film what an opponent looks at; here the opponents' gradients say it. What such a field does not hide
from the very networks it was made against, no generator hides from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radanon_node.training.biometrics.learn import augmented, tensor
from radanon_node.training.biometrics.methods import Deforming, Picture
from radanon_node.training.biometrics.nets import Verifier
from radanon_node.training.biometrics.warp import warp

_BATCH = 32


def strongest_flows(
    pictures: Tensor, opponents: Sequence[Verifier], mu: float, steps: int = 30, rate: float = 0.2, seed: int = 1
) -> NDArray[np.float32]:
    """Flows that take films as far from themselves as the opponents can see.

    Parameters
    ----------
    pictures : Tensor, shape (n, 1, side, side), in 0..1
    opponents : sequence of Verifier
        Their vectors of the deformed film are turned away from those of the film as it is.
    mu : float
        Largest deformation.
    steps : int
    rate : float
        Of Adam, on the flow before tanh.
    seed : int
        Of the start and of the exposures (shift, turn, contrast) that the field must stand.

    Returns
    -------
    ndarray of float32, shape (n, 2, side, side), in -1..1
    """
    draws = torch.Generator().manual_seed(seed)
    found = []
    for net in opponents:
        net.requires_grad_(False)
    for first in range(0, len(pictures), _BATCH):
        some = pictures[first : first + _BATCH].float()
        with torch.no_grad():
            own = [net.embed(some) for net in opponents]
        start = torch.randn((len(some), 2, *some.shape[2:]), generator=draws) * 0.1
        flow = nn.Parameter(start.to(some.device))
        optimizer = torch.optim.Adam([flow], rate)
        for _ in range(steps):
            made = augmented(warp(some, torch.tanh(flow), mu), draws, 0.5)
            near = torch.stack([(net.embed(made) * vectors).sum(1).mean() for net, vectors in zip(opponents, own, strict=True)]).mean()
            optimizer.zero_grad()
            near.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        found.append(torch.tanh(flow).detach().cpu().numpy())
    return np.concatenate(found).astype(np.float32)


def direct_method(
    films: NDArray[np.uint8], opponents: Sequence[Verifier], side: int, device: torch.device, mu: float, steps: int = 30
) -> Deforming:
    """The method for films known in advance: each gets the field searched for it.

    Parameters
    ----------
    films : ndarray of uint8, shape (n, film side, film side)
        All that will be asked for.
    opponents : sequence of Verifier
    side : int
        Of the field.
    device : torch.device
    mu : float
    steps : int
    """
    flows = strongest_flows(tensor(films, side, device), opponents, mu, steps)
    known = {_name(film): flow for film, flow in zip(films, flows, strict=True)}
    return Deforming(lambda film: known[_name(film)], mu)


def _name(film: Picture) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(film).data).digest()
