"""Training of the marker detector: YOLOv5's recipe on windows of labelled and drawn films, resumable, on a CPU or CUDA.

A run is a folder: ``last.pt`` (everything needed to go on), ``log.jsonl`` (one line per report), ``recipe.json``.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import cv2
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from radanon_node.errors import ConfigError
from radanon_node.markers.checkpoint import read_checkpoint
from radanon_node.markers.yolov5 import SIZES, YoloV5
from radanon_node.training.films import LabelledFilm
from radanon_node.training.loss import Gains, yolo_loss
from radanon_node.training.samples import Mix, Samples
from radanon_node.training.synth.markers import CLASSES

_EMA_DECAY, _EMA_RAMP = 0.996, 300


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what weights come out.

    Parameters
    ----------
    size : str
        YOLOv5 n, s, m, l or x.
    image : int
        Side of a training window in pixels, a multiple of 32.
    long_side : int
        Films are scaled to it before windows are cut; the detector's own scale.
    passes : int
        Windows seen in all; the learning rate falls to `final` of its start over them.
    batch : int
    rate : float
        Learning rate (AdamW) after the warm-up.
    final : float
    warmup : int
        Windows until the full rate is reached.
    decay : float
        Weight decay of convolution kernels.
    seed : int
    start : str
        Name of the checkpoint that training starts from; empty = random weights.
    mix : Mix
    gains : Gains
    """

    size: str = "n"
    image: int = 416
    long_side: int = 1024
    passes: int = 30_000
    batch: int = 16
    rate: float = 0.002
    final: float = 0.02
    warmup: int = 1_600
    decay: float = 0.0005
    seed: int = 1
    start: str = ""
    mix: Mix = field(default_factory=Mix)
    gains: Gains = field(default_factory=Gains)

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ConfigError(f"size: must be one of {', '.join(SIZES)}")
        if self.image % 32 or self.image < 64:
            raise ConfigError("image: must be a multiple of 32, at least 64")
        if self.passes < 1 or self.batch < 1:
            raise ConfigError("passes and batch: must be positive")


class Ema:
    """Running mean of the weights; what is evaluated and exported. YOLOv5's ramped decay, for runs of thousands of steps, not millions."""

    def __init__(self, net: YoloV5, updates: int = 0) -> None:
        self.net = deepcopy(net).eval()
        self.updates = updates
        for p in self.net.parameters():
            p.requires_grad_(False)

    @torch.no_grad()
    def update(self, net: YoloV5) -> None:
        self.updates += 1
        d = _EMA_DECAY * (1 - math.exp(-self.updates / _EMA_RAMP))
        now = net.state_dict()
        for key, held in self.net.state_dict().items():
            if held.is_floating_point():
                held.mul_(d).add_(now[key].detach(), alpha=1 - d)
            else:
                held.copy_(now[key])


class _Indexed(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, samples: Samples, first: int, count: int) -> None:
        self._samples, self._first, self._count = samples, first, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        cv2.setNumThreads(1)
        image, targets = self._samples.sample(self._first + index)
        return torch.from_numpy(image), torch.from_numpy(targets)


