"""``radanon bench receive``: receive and acknowledge, beside DCMTK storescp, Orthanc and plain pynetdicom, in interleaved runs.

The sender is always DCMTK's storescu, with Nagle's algorithm off (``TCP_NODELAY=1``) but for the last column. Only radanon and the plain
pynetdicom receiver have what they acknowledge on stable storage; storescp never syncs, Orthanc (its default) syncs its index alone.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from radanon_node.commands.bench_peers import (
    CT_BYTES,
    DX_BYTES,
    Case,
    Films,
    Peer,
    Runs,
    footer,
    free_port,
    in_process,
    node,
    program,
    report,
    storescu,
    table,
    used,
)
from radanon_node.errors import ConfigError

_OURS = {"radanon, durable": 1, "radanon, durable, two processes": 2}
_REFERENCE = "Orthanc, default"


def cases(quick: bool) -> list[Case]:
    """CT of 0.5 MB and DX of 10 MB, over one and four associations."""
    return [
        Case("CT x1", CT_BYTES, 1, 30 if quick else 200), Case("CT x4", CT_BYTES, 4, 10 if quick else 100),
        Case("DX x1", DX_BYTES, 1, 3 if quick else 12), Case("DX x4", DX_BYTES, 4, 2 if quick else 6),
        Case("CT x1, Nagle", CT_BYTES, 1, 10 if quick else 20, nodelay=False),
    ]  # fmt: skip


# The receivers. Each is a context that yields its port; all write below the folder they are given.


def _ours(folder: Path, processes: int) -> AbstractContextManager[Peer]:
    return node(folder, {
        "node": {"data_dir": str(folder), "log_format": "json", "log_level": "info"}, "listener": {"port": 0, "processes": processes},
        "web": {"enabled": False}, "profiles": {"default": {}}, "destinations": {"out": {"directory": str(folder / "out")}},
        "routes": [{"ae_title": "BENCH", "profile": "default", "destinations": ["out"]}],
    }, "--role", "listener")


def _serve_pynetdicom(folder: Path, ready: Connection) -> None:
    from pynetdicom import AE, AllStoragePresentationContexts, evt

    def keep(event: Any) -> int:
        with (folder / event.request.AffectedSOPInstanceUID).open("wb") as file:
            file.write(event.encoded_dataset())
            file.flush()
            os.fsync(file.fileno())
        return 0

    entity = AE("BENCH")
    entity.maximum_associations = 32
    entity.supported_contexts = AllStoragePresentationContexts
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    if server is None or server.socket is None:
        raise ConfigError("bench: pynetdicom does not listen")
    ready.send(server.socket.getsockname()[1])
    ready.recv()
    server.shutdown()


def _receivers(folder: Path, stack: ExitStack) -> dict[str, tuple[Peer, Path]]:
    """Every receiver that is installed, running, and the folder it writes to."""
    found: dict[str, tuple[Peer, Path]] = {}

    def place(name: str) -> Path:
        path = folder / name
        path.mkdir()
        return path

    for name, processes in _OURS.items():
        path = place(f"ours-{processes}")
        found[name] = (stack.enter_context(_ours(path, processes)), path / "spool" / "in")
    found["pynetdicom, fsync"] = (stack.enter_context(in_process(_serve_pynetdicom, place("pynetdicom"))), folder / "pynetdicom")
    if storescp := shutil.which("storescp"):
        port, path = free_port(), place("storescp")
        found["DCMTK storescp, default"] = (stack.enter_context(
            program([storescp, "--fork", "+uf", "-od", path, str(port)], port)), path)
    if orthanc := shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        port, path = free_port(), place("orthanc")
        settings = folder / "orthanc.json"
        settings.write_text(json.dumps({"StorageDirectory": str(path), "IndexDirectory": str(path), "DicomPort": port,
                                        "DicomAet": "BENCH", "HttpServerEnabled": False}))
        found[_REFERENCE] = (stack.enter_context(program([orthanc, settings], port)), folder / "none")
    return found


def _send(case: Case, films: Films, receiver: Peer) -> tuple[float, float]:
    """Send all files once: instances or megabytes per second, and the receiver's milliseconds of processor time per instance.

    Raises
    ------
    ConfigError
        A single one was not taken.
    """
    films.renew()
    before, begun = receiver.cpu(), time.perf_counter()
    statuses = [sender.wait() for sender in storescu(receiver.port, films.folders, case.nodelay)]
    seconds = time.perf_counter() - begun
    if any(statuses):
        raise ConfigError(f"bench: storescu ended with {statuses} on {case.name}")
    count = case.associations * case.instances
    return count * (case.pixels / 1e6 if case.by_volume else 1) / seconds, 1000 * used(before, receiver.cpu()) / count


def _clear(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "lock" and path.stat().st_size:  # empty ones are kept ready for instances to come
            path.unlink()


def measure(quick: bool = False) -> dict[str, Any]:
    """Run everything.

    Returns
    -------
    dict
        ``{"cases": [...], "runs": {receiver: {case: [figures]}}, "cpu": {receiver: {case: [ms per instance]}}, "load": [before,
        after]}``.
    """
    if shutil.which("storescu") is None:
        raise ConfigError("bench: storescu is not installed (apt install dcmtk)")
    columns = cases(quick)
    load = [os.getloadavg()[0]]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="radanon-bench-")))
        receivers = _receivers(folder, stack)
        runs: Runs = {name: {case.name: [] for case in columns} for name in receivers}
        cpu: Runs = {name: {case.name: [] for case in columns} for name in receivers}
        for case in columns:
            (folder / case.name).mkdir()
            films = Films(folder / case.name, case)
            for repetition in range(1 if quick else 4):
                for name, (receiver, stored) in receivers.items():
                    figure, spent = _send(case, films, receiver)
                    _clear(stored)
                    if quick or repetition:  # the first is the warm-up
                        runs[name][case.name].append(figure)
                        cpu[name][case.name].append(spent)
            shutil.rmtree(folder / case.name)
    return {"cases": [asdict(case) | {"unit": case.unit} for case in columns], "runs": runs, "cpu": cpu,
            "load": [*load, os.getloadavg()[0]]}


def shown(measured: dict[str, Any]) -> str:
    """Medians as Markdown; in brackets how many times Orthanc's they are."""
    columns = {case["name"]: case["unit"] for case in measured["cases"]}
    return table("receiver", columns, measured["runs"], _REFERENCE, cpu=measured["cpu"]) + "\n" + footer(measured, "Orthanc")


def run(quick: bool = False, json_file: Path | None = None) -> str:
    """Measure; returns a Markdown table, and writes all runs as JSON if a file is given."""
    return report(measure, shown, quick, json_file)
