"""A PostgreSQL server of our own on a Unix socket, that can be crashed and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class Postgres:
    """A server on a Unix socket; `url` is its SQLAlchemy URL."""

    folder: Path
    programs: Path
    prefix: list[str]
    durable: bool = True

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, user: str) -> str:
        """The URL for another user; each has its own schema."""
        return f"postgresql+psycopg://{user}@/postgres?host={self.folder}"

    def control(self, *arguments: str) -> None:
        subprocess.run([*self.prefix, str(self.programs / "pg_ctl"), "-D", str(self.folder / "data"), "-w", *arguments], check=True,
                       capture_output=True, cwd="/", timeout=300)

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c max_connections=120"
        if not self.durable:
            options += " -c fsync=off"
        self.control("-l", str(self.folder / "log"), "-o", options, "start")

    def crash(self) -> None:
        """As after a power cut: no process says good-bye."""
        self.control("-m", "immediate", "stop")


@contextlib.contextmanager
def postgres_server(*, durable: bool = True) -> Iterator[Postgres]:
    """A private cluster without a TCP port; skips where PostgreSQL is not installed. Data survive a crash only if `durable`."""
    found = shutil.which("pg_ctl")
    programs = Path(found).parent if found else next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="radanon-pg-"))
    prefix: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        prefix = ["runuser", "-u", "postgres", "--"]
    server = Postgres(folder, programs, prefix, durable)
    try:
        subprocess.run([*prefix, str(programs / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8",
                        "--no-sync"], check=True, capture_output=True, cwd="/")
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):  # it may lie crashed
                server.crash()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
