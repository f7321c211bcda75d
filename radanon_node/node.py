"""The running node: starts listener, workers, sender and web pages, watches over them, drains them on SIGTERM.

The listener lives in this process; each worker, the sender and the web server are processes of their own, so that a crash in a codec or
the kernel's memory killer costs no association and no delivery. A child that dies is replaced, its claims are given back at once, and a
child whose parent dies ends too (so that a killed node leaves nothing behind that holds its ports or its spool).
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import structlog

import radanon_node
from radanon_node import logs
from radanon_node.bell import Bell
from radanon_node.errors import ConfigError, StorageError
from radanon_node.heartbeat import Heartbeat
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.seal import load_key
from radanon_node.ledger.spool import Spool
from radanon_node.markers.weights import find_weights
from radanon_node.settings import Config

log = structlog.get_logger("radanon.node")

_PR_SET_PDEATHSIG = 1
_RESTART_DELAY_S = 1.0
_HOUSEKEEPING_S = 2.0


@dataclass(slots=True)
class Wakeups:
    """Bells between the processes of one node; all of them also look by themselves now and then, so a lost wake-up costs a second."""

    stop: Bell
    received: Bell
    released: Bell


@dataclass(slots=True)
class Child:
    """One process under watch."""

    name: str
    target: Callable[..., None]
    arguments: tuple[Any, ...]
    owner: str = ""
    process: BaseProcess | None = None
    restart_at: float = 0.0
    restarts: int = 0


def worker_count(config: Config) -> int:
    """How many worker processes `worker.processes` means on this machine."""
    if isinstance(config.worker.processes, int):
        return config.worker.processes
    return max(1, len(os.sched_getaffinity(0)))


def open_store(config: Config, create_key: bool = False) -> tuple[Ledger, Spool]:
    """Ledger and spool of a configuration, with its key; what every command that looks into the node's data begins with.

    Raises
    ------
    ConfigError
        The key file is missing, unsafe, or not the one this ledger was made with.
    StorageError
        Database or folder cannot be used.
    """
    if create_key:
        config.node.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = load_key(config.node.key_path, create=create_key)
    spool = Spool(config.spool_dir, config.listener.min_free_disk)
    return Ledger(config.ledger_url, key, spool, config.worker.attempts), spool


ROLES = ("listener", "worker", "sender", "web")


@dataclass(slots=True)
class Node:
    """A node under one configuration; `run` returns when it was told to stop and has drained.

    Parameters
    ----------
    config : Config
    roles : tuple of str
        Which of `ROLES` this node plays; several nodes with one ledger, key and spool share the work.
    """

    config: Config
    roles: tuple[str, ...] = ROLES
    children: list[Child] = field(default_factory=list)

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT.

        Returns
        -------
        int
            0: drained; what was in hand and not finished is in the ledger for the next start.
        """
        logs.configure(self.config.node.log_format, self.config.node.log_level)
        if not self.config.routes:
            raise ConfigError("routes: none are configured; every association would be rejected")
        if "worker" in self.roles:
            find_weights(self.config.worker.weights, self.config.worker.weights_sha256)  # a wrong hash ends here, not on the first film
        self._check_web_port()
        self._upgrade_ledger()
        new_key = not self.config.node.key_path.exists()
        ledger, spool = open_store(self.config, create_key=True)
        if new_key:
            log.warning("new key file: back it up", path=str(self.config.node.key_path))
        swept = spool.sweep(ledger.known_files)
        if swept:
            log.info("orphan files removed", removed=len(swept))
        for owner in filter(is_dead, ledger.owners()):
            ledger.give_back(owner)  # a killed node's claims are due now, not when their leases run out
        context = multiprocessing.get_context("spawn")
        wake = Wakeups(Bell(), Bell(), Bell())
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        listener = self._listener(ledger, spool, wake) if "listener" in self.roles else None
        port = listener.start() if listener else None  # before the children: a taken port is one clear line, nothing to clean up
        self.children = self._children(wake)
        for child in self.children:
            self._start(child, context)
        listening = {"host": self.config.listener.host, "port": port} if listener else {}
        log.info(
            "ready",
            **listening,
            ae_titles=[route.ae_title for route in self.config.routes],
            processes=[child.name for child in self.children],
            version=radanon_node.__version__,
            pid=os.getpid(),
        )
        heartbeat = Heartbeat(self.config, ledger, self.roles, lambda: listener.associations if listener else 0)
        housekeeping = threading.Thread(target=self._housekeeping, args=(ledger, stopping, heartbeat), name="housekeeping")
        housekeeping.start()
        while not stopping.wait(0.5):
            self._watch(ledger, context)
        log.info("draining")
        if listener:
            listener.stop(self.config.node.drain_timeout)
        wake.stop.set()
        for event in (wake.received, wake.released):
            event.set()
        self._join()
        housekeeping.join()
        with suppress(StorageError):
            heartbeat.end()
        ledger.close()
        spool.close()
        log.info("stopped")
        return 0

    def _upgrade_ledger(self) -> None:
        """Bring the ledger of an older release to this one, where the settings leave that to the start."""
        if self.config.ledger.upgrade == "by_command":
            return
        from radanon_node.ledger.upgrade import upgrade

        done = upgrade(self.config.ledger_url)
        if done.changed:
            log.warning("ledger upgraded", version=f"{done.found} -> {done.now}", path=str(done.copy or "no copy: the server's backups"))

    def _check_web_port(self) -> None:
        """A taken port is one clear line now, not a web process that dies again and again."""
        web = self.config.web
        if "web" not in self.roles or not web.enabled:
            return
        try:
            with socket.create_server((web.host, web.port)):
                pass
        except OSError as error:
            raise ConfigError(f"web.port: cannot listen on {web.host}:{web.port}: {error.strerror}") from None

    def _listener(self, ledger: Ledger, spool: Spool, wake: Wakeups) -> Any:
        from radanon_node.network.listener import Listener

        return Listener(self.config, spool, ledger, lambda _: wake.received.set())

    def _children(self, wake: Wakeups) -> list[Child]:
        children: list[Child] = []
        if "worker" in self.roles:
            children += [Child(f"worker-{index + 1}", worker_main, (self.config, wake)) for index in range(worker_count(self.config))]
        if "sender" in self.roles:
            children.append(Child("sender", sender_main, (self.config, wake)))
        if "web" in self.roles and self.config.web.enabled:
            children.append(Child("web", web_main, (self.config, wake)))
        return children

    def _start(self, child: Child, context: Any) -> None:
        child.owner = owner_name(child.name, child.restarts)
        arguments = (child.target, child.owner, os.getpid(), self.config, child.arguments)
        child.process = context.Process(target=child_main, args=arguments, name=f"radanon {child.name}")
        child.process.start()

    def _watch(self, ledger: Ledger, context: Any) -> None:
        """Replace children that died; their claims are due again at once."""
        for child in self.children:
            if child.process is not None and child.process.exitcode is not None:
                log.error("process died", name=child.name, exit_code=child.process.exitcode)
                child.restarts += 1
                child.restart_at = time.monotonic() + _RESTART_DELAY_S
                child.process = None
                try:
                    ledger.give_back(child.owner)
                    ledger.spool.sweep(ledger.known_files)
                except StorageError as error:
                    log.error("claims of a dead process not given back: their leases will run out", error=logs.describe(error))
            if child.process is None and time.monotonic() >= child.restart_at:
                self._start(child, context)

    def _join(self) -> None:
        """Wait for the children to finish what they hold, then end the stubborn ones: their claims come back at the next start."""
        until = time.monotonic() + self.config.node.drain_timeout
        for child in self.children:
            if child.process is None:
                continue
            child.process.join(max(0.1, until - time.monotonic()))
            if child.process.exitcode is None:
                log.warning("process did not drain in time", name=child.name)
                child.process.kill()
                child.process.join()

    def _housekeeping(self, ledger: Ledger, stopping: threading.Event, heartbeat: Heartbeat) -> None:
        """Purges originals whose deliveries are done, and rows and receipts whose retention is over; says that the node lives."""
        while not stopping.is_set():
            try:
                heartbeat.beat()
                after = _seconds(self.config.retention.originals) or 0.0
                purged = ledger.purge(after)
                while purged and not stopping.is_set():
                    log.info("purged", purged=purged)
                    purged = ledger.purge(after)
                ledger.expire(_seconds(self.config.retention.rows), _seconds(self.config.retention.receipts))
                if (kept := _seconds(self.config.retention.rows)) is not None:
                    ledger.forget_patients(kept)
            except StorageError as error:
                log.warning("housekeeping put off", error=logs.describe(error))
            except Exception:
                log.error("housekeeping failed", exc_info=True)
            stopping.wait(_HOUSEKEEPING_S)


