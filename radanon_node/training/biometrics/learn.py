"""The learning steps: verifier, classifier, pre-training of the generator, adversarial training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from radanon_node.training.biometrics.films import Films
from radanon_node.training.biometrics.nets import Classifier, UNet, Verifier, contrast
from radanon_node.training.biometrics.warp import warp

Report: TypeAlias = Callable[[dict[str, Any]], None]
Net = TypeVar("Net", bound=nn.Module)

_KEPT = 100
"""Adversarial steps after which a run is kept, to go on from there if it is broken off."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training run.

    Parameters
    ----------
    side : int
        Pixels of the network's square, a multiple of 16; the paper's is 256.
    mu : float
        Largest deformation; the paper's are 0.001, 0.005, 0.01.
    width, opponent_width : int
        Channels of the generator's and of the opponents' first level.
    batch : int
        Patients per step.
    verifier_steps, classifier_steps, pretraining_steps, adversarial_steps : int
    verifier_rate, generator_rate : float
        Learning rates (Adam).
    utility, privacy : float
        Weights of the two sides of the generator's loss; the paper has 1 and 1.
    seed : int
    kind : str
        ``flow`` for the deformation field, ``picture`` for the PrivacyNet-like baseline that paints a new picture.
    """

    side: int = 128
    mu: float = 0.01
    width: int = 8
    opponent_width: int = 16
    batch: int = 16
    verifier_steps: int = 1500
    classifier_steps: int = 3000
    pretraining_steps: int = 100
    adversarial_steps: int = 600
    verifier_rate: float = 1e-3
    generator_rate: float = 3e-4
    utility: float = 1.0
    privacy: float = 1.0
    seed: int = 1
    kind: str = "flow"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def device_of(name: str) -> torch.device:
    """``auto`` takes CUDA where there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def quick(net: Net) -> Net:
    """The same network with its weights laid out channels last: a quarter less time per step on a CPU."""
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    return net


def tensor(pictures: NDArray[np.uint8], side: int, device: torch.device, half: bool | None = None) -> Tensor:
    """Pictures (n, rows, columns) as the networks take them: (n, 1, side, side) in 0..1.

    They all lie on the device, so that no batch waits for a copy. With `half` (None: on CUDA) they are kept as float16, whose steps
    are finer than those of 8 bits, and each batch is made float32: 100,000 films of 256 pixels are 13 GB.
    """
    kept = torch.float16 if (device.type == "cuda" if half is None else half) else torch.float32
    out = torch.empty((len(pictures), 1, side, side), device=device, dtype=kept)
    for first in range(0, len(pictures), 512):  # a hundred thousand films as floats would not fit into memory at full size
        some = torch.from_numpy(np.array(pictures[first : first + 512])).to(device)[:, None].float() / 255
        # Films are cached at a multiple of the side: the mean over whole blocks is what the node's INTER_AREA computes.
        out[first : first + 512] = some if some.shape[-1] == side else functional.interpolate(some, (side, side), mode="area")
    return out


