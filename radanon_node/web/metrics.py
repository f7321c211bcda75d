"""Prometheus figures read from the ledger at each scrape; labels are routes, destinations and states, never identities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class StatusCollector(Collector):
    """One status of `status.full_status` as metrics.

    Parameters
    ----------
    status : mapping
    """

    def __init__(self, status: Mapping[str, Any]) -> None:
        self._status = status

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
        yield instances
        yield deliveries
        yield up
        yield GaugeMetricFamily("radanon_oldest_waiting_seconds", "Age of the oldest instance not yet delivered or set aside.",
                                value=self._status["oldest_waiting_s"])
        yield GaugeMetricFamily("radanon_disk_free_bytes", "Free space for the spool.", value=self._status["disk"]["free"])
        yield GaugeMetricFamily("radanon_disk_min_free_bytes", "Free space below which instances are refused.",
                                value=self._status["disk"]["min_free"])


def exposition(status: Mapping[str, Any]) -> bytes:
    """The metrics page in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(StatusCollector(status))
    return generate_latest(registry)
