"""Wake-ups between the nodes of one PostgreSQL ledger (LISTEN and NOTIFY), so that nobody has to look by the clock for work to come.

One connection per node. It carries no data and nothing depends on it: a wake-up that is lost, or a connection that breaks, costs the time
until the next look by the clock, which every worker and sender takes anyway.

Told after the commit, by a thread of its own and at most every few milliseconds: a NOTIFY inside the transaction would make all commits of
the database take turns.
"""

from __future__ import annotations

import secrets
import select
import threading
import time
from collections.abc import Mapping
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from radanon_node.bell import Bell, EchoBell
from radanon_node.ledger.database import Database

_log = structlog.get_logger("radanon.node")

_GATHER_S = 0.005
_CHECK_S = 30.0
_AGAIN_FIRST_S, _AGAIN_MOST_S = 0.5, 15.0


class Wire:
    """Passes rings between this node's bells and those of the other nodes; `start` and `stop`.

    Parameters
    ----------
    ledger : Database
    bells : mapping of str to EchoBell
        By what they say, for instance ``received``; the same names at all nodes.
    """

    def __init__(self, ledger: Database, bells: Mapping[str, EchoBell]) -> None:
        self._ledger = ledger
        self._bells = dict(bells)
        self._channel = f"radanon_{ledger.id[:32]}"
        self._self = secrets.token_hex(4)
        self._stop = Bell()
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self.connected = threading.Event()

    def start(self) -> Wire:
        """Begin; returns itself. On SQLite there are no other nodes, and nothing is begun."""
        if self._ledger.many_nodes:
            self._thread.start()
        return self

    def stop(self) -> None:
        """End the thread and its connection."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause = _AGAIN_FIRST_S
        while not self._stop.is_set():
            connection = None
            try:
                connection = self._ledger.own_connection()
                connection.autocommit = True
                connection.execute(f'LISTEN "{self._channel}"')
                connection.add_notify_handler(lambda notify: self._hear(notify.payload))
                for bell in self._bells.values():
                    bell.ring()  # what was said meanwhile was not heard
                self.connected.set()
                pause = _AGAIN_FIRST_S
                self._serve(connection)
            except Exception as error:  # noqa: BLE001  the thread's edge: whatever the driver raises, the clock still works
                _log.warning("wake-ups between nodes interrupted: work is looked for by the clock", delay=pause,
                             error=type(error.orig if isinstance(error, SQLAlchemyError) and hasattr(error, "orig") else error).__name__)
            finally:
                self.connected.clear()
                if connection is not None:
                    connection.close()
            self._stop.wait(pause)
            pause = min(2 * pause, _AGAIN_MOST_S)

    def _serve(self, connection: Any) -> None:
        poll = select.poll()
        for readable in (connection, self._stop, *(bell.echo for bell in self._bells.values())):
            poll.register(readable, select.POLLIN)
        checked = time.monotonic()
        while not self._stop.is_set():
            poll.poll(_CHECK_S * 1000)
            said = [name for name, bell in self._bells.items() if bell.echo.is_set()]
            for name in said:
                self._bells[name].echo.clear()  # before it is told: what comes after that rings again
                connection.execute("SELECT pg_notify(%s, %s)", (self._channel, f"{self._self} {name}"))
            if not said:
                connection.pgconn.consume_input()  # OperationalError once the connection is gone
                while (notify := connection.pgconn.notifies()) is not None:
                    self._hear(notify.extra.decode())
            if time.monotonic() - checked > _CHECK_S:
                connection.execute("SELECT 1")
                checked = time.monotonic()
            if said:
                self._stop.wait(_GATHER_S)

    def _hear(self, payload: str) -> None:
        sender, _, name = payload.partition(" ")
        if sender != self._self and name in self._bells:
            self._bells[name].ring()
