"""Two nodes on one PostgreSQL and one object store, a sender that sends again what was not acknowledged, and somebody who breaks things.

What must hold at the end, whatever was broken: every instance that was acknowledged is delivered, quarantined or failed, and what is
delivered lies at the archive under exactly one new SOP Instance UID.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pydicom
import yaml

from tests.integration.harness import NodeProcess, node_config
from tests.peers import free_port, wait_listening
from tests.postgres import Postgres
from tests.s3 import S3Server

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
_SENT = re.compile(r"Sending file: (.+)|Received Store Response \((.+?)\)")


@dataclass
class Archive:
    """DCMTK's storescp, which can be killed and started again on the same port and folder; each copy it gets is a file of its own."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.folder.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(["storescp", "+uf", "+B", "-od", str(self.folder), str(self.port)], stdout=log, stderr=log,
                                            env={**os.environ, "TCP_NODELAY": "1"})
        wait_listening(self.port, self.process, 60)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def uids(self) -> set[str]:
        """New SOP Instance UIDs that arrived whole (a copy that was cut off by a kill does not count)."""
        found = set()
        for path in self.folder.iterdir():
            with suppress(Exception):
                found.add(str(pydicom.dcmread(path).SOPInstanceUID))
        return found


@dataclass
class Site:
    """Everything that runs. `log` tells what was broken when."""

    folder: Path
    postgres: Postgres
    store: S3Server
    seed: int
    nodes: list[NodeProcess] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    archive: Archive = field(init=False)
    acknowledged: set[Path] = field(default_factory=set)
    refused: int = 0
    log: list[str] = field(default_factory=list)
    peak: dict[str, int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.archive = Archive(self.folder / "archive")
        self._began = time.monotonic()

    def note(self, text: str) -> None:
        line = f"{time.monotonic() - self._began:7.1f} s  {text}"
        self.log.append(line)
        print(line, flush=True)

    def start(self, count: int = 2) -> None:
        self.archive.start()
        for number in range(count):
            self.ports.append(free_port())
            folder = self.folder / f"node{number + 1}"
            self.nodes.append(NodeProcess(folder, self._config(folder, self.ports[-1]), self._environment(number)))
            if number:  # the nodes of a site share the key
                (folder / "var").mkdir(parents=True, mode=0o700)
                shutil.copy(self.folder / "node1" / "var" / "secret.key", folder / "var" / "secret.key")
            self.nodes[-1].start()
        self.note(f"{count} nodes serve")

    def _config(self, folder: Path, port: int) -> dict[str, Any]:
        archive = {"host": "127.0.0.1", "port": self.archive.port, "ae_title": "ARCHIVE"}
        tags = {"options": ["clean_pixel_data", "retain_longitudinal_modified_dates"]}
        return node_config(
            folder, {"archive": archive}, {"tags": tags, "pixels": {"detect": "off"}}, listener={"port": port},
            ledger={"url": self.postgres.url, "spool": "s3://chaos/site",
                    "s3": {"endpoint": self.store.endpoint, "credentials": str(self.store.credentials), "timeout": "5s"}},
            worker={"lease": "20s", "attempts": 20})

    def _environment(self, number: int) -> dict[str, str]:
        if number == 0 or not FAKETIME.exists():
            return {}
        clock = self.folder / "clock"
        clock.write_text("+0")
        return {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}

    def send(self, files: Sequence[Path], parallel: int = 2, batch: int = 8) -> None:
        """Send all files as a PACS does: what is not acknowledged is sent again, now here, now there. Returns when all is acknowledged."""
        left = list(files)
        lock = threading.Lock()

        def sender(number: int) -> None:
            pick = random.Random(self.seed + number)
            while not self._stop.is_set():
                with lock:
                    mine, left[:] = left[:batch], left[batch:]
                if not mine:
                    return
                sent = self._storescu(pick.choice(self.ports), mine)
                with lock:
                    self.acknowledged |= sent
                    self.refused += len(mine) - len(sent)
                    left.extend(path for path in mine if path not in sent)
                if len(sent) < len(mine):
                    self._stop.wait(0.3)

        threads = [threading.Thread(target=sender, args=(number,)) for number in range(parallel)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _storescu(self, port: int, files: Sequence[Path]) -> set[Path]:
        command = ["storescu", "-v", "-nh", "-to", "10", "-ta", "30", "-td", "30", "-aet", "TESTER", "-aec", "IN", "127.0.0.1", str(port),
                   *map(str, files)]
        with suppress(subprocess.TimeoutExpired):
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TCP_NODELAY": "1"}, timeout=180)
            current, sent = None, set()
            for name, response in _SENT.findall(done.stdout + done.stderr):
                if name:
                    current = Path(name)
                elif response == "Success" and current is not None:
                    sent.add(current)
            return sent
        return set()

    def break_things(self, seconds: float, pause: tuple[float, float], kinds: Sequence[str]) -> None:
        """For that long: break something, mend it, wait; each of `kinds` in turn, in random order, again and again."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for kind in self.random.sample(kinds, len(kinds)):
                self._stop.wait(self.random.uniform(*pause))
                if time.monotonic() > until:
                    break
                self.note(kind)
                ACTS[kind](self)
                self.measure()

    def measure(self) -> None:
        """Note the most memory, file descriptors and threads that any process of the nodes had so far."""
        for node in self.nodes:
            for process in _tree(node):
                with suppress(psutil.Error):
                    for name, value in (("rss_mib", process.memory_info().rss >> 20), ("fds", process.num_fds()),
                                        ("threads", process.num_threads())):
                        self.peak[name] = max(self.peak.get(name, 0), value)

    def restart(self, node: NodeProcess) -> None:
        if node.process is not None and node.process.poll() is None:
            node.kill()
        node.start()

    def settle(self, timeout: float) -> dict[str, int]:
        """Until nothing is open any more; the ledger's counts."""
        until = time.monotonic() + timeout
        for node in self.nodes:
            assert node.process is not None
            if node.process.poll() is not None:
                node.start()
        with self.nodes[0].ledger() as ledger:
            while True:
                states: dict[str, int] = dict(ledger.status()["states"])
                if states["received"] + states["processing"] + states["released"] == 0:
                    return states
                assert time.monotonic() < until, (states, self.nodes[0].lines[-30:], self.nodes[-1].lines[-30:])
                time.sleep(0.2)

    def stop(self) -> None:
        self._stop.set()
        for node in self.nodes:
            with suppress(subprocess.TimeoutExpired):
                node.stop()
            if node.process is not None and node.process.poll() is None:
                node.kill()
        self.archive.kill()


def _tree(node: NodeProcess) -> list[psutil.Process]:
    with suppress(psutil.Error):
        assert node.process is not None
        main = psutil.Process(node.process.pid)
        return [main, *main.children()]
    return []


def _kill_node(site: Site) -> None:
    node = site.random.choice(site.nodes)
    node.kill()
    site.restart(node)


def _kill_child(site: Site) -> None:
    children = [process for process in _tree(site.random.choice(site.nodes))[1:] if "resource_tracker" not in " ".join(_cmdline(process))]
    if children:
        with suppress(psutil.Error):
            site.random.choice(children).kill()


def _cmdline(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return list(process.cmdline())
    return []


def _crash_postgres(site: Site) -> None:
    site.postgres.crash()
    time.sleep(site.random.uniform(0, 2))
    site.postgres.start()


def _archive_flaps(site: Site) -> None:
    site.archive.kill()
    time.sleep(site.random.uniform(0, 2))
    site.archive.start()


def _store_away(site: Site) -> None:
    assert site.store.process is not None
    site.store.process.send_signal(signal.SIGSTOP)  # it takes connections and answers nothing
    time.sleep(site.random.uniform(1, 8))
    site.store.process.send_signal(signal.SIGCONT)


def _store_down(site: Site) -> None:
    site.store.stop()
    time.sleep(site.random.uniform(0, 2))
    site.store.start()


def _disk_full(site: Site) -> None:
    node = site.random.choice(site.nodes)
    for floor in ("1000TiB", "10MiB"):
        config = {**node.config, "listener": {**node.config["listener"], "min_free_disk": floor}}
        node.config_path.write_text(yaml.safe_dump(config))
        with suppress(ProcessLookupError):
            assert node.process is not None
            node.process.send_signal(signal.SIGHUP)
        time.sleep(site.random.uniform(1, 3))


def _clock_jumps(site: Site) -> None:
    clock = site.folder / "clock"
    if clock.exists():
        clock.write_text(site.random.choice(["+3600", "-3600", "+600", "-86400"]))
        time.sleep(site.random.uniform(1, 4))
        clock.write_text("+0")


ACTS: dict[str, Callable[[Site], None]] = {
    "kill -9 of a node": _kill_node, "kill -9 of a child": _kill_child, "PostgreSQL crashes": _crash_postgres,
    "archive flaps": _archive_flaps, "object store hangs": _store_away, "object store is restarted": _store_down, "disk full": _disk_full,
    "clock jumps": _clock_jumps,
}


def check(site: Site, files: Sequence[Path]) -> dict[str, int]:
    """The laws; returns the ledger's counts."""
    states = site.settle(600)
    assert site.acknowledged == set(files)
    assert states["delivered"] + states["quarantined"] + states["failed"] == len(files), states
    originals = {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files}
    with site.nodes[0].ledger() as ledger:
        found = ledger.committed(sorted(originals), "IN")
    assert "unknown" not in found.values()
    arrived = site.archive.uids()
    assert len(arrived) == states["delivered"], (len(arrived), states)
    assert not arrived & originals
    return states


