"""Trains the letter finder: which pixels of a detection are its one isolated character's? Needs no film: all pictures are drawn.

``python -m radanon_node.training.finder --out radanon_node/markers/data`` rebuilds the packaged network in about half an hour on one
thread; a run that was stopped goes on when the same command is given again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from radanon_node.markers.finder import SIDE
from radanon_node.training.finder_samples import Sampler

_BATCH, _UNSEEN, _PEAK = 32, 600, 4e-3


def _block(source: int, target: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(source, target, 3, stride, 1, bias=False), nn.BatchNorm2d(target), nn.ReLU(inplace=True))


class FinderNet(nn.Module):
    """A small U-Net from 32 x 32 down to 4 x 4 and back (Ronneberger et al., MICCAI 2015), about 50 million multiplications.

    Input (n, 2, SIDE, SIDE), output logits (n, 1, SIDE, SIDE). Pixels are folded into channels first and unfolded last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fold, self.unfold = nn.PixelUnshuffle(2), nn.PixelShuffle(2)
        self.down1 = nn.Sequential(_block(8, 24), _block(24, 24))
        self.down2 = nn.Sequential(_block(24, 48, 2), _block(48, 48))
        self.down3 = nn.Sequential(_block(48, 64, 2), _block(64, 64))
        self.down4 = nn.Sequential(_block(64, 96, 2), _block(96, 96), _block(96, 96))
        self.up3, self.up2, self.up1 = _block(160, 64), _block(112, 40), _block(64, 32)
        self.wider = nn.Upsample(scale_factor=2, mode="nearest")
        self.last = nn.Conv2d(32, 4, 3, 1, 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        first = self.down1(self.fold(pictures))
        second = self.down2(first)
        third = self.down3(second)
        out = self.up3(torch.cat([self.wider(self.down4(third)), third], 1))
        out = self.up2(torch.cat([self.wider(out), second], 1))
        out = self.up1(torch.cat([self.wider(out), first], 1))
        logits: torch.Tensor = self.unfold(self.last(out))
        return logits


def draw(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` pictures, float16 (count, 2, SIDE, SIDE), and targets, uint8 0..255 (count, 1, SIDE, SIDE)."""
    sampler = Sampler(seed)
    pictures = torch.empty((count, 2, SIDE, SIDE), dtype=torch.float16)
    targets = torch.empty((count, 1, SIDE, SIDE), dtype=torch.uint8)
    for number in range(count):
        picture, target = sampler.sample()
        pictures[number] = torch.from_numpy(picture)
        targets[number, 0] = torch.from_numpy(np.round(255 * np.clip(target, 0, 1)).astype(np.uint8))
    return pictures, targets


def loss_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy per pixel and one minus the overlap (Dice) per picture."""
    likely = torch.sigmoid(logits)
    shared, total = (likely * target).sum((1, 2, 3)), (likely + target).sum((1, 2, 3))
    overlap = (2 * shared + 20) / (total + 20)
    return nn.functional.binary_cross_entropy_with_logits(logits, target) + 0.5 * (1 - overlap).mean()


def overlap_of(net: nn.Module, pictures: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
    """Mean intersection over union where there is a letter, and mean share of the picture marked where there is none."""
    unions, marked = [], []
    with torch.no_grad():
        for first in range(0, len(pictures), 64):
            found = net(pictures[first : first + 64].float()) > 0
            truth = targets[first : first + 64] > 127
            shared, either = (found & truth).sum((1, 2, 3)), (found | truth).sum((1, 2, 3))
            there = truth.sum((1, 2, 3)) >= 12
            unions += (shared[there] / either[there].clamp(min=1)).tolist()
            marked += found.float().mean((1, 2, 3))[~there].tolist()
    return float(np.mean(unions or [0])), float(np.mean(marked or [0]))


def train(count: int, epochs: int, seed: int, checkpoint: Path | None = None) -> tuple[nn.Module, float]:
    """Train on `count` pictures drawn anew for each epoch; returns the net and its overlap on unseen ones.

    Parameters
    ----------
    count : int
        Pictures of an epoch.
    epochs : int
    seed : int
    checkpoint : Path or None
        Written after each epoch. A run that was stopped goes on from it, to the same net as one that was not.
    """
    torch.manual_seed(seed)
    net = FinderNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    unseen, truth = draw(_UNSEEN, seed + 100_000)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _PEAK, max(epochs * (count // _BATCH), 1), pct_start=0.15)
    overlap, done = 0.0, 0
    recipe = [count, epochs, seed]
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state["recipe"] != recipe:
            raise SystemExit(f"{checkpoint.name} is of another recipe (pictures, epochs, seed): {state['recipe']}")
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        overlap, done = state["overlap"], state["epoch"]
    for epoch in range(done, epochs):
        pictures, targets = draw(count, seed + epoch)
        net.train()
        total = 0.0
        for first in range(0, count - _BATCH + 1, _BATCH):
            batch = pictures[first : first + _BATCH].float().contiguous(memory_format=torch.channels_last)
            wanted = targets[first : first + _BATCH].float() / 255
            loss = loss_of(net(batch), wanted)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += loss.item()
        overlap, marked = overlap_of(net.eval(), unseen, truth)
        mean = total / max(count // _BATCH, 1)
        print(f"epoch {epoch + 1}/{epochs} loss {mean:.3f} overlap {overlap:.4f} marked where none is {marked:.4f}", flush=True)
        if checkpoint is not None:
            _keep(checkpoint, {
                "recipe": recipe, "net": net.state_dict(), "optimiser": optimiser.state_dict(), "schedule": schedule.state_dict(),
                "overlap": overlap, "epoch": epoch + 1,
            })
    return net.to(memory_format=torch.contiguous_format), overlap


def _keep(checkpoint: Path, state: dict[str, object]) -> None:
    """Written beside and renamed, so that a run stopped here leaves the one before."""
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    beside = checkpoint.with_suffix(".new")
    torch.save(state, beside)
    beside.replace(checkpoint)


def export(net: nn.Module, folder: Path, facts: dict[str, object]) -> None:
    """Write ``finder.onnx`` (input ``pictures`` (n, 2, SIDE, SIDE), output probabilities) and ``finder.json`` with its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "finder.onnx"
    torch.onnx.export(nn.Sequential(net, nn.Sigmoid()).eval(), (torch.zeros(1, 2, SIDE, SIDE),), str(target), input_names=["pictures"],
                      output_names=["ink"], dynamic_axes={"pictures": {0: "n"}, "ink": {0: "n"}}, dynamo=False)
    card = {"sha256": hashlib.sha256(target.read_bytes()).hexdigest(), **facts}
    (folder / "finder.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=6_000, help="pictures of an epoch")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()
    checkpoint = args.out / "finder.pt"
    net, overlap = train(args.count, args.epochs, args.seed, checkpoint)
    facts = {"drawn": args.count * args.epochs, "seed": args.seed, "overlap_on_unseen_drawn": round(overlap, 4)}
    export(net, args.out, facts)
    checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
