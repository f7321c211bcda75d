"""The receiving half of a node: in its own process, or in several beside it (`listener.processes`)."""

from __future__ import annotations

import time
from functools import partial

import structlog

from radanon_node.child import Wakeups
from radanon_node.children import Children, owner_name, process_count
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from radanon_node.network.acceptors import Acceptors
from radanon_node.network.listener import Listener
from radanon_node.roles import acceptor_main
from radanon_node.settings import Config
from radanon_node.stages import Stages, stage_file

log = structlog.get_logger("radanon.node")

_UP_S = 60.0


class Receiver:
    """Listens for a node; ConfigError if it cannot be set up.

    Parameters
    ----------
    config : Config
    ledger, spool
        Of the node's own process; others open theirs.
    wake : Wakeups
    """

    def __init__(self, config: Config, ledger: Ledger, spool: Spool, wake: Wakeups) -> None:
        count = process_count(config.listener.processes)
        self._acceptors = Acceptors(config, count) if count > 1 else None
        self._listener = self._acceptors or Listener(
            config, spool, ledger, lambda _: wake.received.set(), Stages(stage_file(config.node.data_dir, owner_name("listener", 0))))

    def start(self) -> int:
        """Take the port, and return it."""
        return self._listener.start()

    def add_to(self, children: Children) -> None:
        """Have the processes that receive started with the node's other ones."""
        if self._acceptors is not None:
            for slot in range(self._acceptors.count):
                children.add_adapting(f"acceptor-{slot + 1}", partial(_target, self._acceptors, slot))

    def wait_until_up(self, children: Children) -> None:
        """Until connections are served; a process that does not come up is a warning, as the others work."""
        if self._acceptors is None:
            return
        until = time.monotonic() + _UP_S
        while not self._acceptors.wait_until_up(0.5):
            if not children.alive or time.monotonic() >= until:
                log.warning("not all processes that receive are there yet")
                return

    def renew(self, config: Config) -> None:
        """Take a configuration for the associations to come; ConfigError if it cannot be used, which changes nothing."""
        self._listener.renew(config)

    def stop(self, timeout: float) -> None:
        """No new associations; those that are open drain, here for up to `timeout` seconds, elsewhere as the children are told."""
        self._listener.stop(timeout)

    @property
    def associations(self) -> int:
        """How many are open now."""
        return self._listener.associations


def _target(acceptors: Acceptors, slot: int) -> partial[None]:
    return partial(acceptor_main, acceptors.link(slot))
