"""``radanon bench send``: the sender beside DCMTK's storescu, into the same storescp, in interleaved runs.

The sender does its whole work: claims from the ledger, checks seal and digest of every file, sends, writes the outcome down durably.
storescu sends the same files from a folder, with Nagle's algorithm off, as many processes as there are associations.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import structlog
from pydicom.filereader import read_file_meta_info
from pydicom.uid import generate_uid

from radanon_node import config as configuration
from radanon_node.bell import Bell
from radanon_node.commands.bench_peers import (
    CT_BYTES,
    DX_BYTES,
    START_S,
    Case,
    Films,
    Runs,
    footer,
    free_port,
    program,
    report,
    storescu,
    table,
)  # fmt: skip
from radanon_node.errors import ConfigError
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.seal import Seal
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.types import Arrival, DeliveryItem, DeliveryOutcome, DeliveryResult, ReleasedItem, ReleaseRecord
from radanon_node.network.sender import Sender
from radanon_node.network.share import Share, shares
from radanon_node.pipeline.released import digest_of
from radanon_node.settings import Config

_KEY = bytes(32)
_OURS, _DIVIDED, _PEER = "radanon sender", "radanon sender, a process per association", "DCMTK storescu"
_LIMIT_S = 300.0


def cases(quick: bool) -> list[Case]:
    """CT of 0.5 MB and DX of 10 MB, over one and two associations."""
    return [
        Case("CT x1", CT_BYTES, 1, 30 if quick else 400), Case("CT x2", CT_BYTES, 2, 20 if quick else 200),
        Case("DX x1", DX_BYTES, 1, 4 if quick else 30), Case("DX x2", DX_BYTES, 2, 2 if quick else 15),
    ]  # fmt: skip


class _Counting(Ledger):
    """A ledger that says when all deliveries are written down: asking it all the time would slow the sender beside it."""

    def expect(self, missing: Any, done: Bell) -> None:
        self._missing, self._done = missing, done

    def finish_deliveries(self, results: Sequence[DeliveryResult | tuple[DeliveryItem, DeliveryOutcome, float, str]]) -> list[int]:
        lost = super().finish_deliveries(results)
        with self._missing.get_lock():
            self._missing.value -= sum(result[1] == "delivered" for result in results)
            if self._missing.value <= 0:
                self._done.set()
        return lost


@dataclass(frozen=True, slots=True)
class _Bells:
    """Between the benchmark and a process that sends."""

    ready: Bell
    go: Bell
    done: Bell
    stop: Bell


def _sender(config: Config, share: Share, wake: Bell, missing: Any, bells: _Bells) -> None:
    """A sender process."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    spool = Spool(config.spool_dir)
    ledger = _Counting(config.ledger_url, _KEY, spool)
    ledger.expect(missing, bells.done)
    sender = Sender(config, ledger, spool, Seal(_KEY), wake, share=share)
    bells.ready.set()
    bells.go.wait()
    sender.run(bells.stop)
    ledger.close()
    spool.close()


def _send_ours(folder: Path, case: Case, films: Films, port: int, processes: int) -> tuple[float, float]:
    """Release the films into a fresh ledger, then time the sender alone: instances per second, ms of processor time per instance."""
    config = configuration.parse({
        "node": {"data_dir": str(folder)},
        "destinations": {"archive": {"host": "127.0.0.1", "port": port, "ae_title": "BENCH", "max_associations": case.associations}},
    })
    spool = Spool(config.spool_dir)
    ledger = Ledger(config.ledger_url, _KEY, spool)
    try:
        count = _release(ledger, spool, films)
    finally:
        ledger.close()
        spool.close()
    context = multiprocessing.get_context("spawn")
    missing, go, done, stop = context.Value("i", count), Bell(), Bell(), Bell()
    running = []
    try:
        for share, wake in shares(processes, Bell()):
            bells = _Bells(Bell(), go, done, stop)
            running.append(context.Process(target=_sender, args=(config, share, wake, missing, bells), daemon=True))
            running[-1].start()
            if not bells.ready.wait(START_S):
                raise ConfigError("bench: the sender does not start")
        before, begun = _of_all(running), time.perf_counter()
        go.set()
        if not done.wait(_LIMIT_S):
            raise ConfigError("bench: the sender does not end")
        seconds, spent = time.perf_counter() - begun, _of_all(running) - before
        stop.set()
        for process in running:
            process.join(_LIMIT_S)
    finally:
        for process in running:
            process.kill()
            process.join()
    return count / seconds, 1000 * spent / count


