"""One worker process: its stores, its tools, its limits; then the loop until it is told to stop."""

from __future__ import annotations

import copy
import os
import resource
from collections.abc import Sequence
from pathlib import Path

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from radanon_node.bell import Signal
from radanon_node.errors import ConfigError, HoldInstance
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.places import open_spool
from radanon_node.ledger.seal import load_key
from radanon_node.markers import ocr
from radanon_node.pipeline.loop import Worker
from radanon_node.pipeline.observer import Observer
from radanon_node.pipeline.policy import policy_table
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.tools import Policy, Tools
from radanon_node.pipeline.types import Quarantined, Received
from radanon_node.pixels.decoders import load_libraries
from radanon_node.settings import Config
from radanon_node.stages import Stages, stage_file
from radanon_node.tags.identifiers import collect
from radanon_node.tags.iods import iod_types
from radanon_node.tags.tables import method_meanings

log = structlog.get_logger("radanon.worker")


def run_worker(config: Config, owner: str, stop: Signal, wake: Signal, released: Signal) -> None:
    """Entry point of a worker process; returns once `stop` is set and the batch in hand is finished.

    Parameters
    ----------
    config : Config
    owner : str
        Name for its claims: unique to this process life (`Ledger.give_back`).
    stop, wake, released : Signal
        To end; set by others when there is work; set by the worker when there is something to deliver.

    Raises
    ------
    ConfigError
        Key, ledger or spool cannot be used. Models and decoders that cannot be loaded are no reason to end: what needs them is quarantined.
    StorageError
        The database does not answer at start.
    """
    from radanon_node.pipeline.clean import clean_batch

    key = load_key(config.node.key_path, create=False)
    spool = open_spool(config, key)
    ledger = Ledger(config.ledger_url, key, spool, config.worker.attempts)
    tools = Tools.load(config, key, _threads(config))
    observer, stages = Observer(ledger), Stages(stage_file(config.node.data_dir, owner))
    tools.watch.observe = stages.observe
    tools.memory, tools.observer = ledger, observer
    _load(config, tools)
    _limit_memory(config.worker.memory_limit)

    def clean(received: Sequence[Received], policy: Policy) -> list[Released | Quarantined]:
        results = clean_batch(received, policy, tools)
        observer.flush()
        return results

    unobserved = copy.copy(tools)  # the models are shared
    unobserved.observer = None
    worker = Worker(config, ledger, spool, owner, clean, lambda received, policy: clean_batch(received, policy, unobserved), stages)
    try:
        worker.run(stop, wake, released)
        observer.flush(force=True)
    finally:
        stages.write()
        worker.close()
        ledger.close()
        spool.close()


def _load(config: Config, tools: Tools) -> None:
    """Load what instances need before the first one waits for it; what is missing is logged once, and what needs it is held."""
    _read_tables()
    for what, load in (("models", tools.warm), ("decoders", load_libraries)):
        try:
            load()
        except ConfigError as error:
            log.error("not loaded: what needs it is quarantined", name=what, problems=error.problems)
    if any(profile.pixels.retain and profile.pixels.detect != "off" for profile in config.profiles.values()):
        try:
            ocr.reader()
        except HoldInstance as hold:
            log.error("not loaded: what needs it is quarantined", name="OCR", problems=[hold.detail])


def _read_tables() -> None:
    """Have the tables of the standard read that every instance is measured by: a quarter of a second."""
    policy_table()
    collect(Dataset())
    iod_types(CTImageStorage)
    method_meanings()


def _threads(config: Config) -> int:
    cores = len(os.sched_getaffinity(0))
    return 1 if config.worker.processes == "auto" else max(1, cores // config.worker.processes)


def _limit_memory(limit: int) -> None:
    """Bound the memory it can allocate (mapped files do not count), so that a monstrous instance is a MemoryError here and not the
    machine's trouble; not beside CUDA, whose driver reserves far more than it uses."""
    if limit and "libcuda.so" not in Path("/proc/self/maps").read_text(encoding="ascii", errors="replace"):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
