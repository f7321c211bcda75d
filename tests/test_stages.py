"""Stage times: counted per process, added up over the files of all, never in the way."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from radanon_node.stages import BOUNDS, Histogram, Stages, forget_dead, read_stages, stage_file
from radanon_node.web.metrics import StageCollector


def test_observations_fall_into_their_buckets() -> None:
    stages = Stages()
    for seconds in (0.0001, 0.0005, 0.0006, 61.0):
        stages.observe("sync", seconds)
    found = stages.read()["sync"]
    assert found.counts[0] == 2
    assert found.counts[1] == 1
    assert found.counts[-1] == 1
    assert found.count == 4
    assert found.seconds == pytest.approx(61.0012)


def test_a_block_that_fails_is_not_counted() -> None:
    stages = Stages()
    with pytest.raises(ValueError, match="inside"), stages.stage("claim"):
        raise ValueError("inside")
    with stages.stage("store"):
        pass
    assert set(stages.read()) == {"store"}


def test_the_files_of_all_processes_are_added_up(tmp_path: Path) -> None:
    for number, owner in enumerate(("host/1.2/worker-1.0", "host/1.2/sender.0")):
        stages = Stages(stage_file(tmp_path, owner))
        stages.observe("both", 0.1)
        stages.observe(f"own {number}", 0.2)
        stages.write()
    (tmp_path / "stages" / "broken.json").write_text("{")
    found = read_stages(tmp_path)
    assert found["both"].count == 2
    assert {"own 0", "own 1"} <= set(found)
    forget_dead(tmp_path, lambda owner: owner in ("host/1.2/worker-1.0", "broken"))
    assert read_stages(tmp_path)["both"].count == 1


def test_threads_lose_nothing() -> None:
    stages = Stages()
    threads = [threading.Thread(target=lambda: [stages.observe("x", 0.001) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stages.read()["x"].count == 2000


def test_a_folder_that_cannot_be_written_costs_the_figures_alone(tmp_path: Path) -> None:
    (tmp_path / "stages").write_text("in the way")
    stages = Stages(stage_file(tmp_path, "host/1.2/x"))
    stages.observe("x", 1.0)
    stages.write()
    assert stages.read()["x"].count == 1


def test_prometheus_reads_them_as_cumulative_histograms() -> None:
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(StageCollector({"sync": Histogram((1, 2, *[0] * (len(BOUNDS) - 2), 3), 7.5)}))
    (family,) = text_string_to_metric_families(generate_latest(registry).decode())
    samples = {(sample.name, sample.labels.get("le")): sample.value for sample in family.samples}
    assert samples["radanon_stage_seconds_bucket", "0.001"] == 3
    assert samples["radanon_stage_seconds_bucket", "+Inf"] == 6
    assert samples["radanon_stage_seconds_sum", None] == 7.5