def augmented(x: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Another exposure of the same films: turned, shifted, scaled, other contrast. Never mirrored: the heart is on one side."""
    count, device = len(x), x.device

    def draw(low: float, high: float) -> Tensor:
        return (torch.rand(count, generator=generator) * (high - low) + low).to(device)

    angle, scale = draw(-0.07, 0.07) * strength, 1 + draw(-0.08, 0.08) * strength
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    matrix = torch.stack(
        [torch.stack([cos, -sin, draw(-0.1, 0.1) * strength], 1), torch.stack([sin, cos, draw(-0.1, 0.1) * strength], 1)], 1
    )
    grid = functional.affine_grid(matrix, list(x.shape), align_corners=False)
    moved = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    gamma, gain, lift = torch.exp(draw(-0.35, 0.35) * strength), 1 + draw(-0.2, 0.2) * strength, draw(-0.1, 0.1) * strength
    shaped = moved.clamp(1e-4, 1) ** gamma.view(-1, 1, 1, 1)
    return (shaped * gain.view(-1, 1, 1, 1) + lift.view(-1, 1, 1, 1)).clamp(0, 1)


def batches(films: Films, batch: int, rng: np.random.Generator) -> Iterator[tuple[list[int], list[int], list[int]]]:
    """For ever: positions of two films of each of `batch` patients (the same twice where there is one), and the patients' numbers.

    Patients with several films come in every batch: they alone show what stays the same between two days.
    """
    groups = films.by_patient()
    numbers = {patient: index for index, patient in enumerate(sorted(groups))}
    several = [patient for patient in sorted(groups) if len(groups[patient]) > 1]
    single = [patient for patient in sorted(groups) if len(groups[patient]) == 1]
    while True:
        count = min(len(several), max(batch - len(single), batch * 3 // 4))
        chosen = [several[at] for at in rng.permutation(len(several))[:count]]
        chosen += [single[at] for at in rng.permutation(len(single))[: batch - len(chosen)]]
        first, second = [], []
        for patient in chosen:
            own = groups[patient]
            a, b = (own[at] for at in rng.permutation(len(own))[:2]) if len(own) > 1 else (own[0], own[0])
            first.append(a)
            second.append(b)
        yield first, second, [numbers[patient] for patient in chosen]


def train_verifier(
    films: Films, recipe: Recipe, device: torch.device, anonymised: Films | None = None, seed: int = 0, report: Report | None = None
) -> Verifier:
    """A verifier from scratch: by contrast within batches, and as pairs (binary cross-entropy).

    Parameters
    ----------
    films : Films
        Of training patients.
    recipe : Recipe
    device : torch.device
    anonymised : Films or None
        The same films anonymised, which one side of each pair is then taken from: the attacker knows the method and trains on what
        it makes (the honest test).
    seed : int
        Beside the recipe's, for several runs.
    """
    torch.manual_seed(recipe.seed * 1000 + seed)
    rng, draws = np.random.default_rng([recipe.seed, seed]), torch.Generator().manual_seed(recipe.seed * 1000 + seed)
    net = quick(Verifier(width=recipe.opponent_width).to(device))
    optimizer = torch.optim.AdamW(net.parameters(), recipe.verifier_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.verifier_steps)
    source = batches(films, recipe.batch, rng)
    pictures = tensor(films.pictures, recipe.side, device)
    released = pictures if anonymised is None else tensor(anonymised.pictures, recipe.side, device)
    for step in range(recipe.verifier_steps):
        one, two, patients = next(source)
        first, second = released[one].float(), pictures[two].float()
        loss = _verification(net, augmented(first, draws), augmented(second, draws), torch.tensor(patients, device=device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if report is not None and (step + 1) % 100 == 0:
            report({"stage": "verifier", "step": step + 1, "loss": float(loss.detach())})
    return net.eval()


def _verification(net: Verifier, first: Tensor, second: Tensor, patients: Tensor) -> Tensor:
    both = net.embed(torch.cat([first, second]))
    one, two = both[: len(first)], both[len(first) :]
    logits = net.slope * one.detach() @ two.detach().T + net.offset
    same = (patients[:, None] == patients[None]).float()
    pairs = functional.binary_cross_entropy_with_logits(logits, same, pos_weight=logits.new_tensor(float(len(first) - 1)))
    return contrast(one, two, patients) + 0.1 * pairs


def train_classifier(films: Films, recipe: Recipe, device: torch.device, report: Report | None = None) -> Classifier:
    """The auxiliary classifier of findings, trained on real films; needs ``films.findings``."""
    assert films.findings is not None
    torch.manual_seed(recipe.seed)
    rng, draws = np.random.default_rng(recipe.seed), torch.Generator().manual_seed(recipe.seed)
    net = Classifier(films.findings.shape[1], recipe.opponent_width).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), recipe.verifier_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.classifier_steps)
    pictures, findings = tensor(films.pictures, recipe.side, device), torch.from_numpy(films.findings).to(device)
    for step in range(recipe.classifier_steps):
        chosen = torch.from_numpy(rng.integers(0, len(films), 2 * recipe.batch))
        loss = functional.binary_cross_entropy_with_logits(net(augmented(pictures[chosen].float(), draws)), findings[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if report is not None and (step + 1) % 100 == 0:
            report({"stage": "classifier", "step": step + 1, "loss": float(loss.detach())})
    return net.eval()


def apply_generator(net: UNet, x: Tensor, mu: float) -> Tensor:
    """What a generator makes of films: deformed by its flow, or painted."""
    made = net(x)
    return warp(x, made, mu) if net.made == 2 else made


def pretrain_generator(films: Films, recipe: Recipe, device: torch.device, report: Report | None = None) -> UNet:
    """The generator first learns to leave films as they are (mean squared error), as in the paper."""
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    net = UNet(2 if recipe.kind == "flow" else 1, recipe.width).to(device)
    optimizer = torch.optim.Adam(net.parameters(), recipe.generator_rate * 3)
    pictures = tensor(films.pictures, recipe.side, device)
    for step in range(recipe.pretraining_steps):
        x = pictures[torch.from_numpy(rng.integers(0, len(films), recipe.batch))].float()
        loss = functional.mse_loss(apply_generator(net, x, recipe.mu), x)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if report is not None and (step + 1) % 50 == 0:
            report({"stage": "pre-training", "step": step + 1, "loss": float(loss.detach())})
    return net


def adversarial(
    net: UNet,
    verifier: Verifier,
    classifier: Classifier | None,
    films: Films,
    recipe: Recipe,
    device: torch.device,
    report: Report | None = None,
    state: Path | None = None,
) -> UNet:
    """Generator against verifier, in turns; the classifier judges what is still worth something.

    The generator's loss (paper, equation 3): ``utility * L_classifier + privacy * -log(1 - verifier(anonymised, other real film))``
    over pairs of one patient. Where no findings are labelled, utility is the mean squared difference to the original (times 100):
    what can be said without labels. The verifier, which stays in evaluation mode as in the paper, learns on the anonymised films in
    turn, so that the generator does not merely fool one frozen network. The classifier is frozen.

    With `state`, everything is kept there every `_KEPT` steps, and a run that was broken off goes on from it.
    """
    torch.manual_seed(recipe.seed + 1)
    rng, draws = np.random.default_rng([recipe.seed, 1]), torch.Generator().manual_seed(recipe.seed + 1)
    for frozen in classifier.parameters() if classifier is not None else ():
        frozen.requires_grad_(False)
    quick(net).train()
    quick(verifier)
    make = torch.optim.Adam(net.parameters(), recipe.generator_rate)
    judge = torch.optim.Adam(verifier.parameters(), recipe.verifier_rate / 5)
    pictures = tensor(films.pictures, recipe.side, device)
    findings = None if films.findings is None else torch.from_numpy(films.findings).to(device)
    groups = films.by_patient()
    paired = films.of(patient for patient, own in groups.items() if len(own) > 1)
    position = {name: index for index, name in enumerate(films.names)}
    source = batches(paired, recipe.batch, rng)
    begun = 0
    if state is not None and state.exists():
        kept = torch.load(state, map_location="cpu", weights_only=True)
        begun = int(kept["step"])
        for part, name in ((net, "net"), (verifier, "verifier"), (make, "make"), (judge, "judge")):
            part.load_state_dict(kept[name])
        draws.set_state(kept["draws"])
        for _ in range(begun):
            next(source)
    for step in range(begun, recipe.adversarial_steps):
        one, two, numbers = next(source)
        first, second = ([position[paired.names[at]] for at in side] for side in (one, two))
        real, other = pictures[first].float(), pictures[second].float()
        fake = apply_generator(net, real, recipe.mu)
        verifier.requires_grad_(False)  # no gradients are computed that this turn does not use
        found = verifier(augmented(fake, draws, 0.5), augmented(other, draws, 0.5))
        privacy = functional.softplus(found).mean()  # -log(1 - sigmoid(found))
        if classifier is not None and findings is not None:
            utility = functional.binary_cross_entropy_with_logits(classifier(fake), findings[first])
        else:
            utility = 100 * functional.mse_loss(fake, real)
        make.zero_grad()
        (recipe.utility * utility + recipe.privacy * privacy).backward()  # type: ignore[no-untyped-call]
        make.step()
        verifier.requires_grad_(True)
        judge.zero_grad()
        opponent = _verification(verifier, augmented(fake.detach(), draws), augmented(other, draws), torch.tensor(numbers, device=device))
        opponent.backward()  # type: ignore[no-untyped-call]
        judge.step()
        if report is not None and (step + 1) % 25 == 0:
            report({
                "stage": "adversarial", "step": step + 1, "privacy": float(privacy.detach()), "utility": float(utility.detach()),
                "verifier": float(opponent.detach()), "found": float(torch.sigmoid(found.detach()).mean()),
            })  # fmt: skip
        if state is not None and (step + 1) % _KEPT == 0:
            part_file = state.with_suffix(".part")
            torch.save({
                "step": step + 1, "net": net.state_dict(), "verifier": verifier.state_dict(), "make": make.state_dict(),
                "judge": judge.state_dict(), "draws": draws.get_state(),
            }, part_file)  # fmt: skip
            part_file.rename(state)
    return net.eval()


def batched(net: Callable[[Tensor], Tensor], x: Tensor, size: int = 32) -> Tensor:
    """`net` over all of `x` without gradients, in pieces."""
    with torch.no_grad():
        return torch.cat([net(x[first : first + size].float()) for first in range(0, len(x), size)])
