"""The first code of the node's own processes: `children.Children` starts them with `child_main`, which runs one of the bodies in `roles`.

This module, the bodies' and that of everything a process is handed at its start are imported before anything can be left out (`lean`):
none of them imports pydicom or structlog.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from radanon_node.bell import Bell, EchoBell
from radanon_node.lean import DOWNLOADS, TABLES, leave_out
from radanon_node.settings import Config

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


@dataclass(frozen=True, slots=True)
class Wakeups:
    """Bells between the processes of one node; all of them also look by themselves now and then, so a lost wake-up costs a second.

    `stop` is each child's own, so that one can be replaced while the others work on.
    """

    stop: Bell
    received: EchoBell
    released: EchoBell


Target: TypeAlias = Callable[[str, Config, Wakeups], None]
"""What a process does; called with its owner's name, the configuration and its bells."""


def child_main(target: Target, owner: str, parent: int, config: Config, wake: Wakeups) -> None:
    """Die with the parent, be called by its own name in `top` and `ps -o comm`, leave signals to it, log like it; then `target`."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    prctl(_PR_SET_NAME, owner.rpartition("/")[2].rpartition(".")[0].encode())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    leave_out(*DOWNLOADS, *TABLES)
    from radanon_node import logs  # structlog looks for rich when it is imported

    logs.configure(config.node.log_format, config.node.log_level)
    target(owner, config, wake)
