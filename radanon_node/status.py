"""What `radanon status`, the status page and the metrics show: the ledger's counts, all configured names, and the disk."""

from __future__ import annotations

import shutil
import time
from typing import Any

from radanon_node.ledger.ledger import Ledger
from radanon_node.network.schedule import describe
from radanon_node.settings import Config


def full_status(config: Config, ledger: Ledger) -> dict[str, Any]:
    """The counts as ``status --json`` prints them.

    Returns
    -------
    dict
        ``states``, ``routes``, ``destinations``, ``oldest_waiting_s``, ``disk``, ``layouts`` (kinds of devices per state, alarms),
        ``finds`` (burnt-in text per route); every configured route and destination is named.
    """
    status = ledger.status()
    for route in config.routes:
        status["routes"].setdefault(route.ae_title, dict.fromkeys(status["states"], 0))
    for name, settings in config.destinations.items():
        place = status["destinations"].setdefault(name, {"waiting": 0, "delivered": 0, "failed": 0, "up": True})
        place.update(describe(settings, config.node.time_zone, time.time()))
    status["layouts"] = ledger.layout_counts()
    status["finds"] = _finds(ledger.finds())
    status["disk"] = {"free": shutil.disk_usage(config.spool_dir).free, "min_free": config.listener.min_free_disk}
    return status


def _finds(found: dict[str, dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    """Counts of burnt-in text per route, summed over devices: `radanon rules finds` has them apart."""
    routes: dict[str, dict[str, int]] = {}
    for route, devices in found.items():
        total = routes.setdefault(route, {})
        for counts in devices.values():
            for what, count in counts.items():
                total[what] = total.get(what, 0) + count
    return routes
