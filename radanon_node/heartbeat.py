"""What a node says of itself in the ledger, for the pages of whichever node serves them: that it lives, its associations, its disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

import radanon_node
from radanon_node.ledger.ledger import Ledger
from radanon_node.settings import Config
from radanon_node.status import full_status

_EVERY_S = 15.0
_MINUTE_S = 60


class Heartbeat:
    """One node process's word on itself, and the totals that the flow charts are drawn from.

    Parameters
    ----------
    config : Config
    ledger : Ledger
    roles : tuple of str
        What this node plays.
    associations : callable
        How many associations are open now.
    """

    def __init__(self, config: Config, ledger: Ledger, roles: tuple[str, ...], associations: Callable[[], int]) -> None:
        self._config, self._ledger, self._roles, self._associations = config, ledger, roles, associations
        self._name = f"{os.uname().nodename}/{os.getpid()}"
        self._said_at = -_EVERY_S
        self._said: int = -1
        self._minute = 0

    def beat(self) -> None:
        """Say it if something changed or a while has passed; StorageError if the ledger does not answer."""
        now, open_now = time.monotonic(), self._associations()
        if open_now != self._said or now - self._said_at >= _EVERY_S:
            self._ledger.node_alive(self._name, self._data(open_now))
            self._said, self._said_at = open_now, now
        minute = int(time.time()) // _MINUTE_S
        if minute != self._minute:
            self._ledger.record_flow(full_status(self._config, self._ledger))
            self._minute = minute

    def end(self) -> None:
        """The node ends."""
        self._ledger.node_gone(self._name)

    def _data(self, associations: int) -> dict[str, Any]:
        load = os.getloadavg()[0]
        return {
            "version": radanon_node.__version__, "roles": list(self._roles), "associations": associations, "load": round(load, 2),
            "cores": len(os.sched_getaffinity(0)), "memory_free": psutil.virtual_memory().available,
            "device": self._config.worker.device, "gpus": len([*Path("/dev").glob("nvidia[0-9]*")]),
            "cpu": psutil.cpu_percent(), "gpu": gpu_load(),  # per cent of all cores since the last word; the first is 0
        }  # fmt: skip


def gpu_load() -> list[dict[str, float]]:
    """How busy the machine's NVIDIA GPUs are; empty where there are none or the driver's library is not installed.

    Returns
    -------
    list of dict
        Per GPU: ``load`` in percent, ``memory_used`` and ``memory`` in bytes.
    """
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            found.append({"load": float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu), "memory_used": float(memory.used),
                          "memory": float(memory.total)})
        return found
    except pynvml.NVMLError:  # a driver that is being replaced, a GPU that fell off the bus
        return []
    finally:
        pynvml.nvmlShutdown()
