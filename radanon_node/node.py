"""The running node: starts listener, workers, sender and web pages, watches over them, drains them on SIGTERM.

The listener lives in this process or in several of its own; each worker, the sender and the web server are processes of their own, so that
a crash in a codec or the kernel's memory killer costs no association and no delivery. A child that dies is replaced, its claims are given
back at once, and a child whose parent dies ends too (so that a killed node leaves nothing behind that holds its ports or its spool).
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

import radanon_node
from radanon_node import logs
from radanon_node.audit.forwarder import Forwarder
from radanon_node.backup import clear_leftovers
from radanon_node.bell import Bell, EchoBell
from radanon_node.child import Wakeups
from radanon_node.children import Children, is_dead, owner_name
from radanon_node.errors import ConfigError, StorageError, Unreachable, describe
from radanon_node.heartbeat import Heartbeat
from radanon_node.ledger.audit import ANCHOR
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.wire import Wire
from radanon_node.reload import change, config_hash, try_out
from radanon_node.roles import ROLES, web_main, worker_main
from radanon_node.sending import add_senders
from radanon_node.settings import Config
from radanon_node.stages import forget_dead
from radanon_node.store import open_store

if TYPE_CHECKING:
    from radanon_node.receiving import Receiver

log = structlog.get_logger("radanon.node")

_HOUSEKEEPING_S = 2.0
_FORGET_EVERY_S = 3600.0
_FINDS_S = 400 * 86400.0  # counts of burnt-in text are kept by day for so long


def worker_count(config: Config) -> int:
    """How many worker processes `worker.processes` means on this machine."""
    if isinstance(config.worker.processes, int):
        return config.worker.processes
    return max(1, len(os.sched_getaffinity(0)))


@dataclass(slots=True)
class Node:
    """A node under one configuration; `run` returns when it was told to stop and has drained.

    Parameters
    ----------
    config : Config
    roles : tuple of str
        Which of `ROLES` this node plays; several nodes with one ledger, key and spool share the work.
    source : callable, optional
        Reads the configuration again for SIGHUP; raises ConfigError.
    """

    config: Config
    roles: tuple[str, ...] = ROLES
    source: Callable[[], Config] | None = None
    _cut_off: bool = False

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT.

        Returns
        -------
        int
            0: drained; what was in hand and not finished is in the ledger for the next start.
        """
        logs.configure(self.config.node.log_format, self.config.node.log_level)
        try_out(self.config, self.roles)  # a misspelt rule or a wrong hash ends here, not in a quarantine full of films
        self._check_web_port()
        self._upgrade_ledger()
        new_key = not self.config.node.key_path.exists()
        ledger, spool = open_store(self.config, create_key=True)
        if new_key:
            log.warning("new key file: back it up", path=str(self.config.node.key_path))
        clear_leftovers(self.config.spool_dir)
        swept = spool.sweep(ledger.known_files, ledger.readmit)
        if swept:
            log.info("orphan files removed", removed=len(swept))
        for owner in filter(is_dead, ledger.owners()):
            ledger.give_back(owner)  # a killed node's claims are due now, not when their leases run out
        forget_dead(self.config.node.data_dir, is_dead)
        wake = Wakeups(Bell(), EchoBell(), EchoBell())
        wire = Wire(ledger, {"received": wake.received, "released": wake.released}).start()
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        reloading = threading.Event()
        signal.signal(signal.SIGHUP, lambda *_: reloading.set())
        listener = self._receiver(ledger, spool, wake)
        port = listener.start() if listener else None  # before the children: a taken port is one clear line, nothing to clean up
        self._record(ledger, "node start", f"radanon_node {radanon_node.__version__}, {'+'.join(self.roles)}, "
                     f"config sha256 {config_hash(self.config)}")
        children = Children(self.config, wake)
        if listener:
            listener.add_to(children)
            children.start()
            listener.wait_until_up(children)  # peers wait for them: the others, which load more, do not compete with them for the cores
        self._add_others(children, wake)
        children.start()
        listening = {"host": self.config.listener.host, "port": port} if listener else {}
        log.info(
            "ready",
            **listening,
            ae_titles=[route.ae_title for route in self.config.routes],
            processes=children.names,
            version=radanon_node.__version__,
            pid=os.getpid(),
        )
        heartbeat = Heartbeat(self.config, ledger, self.roles, lambda: listener.associations if listener else 0)
        housekeeping = threading.Thread(target=self._housekeeping, args=(ledger, stopping, heartbeat), name="housekeeping")
        housekeeping.start()
        forwarder = Forwarder(lambda: self.config.audit, ledger, owner_name("audit", 0))
        telling = threading.Thread(target=forwarder.run, args=(stopping,), name="audit")
        telling.start()
        while not stopping.wait(0.5):
            renewing = children.renewing
            children.watch(ledger)
            if renewing and not children.renewing:
                log.info("all processes renewed")
            if reloading.is_set():
                reloading.clear()
                self._reload(ledger, spool, listener, children)
        log.info("draining")
        until = time.monotonic() + self.config.node.drain_timeout
        children.stop()  # all drain at the same time: what comes in meanwhile is for the next start
        if listener:
            listener.stop(self.config.node.drain_timeout)
        children.join(until)
        housekeeping.join()
        wire.stop()
        with suppress(StorageError):
            heartbeat.end()
        self._record(ledger, "node stop", "drained")
        telling.join()
        with suppress(StorageError, ConfigError, Unreachable):
            forwarder.tell()
        forwarder.close()
        self._keep_end_of_trail(ledger)
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

    def _receiver(self, ledger: Ledger, spool: Spool, wake: Wakeups) -> Receiver | None:
        if "listener" not in self.roles:
            return None
        from radanon_node.receiving import Receiver

        return Receiver(self.config, ledger, spool, wake)

    def _add_others(self, children: Children, wake: Wakeups) -> None:
        """All that does not receive."""
        if "worker" in self.roles:
            for index in range(worker_count(self.config)):
                children.add(f"worker-{index + 1}", worker_main)
        if "sender" in self.roles:
            add_senders(children, self.config, wake)
        if "web" in self.roles and self.config.web.enabled:
            children.add("web", web_main)

    def _reload(self, ledger: Ledger, spool: Spool, listener: Receiver | None, children: Children) -> None:
        """Take a new configuration, tried out first; a bad one changes nothing."""
        try:
            if self.source is None:
                raise ConfigError("the node was not started from a file")
            wanted = self.source()
            try_out(wanted, self.roles)
            found = change(self.config, wanted)
            if listener:
                listener.renew(found.config)
        except ConfigError as error:
            log.error("configuration refused: the old one stays", problems=error.problems)
            self._record(ledger, "config refused", f"{len(error.problems)} problems; sha256 {config_hash(self.config)} stays")
            return
        before, self.config = self.config, found.config
        spool.require_free(self.config.listener.min_free_disk)
        children.renew(self.config)
        logs.configure(self.config.node.log_format, self.config.node.log_level)
        log.info("configuration reloaded", changed=list(found.applied), config=config_hash(self.config))
        if found.deferred:
            log.warning("keys that need a restart keep their old value", keys=list(found.deferred))
        self._record(ledger, "config reload", f"sha256 {config_hash(before)} -> {config_hash(self.config)}; changed: "
                     f"{', '.join(found.applied) or 'files only'}; until a restart as before: {', '.join(found.deferred) or 'none'}")
        self._warn_of_stranded(ledger)

    def _warn_of_stranded(self, ledger: Ledger) -> None:
        """Name what waits for routes and destinations that are not configured any more."""
        try:
            found = ledger.status()
        except StorageError:
            return
        for route, states in found["routes"].items():
            waiting = states["received"] + states["processing"]
            if waiting and self.config.route(route) is None:
                log.warning("instances of a removed route: they will be quarantined as rule_missing", route=route, waiting=waiting)
        for name, place in found["destinations"].items():
            if place["waiting"] and name not in self.config.destinations:
                log.warning("deliveries to a removed destination: they wait until it is back", destination=name, waiting=place["waiting"])

    def _keep_end_of_trail(self, ledger: Ledger) -> None:
        """Keep the audit trail's last link in a file and in the log: should its end be cut off, either shows it."""
        try:
            anchor = ledger.write_anchor(self.config.node.data_dir / ANCHOR)
        except ConfigError as error:
            if not self._cut_off:
                log.error("audit trail does not hold", problems=error.problems)
            self._cut_off = True
        except (StorageError, OSError) as error:
            log.warning("end of the audit trail not kept", error=describe(error))
        else:
            self._cut_off = False
            if anchor is not None:
                log.info("audit trail", id=anchor.id, link=anchor.link)

    def _record(self, ledger: Ledger, action: str, reason: str) -> None:
        """Put an act of the node itself into the audit trail; a ledger that is down must not stop it."""
        try:
            ledger.record_act(f"node {os.uname().nodename}", action, reason)
        except StorageError as error:
            log.error("not in the audit trail: the ledger does not answer", reason=action, error=describe(error))

    def _housekeeping(self, ledger: Ledger, stopping: threading.Event, heartbeat: Heartbeat) -> None:
        """Purges originals whose deliveries are done, and rows and receipts whose retention is over; says that the node lives."""
        forget_at = 0.0
        while not stopping.is_set():
            try:
                heartbeat.beat()
                self._keep_end_of_trail(ledger)
                after = _seconds(self.config.retention.originals) or 0.0
                purged = ledger.purge(after)
                while purged and not stopping.is_set():
                    log.info("purged", purged=purged)
                    purged = ledger.purge(after)
                ledger.expire(_seconds(self.config.retention.rows), _seconds(self.config.retention.receipts))
                ledger.vacuum()
                tidied = ledger.spool.tidy(ledger.known_files)
                if tidied:
                    log.info("orphan objects removed", removed=len(tidied))
                if time.monotonic() >= forget_at:
                    forget_at = time.monotonic() + _FORGET_EVERY_S
                    if mended := ledger.recount():
                        log.warning("counts of the ledger did not fit its rows: mended", name=sorted(mended))
                    ledger.forget_finds(time.strftime("%Y-%m-%d", time.gmtime(time.time() - _FINDS_S)))
                    if (kept := _seconds(self.config.retention.rows)) is not None:
                        ledger.forget_patients(kept)
            except StorageError as error:
                log.warning("housekeeping put off", error=describe(error))
            except Exception:
                log.error("housekeeping failed", exc_info=True)
            stopping.wait(_HOUSEKEEPING_S)


def _seconds(retention: float | str) -> float | None:
    """A retention setting in seconds; None for its words (``forever``, ``purge on delivery``)."""
    return None if isinstance(retention, str) else retention
