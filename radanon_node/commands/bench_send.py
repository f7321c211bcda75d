"""``radanon bench send``: the sender beside DCMTK's storescu, into the same storescp, in interleaved runs.

The sender does its whole work: claims from the ledger, checks seal and digest of every file, sends, writes the outcome down durably.
storescu sends the same files from a folder, with Nagle's algorithm off, as many processes as the sender has associations.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import structlog
from pydicom.filereader import read_file_meta_info
from pydicom.uid import generate_uid

from radanon_node import config as configuration
from radanon_node.commands.bench_peers import CT_BYTES, DX_BYTES, Case, Films, Runs, footer, free_port, program, report, storescu, table
from radanon_node.errors import ConfigError
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.seal import Seal
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.types import Arrival, DeliveryItem, DeliveryOutcome, DeliveryResult, ReleasedItem, ReleaseRecord
from radanon_node.network.sender import Sender
from radanon_node.pipeline.released import digest_of

_KEY = bytes(32)
_OURS, _PEER = "radanon sender", "DCMTK storescu"
_LIMIT_S = 300.0


def cases(quick: bool) -> list[Case]:
    """CT of 0.5 MB and DX of 10 MB, over one and two associations."""
    return [
        Case("CT x1", CT_BYTES, 1, 30 if quick else 400), Case("CT x2", CT_BYTES, 2, 20 if quick else 200),
        Case("DX x1", DX_BYTES, 1, 4 if quick else 30), Case("DX x2", DX_BYTES, 2, 2 if quick else 15),
    ]  # fmt: skip


class _Counting(Ledger):
    """A ledger that says when so many deliveries are written down: asking it all the time would slow the sender beside it."""

    def expect(self, count: int) -> threading.Event:
        self._missing, self._done = count, threading.Event()
        return self._done

    def finish_deliveries(self, results: Sequence[DeliveryResult | tuple[DeliveryItem, DeliveryOutcome, float, str]]) -> list[int]:
        lost = super().finish_deliveries(results)
        self._missing -= sum(result[1] == "delivered" for result in results)
        if self._missing <= 0:
            self._done.set()
        return lost


def _send_ours(folder: Path, case: Case, films: Films, port: int) -> tuple[float, float]:
    """Release the films into a fresh ledger, then time the sender alone: instances per second, ms of processor time per instance."""
    config = configuration.parse({
        "node": {"data_dir": str(folder)},
        "destinations": {"archive": {"host": "127.0.0.1", "port": port, "ae_title": "BENCH", "max_associations": case.associations}},
    })
    spool = Spool(config.spool_dir)
    ledger = _Counting(config.ledger_url, _KEY, spool)
    try:
        count = _release(ledger, spool, films)
        stop, done = threading.Event(), ledger.expect(count)
        thread = threading.Thread(target=Sender(config, ledger, spool, Seal(_KEY), threading.Event()).run, args=(stop,))
        begun, spent = time.perf_counter(), time.process_time()
        thread.start()
        try:
            if not done.wait(_LIMIT_S):
                raise ConfigError("bench: the sender does not end")
            seconds, spent = time.perf_counter() - begun, time.process_time() - spent
        finally:
            stop.set()
            thread.join()
    finally:
        ledger.close()
        spool.close()
    return count / seconds, 1000 * spent / count


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
    runs: Runs = {name: {case.name: [] for case in columns} for name in (_OURS, _PEER)}
    cpu: Runs = {name: {case.name: [] for case in columns} for name in (_OURS, _PEER)}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="radanon-bench-")))
        port = free_port()
        stack.enter_context(program([storescp, "--fork", "--ignore", "-pdu", "131072", str(port)], port))
        for case in columns:
            place = folder / case.name
            place.mkdir()
            films = Films(place, case)
            for repetition in range(1 if quick else 5):
                figures = {_OURS: _send_ours(place / f"node-{repetition}", case, films, port)}
                shutil.rmtree(place / f"node-{repetition}")
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
