"""``radanon bench receive``: receive and acknowledge, beside DCMTK storescp, Orthanc and plain pynetdicom, in interleaved runs.

The sender is always DCMTK's storescu, with Nagle's algorithm off (``TCP_NODELAY=1``) but for the last column. Only radanon and the plain
pynetdicom receiver have what they acknowledge on stable storage; storescp never syncs, Orthanc (its default) syncs its index alone.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from radanon_node.errors import ConfigError

_START_S = 30.0


@dataclass(frozen=True, slots=True)
class Case:
    """One column of the table.

    Parameters
    ----------
    name : str
    pixels : int
        Bytes of pixel data per instance.
    associations : int
        Senders at once.
    instances : int
        Per association and run.
    nodelay : bool
        Whether storescu switches Nagle's algorithm off.
    """

    name: str
    pixels: int
    associations: int
    instances: int
    nodelay: bool = True

    @property
    def by_volume(self) -> bool:
        return self.pixels > 2**20

    @property
    def unit(self) -> str:
        return "MB/s" if self.by_volume else "instances/s"


def cases(quick: bool) -> list[Case]:
    """CT of 512 x 512 (0.5 MB) and DX of 2560 x 2048 (10 MB), 16 bits allocated."""
    ct, dx = 512 * 512 * 2, 2560 * 2048 * 2
    return [
        Case("CT x1", ct, 1, 30 if quick else 200), Case("CT x4", ct, 4, 10 if quick else 100),
        Case("DX x1", dx, 1, 3 if quick else 12), Case("DX x4", dx, 4, 2 if quick else 6),
        Case("CT x1, Nagle", ct, 1, 10 if quick else 20, nodelay=False),
    ]


class Films:
    """Files to send; every run sends new SOP Instance UIDs, written over the old ones in place."""

    def __init__(self, folder: Path, case: Case) -> None:
        self.folders: list[Path] = []
        self._files: list[tuple[Path, list[int], str]] = []
        for association in range(case.associations):
            self.folders.append(folder / f"{case.pixels}-{association}")
            self.folders[-1].mkdir(exist_ok=True)
            for index in range(case.instances):
                path = self.folders[-1] / f"{index}.dcm"
                uid = _uid()
                _write(path, uid, case.pixels)
                head = path.open("rb").read(4096)
                places = [place for place in range(len(head)) if head.startswith(uid.encode(), place)]
                self._files.append((path, places, uid))

    def renew(self) -> None:
        for path, places, _ in self._files:
            fresh = _uid().encode()
            with path.open("r+b") as file:
                for place in places:
                    file.seek(place)
                    file.write(fresh)


def _uid() -> str:
    # Of one length, so that it can be written over another.
    return str(generate_uid(prefix="1.2.826.0.1.3680043.8.498."))[:56].rstrip(".").ljust(56, "1")


def _write(path: Path, uid: str, pixels: int) -> None:
    film = Dataset()
    film.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2" if pixels <= 2**20 else "1.2.840.10008.5.1.4.1.1.1.1"
    film.SOPInstanceUID, film.StudyInstanceUID, film.SeriesInstanceUID = UID(uid), UID("1.2.826.0.1.3680043.8.498.1"), UID("1.2.3")
    film.PatientName, film.PatientID, film.StudyDate, film.StudyTime, film.AccessionNumber = "Bench", "BENCH", "20260101", "120000", ""
    film.Modality, film.SeriesNumber, film.InstanceNumber = "CT" if pixels <= 2**20 else "DX", 1, 1
    film.Columns = 512 if pixels <= 2**20 else 2048
    film.Rows = pixels // 2 // film.Columns
    film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    film.add_new("PixelData", "OW", os.urandom(65536) * (pixels // 65536))
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.file_meta.MediaStorageSOPClassUID, film.file_meta.MediaStorageSOPInstanceUID = film.SOPClassUID, UID(uid)
    film.save_as(path, enforce_file_format=True)


# The receivers. Each is a context that yields its port; all write below the folder they are given.


def _serve_ours(folder: Path, ready: Connection) -> None:
    import structlog

    from radanon_node.config import parse
    from radanon_node.ledger.ledger import Ledger
    from radanon_node.ledger.spool import Spool
    from radanon_node.network.listener import Listener

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    config = parse({
        "node": {"data_dir": str(folder)}, "listener": {"port": 0}, "profiles": {"default": {}},
        "destinations": {"out": {"directory": str(folder / "out")}},
        "routes": [{"ae_title": "BENCH", "profile": "default", "destinations": ["out"]}],
    })
    spool = Spool(config.spool_dir, config.listener.min_free_disk)
    listener = Listener(config, spool, Ledger(config.ledger_url, bytes(32), spool), lambda _: None)
    ready.send(listener.start())
    ready.recv()
    listener.stop(5.0)


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


@contextmanager
def in_process(target: Any, folder: Path) -> Iterator[int]:
    """Run ``target(folder, pipe)`` in a process of its own; yields what it sends as its port, and sends it ``stop`` at the end."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=target, args=(folder, there), daemon=True)
    process.start()
    try:
        if not here.poll(_START_S):
            raise ConfigError("bench: a receiver does not start")
        yield here.recv()
        here.send("stop")
        process.join(20)
    finally:
        process.kill()
        process.join()


