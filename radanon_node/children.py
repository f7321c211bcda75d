"""The node's own processes: started, watched, replaced when they die, and replaced one after another under a new configuration.

A child whose parent dies ends too, so that a killed node leaves nothing behind that holds its ports or its spool. The claims of a child
that died are given back at once.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from radanon_node.bell import Bell
from radanon_node.child import Target, Wakeups, child_main
from radanon_node.errors import StorageError, describe
from radanon_node.settings import Config

if TYPE_CHECKING:
    from radanon_node.ledger.ledger import Ledger

log = structlog.get_logger("radanon.node")

_RESTART_DELAY_S = 1.0
_CORES_EACH, _MOST = 4, 8  # of the processes that a role's work is divided among


@dataclass(slots=True)
class Child:
    """One process under watch. `make` is called at each start for its target; `adapts`: it takes new configurations by itself."""

    name: str
    make: Callable[[], Target]
    adapts: bool = False
    owner: str = ""
    process: BaseProcess | None = None
    wake: Wakeups | None = None
    restart_at: float = 0.0
    restarts: int = 0
    outdated: bool = False  # runs under an older configuration
    kill_at: float | None = None  # told to stop; what it holds after that is cut off


@dataclass(slots=True)
class Children:
    """All processes of a node beside the one that listens.

    Parameters
    ----------
    config : Config
        What the next child is started with; `renew` changes it.
    wake : Wakeups
        The bells they share; their own `stop` is made for each.
    """

    config: Config
    wake: Wakeups
    children: list[Child] = field(default_factory=list)
    _context: Any = field(default_factory=lambda: multiprocessing.get_context("spawn"))

    def add(self, name: str, target: Target) -> None:
        """One more process; `start` starts it."""
        self.children.append(Child(name, lambda: target))

    def add_adapting(self, name: str, make: Callable[[], Target]) -> None:
        """One more that `renew` leaves as it is, as it is told of new configurations otherwise; `make` is called at each of its starts."""
        self.children.append(Child(name, make, adapts=True))

    @property
    def names(self) -> list[str]:
        return [child.name for child in self.children]

    @property
    def alive(self) -> bool:
        """Whether none of those that were started has ended."""
        return all(child.process is None or child.process.exitcode is None for child in self.children)

    @property
    def renewing(self) -> bool:
        """Whether a child still runs under an older configuration."""
        return any(child.outdated for child in self.children)

    def start(self) -> None:
        """Start those that were added since the last time."""
        for child in self.children:
            if not child.owner:
                self._start(child)

    def renew(self, config: Config) -> None:
        """Replace the children, one after another (`watch` does it): each finishes what it holds, the next starts under `config`."""
        self.config = config
        for child in self.children:
            child.outdated = not child.adapts

    def watch(self, ledger: Ledger) -> None:
        """Replace children that died, or that are to be renewed; to be called twice a second."""
        for child in self.children:
            if child.process is not None and child.process.exitcode is not None:
                self._ended(child, ledger)
            if child.process is None and time.monotonic() >= child.restart_at:
                self._start(child)
        leaving = next((child for child in self.children if child.kill_at is not None), None)
        if leaving is None:
            leaving = next((child for child in self.children if child.outdated and child.process is not None), None)
            if leaving is not None:
                leaving.kill_at = time.monotonic() + self.config.node.drain_timeout
                self._tell(leaving)
        elif leaving.process is not None and leaving.kill_at is not None and time.monotonic() >= leaving.kill_at:
            log.warning("process did not drain in time", name=leaving.name)
            leaving.process.kill()

    def stop(self) -> None:
        """Tell all to finish what they hold."""
        for child in self.children:
            self._tell(child)

    def join(self, until: float) -> None:
        """Wait for the children to finish what they hold, until then (on the monotonic clock); then end the stubborn ones.

        Their claims come back at the next start.
        """
        for child in self.children:
            if child.process is None:
                continue
            child.process.join(max(0.1, until - time.monotonic()))
            if child.process.exitcode is None:
                log.warning("process did not drain in time", name=child.name)
                child.process.kill()
                child.process.join()

    def _start(self, child: Child) -> None:
        child.owner = owner_name(child.name, child.restarts)
        child.wake = replace(self.wake, stop=Bell())
        child.outdated, child.kill_at = False, None
        arguments = (child.make(), child.owner, os.getpid(), self.config, child.wake)
        child.process = self._context.Process(target=child_main, args=arguments, name=f"radanon {child.name}")
        child.process.start()

    def _tell(self, child: Child) -> None:
        if child.wake is not None:
            child.wake.stop.set()
        for bell in (self.wake.received, self.wake.released):
            bell.set()  # it may be asleep until there is work

    def _ended(self, child: Child, ledger: Ledger) -> None:
        assert child.process is not None
        expected = child.kill_at is not None and child.process.exitcode == 0
        if not expected:
            log.error("process died", name=child.name, exit_code=child.process.exitcode)
            child.restart_at = time.monotonic() + _RESTART_DELAY_S
        child.restarts += 1
        child.process, child.kill_at = None, None
        try:
            ledger.give_back(child.owner)
            if not expected:
                ledger.spool.sweep(ledger.known_files, ledger.readmit)
        except StorageError as error:
            log.error("claims of a dead process not given back: their leases will run out", error=describe(error))


def process_count(wanted: int | str) -> int:
    """How many processes share one role's work: as many as the settings say, by themselves one per four cores and at most eight.

    Parameters
    ----------
    wanted : int or "auto"
    """
    if isinstance(wanted, int):
        return wanted
    return min(_MOST, max(1, len(os.sched_getaffinity(0)) // _CORES_EACH))


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
