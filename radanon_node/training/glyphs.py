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
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from radanon_node.markers.glyphs import CLASSES, SIDE, normalise
from radanon_node.markers.orientation import RIVALS, template_view, tight

_CANVAS = 96
# Shapes most like the usual side letters once turned and mirrored.
_HARD = "J7VTrFKAPBH8NEU14YXDZ"
_SAME_AS_CAPITAL = "cosuvwxzkp"

Mask = NDArray[np.bool_]


def font_files() -> list[str]:
    """Fonts of this machine, sorted; Latin capitals are drawn in each."""
    listed = subprocess.run(["fc-list", ":lang=en", "file"], capture_output=True, text=True, check=True).stdout
    return sorted(line.rstrip(": \n") for line in listed.splitlines() if line.rstrip(": ").endswith((".ttf", ".otf", ".pfb")))


class Drawer:
    """Draws random shapes with their class.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._drawn: dict[tuple[int, str], Mask] = {}
        self._fonts = [ImageFont.truetype(name, 64) for name in font_files()]

    def sample(self) -> tuple[NDArray[np.uint8], int]:
        """One normalised glyph picture, shape (SIDE, SIDE), and its index in ``CLASSES``."""
        while True:
            mask, label = self._shape()
            mask, clean = self._worn(mask)
            if label == len(CLASSES) - 1:
                whole = mask.sum()
                mask = self._largest(mask)
                if mask.sum() < 0.9 * whole:
                    continue
            elif self._rng.random() < 0.1:  # a piece of a letter is no letter; an L stays one however short its foot is cut
                mask = self._largest(self._cut(mask))
                if label == CLASSES.index("L"):
                    continue
                label = len(CLASSES) - 1
            else:
                mask = self._largest(mask)
                if not 0.6 < mask.sum() / max(clean.sum(), 1) < 1.8:
                    continue
            if mask.sum() > 60:
                return normalise(mask), label

    def _shape(self) -> tuple[Mask, int]:
        kind = self._rng.random()
        if kind < 0.17:
            return self._lead_l() if self._rng.random() < 0.6 else self._char("L"), CLASSES.index("L")
        if kind < 0.33:
            return self._char("R"), CLASSES.index("R")
        if kind < 0.52:
            return self._labelled(str(self._rng.choice(list(string.ascii_uppercase))))
        if kind < 0.68:
            return self._labelled(str(self._rng.choice(list(_HARD))))
        if kind < 0.74:
            return self._labelled(str(self._rng.choice(list(string.ascii_lowercase + string.digits + "<>^/()[]+-#%&?"))))
        if kind < 0.85:
            joined = self._pair if kind < 0.80 else self._row
            mask = joined()
            while self._largest(mask).sum() < 0.97 * mask.sum():  # side by side without touching they would be two letters
                mask = joined()
            return mask, len(CLASSES) - 1
        if kind < 0.88:
            return self._ground(), len(CLASSES) - 1
        return self._junk(), len(CLASSES) - 1

    def _labelled(self, character: str) -> tuple[Mask, int]:
        capital = character.upper() if character in _SAME_AS_CAPITAL else character
        return self._char(character), CLASSES.index(capital) if capital in CLASSES else len(CLASSES) - 1

    def _char(self, character: str) -> Mask:
        font = int(self._rng.integers(len(self._fonts)))
        if (font, character) not in self._drawn:
            picture = Image.new("L", (_CANVAS, _CANVAS))
            ImageDraw.Draw(picture).text((_CANVAS / 2, _CANVAS / 2), character, 255, self._fonts[font], anchor="mm")
            self._drawn[font, character] = np.asarray(picture) > 127
        return self._drawn[font, character]

    def upright(self, letter: str) -> Iterator[Mask]:
        """`letter` in every font, tight."""
        for font in self._fonts:
            picture = Image.new("L", (_CANVAS, _CANVAS))
            ImageDraw.Draw(picture).text((_CANVAS / 2, _CANVAS / 2), letter, 255, font, anchor="mm")
            yield tight(np.asarray(picture) > 127)
        for stem in (8, 14, 20, 26) if letter == "L" else ():  # cast in lead, from slim to fat
            for foot in (6, 10, 16, 22):
                lead = np.zeros((60, 40), np.bool_)
                lead[:, :stem] = lead[-foot:] = True
                yield lead

    def _lead_l(self) -> Mask:
        rng = self._rng
        height = rng.uniform(40, 64)
        width = height * rng.uniform(0.42, 0.9)
        thick = width * rng.uniform(0.14, 0.62)
        lean = rng.uniform(-0.06, 0.06)
        x, y = (_CANVAS - width) / 2, (_CANVAS - height) / 2
        foot = thick * rng.uniform(0.75, 1.25)
        out = np.zeros((_CANVAS, _CANVAS), np.uint8)
        right, base, top_of_foot = x + width, y + height, y + height - foot
        corners = [(x, y), (x + thick, y), (x + thick, top_of_foot), (right, top_of_foot), (right, base), (x, base)]
        points = np.array([(px + lean * (base - py), py) for px, py in corners])
        cv2.fillPoly(out, [np.round(points * 16).astype(np.int32)], 255, shift=4)
        if rng.random() < 0.5:  # rounded ends, as cast in lead
            size = int(min(thick, foot) * 0.8) | 1
            return np.asarray(cv2.morphologyEx(out, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))) > 0
        return out > 0

    def _pair(self) -> Mask:
        rng = self._rng
        first = self._largest(self._char(str(rng.choice(list("LRLR" + string.ascii_uppercase)))))
        second = self._largest(self._char(str(rng.choice(list(string.ascii_uppercase + string.digits)))))
        scale = rng.uniform(0.4, 1.0)
        second = cv2.resize(second.astype(np.uint8), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST) > 0
        ys, xs = np.nonzero(first)
        sy, sx = np.nonzero(second)
        out = np.zeros((2 * _CANVAS, 2 * _CANVAS), bool)
        out[ys - ys.min() + 48, xs - xs.min() + 48] = True
        height, width, down, across = (int(np.ptp(axis)) for axis in (sy, sx, ys, xs))
        if rng.random() < 0.5:
            dy, dx = down - int(rng.integers(0, 5)), int(rng.integers(-width // 2 - 1, across))
        else:
            dy, dx = int(rng.integers(-height // 2 - 1, down)), across - int(rng.integers(0, 5))
        out[np.clip(sy - sy.min() + 48 + dy, 0, 191), np.clip(sx - sx.min() + 48 + dx, 0, 191)] = True
        return cv2.resize(out.astype(np.uint8), (_CANVAS, _CANVAS), interpolation=cv2.INTER_AREA) > 0

    def _row(self) -> Mask:
        """Two or three characters of one size, side by side or one above the other, touching."""
        rng = self._rng
        characters = rng.choice(list(string.ascii_uppercase + string.digits), int(rng.choice([2, 2, 3])))
        parts = [tight(self._char(str(character))) for character in characters]
        stacked = rng.random() < 0.3
        parts = [part.T for part in parts] if stacked else parts
        height, overlap = max(len(part) for part in parts), int(rng.integers(0, 6))
        out = np.zeros((height, sum(part.shape[1] for part in parts)), np.bool_)
        x = 0
        for part in parts:
            y = int(rng.integers(0, height - len(part) + 1))
            out[y : y + len(part), x : x + part.shape[1]] |= part
            x += max(part.shape[1] - overlap, 1)
        out = np.pad(tight(out.T if stacked else out), 2)
        scale = min(80 / max(out.shape), 1)
        small = cv2.resize(out.astype(np.uint8) * 255, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) > 100
        top, left = (_CANVAS - small.shape[0]) // 2, (_CANVAS - small.shape[1]) // 2
        return np.pad(small, ((top, _CANVAS - top - small.shape[0]), (left, _CANVAS - left - small.shape[1])))

    def _ground(self) -> Mask:
        """What lies between strokes: a piece of the background inside a character's or a row's outline."""
        ink = self._row() if self._rng.random() < 0.7 else self._char(str(self._rng.choice(list(string.ascii_uppercase))))
        ys, xs = np.nonzero(ink)
        ground = np.zeros_like(ink)
        ground[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = True
        ground &= ~ink
        count, labels = cv2.connectedComponents(ground.astype(np.uint8), connectivity=4)
        return labels == self._rng.integers(1, count) if count > 1 else ground

    def _junk(self) -> Mask:
        rng = self._rng
        out = np.zeros((_CANVAS, _CANVAS), np.uint8)
        kind = rng.integers(8)
        if kind == 0:  # chevrons and arrow heads: no right angle, or arms of one length
            angle = rng.choice([rng.uniform(35, 76), rng.uniform(106, 160), 90.0])
            first = rng.uniform(25, 40)
            second = first * (rng.uniform(0.94, 1.0) if angle == 90 else rng.uniform(0.5, 1.0))
            a = np.deg2rad(angle)
            tips = np.array([[first, 0], [0, 0], [second * np.cos(a), second * np.sin(a)]]) + 40
            cv2.polylines(out, [tips.astype(np.int32)], False, 255, int(rng.integers(3, 12)))
        elif kind == 1:  # arrow
            shaft, head = int(rng.integers(3, 10)), int(rng.integers(10, 22))
            cv2.line(out, (48, 20 + head), (48, 78), 255, shaft)
            cv2.fillPoly(out, [np.array([(48, 15), (48 - head, 18 + head), (48 + head, 18 + head)])], 255)
        elif kind == 2:  # disc, ring, ring with a ball
            axes = rng.integers(12, 36, 2)
            arc, thick = rng.choice([360, 360, 180, 250]), int(rng.choice([-1, 3, 6, 9]))
            cv2.ellipse(out, (48, 48), (int(axes[0]), int(axes[1])), 0, 0, arc, 255, thick)
            if rng.random() < 0.5:
                cv2.circle(out, (48 + int(axes[0]) - 6, 48), int(rng.integers(3, 8)), 255, -1)
        elif kind == 3:  # bars, plates
            w, h = rng.integers(3, 40, 2)
            cv2.rectangle(out, (48 - int(w), 48 - int(h)), (48 + int(w), 48 + int(h)), 255, int(rng.choice([-1, 2, 5])))
        elif kind == 4:  # T, plus and angle profiles with three or four arms
            for arm in rng.choice(4, int(rng.integers(2, 5)), replace=False):
                end = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)][arm]) * rng.integers(15, 38) + 48
                cv2.line(out, (48, 48), (int(end[0]), int(end[1])), 255, int(rng.integers(3, 12)))
            if rng.random() < 0.5:
                cv2.circle(out, (48, 48), int(rng.integers(8, 20)), 255, -1)
            else:
                cv2.line(out, (30, 48), (66, 48), 255, 7)
        elif kind == 5:  # wires and catheters
            points = np.cumsum(rng.normal(0, 14, (6, 2)), 0) + 48
            cv2.polylines(out, [np.clip(points, 4, 92).astype(np.int32)], bool(rng.random() < 0.2), 255, int(rng.integers(2, 9)))
        elif kind == 6:  # texture: bone, gas
            noise = cv2.GaussianBlur(rng.normal(0, 1, (_CANVAS, _CANVAS)), (0, 0), float(rng.uniform(3, 10)))
            out[noise > np.quantile(noise, rng.uniform(0.5, 0.9))] = 255
        else:  # triangles, quadrangles, crescents
            cv2.fillPoly(out, [rng.integers(15, 81, (int(rng.integers(3, 6)), 2)).astype(np.int32)], 255)
        return out > 0

    def _worn(self, mask: Mask) -> tuple[Mask, Mask]:
        """Turned any way, mirrored or not, squeezed, thinned or fattened, blurred as films show them; and the same before blur."""
        rng = self._rng
        angle, mirror = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
        # Lead letters are slimmer than most fonts.
        squeeze = np.diag(np.exp([rng.normal(-0.08, 0.22), rng.normal(0, 0.1)])) @ np.array([[mirror, rng.normal(0, 0.07)], [0, 1]])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ squeeze * rng.uniform(0.35, 0.8)
        centre = np.full(2, _CANVAS / 2)
        matrix = np.hstack([turn, (centre - turn @ centre)[:, None]])
        sharp = cv2.warpAffine(mask.astype(np.float32), matrix, (_CANVAS, _CANVAS), flags=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(sharp, (0, 0), float(rng.uniform(0.4, 2.0)))
        soft = cv2.add(soft, cv2.GaussianBlur(rng.normal(0, float(rng.uniform(0, 0.25)), mask.shape).astype(np.float32), (0, 0), 1.5))
        return np.asarray(soft) > rng.uniform(0.25, 0.7), np.asarray(sharp) > 0.5

    def _cut(self, mask: Mask) -> Mask:
        """Without 15 to 50 hundredths of its ink, from one side."""
        ys, xs = np.nonzero(mask)
        axis = (xs, ys, -xs, -ys)[self._rng.integers(4)]
        gone = axis < np.quantile(axis, self._rng.uniform(0.15, 0.5)) if len(axis) else np.zeros(0, bool)
        out = mask.copy()
        out[ys[gone], xs[gone]] = False
        return out

    @staticmethod
    def _largest(mask: Mask) -> Mask:
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        if len(stats) < 2:
            return np.zeros_like(mask)
        largest: Mask = labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
        return largest


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
