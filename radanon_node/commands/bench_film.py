"""One 2500 x 2048 film from received bytes to `Released`, with the time of each stage: the figure beside the paper's 1.43 s."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier

import numpy as np

from radanon_node.pipeline.clean import clean_batch
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.tools import Policy, Stopwatch, Tools
from radanon_node.pipeline.types import Received
from radanon_node.settings_profile import ProfileSettings, TagSettings
from radanon_node.training.demo_films import draw_film
from radanon_node.training.films_dicom import dx_dataset, encoded, invent


def run(quick: bool = False) -> str:
    """Measure; returns Markdown tables: films with print, with lead alone, and those that declare burnt-in text, which are read too."""
    films = 4 if quick else 12
    parts = [_measure(films, "NO", "films with a lead letter, initials and two lines of print")]
    parts.append(_measure(films, "NO", "films with a lead letter and initials alone", printed=False))
    parts.append(_measure(max(2, films // 4), "YES", "films with print that say Burned In Annotation = YES"))
    return "\n".join(parts)


def _measure(films: int, burned_in: str, title: str, printed: bool = True) -> str:
    data = _films(films, burned_in, printed)
    cores = len(os.sched_getaffinity(0))
    tools, policy = Tools(bytes(32), threads=cores), _policy()
    clean_batch([Received(data[0], "warm-up")], policy, tools)
    tools.watch = Stopwatch()
    seconds, busy, boxes = [], [], 0
    for number, item in enumerate(data):
        begun, used = time.perf_counter(), time.process_time()
        (result,) = clean_batch([Received(item, str(number))], policy, tools)
        seconds.append(time.perf_counter() - begun)
        busy.append(time.process_time() - used)
        if isinstance(result, Released):
            boxes += len(result.receipt["boxes"])
    lines = [f"**{title}**\n", "| stage | ms per film |", "|---|---|"]
    stages = sorted(tools.watch.seconds.items(), key=lambda item: -item[1])
    lines += [f"| {stage} | {1000 * total / films:.1f} |" for stage, total in stages]
    lines.append(f"| **all, median of {films} films, one at a time on {cores} threads** | **{1000 * statistics.median(seconds):.0f}** |")
    lines.append(f"| all, fastest | {1000 * min(seconds):.0f} |")
    lines.append(f"| processor time, median | {1000 * statistics.median(busy):.0f} |")
    lines.append(f"| **per film, {cores} processes of one thread, as workers run** | **{1000 * _side_by_side(data, cores):.0f}** |")
    lines.append(f"\n{boxes / films:.1f} boxes per film; the paper: 1,430 ms on a CPU, 510 ms on a V100 (other machines).\n")
    return "\n".join(lines)


def _films(count: int, burned_in: str, printed: bool) -> list[bytes]:
    rng = np.random.default_rng(3)
    data = []
    for number in range(count):
        person = invent(rng)
        film = draw_film(rng, 2500, 2048, person, printed=printed)
        data.append(bytes(encoded(dx_dataset(film, 12, person, number, burned_in=burned_in))))
    return data


def _policy() -> Policy:
    options = ("clean_pixel_data", "retain_longitudinal_modified_dates")
    return Policy("bench", "bench", ProfileSettings(tags=TagSettings(options=options)))


def _side_by_side(data: list[bytes], processes: int) -> float:
    """Seconds per film when each process cleans all of the films, all processes at once."""
    context = multiprocessing.get_context("spawn")
    begin = context.Barrier(processes + 1)
    with ProcessPoolExecutor(processes, context, _share, (begin,)) as pool:
        ends = [pool.submit(_clean_all, data) for _ in range(processes)]
        begin.wait()
        begun = time.monotonic()
        last = max(end.result() for end in ends)
    return (last - begun) / (processes * len(data))


def _share(barrier: Barrier) -> None:
    _begin.append(barrier)


_begin: list[Barrier] = []


def _clean_all(data: list[bytes]) -> float:
    tools, policy = Tools(bytes(32)), _policy()
    clean_batch([Received(data[0], "warm-up")], policy, tools)
    _begin[0].wait()
    for item in data:
        clean_batch([Received(item, "film")], policy, tools)
    return time.monotonic()
