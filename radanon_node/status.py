"""What `radanon status`, the status page and the metrics show: the ledger's counts, all configured names, and the disk."""

from __future__ import annotations

import shutil
from typing import Any

from radanon_node.ledger.ledger import Ledger
from radanon_node.settings import Config


def full_status(config: Config, ledger: Ledger) -> dict[str, Any]:
    """The counts as ``status --json`` prints them.

    Returns
    -------
    dict
        ``states``, ``routes``, ``destinations``, ``oldest_waiting_s``, ``disk``; every configured route and destination is named.
    """
    status = ledger.status()
    for route in config.routes:
        status["routes"].setdefault(route.ae_title, dict.fromkeys(status["states"], 0))
    for name in config.destinations:
        status["destinations"].setdefault(name, {"waiting": 0, "delivered": 0, "failed": 0, "up": True})
    status["disk"] = {"free": shutil.disk_usage(config.spool_dir).free, "min_free": config.listener.min_free_disk}
    return status
