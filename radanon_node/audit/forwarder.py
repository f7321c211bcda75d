"""Tells a collector what the ledger holds for it, batch by batch. A dead one blocks nobody and misses nothing: the ledger keeps it all.

Of several nodes with one ledger, one at a time tells: the one with the lease on the collector's row.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import structlog

from radanon_node.audit.messages import Teller
from radanon_node.audit.syslog import Collector, frame
from radanon_node.errors import ConfigError, StorageError, Unreachable, describe
from radanon_node.ledger.ledger import Ledger
from radanon_node.settings import AuditSettings, SyslogSettings

log = structlog.get_logger("radanon.audit")

_POLL_S, _MOST_S = 2.0, 60.0
_BATCH = 200
_LEASE_S = 90.0  # longer than a batch and the longest pause


class Forwarder:
    """The thread's body is `run`.

    Parameters
    ----------
    settings : callable
        The settings of the moment; they may change under it.
    ledger : Ledger
    owner : str
        Name of this process's life.
    """

    def __init__(self, settings: Callable[[], AuditSettings], ledger: Ledger, owner: str) -> None:
        self._settings, self._ledger, self._owner = settings, ledger, owner
        self._known: SyslogSettings | None = None
        self._collector: Collector | None = None
        self._down = False

    def run(self, stopping: threading.Event) -> None:
        """Tell until `stopping` is set; one last batch then, so that the node's own stop is told too, where the collector is up."""
        pause = _POLL_S
        while not stopping.wait(pause):
            try:
                told = self.tell()
                pause = 0.0 if told == _BATCH else _POLL_S
                self._say(False, "")
            except Unreachable as error:
                pause = min(_MOST_S, 2 * pause + _POLL_S)
                self._say(True, error.detail)
            except (StorageError, ConfigError) as error:
                pause = min(_MOST_S, 2 * pause + _POLL_S)
                log.warning("audit messages wait", error=describe(error))
            except Exception:
                pause = _MOST_S
                log.error("audit messages wait", exc_info=True)

    def tell(self) -> int:
        """Tell one batch; returns how many messages, 0 also where another node tells or no collector is configured.

        Raises
        ------
        Unreachable
            The collector does not take them.
        """
        settings = self._settings()
        if settings.syslog != self._known or self._collector is None:
            if self._collector is not None:
                self._collector.close()
            self._known, self._collector = settings.syslog, Collector(settings.syslog) if settings.syslog else None
        if self._collector is None or self._known is None:
            return 0
        name = f"{self._known.protocol}:{self._known.host}:{self._known.port}"
        batch = self._ledger.outbox(name, self._owner, _BATCH, _LEASE_S)
        if not batch.acts and not batch.transfers:
            return 0
        host = os.uname().nodename
        teller = Teller(host, settings.source_id or host, settings.site_id, settings.free_text)
        frames = [frame(teller.act(act.id, act.entry, act.link), act.entry.at, host) for act in batch.acts]
        frames += [frame(teller.transfer(item.kind, item.at, item.facts), item.at, host) for item in batch.transfers]
        self._collector.deliver(frames)
        self._ledger.told(name, self._owner, batch)
        return len(frames)

    def close(self) -> None:
        """End the connection."""
        if self._collector is not None:
            self._collector.close()

    def _say(self, down: bool, why: str) -> None:
        if down != self._down:
            self._down = down
            if down:
                log.warning("audit collector down: messages wait in the ledger", why=why)
            else:
                log.info("audit collector up")
