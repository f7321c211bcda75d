"""Real DICOM peers on free loopback ports: DCMTK storescp and dcmqrscp, Orthanc, and a port that takes connections and says nothing."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pydicom
from pydicom.dataset import FileDataset

ORTHANC = shutil.which("Orthanc") or "/usr/sbin/Orthanc"


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listening(port: int) -> bool:
    """Whether somebody listens on `port` here, seen from the kernel's table: no connection is made, which the peer would have to handle."""
    wanted = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(wanted) and fields[3] == "0A":
                    return True
    return False


def wait_listening(port: int, process: subprocess.Popen[Any], seconds: float = 30.0) -> None:
    """Until `process` listens; AssertionError with its output if it ends before."""
    until = time.monotonic() + seconds
    while not listening(port):
        assert process.poll() is None, f"{process.args} ended with {process.returncode}"
        assert time.monotonic() < until, f"{process.args} does not listen"
        time.sleep(0.01)


def end(process: subprocess.Popen[Any]) -> None:
    """Terminate and reap a child."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class StoreScp:
    """DCMTK's storescp.

    Attributes
    ----------
    folder : Path
        Where it stores.
    port : int
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def files(self) -> list[Path]:
        """What has been stored, by name."""
        return sorted(path for path in self.folder.iterdir() if path.is_file())

    def instances(self) -> list[FileDataset]:
        """What has been stored, read."""
        return [pydicom.dcmread(path) for path in self.files()]

    def log(self) -> str:
        """What it has printed."""
        return self.folder.with_suffix(".log").read_text(errors="replace")


@contextlib.contextmanager
def storescp(
    folder: Path, *options: str, port: int = 0, environment: Mapping[str, str] | None = None, bit_preserving: bool = True
) -> Iterator[StoreScp]:
    """Run storescp with `options`; TCP_NODELAY is set, and what it gets is stored bit by bit unless told otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    command = ["storescp", *options, *(["+B"] if bit_preserving else []), "-od", str(folder), str(port)]
    with folder.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TCP_NODELAY": "1", **(environment or {})})
    try:
        wait_listening(port, process)
        yield StoreScp(folder, port, process)
    finally:
        end(process)


@dataclass
class OrthancServer:
    """An Orthanc of our own.

    Attributes
    ----------
    port, http_port : int
    """

    port: int
    http_port: int
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> Any:
        """A GET of its REST interface, parsed."""
        with urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=30) as answer:
            return json.load(answer)

    def get_bytes(self, path: str) -> bytes:
        """A GET of its REST interface, as it is; for ``/instances/ID/file``."""
        with urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=60) as answer:
            data: bytes = answer.read()
            return data

    def post(self, path: str, body: Any) -> Any:
        """A POST of its REST interface, parsed."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with urlopen(Request(f"http://127.0.0.1:{self.http_port}{path}", data=data), timeout=60) as answer:
            return json.load(answer)

    def instances(self) -> list[str]:
        """Ids of the stored instances."""
        found: list[str] = self.get("/instances")
        return found


@contextlib.contextmanager
def orthanc(folder: Path, modalities: Mapping[str, Sequence[Any]] | None = None, port: int = 0, **settings: Any) -> Iterator[OrthancServer]:
    """Run Orthanc with its defaults on free ports, storing below `folder`.

    Parameters
    ----------
    folder : Path
    modalities : mapping, optional
        ``DicomModalities``: name -> [AE title, host, port].
    settings
        Further keys of its configuration file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, http_port = port or free_port(), free_port()
    config = {
        "Name": "test", "StorageDirectory": str(folder / "store"), "IndexDirectory": str(folder / "store"),
        "HttpPort": http_port, "DicomPort": port, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "DicomAet": "ORTHANC", "DicomCheckCalledAet": False, "DicomAlwaysAllowStore": True, "Plugins": [],
        "DicomModalities": {name: list(value) for name, value in (modalities or {}).items()}, **settings,
    }  # fmt: skip
    path = folder / "orthanc.json"
    path.write_text(json.dumps(config))
    with (folder / "orthanc.log").open("ab") as log:
        process = subprocess.Popen([ORTHANC, str(path)], stdout=log, stderr=log)
    try:
        wait_listening(port, process, 60)
        wait_listening(http_port, process, 60)
        yield OrthancServer(port, http_port, process)
    finally:
        end(process)


@contextlib.contextmanager
def dcmqrscp(folder: Path, ae_title: str = "QRSCP") -> Iterator[int]:
    """Run DCMTK's archive with one storage area; gives its port."""
    area, port = folder / "area", free_port()
    area.mkdir(parents=True, exist_ok=True)
    path = folder / "dcmqrscp.cfg"
    path.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\nHostTable BEGIN\nHostTable END\nVendorTable BEGIN\n"
        f"VendorTable END\nAETable BEGIN\n{ae_title} {area} RW (200, 1024mb) ANY\nAETable END\n"
    )
    with (folder / "dcmqrscp.log").open("ab") as log:
        process = subprocess.Popen(["dcmqrscp", "-c", str(path)], stdout=log, stderr=log)
    try:
        wait_listening(port, process)
        yield port
    finally:
        end(process)


@contextlib.contextmanager
def mute_port() -> Iterator[int]:
    """A port where connections are taken by the kernel and nobody ever answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        yield server.getsockname()[1]
