"""Prometheus figures read from the ledger at each scrape; labels are routes, destinations and states, never identities."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from radanon_node.ledger.sampling import Residual
from radanon_node.stages import BOUNDS, Histogram


class StatusCollector(Collector):
    """One status of `status.full_status` as metrics.

    Parameters
    ----------
    status : mapping
    residuals : sequence of Residual
        Of the latest month; the label `device` is a keyed token.
    paused : collection of str
        Destinations that a person has paused.
    """

    def __init__(self, status: Mapping[str, Any], residuals: Sequence[Residual] = (), paused: Collection[str] = ()) -> None:
        self._status, self._residuals, self._paused = status, residuals, paused

    def collect(self) -> Iterable[Metric]:
        instances = GaugeMetricFamily("radanon_instances", "Instances by route and state.", labels=["route", "state"])
        for route, states in self._status["routes"].items():
            for state, count in states.items():
                instances.add_metric([route, state], count)
        deliveries = GaugeMetricFamily("radanon_deliveries", "Deliveries by destination and state.", labels=["destination", "state"])
        up = GaugeMetricFamily("radanon_destination_up", "1 if the destination answered last time.", labels=["destination"])
        for name, row in self._status["destinations"].items():
            for state in ("waiting", "delivered", "failed"):
                deliveries.add_metric([name, state], row[state])
            up.add_metric([name], float(row["up"]))
        halted = GaugeMetricFamily("radanon_destination_paused", "1 if a person has paused sending to it.", labels=["destination"])
        for name in self._status["destinations"]:
            halted.add_metric([name], float(name in self._paused))
        yield from self._sampled()
        yield halted
        yield instances
        yield deliveries
        yield up
        layouts = GaugeMetricFamily("radanon_device_layouts", "Kinds of devices by state of what is learned of their screens, and alarms.",
                                    labels=["state"])
        for state, count in self._status.get("layouts", {}).items():
            layouts.add_metric([state], count)
        yield layouts
        finds = CounterMetricFamily("radanon_burnt_in_text", "Pictures searched for text, by route and what was found.",
                                    labels=["route", "what"])
        for route, counts in self._status.get("finds", {}).items():
            for what, count in counts.items():
                finds.add_metric([route, what], count)
        yield finds
        yield GaugeMetricFamily("radanon_oldest_waiting_seconds", "Age of the oldest instance not yet delivered or set aside.",
                                value=self._status["oldest_waiting_s"])
        yield GaugeMetricFamily("radanon_disk_free_bytes", "Free space for the spool.", value=self._status["disk"]["free"])
        yield GaugeMetricFamily("radanon_disk_min_free_bytes", "Free space below which instances are refused.",
                                value=self._status["disk"]["min_free"])


    def _sampled(self) -> Iterable[Metric]:
        labels = ["device", "month"]
        looked = GaugeMetricFamily("radanon_sample_looked", "Released instances that a reviewer has looked at.", labels=labels)
        found = GaugeMetricFamily("radanon_sample_residual", "Of them, with identity left.", labels=labels)
        upper = GaugeMetricFamily("radanon_residual_upper_bound", "Upper confidence bound of the share of released instances with identity "
                                  "left (Clopper-Pearson).", labels=labels)
        for row in self._residuals:
            for family, value in ((looked, row.looked), (found, row.found), (upper, row.upper)):
                family.add_metric([row.device, row.month], value)
        yield from (looked, found, upper)


class StageCollector(Collector):
    """Seconds per stage on this host, as histograms; `stages` as from `stages.read_stages`."""

    def __init__(self, stages: Mapping[str, Histogram]) -> None:
        self._stages = stages

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily("radanon_stage_seconds", "Time of each stage of an instance's way (claim, store and record: of a "
                                       "batch) in the processes of this host.", labels=["stage"])
        for stage, found in sorted(self._stages.items()):
            below, buckets = 0, []
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), found.counts, strict=True):
                below += count
                buckets.append((bound, float(below)))
            family.add_metric([stage], buckets, found.seconds)
        yield family


def exposition(
    status: Mapping[str, Any], residuals: Sequence[Residual] = (), paused: Collection[str] = (),
    stages: Mapping[str, Histogram] | None = None,
) -> bytes:
    """The metrics page in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(StatusCollector(status, residuals, paused))
    registry.register(StageCollector(stages or {}))
    return generate_latest(registry)
