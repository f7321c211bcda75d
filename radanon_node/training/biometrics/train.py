"""``radanon biometrics train``: the whole schedule, from films to a generator that the node can load."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from radanon_node.errors import ConfigError
from radanon_node.training.biometrics.collection import FINDINGS
from radanon_node.training.biometrics.films import Films, Split
from radanon_node.training.biometrics.learn import (
    Recipe,
    Report,
    adversarial,
    device_of,
    pretrain_generator,
    train_classifier,
    train_verifier,
)
from radanon_node.training.biometrics.nets import Classifier, UNet, Verifier

Net = TypeVar("Net", bound=nn.Module)


def train(films: Films, split: Split, recipe: Recipe, out: Path, device: str = "auto", report: Report | None = None) -> Path:
    """Verifier, classifier (where findings are labelled), pre-training, adversarial training, export.

    Each finished step is kept in `out`; a run that was broken off goes on after the last of them.

    Parameters
    ----------
    films : Films
    split : Split
        Only its training patients are used.
    recipe : Recipe
    out : Path
        Folder of the run.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    report : callable or None
        Called with the figures of a step now and then.

    Returns
    -------
    Path
        ``deformation.onnx`` with its ``.json`` beside it; for the picture generator ``generator.pt``.

    Raises
    ------
    ConfigError
        `out` holds a run of another recipe.
    """
    out.mkdir(parents=True, exist_ok=True)
    settled = out / "recipe.json"
    told = json.loads(json.dumps(recipe.as_dict() | {"patients": hashlib.sha256("".join(sorted(split.train)).encode()).hexdigest()}))
    if settled.exists() and json.loads(settled.read_text()) != told:
        raise ConfigError(f"{out}: holds a run of another recipe or other patients; choose another folder")
    settled.write_text(json.dumps(told, indent=1) + "\n")
    where, known = device_of(device), films.of(split.train)
    fresh = Verifier(width=recipe.opponent_width)
    verifier = _kept(out / "verifier.pt", fresh, where, lambda: train_verifier(known, recipe, where, report=report))
    classifier = None
    if known.findings is not None:
        empty = Classifier(len(FINDINGS), recipe.opponent_width)
        classifier = _kept(out / "classifier.pt", empty, where, lambda: train_classifier(known, recipe, where, report))
    blank = UNet(2 if recipe.kind == "flow" else 1, recipe.width)
    started = _kept(out / "pretrained.pt", blank, where, lambda: pretrain_generator(known, recipe, where, report))
    blank = UNet(2 if recipe.kind == "flow" else 1, recipe.width)
    net = _kept(
        out / "generator.pt", blank, where,
        lambda: adversarial(started, verifier, classifier, known, recipe, where, report, out / "adversarial.state"),
    )  # fmt: skip
    (out / "adversarial.state").unlink(missing_ok=True)
    if recipe.kind != "flow":
        return out / "generator.pt"
    return export(net, recipe, out / "deformation.onnx", {"training_patients": len(split.train), "findings": known.findings is not None})


def _kept(path: Path, blank: Net, device: torch.device, step: Callable[[], Net]) -> Net:
    """The network a finished step has left, or the step done now and kept."""
    if path.exists():
        blank.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return blank.to(device).eval()
    net = step()
    part = path.with_suffix(".part")
    torch.save({name: value.cpu() for name, value in net.state_dict().items()}, part)
    part.rename(path)
    return net.eval()


def load_generator(folder: Path) -> tuple[UNet, Recipe]:
    """The generator of a finished run and its recipe.

    Raises
    ------
    ConfigError
        No finished run there.
    """
    try:
        told = json.loads((folder / "recipe.json").read_text())
        told.pop("patients", None)
        recipe = Recipe(**told)
        net = UNet(2 if recipe.kind == "flow" else 1, recipe.width)
        net.load_state_dict(torch.load(folder / "generator.pt", map_location="cpu", weights_only=True))
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"{folder}: holds no finished run ({type(error).__name__})") from None
    return net.eval(), recipe


def export(net: UNet, recipe: Recipe, path: Path, card: Mapping[str, Any] | None = None) -> Path:
    """Write the generator as the node loads it: ONNX, and a description with hash, side and mu.

    Input ``film``: float32 (1, 1, side, side) in 0..1, 0 = displayed black. Output ``flow``: float32 (1, 2, side, side) in -1..1, to be
    scaled by mu and smoothed as `biometrics.field` does.
    """
    net = net.cpu().eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (torch.zeros(1, 1, recipe.side, recipe.side),), str(path),
            input_names=["film"], output_names=["flow"], opset_version=17, dynamo=False,
        )  # fmt: skip
    description = {
        "name": path.stem,
        "architecture": f"U-Net, four halvings, width {recipe.width}, two-channel flow",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "side": recipe.side,
        "mu": recipe.mu,
        "recipe": recipe.as_dict(),
        **(card or {}),
    }
    path.with_suffix(".json").write_text(json.dumps(description, indent=1) + "\n")
    return path
