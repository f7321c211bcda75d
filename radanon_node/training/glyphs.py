"""Trains the glyph net: which letter is this component, in whatever orientation? Needs no film: all shapes are drawn.

``python -m radanon_node.training.glyphs --out radanon_node/markers/data`` rebuilds the packaged net in some minutes on two
cores. The retention pass uses it beside Tesseract: Tesseract alone reads J, 7, V and corner brackets as L in one or another
orientation.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from radanon_node.markers.glyphs import CLASSES, SIDE
from radanon_node.markers.orientation import RIVALS, template_view
from radanon_node.training.glyph_drawer import Drawer


class GlyphNet(nn.Sequential):
    """Three convolutions and two linear layers, about 1 MFLOP per glyph; softmax inside."""

    def __init__(self) -> None:
        def block(source: int, target: int, stride: int) -> list[nn.Module]:
            return [nn.Conv2d(source, target, 3, stride, 1, bias=False), nn.BatchNorm2d(target), nn.ReLU()]

        super().__init__(
            *block(1, 16, 2), *block(16, 32, 1), *block(32, 48, 2), *block(48, 64, 2), nn.Flatten(), nn.Dropout(0.2),
            nn.Linear(64 * (SIDE // 8) ** 2, 96), nn.ReLU(), nn.Linear(96, len(CLASSES)),
        )


def draw(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` glyphs, shape (count, 1, SIDE, SIDE) uint8, and their classes."""
    drawer = Drawer(seed)
    pictures, labels = zip(*(drawer.sample() for _ in range(count)))
    return torch.from_numpy(np.stack(pictures))[:, None], torch.tensor(labels)


def train(count: int, epochs: int, seed: int) -> tuple[nn.Module, float]:
    """Train on `count` drawn glyphs; returns the net and its accuracy on freshly drawn ones."""
    torch.manual_seed(seed)
    pictures, labels = draw(count, seed)
    unseen, truth = draw(max(count // 20, 100), seed + 1)
    net = GlyphNet()
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-3)
    steps = epochs * (count // 256)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, max(steps, 1), pct_start=0.2)
    done = 0
    for epoch in range(epochs):
        order = torch.randperm(count)
        for first in range(0, count - 255, 256):
            chosen = order[first : first + 256]
            batch = pictures[chosen].float() / 255
            batch = torch.rot90(batch, int(torch.randint(4, ())), (2, 3)) if torch.rand(()) < 0.75 else batch
            batch = batch.flip(3) if torch.rand(()) < 0.5 else batch
            loss = nn.functional.cross_entropy(net(batch), labels[chosen], label_smoothing=0.02)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            done += 1
        net.eval()
        with torch.no_grad():
            guess = net(unseen.float() / 255).argmax(1)
        print(f"epoch {epoch + 1}/{epochs} loss {float(loss):.3f} accuracy {float((guess == truth).float().mean()):.4f}", flush=True)
        net.train()
    net.eval()
    return net, float((guess == truth).float().mean())


def templates() -> dict[str, NDArray[np.float32]]:
    """Upright characters for the orientation step: per character, shape (n, 256), nearly equal ones left out."""
    drawer = Drawer(0)
    found: dict[str, NDArray[np.float32]] = {}
    for letter in sorted({*string.ascii_uppercase, *"".join(RIVALS.values())}):
        views: list[NDArray[np.float32]] = []
        for mask in drawer.upright(letter):
            view = template_view(mask).ravel()
            if all(float(view @ other) < 0.9 for other in views):
                views.append(view)
        found[letter] = np.stack(views)
    return found


def export(net: nn.Module, folder: Path, facts: dict[str, object]) -> None:
    """Write ``glyphs.onnx`` (input (n, 1, SIDE, SIDE) in 0..1, output probabilities) and ``glyphs.json`` with its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "glyphs.onnx"
    torch.onnx.export(nn.Sequential(net, nn.Softmax(1)), (torch.zeros(1, 1, SIDE, SIDE),), str(target), input_names=["glyphs"],
                      output_names=["probabilities"], dynamic_axes={"glyphs": {0: "n"}, "probabilities": {0: "n"}}, dynamo=False)
    card = {"sha256": hashlib.sha256(target.read_bytes()).hexdigest(), "classes": list(CLASSES), **facts}
    stored: dict[str, Any] = {name: views.astype(np.float16) for name, views in templates().items()}
    np.savez_compressed(folder / "upright.npz", **stored)
    (folder / "glyphs.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=120_000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    net, accuracy = train(args.count, args.epochs, args.seed)
    export(net, args.out, {"drawn": args.count, "epochs": args.epochs, "seed": args.seed, "accuracy_on_unseen_drawn": round(accuracy, 4)})


if __name__ == "__main__":
    main()