def _seconds(retention: float | str) -> float | None:
    """A retention setting in seconds; None for its words (``forever``, ``purge on delivery``)."""
    return None if isinstance(retention, str) else retention


def owner_name(child: str, restarts: int) -> str:
    """What a process signs its claims with: host, node process (id and start time, so that a reused id is not mistaken), child."""
    return f"{os.uname().nodename}/{os.getpid()}.{_started(os.getpid())}/{child}.{restarts}"


def is_dead(owner: str) -> bool:
    """Whether a claim's owner was a process of a node on this host that does not live any more; False for other hosts' owners."""
    host, _, rest = owner.partition("/")
    pid, _, started = rest.partition("/")[0].partition(".")
    return host == os.uname().nodename and pid.isdigit() and _started(int(pid)) != started


def _started(pid: int) -> str:
    """Start time of a process in the kernel's ticks; empty if there is none (proc(5), field 22 of stat)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def child_main(target: Callable[..., None], owner: str, parent: int, config: Config, arguments: tuple[Any, ...]) -> None:
    """First code of every child: die with the parent, leave signals to it, log like it."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logs.configure(config.node.log_format, config.node.log_level)
    target(owner, *arguments)


def worker_main(owner: str, config: Config, wake: Wakeups) -> None:
    """A worker process."""
    from radanon_node.pipeline.worker import run_worker

    run_worker(config, owner, wake.stop, wake.received, wake.released)


def sender_main(owner: str, config: Config, wake: Wakeups) -> None:
    """The sender process."""
    from radanon_node.network.sender import Sender

    ledger, spool = open_store(config)
    Sender(config, ledger, spool, ledger.seal, wake.released, owner).run(wake.stop)


def web_main(owner: str, config: Config, wake: Wakeups) -> None:
    """The web process."""
    from radanon_node.web.app import serve

    ledger, _ = open_store(config)
    serve(config, ledger, load_key(config.node.key_path, create=False), wake.stop.is_set)
