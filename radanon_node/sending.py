"""The sending half of a node: one process, or several that divide the destinations' associations (`sender.processes`)."""

from __future__ import annotations

import os
from functools import partial

from radanon_node.children import Children, Wakeups
from radanon_node.network.share import shares
from radanon_node.roles import sender_main
from radanon_node.settings import Config

_CORES_EACH, _MOST = 4, 8


def sender_count(config: Config) -> int:
    """How many processes send, by `sender.processes` and this machine's cores."""
    if isinstance(config.sender.processes, int):
        return config.sender.processes
    return min(_MOST, max(1, len(os.sched_getaffinity(0)) // _CORES_EACH))


def add_senders(children: Children, config: Config, wake: Wakeups) -> None:
    """Have the processes that send started with the node's other ones."""
    parts = shares(sender_count(config), wake.released)
    for share, bell in parts:
        children.add("sender" if len(parts) == 1 else f"sender-{share.index + 1}", partial(sender_main, share, bell))
