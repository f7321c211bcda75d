"""The deformation in torch, differentiable: the counterpart of ``biometrics/field.py``, with the same convention.

A flow of 1 is half the picture's extent between its first and last pixel centre, as torch's ``grid_sample`` with ``align_corners``
counts; channel 0 is to the right, channel 1 down. The output at p shows the input at p + smooth(mu * flow)(p).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from radanon_node.biometrics.field import SMOOTH_KERNEL, SMOOTH_SIDE, gaussian_kernel, sigma_at


def smooth(flow: Tensor) -> Tensor:
    """Gaussian-smoothed flow (n, 2, side, side); borders are mirrored, so a constant flow stays itself."""
    side = flow.shape[-1]
    kernel = torch.from_numpy(gaussian_kernel(sigma_at(side))).to(flow)
    reach = len(kernel) // 2
    padded = functional.pad(flow, (reach, reach, reach, reach), mode="reflect")
    across = functional.conv2d(padded, kernel.view(1, 1, 1, -1).repeat(2, 1, 1, 1), groups=2)
    return functional.conv2d(across, kernel.view(1, 1, -1, 1).repeat(2, 1, 1, 1), groups=2)


def warp(pictures: Tensor, flow: Tensor, mu: float | Tensor) -> Tensor:
    """Deform pictures.

    Parameters
    ----------
    pictures : Tensor, shape (n, 1, side, side)
    flow : Tensor, shape (n, 2, side, side), in -1..1
    mu : float, or Tensor of shape (n, 1, 1, 1)

    Returns
    -------
    Tensor, shape (n, 1, side, side)
    """
    count, _, rows, columns = pictures.shape
    ys, xs = torch.meshgrid(
        torch.linspace(-1, 1, rows, device=pictures.device), torch.linspace(-1, 1, columns, device=pictures.device), indexing="ij"
    )
    identity = torch.stack((xs, ys), 0)[None].expand(count, -1, -1, -1)
    grid = (identity + smooth(mu * flow)).permute(0, 2, 3, 1)
    return functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=True)


__all__ = ["SMOOTH_KERNEL", "SMOOTH_SIDE", "smooth", "warp"]
