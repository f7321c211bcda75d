"""What each of the node's own processes does: the bodies that `child.child_main` runs.

Each says first what it leaves out (`lean`), then imports what it needs, all of it before it takes its first instance: what is missing ends
the process at its start. This module itself imports none of it, as it is imported before the first line of a body runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radanon_node.child import Wakeups
from radanon_node.lean import DECODERS, GDCM, leave_out
from radanon_node.settings import Config
from radanon_node.stages import Stages, stage_file

if TYPE_CHECKING:
    from radanon_node.bell import Bell
    from radanon_node.network.places import Link
    from radanon_node.network.share import Share

ROLES = ("listener", "worker", "sender", "web")
"""What a node can be started as."""


def acceptor_main(link: Link, owner: str, config: Config, wake: Wakeups) -> None:
    """One of several processes that receive on one port."""
    leave_out(*DECODERS, *GDCM)
    from radanon_node import logs
    from radanon_node.network.acceptors import serve
    from radanon_node.store import open_store

    ledger, spool = open_store(config)

    def renewed(config: Config) -> None:
        spool.require_free(config.listener.min_free_disk)
        logs.configure(config.node.log_format, config.node.log_level)

    serve(link, config, spool, ledger, lambda _: wake.received.set(), Stages(stage_file(config.node.data_dir, owner)), wake.stop, renewed)
    ledger.close()
    spool.close()


def worker_main(owner: str, config: Config, wake: Wakeups) -> None:
    """A worker process."""
    leave_out(*GDCM)
    from radanon_node.pipeline.worker import run_worker

    run_worker(config, owner, wake.stop, wake.received, wake.released)


def sender_main(share: Share, bell: Bell, owner: str, config: Config, wake: Wakeups) -> None:
    """A process that sends its share; `bell` wakes it. What has to be transcoded is, in a process of its own (`network.transcoder`)."""
    leave_out(*DECODERS, *GDCM)
    from radanon_node.network.sender import Sender
    from radanon_node.store import open_store

    ledger, spool = open_store(config)
    Sender(config, ledger, spool, ledger.seal, bell, owner, share).run(wake.stop)


def web_main(owner: str, config: Config, wake: Wakeups) -> None:
    """The web process; what it shows of pictures is opened by a process of its own (`web.viewer`)."""
    leave_out(*DECODERS, *GDCM)
    from radanon_node.ledger.seal import load_key
    from radanon_node.store import open_store
    from radanon_node.web.app import serve

    ledger, _ = open_store(config)
    serve(config, ledger, load_key(config.node.key_path, create=False), wake.stop.is_set)
