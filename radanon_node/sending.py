"""The sending half of a node: one process, or several that divide the destinations' associations (`sender.processes`)."""

from __future__ import annotations

from functools import partial

from radanon_node.child import Wakeups
from radanon_node.children import Children, process_count
from radanon_node.network.share import shares
from radanon_node.roles import sender_main
from radanon_node.settings import Config


def add_senders(children: Children, config: Config, wake: Wakeups) -> None:
    """Have the processes that send started with the node's other ones."""
    parts = shares(process_count(config.sender.processes), wake.released)
    for share, bell in parts:
        children.add("sender" if len(parts) == 1 else f"sender-{share.index + 1}", partial(sender_main, share, bell))
