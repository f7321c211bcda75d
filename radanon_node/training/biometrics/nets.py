"""Networks of the anonymiser and of its opponents: U-Net generator, film encoder, verifier, classifier.

The method is PriCheXy-Net (Packhaeuser et al., MICCAI 2023); the networks are smaller than the paper's (ResNet-50, DenseNet-121),
so that they learn from hundreds of films on a CPU, and grow with ``width`` for the whole collection on a GPU.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Double(nn.Sequential):
    """Two 3x3 convolutions with normalisation over the picture, which is the same in a batch of any size."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__(
            nn.Conv2d(given, made, 3, padding=1, bias=False), nn.GroupNorm(min(8, made), made), nn.ReLU(inplace=True),
            nn.Conv2d(made, made, 3, padding=1, bias=False), nn.GroupNorm(min(8, made), made), nn.ReLU(inplace=True),
        )  # fmt: skip


class UNet(nn.Module):
    """A U-Net with four halvings (Ronneberger et al. 2015).

    Parameters
    ----------
    made : int
        Output channels: 2 for a flow field, 1 for a picture (the PrivacyNet-like baseline).
    width : int
        Channels of the first level; the paper has 32, 8 keeps the node's time per film small.
    """

    def __init__(self, made: int = 2, width: int = 8) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(4)] + [width * 8]
        self.made, self.width = made, width
        self.first = _Double(1, widths[0])
        self.down = nn.ModuleList(_Double(widths[level], widths[level + 1]) for level in range(4))
        self.up = nn.ModuleList(_Double(widths[level] + widths[level + 1], widths[level]) for level in reversed(range(4)))
        self.last = nn.Conv2d(widths[0], made, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (n, 1, side, side) in 0..1 to (n, made, side, side): a flow in -1..1, or a picture in 0..1."""
        kept = [self.first(x)]
        for step in self.down:
            kept.append(step(functional.max_pool2d(kept[-1], 2)))
        out = kept.pop()
        for step in self.up:
            out = step(torch.cat([kept.pop(), functional.interpolate(out, scale_factor=2.0, mode="nearest")], 1))
        out = self.last(out)
        return torch.tanh(out) if self.made == 2 else torch.sigmoid(out)


class _Residual(nn.Module):
    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(given, made, 3, stride, 1, bias=False), nn.BatchNorm2d(made), nn.ReLU(inplace=True),
            nn.Conv2d(made, made, 3, 1, 1, bias=False), nn.BatchNorm2d(made),
        )  # fmt: skip
        self.skip = (
            nn.Identity()
            if stride == 1 and given == made
            else nn.Sequential(nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made))
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.skip(x))


class Encoder(nn.Module):
    """A small residual network: pictures (n, 1, side, side) in 0..1 to vectors (n, dimensions)."""

    def __init__(self, dimensions: int = 128, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.body = nn.Sequential(*(_Residual(widths[max(level - 1, 0)], widths[level], 1 if level == 0 else 2) for level in range(4)))
        # A coarse grid instead of one mean: where a structure lies tells patients apart.
        self.head = nn.Linear(widths[-1] * 16, dimensions)

    def forward(self, x: Tensor) -> Tensor:
        features = functional.adaptive_avg_pool2d(self.body(self.stem((x - 0.5) / 0.25)), 4)
        return cast(Tensor, self.head(features.flatten(1)))


class Verifier(nn.Module):
    """Siamese network: whether two films are of one patient.

    Two films go through one encoder; the cosine of their vectors is turned into a logit. The paper takes a linear layer over the
    absolute difference; on a few hundred films the cosine learns better, because it can be trained by contrast within a batch.
    """

    def __init__(self, dimensions: int = 128, width: int = 16) -> None:
        super().__init__()
        self.encoder = Encoder(dimensions, width)
        self.slope = nn.Parameter(torch.tensor(5.0))
        self.offset = nn.Parameter(torch.tensor(-2.5))

    def embed(self, x: Tensor) -> Tensor:
        """Unit vectors."""
        return functional.normalize(self.encoder(x), dim=1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits (n,) that two films are of one patient."""
        return self.slope * (self.embed(first) * self.embed(second)).sum(1) + self.offset


class Classifier(nn.Module):
    """Findings of a film: logits (n, findings)."""

    def __init__(self, findings: int, width: int = 16) -> None:
        super().__init__()
        self.encoder = Encoder(findings, width)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.encoder(x))


def contrast(first: Tensor, second: Tensor, patients: Tensor, temperature: float = 0.1) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020) between two sets of unit vectors.

    Parameters
    ----------
    first, second : Tensor, shape (n, dimensions)
        Row i of both is of one patient.
    patients : Tensor of int, shape (n,)
        Rows of the same patient are no negatives of each other.
    """
    scores = first @ second.T / temperature
    same = patients[:, None] == patients[None]
    own = torch.arange(len(first), device=first.device)
    masked = scores.masked_fill(same & ~torch.eye(len(first), dtype=torch.bool, device=first.device), -1e4)
    return (functional.cross_entropy(masked, own) + functional.cross_entropy(masked.T, own)) / 2