def _of_all(processes: Sequence[BaseProcess]) -> float:
    """Seconds of processor time that they have had."""
    times = [psutil.Process(process.pid).cpu_times() for process in processes]
    return sum(each.user + each.system for each in times)


def _release(ledger: Ledger, spool: Spool, films: Films) -> int:
    """Put every film into the ledger as a released instance, as a worker does."""
    seal = Seal(_KEY)
    waiting = [path for place in films.folders for path in sorted(place.iterdir())]
    arrivals = []
    for _ in waiting:
        incoming = spool.begin(b"original")
        incoming.seal()
        arrivals.append(Arrival(incoming.name, incoming.size, "BENCH", "BENCH", "1.2", generate_uid(), "1.2", time.time()))
    ledger.admit(arrivals)
    while items := ledger.claim("bench", 64, 60.0):
        outcomes = []
        for item in items:
            path = waiting.pop()
            meta, data = read_file_meta_info(path), path.read_bytes()
            plain = ReleaseRecord(str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID), str(meta.TransferSyntaxUID),
                                  spool.store_released(data), len(data), digest_of(data), "")
            outcomes.append(ReleasedItem(item.id, item.token, replace(plain, seal=seal.sign(plain)), ("archive",), {}, "study"))
        ledger.finish(outcomes)
    return len(arrivals)


def _send_peer(case: Case, films: Films, port: int) -> tuple[float, float]:
    begun, before = time.perf_counter(), _children()
    statuses = [sender.wait() for sender in storescu(port, films.folders)]
    if any(statuses):
        raise ConfigError("bench: storescu failed")
    count = case.associations * case.instances
    return count / (time.perf_counter() - begun), 1000 * (_children() - before) / count


def _children() -> float:
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def measure(quick: bool = False) -> dict[str, Any]:
    """Run everything: ``{"cases": [...], "runs": {sender: {case: [figures]}}, "cpu": ..., "load": [before, after]}``."""
    storescp = shutil.which("storescp")
    if storescp is None:
        raise ConfigError("bench: storescp is not installed (apt install dcmtk)")
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    columns, load = cases(quick), [os.getloadavg()[0]]
    runs: Runs = {name: {case.name: [] for case in columns} for name in (_OURS, _DIVIDED, _PEER)}
    cpu: Runs = {name: {case.name: [] for case in columns} for name in (_OURS, _DIVIDED, _PEER)}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="radanon-bench-")))
        port = free_port()
        stack.enter_context(program([storescp, "--fork", "--ignore", "-pdu", "131072", str(port)], port))
        for case in columns:
            place = folder / case.name
            place.mkdir()
            films = Films(place, case)
            for repetition in range(1 if quick else 5):
                figures: dict[str, tuple[float, float]] = {}
                for name, processes in ((_OURS, 1), (_DIVIDED, case.associations)):
                    if name == _DIVIDED and processes == 1:
                        figures[name] = figures[_OURS]  # it is the same
                        continue
                    figures[name] = _send_ours(place / "node", case, films, port, processes)
                    shutil.rmtree(place / "node")
                figures[_PEER] = _send_peer(case, films, port)
                if quick or repetition:  # the first is the warm-up
                    for name, (figure, spent) in figures.items():
                        runs[name][case.name].append(figure)
                        cpu[name][case.name].append(spent)
            shutil.rmtree(place)
    return {"cases": [asdict(case) for case in columns], "runs": runs, "cpu": cpu, "load": [*load, os.getloadavg()[0]]}


def shown(measured: dict[str, Any]) -> str:
    """Medians in instances per second as Markdown, in brackets times storescu."""
    columns = {case["name"]: "instances/s" for case in measured["cases"]}
    lines = table("sender", columns, measured["runs"], _PEER, 2, measured["cpu"])
    return f"{lines}\n{footer(measured, 'storescu')} Into one storescp that stores nothing."


def run(quick: bool = False, json_file: Path | None = None) -> str:
    """Measure; returns a Markdown table, and writes all runs as JSON if a file is given."""
    return report(measure, shown, quick, json_file)