def _collate(rows: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    targets = [torch.cat((torch.full((len(t), 1), float(i)), t), 1) for i, (_, t) in enumerate(rows)]
    return torch.stack([image for image, _ in rows]), torch.cat(targets)


def _optimizer(net: YoloV5, recipe: Recipe) -> torch.optim.Optimizer:
    kernels = [m.weight for m in net.modules() if isinstance(m, nn.Conv2d)]
    held = {id(p) for p in kernels}
    others = [p for p in net.parameters() if id(p) not in held]
    groups: list[dict[str, Any]] = [{"params": kernels, "weight_decay": recipe.decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.999))


def learning_rate(recipe: Recipe, seen: int) -> float:
    """Linear warm-up, then half a cosine down to ``rate * final``."""
    if seen < recipe.warmup:
        return recipe.rate * max(seen, recipe.batch) / recipe.warmup
    t = min((seen - recipe.warmup) / max(recipe.passes - recipe.warmup, 1), 1.0)
    return recipe.rate * (recipe.final + (1 - recipe.final) * (1 + math.cos(math.pi * t)) / 2)


def _batches(samples: Samples, recipe: Recipe, seen: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    data = _Indexed(samples, seen, recipe.passes - seen)
    yield from DataLoader(
        data, recipe.batch, num_workers=workers, collate_fn=_collate, prefetch_factor=3 if workers else None, drop_last=False
    )


def save_weights(net: YoloV5, path: Path, recipe: Recipe, seen: int) -> None:
    """A plain checkpoint: ``state_dict`` under the original's names, class names and how it came about."""
    state = {k: v.detach().cpu().clone() for k, v in net.state_dict().items()}
    torch.save({"state_dict": state, "names": list(CLASSES), "size": net.size, "nc": net.nc, "recipe": asdict(recipe), "seen": seen}, path)


def train(
    recipe: Recipe,
    films: Sequence[LabelledFilm],
    run: Path,
    *,
    start: Path | None = None,
    workers: int = 1,
    threads: int = 2,
    device: str = "auto",
    report: Callable[[dict[str, float]], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Path:
    """Train, or go on where the run in `run` stopped.

    Parameters
    ----------
    recipe : Recipe
    films : sequence of LabelledFilm
        Labelled real films; may be empty (drawn films alone).
    run : Path
        Folder of the run; if it holds a ``last.pt`` of the same recipe (`passes` may differ), training goes on from there.
    start : Path or None
        Checkpoint to start from, read by `read_checkpoint`.
    workers, threads : int
        Processes that make samples; threads of the network.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    report : callable or None
        Given a line of figures every 25 steps.
    stop : callable or None
        Asked after every step; True saves and ends early.

    Returns
    -------
    Path
        ``best.pt``: the averaged weights.

    Raises
    ------
    ConfigError
        The run in `run` has another recipe, or `start` does not fit.
    """
    run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    where = torch.device("cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu")
    net = YoloV5(recipe.size, len(CLASSES))
    last = run / "last.pt"
    seen, resumed = 0, None
    if last.is_file():
        resumed = torch.load(last, map_location="cpu", weights_only=True)
        if {**resumed["recipe"], "passes": recipe.passes} != json.loads(json.dumps(asdict(recipe))):
            raise ConfigError(f"run {run.name}: last.pt was made with another recipe (only `passes` may change); choose another folder")
        net.load_state_dict(resumed["net"])
        seen = int(resumed["seen"])
    elif start is not None:
        held = read_checkpoint(start)
        if (held.size, held.nc) != (recipe.size, len(CLASSES)):
            raise ConfigError(f"weights {start.name}: size {held.size} with {held.nc} classes; wanted {recipe.size} with {len(CLASSES)}")
        net.load_state_dict(held.state)
    net = cast(YoloV5, net.to(where).to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    optimizer = _optimizer(net, recipe)
    ema = Ema(net)
    if resumed is not None:
        optimizer.load_state_dict(resumed["optimizer"])
        ema.net.load_state_dict(resumed["ema"])
        ema.updates = int(resumed["updates"])
    elif start is not None:
        ema.updates = 300  # a trained start is worth averaging with
    (run / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1))
    samples = Samples(films, recipe.seed, recipe.image, recipe.mix, recipe.long_side)
    scaler = torch.amp.GradScaler(where.type, enabled=where.type == "cuda")
    sums, steps, began, saved = torch.zeros(3), 0, time.monotonic(), time.monotonic()

    def keep() -> None:
        held = {
            "net": net.state_dict(),
            "ema": ema.net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "seen": seen,
            "updates": ema.updates,
            "recipe": json.loads(json.dumps(asdict(recipe))),
        }
        torch.save(held, last.with_suffix(".new"))
        last.with_suffix(".new").replace(last)
        save_weights(ema.net, run / "best.pt", recipe, seen)

    net.train()
    with (run / "log.jsonl").open("a") as log:
        for images, targets in _batches(samples, recipe, seen, workers):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, seen)
            x = (
                (images.to(where, non_blocking=True).float() / 255)[:, None]
                .expand(-1, 3, -1, -1)
                .contiguous(memory_format=torch.channels_last)
            )
            with torch.autocast(where.type, enabled=where.type == "cuda"):
                raw = net(x)
            loss, parts = yolo_loss(raw, targets.to(where), net.head, recipe.gains)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(net.parameters(), 10.0)
            scaler.step(optimizer)
            scaler.update()
            ema.update(net)
            seen += len(images)
            sums, steps = sums + parts.cpu(), steps + 1
            if not torch.isfinite(loss):
                raise ConfigError(f"training: the loss is not finite after {seen} windows; lower the rate")
            if steps % 25 == 0:
                mean = (sums / 25).tolist()
                line = {
                    "seen": seen,
                    "box": mean[0],
                    "objectness": mean[1],
                    "class": mean[2],
                    "rate": learning_rate(recipe, seen),
                    "s_per_window": (time.monotonic() - began) / 25 / recipe.batch,
                }
                log.write(json.dumps({k: round(v, 6) for k, v in line.items()}) + "\n")
                log.flush()
                if report is not None:
                    report(line)
                sums, began = torch.zeros(3), time.monotonic()
            if time.monotonic() - saved > 120:
                keep()
                saved = time.monotonic()
            if stop is not None and stop():
                break
    keep()
    return run / "best.pt"


def recipe_of(path: Path) -> Recipe:
    """The recipe a run's ``recipe.json`` holds."""
    held = json.loads(path.read_text())
    held["mix"], held["gains"] = Mix(**held["mix"]), Gains(**{**held["gains"], "balance": tuple(held["gains"]["balance"])})
    return replace(Recipe(), **held)
