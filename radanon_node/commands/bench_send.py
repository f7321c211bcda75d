"""``radanon bench send``: the sender beside DCMTK's storescu, into the same storescp, in interleaved runs.

The sender does its whole work: claims from the ledger, checks seal and digest of every file, sends, writes the outcome down durably.
storescu sends the same files from a folder, with Nagle's algorithm off, as many processes as the sender has associations.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
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
from radanon_node.commands.bench_receive import Case, Films, free_port, program
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
    ct, dx = 512 * 512 * 2, 2560 * 2048 * 2
    return [
        Case("CT x1", ct, 1, 30 if quick else 400), Case("CT x2", ct, 2, 20 if quick else 200),
        Case("DX x1", dx, 1, 4 if quick else 30), Case("DX x2", dx, 2, 2 if quick else 15),
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


def _send_ours(folder: Path, case: Case, films: Films, port: int) -> float:
    """Release the films into a fresh ledger, then time the sender alone; instances per second."""
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
        begun = time.perf_counter()
        thread.start()
        try:
            if not done.wait(_LIMIT_S):
                raise ConfigError("bench: the sender does not end")
            seconds = time.perf_counter() - begun
        finally:
            stop.set()
            thread.join()
    finally:
        ledger.close()
        spool.close()
    return count / seconds


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


def _send_peer(case: Case, films: Films, port: int) -> float:
    begun = time.perf_counter()
    senders = [subprocess.Popen(["storescu", "-R", "-aec", "BENCH", "127.0.0.1", str(port), "+sd", str(folder)],
                                env=os.environ | {"TCP_NODELAY": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
               for folder in films.folders]  # fmt: skip
    statuses = [sender.wait() for sender in senders]
    if any(statuses):
        raise ConfigError("bench: storescu failed")
    return case.associations * case.instances / (time.perf_counter() - begun)


def measure(quick: bool = False) -> dict[str, Any]:
    """Run everything: ``{"cases": [...], "runs": {sender: {case: [figures]}}, "load": [before, after]}``."""
    storescp = shutil.which("storescp")
    if storescp is None:
        raise ConfigError("bench: storescp is not installed (apt install dcmtk)")
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    columns, load = cases(quick), [os.getloadavg()[0]]
    runs: dict[str, dict[str, list[float]]] = {name: {case.name: [] for case in columns} for name in (_OURS, _PEER)}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="radanon-bench-")))
        port = free_port()
        stack.enter_context(program([storescp, "--fork", "--ignore", "-pdu", "131072", str(port)], port))
        for case in columns:
            place = folder / case.name
            place.mkdir()
            films = Films(place, case)
            for repetition in range(1 if quick else 5):
                ours = _send_ours(place / f"node-{repetition}", case, films, port)
                shutil.rmtree(place / f"node-{repetition}")
                peer = _send_peer(case, films, port)
                if quick or repetition:  # the first is the warm-up
                    runs[_OURS][case.name].append(ours)
                    runs[_PEER][case.name].append(peer)
            shutil.rmtree(place)
    return {"cases": [asdict(case) for case in columns], "runs": runs, "load": [*load, os.getloadavg()[0]]}


def table(measured: dict[str, Any]) -> str:
    """Medians in instances per second as Markdown, in brackets times storescu."""
    names = [case["name"] for case in measured["cases"]]
    lines = ["| sender | " + " | ".join(f"{name} (instances/s)" for name in names) + " |", "|---" * (len(names) + 1) + "|"]
    for sender, figures in measured["runs"].items():
        medians = {name: statistics.median(figures[name]) for name in names}
        cells = [f"{medians[name]:.0f} ({medians[name] / statistics.median(measured['runs'][_PEER][name]):.2f}x)" for name in names]
        lines.append(f"| {sender} | " + " | ".join(cells) + " |")
    lines.append(f"\nMedians of {len(measured['runs'][_PEER][names[0]])} interleaved runs into one storescp that stores nothing; "
                 f"in brackets: times storescu. Load average {measured['load'][0]:.1f} before, {measured['load'][1]:.1f} after.")
    return "\n".join(lines)


def run(quick: bool = False, json_file: Path | None = None) -> str:
    """Measure; returns a Markdown table, and writes all runs as JSON if a file is given."""
    measured = measure(quick)
    if json_file is not None:
        json_file.write_text(json.dumps(measured, indent=2), encoding="utf-8")
    return table(measured)
