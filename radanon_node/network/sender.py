"""The sender: takes released instances from the ledger to their destinations, each destination on threads of its own.

A destination that is dead or slow holds up nobody but itself. What a destination says to an instance decides what becomes of it::

    success 0x0000, warnings 0xBxxx                            delivered (or sent, where Storage Commitment is awaited)
    0xA7xx, abort, time-out, connection lost                   tried again later, with backoff; costs no attempt
    no connection, no association, folder full                 the destination is down: all wait, one probe at a time; costs no attempt
    0xA9xx, 0xCxxx, 0x01xx, no presentation context, ...       costs an attempt; `attempts` of them and it is failed
    broken seal, other bytes than the verified ones            failed at once, never sent

Everything is idempotent: a sender that is killed leaves its claims to the next one, which sends the same SOP Instance UIDs again.
"""

from __future__ import annotations

import os
import secrets
import threading
import time

import structlog

from radanon_node.bell import Signal
from radanon_node.errors import LedgerUnavailable
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.seal import Seal
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.types import DeliveryResult
from radanon_node.network.claims import Bell, Claims
from radanon_node.network.lane import LEASE_S, Lane, Services
from radanon_node.network.share import Share
from radanon_node.settings import Config
from radanon_node.stages import Stages, stage_file

_log = structlog.get_logger("radanon.sender")

_POLL_S = 0.5
_RENEW_S = LEASE_S / 4
_AFTER_CUT_S = 5.0
_FINISHING = 0.7  # of the time to drain
ALL = Share()
"""The share of a process that sends alone."""


class Sender:
    """All destinations of a node, or one process's share of their associations.

    Parameters
    ----------
    config : Config
    ledger : Ledger
    spool : Spool
    seal : Seal
        Checks that the verifier released what is to be sent.
    wake : Signal
        Set by whoever has released something; without it the sender looks once a second.
    owner : str, optional
        Name of this process's life in the ledger, for `Ledger.give_back`; made up if not given.
    share : Share
        Which part, where several processes send. The first of them is the one that others wake, and it wakes the rest.

    Raises
    ------
    ConfigError
        A destination's TLS files or transfer syntaxes cannot be used.
    """

    def __init__(self, config: Config, ledger: Ledger, spool: Spool, seal: Seal, wake: Signal, owner: str = "",
                 share: Share = ALL) -> None:
        self.owner = owner or f"sender-{os.getpid()}-{secrets.token_hex(4)}"
        self._config = config
        self._ledger = ledger
        self._wake = wake
        self._claims = Claims()
        self._stages = Stages(stage_file(config.node.data_dir, self.owner))
        self._share = share
        ledger.compile_statements()
        services = Services(config, ledger, spool, seal, self.owner, self._claims, self._stages)
        self._groups = [_Group(name, services, share) for name in config.destinations]

    def run(self, stop: Signal) -> None:
        """Deliver until `stop` is set, then finish what is being sent within ``node.drain_timeout`` and return."""
        for group in self._groups:
            group.start()
        renewed = time.monotonic()
        while not stop.is_set():
            if self._wake.wait(_POLL_S):
                self._wake.clear()
                for group in self._groups:
                    group.nudge()
                if self._share.index == 0:
                    self._share.call()
            else:
                self._stages.write()
            if time.monotonic() - renewed >= _RENEW_S:
                renewed = time.monotonic()
                self._renew()
        for group in self._groups:
            group.stop()
        # Some of the time is for the outcomes of what is cut: whoever is still at it in the end is killed.
        deadline = time.monotonic() + _FINISHING * self._config.node.drain_timeout
        for group in self._groups:
            group.join(deadline)
        for group in self._groups:
            group.cut()
        for group in self._groups:
            group.join(time.monotonic() + min(_AFTER_CUT_S, (1 - _FINISHING) / 2 * self._config.node.drain_timeout))
        self._give_back()
        self._stages.write()
        _log.info("sender stopped", waiting=len(self._claims.held()))

    def _give_back(self) -> None:
        """What a lane could not let go of is nobody's crash: it waits for the next sender."""
        held = self._claims.held()
        try:
            self._ledger.finish_deliveries([DeliveryResult(item, "retry", 0.0, "the sender stopped") for item in held])
        except LedgerUnavailable:
            _log.warning("claims not given back: ledger unavailable", count=len(held))

    def _renew(self) -> None:
        try:
            self._ledger.renew(self._claims.held(), LEASE_S)
        except LedgerUnavailable:
            _log.warning("claims not renewed: ledger unavailable")


class _Group:
    """One destination: the lanes that this process has of it."""

    def __init__(self, name: str, services: Services, share: Share) -> None:
        self._bell = Bell(share.call)
        self._lanes = Lane.group(name, services, self._bell, share)
        self._threads = [threading.Thread(target=lane.run, name=f"{name}-{number}", daemon=True) for number, lane in enumerate(self._lanes)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def nudge(self) -> None:
        self._bell.ring()

    def stop(self) -> None:
        self._bell.close()

    def join(self, deadline: float) -> None:
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))

    def cut(self) -> None:
        for lane, thread in zip(self._lanes, self._threads, strict=True):
            if thread.is_alive():
                lane.cut()
