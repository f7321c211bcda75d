"""The biometrics stage on 2500 x 2048 films of 12 bits: milliseconds per film, by step."""

from __future__ import annotations

import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from radanon_node.biometrics.generator import Generator
from radanon_node.biometrics.stage import Anonymiser
from radanon_node.biometrics.weights import find_generator
from radanon_node.pipeline.types import Box, Kind, Region, Source, Verdict
from radanon_node.pixels.codec import open_image
from radanon_node.pixels.instance import read_instance
from radanon_node.settings_profile import BiometricsSettings
from radanon_node.training.demo_films import draw_film
from radanon_node.training.films_dicom import dx_dataset, encoded, invent


def run(quick: bool = False) -> str:
    """Measure; returns a Markdown table."""
    try:
        return measure(2 if quick else 5, 2, None)
    except ImportError:
        return "Not measured: an untrained network to time needs the extra [train].\n"


def measure(films: int, threads: int, weights: Path | None) -> str:
    """Time the stage: once for the film that leaves, as the node does it, and once more for the proof.

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
        lines += ["| stage | ms per film, median | fastest | CPU ms, all threads, fastest |", "|---|---|---|---|"]
        for name, settings in stages.items():
            stage = Anonymiser(settings, generator if settings.field == "film" else None, _key, "patient", "1.2.3")
            times = []
            for number in range(films + 1):
                data = encoded(dx_dataset(draw_film(np.random.default_rng(number), 2500, 2048, person), 12, person, number))
                image = open_image(read_instance(data))
                image.frame(0)
                times.append(_timed(lambda image=image, stage=stage: stage.values(image, regions)))  # type: ignore[misc]
            wall, busy = ([1000 * each[at] for each in times[1:]] for at in (0, 1))
            lines.append(f"| {name} | {statistics.median(wall):.0f} | {min(wall):.0f} | {min(busy):.0f} |")
    lines.append("\nThe verifier computes the film again, so a film costs this twice, and its lossless coding.\n")
    return "\n".join(lines)


def _key(purpose: str, value: str) -> bytes:
    return hashlib.sha256(f"{purpose}\0{value}".encode()).digest()


def _timed(step: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of processors; the second does not grow when the machine is busy with something else."""
    begun, busy = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - begun, time.process_time() - busy


def _untrained(folder: Path) -> Path:
    from radanon_node.training.biometrics.learn import Recipe
    from radanon_node.training.biometrics.nets import UNet
    from radanon_node.training.biometrics.train import export

    recipe = Recipe(side=256)
    path = export(UNet(2, recipe.width), recipe, folder / "untrained.onnx")
    assert json.loads(path.with_suffix(".json").read_text())["side"] == 256
    return path
