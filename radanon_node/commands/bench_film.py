"""One 2500 x 2048 film from received bytes to `Released`, with the time of each stage: the figure beside the paper's 1.43 s."""

from __future__ import annotations

import os
import statistics
import time

import numpy as np

from radanon_node.pipeline.clean import clean_batch
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.tools import Policy, Stopwatch, Tools
from radanon_node.pipeline.types import Received
from radanon_node.settings_profile import ProfileSettings, TagSettings
from radanon_node.training.demo_films import draw_film
from radanon_node.training.films_dicom import dx_dataset, encoded, invent


def run(quick: bool = False) -> str:
    """Measure; returns Markdown tables: ordinary films, and films that declare burnt-in text, which the text detector reads too."""
    films = 4 if quick else 12
    parts = [_measure(films, "NO", "ordinary films: marker detector and retention")]
    parts.append(_measure(max(2, films // 4), "YES", "films with Burned In Annotation = YES: the text detector looks too"))
    return "\n".join(parts)


def _measure(films: int, burned_in: str, title: str) -> str:
    rng = np.random.default_rng(3)
    data = []
    for number in range(films):
        person = invent(rng)
        data.append(encoded(dx_dataset(draw_film(rng, 2500, 2048, person), 12, person, number, burned_in=burned_in)))
    tools = Tools(bytes(32), threads=len(os.sched_getaffinity(0)))
    options = ("clean_pixel_data", "retain_longitudinal_modified_dates")
    policy = Policy("bench", "bench", ProfileSettings(tags=TagSettings(options=options)))
    clean_batch([Received(data[0], "warm-up")], policy, tools)
    tools.watch = Stopwatch()
    seconds, boxes = [], 0
    for number, item in enumerate(data):
        begun = time.perf_counter()
        (result,) = clean_batch([Received(item, str(number))], policy, tools)
        seconds.append(time.perf_counter() - begun)
        if isinstance(result, Released):
            boxes += len(result.receipt["boxes"])
    lines = [f"**{title}**\n", "| stage | ms per film |", "|---|---|"]
    stages = sorted(tools.watch.seconds.items(), key=lambda item: -item[1])
    lines += [f"| {stage} | {1000 * total / films:.1f} |" for stage, total in stages]
    lines.append(f"| **all, median of {films} films, one at a time** | **{1000 * statistics.median(seconds):.0f}** |")
    lines.append(f"| all, fastest | {1000 * min(seconds):.0f} |")
    lines.append(f"\n{boxes / films:.1f} boxes per film; the paper: 1,430 ms on a CPU, 510 ms on a V100 (other machines).\n")
    return "\n".join(lines)
