"""Fine-tuning on about twenty films of one's own hospital; against forgetting drawn films are replayed and old weights mixed in."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from radanon_node.errors import ConfigError
from radanon_node.markers.checkpoint import Checkpoint, read_checkpoint
from radanon_node.training.export import digest, export
from radanon_node.training.films import LabelledFilm
from radanon_node.training.samples import Mix
from radanon_node.training.second_stage import between, fit
from radanon_node.training.train import Recipe, train


@dataclass(frozen=True)
class Tuned:
    """Result of a fine-tuning: the weights to name in the configuration, their hash, the films kept out."""

    weights: Path
    sha256: str
    held_out: tuple[LabelledFilm, ...]


def split(films: Sequence[LabelledFilm], share: float) -> tuple[list[LabelledFilm], list[LabelledFilm]]:
    """Films to tune on and films to judge on: every n-th in order of name is kept out; a split the labels name wins.

    Raises
    ------
    ConfigError
        Nothing is left to tune on.
    """
    if any(f.split for f in films):
        tune, held = [f for f in films if f.split != "val"], [f for f in films if f.split == "val"]
    else:
        ordered = sorted(films, key=lambda f: f.path.name)
        every = round(1 / share) if share > 0 else 0
        held = [f for k, f in enumerate(ordered) if every and k % every == every - 1]
        tune = [f for f in ordered if f not in held]
    if not any(i.label >= 0 for f in tune for i in f.items):
        raise ConfigError("finetune: no labelled marker on the films to tune on")
    return tune, held


def finetune(
    films: Sequence[LabelledFilm],
    out: Path,
    *,
    base: Path,
    base_films: Sequence[LabelledFilm] = (),
    held_out: float = 0.0,
    passes: int = 2000,
    rate: float = 0.0004,
    seed: int = 1,
    replay: float = 0.5,
    keep: float = 0.3,
    workers: int = 1,
    threads: int = 2,
    device: str = "auto",
    report: Callable[[dict[str, float]], None] | None = None,
) -> Tuned:
    """Adapt weights to local films.

    Parameters
    ----------
    films : sequence of LabelledFilm
    out : Path
        Folder for the run and ``markers-local.onnx/.pt/.json``.
    base : Path
        The ``.pt`` to start from; its ``.json`` beside it gives thresholds and input size.
    base_films : sequence of LabelledFilm
        Films of the base training to replay too, where one has them.
    held_out : float
        Share of the films kept out for judging.
    passes : int
        Training windows; 2,000 are some minutes on a CPU. The second stage sees three candidates for each.
    rate : float
        Learning rate.
    seed : int
    replay : float
        Share of windows from drawn films.
    keep : float
        Share of the base in the result, 0 to 1: each weight lies so far back on the line from tuned to base
        (after Wortsman et al., *Robust fine-tuning of zero-shot models*, CVPR 2022).
    workers, threads, device
        As in `train`.
    report : callable or None
        Given lines of figures.

    Raises
    ------
    ConfigError
        Base or films cannot be used, or `keep` is no share.
    """
    if not 0 <= keep <= 1:
        raise ConfigError(f"finetune: --keep must be 0 to 1, not {keep}")
    tune, held = split(films, held_out)
    card_path = base.with_suffix(".json")
    try:
        card = json.loads(card_path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"weights {base.name}: needs its description {card_path.name} beside it ({type(error).__name__})") from error
    start = read_checkpoint(base)
    # Local films are few: each is repeated until they outnumber replayed real ones two to one.
    repeats = max(1, round(2 * len(base_films) / len(tune)))
    recipe = Recipe(
        size=start.size,
        passes=passes,
        rate=rate,
        warmup=min(320, passes // 4),
        seed=seed,
        start=base.name,
        image=320,
        long_side=int(card["input_size"]),
        final=0.05,
        mix=Mix(real=1 - replay, extra=0.3, mosaic=0.15),
    )
    best = train(
        recipe, tune * repeats + list(base_films), out / "run", start=base, workers=workers, threads=threads, device=device, report=report
    )
    if start.verifier:
        best = _second_stage(best, start.verifier, tune, list(base_films), out, card, passes, seed, threads, report)
    provenance = {
        "recipe": asdict(recipe),
        "provenance": {
            "base_sha256": digest(base),
            "films": len(tune),
            "replayed_films": len(base_films),
            "held_out_films": len(held),
            "kept_of_base": keep,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }
    best = _mixed(start, best, keep, out / "run" / "mixed.pt")
    weights = export(best, out, thresholds=card["thresholds"], input_size=int(card["input_size"]), name="markers-local", card=provenance)
    return Tuned(weights, digest(weights), tuple(held))


def _mixed(base: Checkpoint, tuned: Path, keep: float, target: Path) -> Path:
    """Write the checkpoint that lies `keep` of the way back from `tuned` to `base`, both stages."""
    new = read_checkpoint(tuned)
    mixed = {"state_dict": between(new.state, base.state, keep), "names": list(new.names), "size": new.size, "nc": new.nc}
    if new.verifier:
        mixed["verifier"] = between(new.verifier, base.verifier, keep)
    torch.save(mixed, target)
    return target


def _second_stage(
    best: Path,
    verifier: dict[str, Tensor],
    tune: list[LabelledFilm],
    base_films: list[LabelledFilm],
    out: Path,
    card: dict[str, Any],
    passes: int,
    seed: int,
    threads: int,
    report: Callable[[dict[str, float]], None] | None,
) -> Path:
    """The base's second stage, tuned on the new detector's candidates; most windows are drawn ones, against forgetting."""
    held = torch.load(best, map_location="cpu", weights_only=True)
    torch.save({**held, "verifier": verifier}, out / "run" / "pair.pt")
    return fit(
        out / "run" / "pair.pt",
        tune + base_films,
        out / "second",
        windows=max(passes // 4, 16),
        passes=passes * 3,
        rate=0.0004,
        seed=seed,
        threads=threads,
        long_side=int(card["input_size"]),
        mix=Mix(real=0.3, mosaic=0.1, empty=0.3, borrow=0.3),
        report=report,
    )
