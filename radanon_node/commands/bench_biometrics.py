"""The biometrics stage on 2500 x 2048 films of 12 bits: milliseconds per film, for making it and for proving it."""

from __future__ import annotations

import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from radanon_node.biometrics.generator import Generator
from radanon_node.biometrics.proof import prove_anonymised
from radanon_node.biometrics.stage import Anonymiser
from radanon_node.biometrics.weights import find_generator
from radanon_node.pipeline.types import Box, Kind, Region, Source, Verdict
from radanon_node.pixels.codec import open_image
from radanon_node.pixels.instance import read_instance
from radanon_node.settings_profile import BiometricsSettings
from radanon_node.training.demo_films import draw_film
from radanon_node.training.films_dicom import dx_dataset, encoded, invent

Made = TypeVar("Made")


def run(quick: bool = False) -> str:
    """Measure; returns a Markdown table."""
    try:
        return measure(2 if quick else 5, 2, None)
    except ImportError:
        return "Not measured: an untrained network to time needs the extra [train].\n"


def measure(films: int, threads: int, weights: Path | None) -> str:
    """Time the stage as the node runs it: the film that leaves, and the verifier's proof, which works it out again and compares.

    Making includes the uncompressed coding of the new film; proving does not include reading it back from its file.

    Parameters
    ----------
    films : int
    threads : int
        Of the network and of OpenCV.
    weights : Path or None
        A generator; None makes an untrained one of the default size, whose time is the same.
    """
    cv2.setNumThreads(threads)
    rng = np.random.default_rng(3)
    person = invent(rng)
    regions = [Region(Box(1700, 100, 1900, 260), Verdict.REDACT, Kind.TEXT, 0.9, Source.MARKER_MODEL)]
    with tempfile.TemporaryDirectory() as folder:
        path = weights or _untrained(Path(folder))
        found = find_generator(path, hashlib.sha256(path.read_bytes()).hexdigest())
        assert found is not None
        generator = Generator(found, threads)
        stages = {
            "deformation, learned field": BiometricsSettings(method="deformation", weights=path, weights_sha256=found.sha256),
            "deformation, field per patient": BiometricsSettings(method="deformation", field="patient"),
            "dp_pix": BiometricsSettings(method="dp_pix"),
        }
        lines = [f"Network of {found.side} x {found.side}, {threads} threads, {films} films.\n"]
        lines += ["| stage | made: ms, median | fastest | CPU ms | proved: ms, median | fastest | CPU ms |", "|---|" + "---|" * 6]
        for name, settings in stages.items():
            stage = Anonymiser(settings, generator if settings.field == "film" else None, _key, "patient", "1.2.3")
            made, proved = [], []
            for number in range(films + 1):
                dataset = dx_dataset(draw_film(np.random.default_rng(number), 2500, 2048, person), 12, person, number)
                image = open_image(read_instance(encoded(dataset)))
                image.frame(0)
                times, result = _timed(lambda image=image, stage=stage: stage.apply(image, regions))  # type: ignore[misc]
                made.append(times)
                dataset.PixelData = b"".join(bytes(chunk) for chunk in result.pixels.chunks)
                after = open_image(read_instance(encoded(dataset)))
                after.frame(0)
                proved.append(_timed(lambda: prove_anonymised(image, after, regions, stage))[0])  # noqa: B023  called at once
            cells = []
            for each in (made[1:], proved[1:]):
                wall, busy = ([1000 * film[at] for film in each] for at in (0, 1))
                cells += [f"{statistics.median(wall):.0f}", f"{min(wall):.0f}", f"{min(busy):.0f}"]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append("\nCPU ms: of all threads together, the fastest film. A film costs both: it is made, and then proved.\n")
    return "\n".join(lines)


def _key(purpose: str, value: str) -> bytes:
    return hashlib.sha256(f"{purpose}\0{value}".encode()).digest()


def _timed(step: Callable[[], Made]) -> tuple[tuple[float, float], Made]:
    """Seconds on the clock, and of processors; the second grows little when the machine is busy with something else."""
    begun, busy = time.perf_counter(), time.process_time()
    made = step()
    return (time.perf_counter() - begun, time.process_time() - busy), made


def _untrained(folder: Path) -> Path:
    from radanon_node.training.biometrics.learn import Recipe
    from radanon_node.training.biometrics.nets import UNet
    from radanon_node.training.biometrics.train import export

    recipe = Recipe(side=256)
    path = export(UNet(2, recipe.width), recipe, folder / "untrained.onnx")
    assert json.loads(path.with_suffix(".json").read_text())["side"] == 256
    return path