@contextmanager
def program(arguments: Sequence[str | Path], port: int) -> Iterator[int]:
    """Run a program that will listen on `port`; yields the port once it does, ends it afterwards."""
    process = subprocess.Popen([*map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=os.environ | {"TCP_NODELAY": "1"})
    try:
        limit = time.monotonic() + _START_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > limit:
                raise ConfigError(f"bench: {arguments[0]} does not start")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _receivers(folder: Path, stack: ExitStack) -> dict[str, tuple[int, Path]]:
    """Name -> (port, folder) of every receiver that is installed, all running."""
    found: dict[str, tuple[int, Path]] = {}

    def place(name: str) -> Path:
        path = folder / name
        path.mkdir()
        return path

    found["radanon, durable"] = (stack.enter_context(in_process(_serve_ours, place("ours"))), folder / "ours" / "spool" / "in")
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
        found["Orthanc, default"] = (stack.enter_context(program([orthanc, settings], port)), folder / "none")
    return found


def _send(case: Case, films: Films, port: int) -> float:
    """Send all files once; instances or megabytes per second, or ConfigError if a single one was not taken."""
    films.renew()
    environment = {key: value for key, value in os.environ.items() if key != "TCP_NODELAY"} | ({"TCP_NODELAY": "1"} if case.nodelay else {})
    begun = time.perf_counter()
    senders = [subprocess.Popen(["storescu", "-R", "-aec", "BENCH", "127.0.0.1", str(port), "+sd", str(folder)], env=environment,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for folder in films.folders]
    statuses = [sender.wait() for sender in senders]
    seconds = time.perf_counter() - begun
    if any(statuses):
        raise ConfigError(f"bench: storescu ended with {statuses} on {case.name}")
    return case.associations * case.instances * (case.pixels / 1e6 if case.by_volume else 1) / seconds


def _clear(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "lock":
            path.unlink()


def measure(quick: bool = False) -> dict[str, Any]:
    """Run everything.

    Returns
    -------
    dict
        ``{"cases": [...], "runs": {receiver: {case: [figures]}}, "load": [before, after]}``.
    """
    if shutil.which("storescu") is None:
        raise ConfigError("bench: storescu is not installed (apt install dcmtk)")
    columns = cases(quick)
    load = [os.getloadavg()[0]]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="radanon-bench-")))
        receivers = _receivers(folder, stack)
        runs: dict[str, dict[str, list[float]]] = {name: {case.name: [] for case in columns} for name in receivers}
        for case in columns:
            (folder / case.name).mkdir()
            films = Films(folder / case.name, case)
            for repetition in range(1 if quick else 4):
                for name, (port, stored) in receivers.items():
                    figure = _send(case, films, port)
                    _clear(stored)
                    if quick or repetition:  # the first is the warm-up
                        runs[name][case.name].append(figure)
            shutil.rmtree(folder / case.name)
    return {"cases": [asdict(case) | {"unit": case.unit} for case in columns], "runs": runs, "load": [*load, os.getloadavg()[0]]}


def table(measured: dict[str, Any]) -> str:
    """Medians, and in brackets how many times Orthanc's they are, as Markdown."""
    columns = measured["cases"]
    lines = ["| receiver | " + " | ".join(f"{case['name']} ({case['unit']})" for case in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    reference = measured["runs"].get("Orthanc, default")
    for name, figures in measured["runs"].items():
        cells = []
        for case in columns:
            median = statistics.median(figures[case["name"]])
            ratio = f" ({median / statistics.median(reference[case['name']]):.1f}x)" if reference else ""
            cells.append(f"{median:.0f}{ratio}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append(f"\nMedians of {len(next(iter(figures.values())))} interleaved runs; in brackets: times Orthanc. "
                 f"Load average {measured['load'][0]:.1f} before, {measured['load'][1]:.1f} after (the senders' own part included).")
    return "\n".join(lines)


def run(quick: bool = False, json_file: Path | None = None) -> str:
    """Measure; returns a Markdown table, and writes all runs as JSON if a file is given."""
    measured = measure(quick)
    if json_file is not None:
        json_file.write_text(json.dumps(measured, indent=2), encoding="utf-8")
    return table(measured)
