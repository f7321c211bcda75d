"""What the network benchmarks share: films to send, peers to run, processor time, tables."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from radanon_node.errors import ConfigError

START_S = 120.0
CT_BYTES, DX_BYTES = 512 * 512 * 2, 2560 * 2048 * 2
"""Pixels of a CT slice and of a digital radiograph, 16 bits allocated."""

Runs = dict[str, dict[str, list[float]]]
"""Peer -> column -> figures of its runs."""


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


class Films:
    """Files to send; every run sends new SOP Instance UIDs, written over the old ones in place."""

    def __init__(self, folder: Path, case: Case) -> None:
        self.folders: list[Path] = []
        self._files: list[tuple[Path, list[int]]] = []
        for association in range(case.associations):
            self.folders.append(folder / f"{case.pixels}-{association}")
            self.folders[-1].mkdir(exist_ok=True)
            for index in range(case.instances):
                path = self.folders[-1] / f"{index}.dcm"
                uid = fixed_uid()
                _write(path, uid, case.pixels)
                head = path.open("rb").read(4096)
                self._files.append((path, [place for place in range(len(head)) if head.startswith(uid.encode(), place)]))

    def renew(self) -> None:
        for path, places in self._files:
            fresh = fixed_uid().encode()
            with path.open("r+b") as file:
                for place in places:
                    file.seek(place)
                    file.write(fresh)


def fixed_uid() -> str:
    """A new UID of 56 characters, so that one can be written over another."""
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


@dataclass(frozen=True, slots=True)
class Peer:
    """A running program: where it listens, and its processes.

    Parameters
    ----------
    port : int
    pid : int
        Of its first process.
    """

    port: int
    pid: int

    def cpu(self) -> dict[int, float]:
        """Seconds of processor time so far, user and system, of each of its processes that lives (children that ended count with
        the process that waited for them)."""
        return {pid: seconds for pid in _family(self.pid) if (seconds := _cpu(pid)) is not None}


def used(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """Seconds of processor time between two readings of `Peer.cpu`."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def _family(first: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                parents[int(entry.name)] = int(fields[1])
    found = [first]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on (proc(5): the third); empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu(pid: int) -> float | None:
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") if fields else None


@contextmanager
def in_process(target: Callable[..., None], *arguments: Any, patience: float = START_S) -> Iterator[Peer]:
    """Run ``target(*arguments, pipe)`` in a process of its own, which sends its port through the pipe; it is sent ``stop`` at the end."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=target, args=(*arguments, there), daemon=True)
    process.start()
    try:
        if not here.poll(patience):
            raise ConfigError("bench: a peer does not start")
        yield Peer(here.recv(), process.pid or 0)
        here.send("stop")
        process.join(20)
    finally:
        process.kill()
        process.join()


@contextmanager
def program(arguments: Sequence[str | Path], port: int) -> Iterator[Peer]:
    """Run a program that will listen on `port`; ended afterwards."""
    process = subprocess.Popen([*map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=os.environ | {"TCP_NODELAY": "1"})
    try:
        limit = time.monotonic() + START_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > limit:
                raise ConfigError(f"bench: {arguments[0]} does not start")
            time.sleep(0.05)
        yield Peer(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def node(folder: Path, config: Mapping[str, Any], *options: str) -> Iterator[Peer]:
    """This node as a user starts it: ``radanon serve`` with `config` (its log in JSON) and `options`; ended afterwards."""
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(config)))
    log = folder / "log.json"
    with log.open("wb") as sink:
        process = subprocess.Popen([sys.executable, "-m", "radanon_node", "serve", *options, "--config", str(folder / "config.yaml")],
                                   stdout=sink, stderr=sink)
    try:
        yield Peer(_ready(process, log), process.pid)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(process: subprocess.Popen[bytes], log: Path) -> int:
    limit = time.monotonic() + START_S
    while time.monotonic() < limit and process.poll() is None:
        for line in log.read_text().splitlines():
            if '"event": "ready"' in line:
                port: int = json.loads(line)["port"]
                return port
        time.sleep(0.05)
    raise ConfigError(f"bench: the node does not start (exit status {process.poll()}): {log.read_text()[-300:]}")


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def storescu(port: int, folders: Sequence[Path], nodelay: bool = True) -> list[subprocess.Popen[bytes]]:
    """One DCMTK storescu per folder, all sending at once."""
    plain = {key: value for key, value in os.environ.items() if key != "TCP_NODELAY"}
    return [subprocess.Popen(["storescu", "-R", "-aec", "BENCH", "127.0.0.1", str(port), "+sd", str(folder)],
                             env=plain | ({"TCP_NODELAY": "1"} if nodelay else {}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for folder in folders]  # fmt: skip


def table(
    kind: str, columns: Mapping[str, str], runs: Mapping[str, Mapping[str, Sequence[float]]], reference: str, digits: int = 1,
    cpu: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> str:
    """Medians as Markdown, in brackets how many times the reference's they are.

    Parameters
    ----------
    kind : str
        What the rows are: ``receiver``.
    columns : mapping of str to str
        Name of each column and its unit.
    runs : mapping
        Row -> column -> figures; a column without figures did not come through.
    reference : str
        The row that the others are compared with; without it there are no brackets.
    digits : int
        Of the ratios.
    cpu : mapping, optional
        Milliseconds of processor time per instance, shaped like `runs`; given behind the figure.
    """
    lines = [f"| {kind} | " + " | ".join(f"{name} ({unit})" for name, unit in columns.items()) + " |", "|---" * (len(columns) + 1) + "|"]
    against = runs.get(reference, {})
    for row, figures in runs.items():
        cells = []
        for name in columns:
            if not figures[name]:
                cells.append("did not come through")
                continue
            median = statistics.median(figures[name])
            ratio = f" ({median / statistics.median(against[name]):.{digits}f}x)" if against.get(name) else ""
            spent = cpu[row][name] if cpu is not None and row in cpu else ()
            cells.append(f"{median:.0f}{ratio}" + (f", {statistics.median(spent):.1f} ms" if spent else ""))
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def footer(measured: Mapping[str, Any], reference: str) -> str:
    """Line below a table: how often it was run, what the brackets mean, how busy the machine was."""
    repetitions = len(next(iter(next(iter(measured["runs"].values())).values())))
    return (f"\nMedians of {repetitions} interleaved runs; in brackets: times {reference}; ms: processor time per instance. "
            f"Load average {measured['load'][0]:.1f} before, {measured['load'][1]:.1f} after (the benchmark's own part included).")


def report(measure: Callable[[bool], dict[str, Any]], shown: Callable[[dict[str, Any]], str], quick: bool, json_file: Path | None) -> str:
    """Measure; returns the table, and writes all runs as JSON if a file is given."""
    measured = measure(quick)
    if json_file is not None:
        json_file.write_text(json.dumps(measured, indent=2), encoding="utf-8")
    return shown(measured)
