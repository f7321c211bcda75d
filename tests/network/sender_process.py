"""A sender as a process, to be killed: ``python -m tests.network.sender_process FOLDER PORT OWNER``; ends when all is delivered."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from radanon_node.network.sender import Sender
from tests.network.sending import bench, network


def main(folder: Path, port: int, owner: str) -> None:
    with bench(folder, {"archive": network(port)}) as node:
        stop = threading.Event()
        sender = Sender(node.config, node.ledger, node.spool, node.seal, threading.Event(), owner)
        thread = threading.Thread(target=sender.run, args=(stop,))
        thread.start()
        node.wait(lambda: node.counts("archive")["waiting"] == 0, 60)
        stop.set()
        thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
