"""The listener: accepts connections, gives each a thread, keeps the limits, and drains.

Two limits, because a connection is not an association yet: `max_associations` counts associations that were asked for and
accepted; connections that have not asked (port scanners, dead peers, stalled TLS handshakes) are counted apart, and when there are
too many of them the oldest goes. So they can neither lock good senders out nor exhaust the node.
"""

from __future__ import annotations

import errno
import itertools
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from radanon_node.errors import ConfigError
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from radanon_node.network.admission import Admitter
from radanon_node.network.associations import Association, Shared
from radanon_node.network.commitment import Commitments
from radanon_node.network.following import Following
from radanon_node.network.negotiation import Doorkeeper
from radanon_node.network.places import Places
from radanon_node.network.storing import Storing
from radanon_node.network.tls import server_context
from radanon_node.settings import Config
from radanon_node.stages import Stages

_log = structlog.get_logger("radanon.network")

_BACKLOG = 128
_ROWS_S = 10.0  # for rows that are still to be written at the end; the files have them else
_PAUSE_S = 0.1  # when the process is out of file descriptors


class Listener:
    """Storage, Verification and (if configured) Storage Commitment SCP.

    Parameters
    ----------
    config : Config
    spool : Spool
    ledger : Ledger
    on_admitted : callable
        Called with the number of new instances after each commit, from the threads of associations; must return at once.
    stages : Stages, optional
        Counts the seconds of receiving, syncing and admitting an instance.
    places : Places, optional
        Of associations, where several processes receive on one port (acceptors.py).

    Raises
    ------
    ConfigError
        TLS files cannot be used.
    """

    def __init__(self, config: Config, spool: Spool, ledger: Ledger, on_admitted: Callable[[int], None],
                 stages: Stages | None = None, places: Places | None = None) -> None:
        self._stages = stages or Stages()
        self._places = places or Places()
        self._spool = spool
        self._commitments = Commitments(config, ledger)
        self._admitter = Admitter(ledger, spool, on_admitted)
        # Where only processes of this machine write rows, and the spool is its own, a row may follow the answer.
        self._following = (Following(ledger, spool, ledger.seal.records, on_admitted, self._stages, self._places.slots)
                           if spool.keeps_records and not ledger.many_nodes else None)
        self._ledger = ledger
        self.renew(config)
        self._changed = threading.Condition()
        self._half_open: dict[Association, None] = {}
        self._established: set[Association] = set()
        self._stopping = False
        self._numbers = itertools.count(1)
        self._socket: socket.socket | None = None
        self._acceptor: threading.Thread | None = None

    def renew(self, config: Config) -> None:
        """Take a configuration for the associations to come; those that are open go on under theirs. Address and port stay.

        Raises
        ------
        ConfigError
            TLS files cannot be used; nothing has changed then.
        """
        settings = config.listener
        storing = Storing(self._spool, self._admitter, settings.max_instance_size, self._stages, self._following)
        tls = server_context(settings.tls) if settings.tls else None
        report = self._ledger.record_transfer if config.audit.syslog and config.audit.transfers else None
        self._shared = Shared(config, Doorkeeper(config), storing, self._commitments, tls, self._establish, report)
        self._config = config
        self._commitments.renew(config)
        self._max_half_open = -(-max(64, 4 * settings.max_associations) // self._places.slots)

    def start(self) -> int:
        """Listen.

        Returns
        -------
        int
            The TCP port, also where the configuration leaves it open.

        Raises
        ------
        ConfigError
            The address or port cannot be had.
        """
        settings = self._config.listener
        self._socket = listen(settings.host, settings.port)
        self._acceptor = threading.Thread(target=self._accept, args=(self._socket,), name="listener", daemon=True)
        self._acceptor.start()
        self.begin()
        port: int = self._socket.getsockname()[1]
        return port

    def begin(self) -> None:
        """Be ready for connections that `take` is called with, instead of `start`, where another process listens."""
        if self._following is not None:
            self._following.start()
        self._commitments.start()

    def stop(self, timeout: float) -> None:
        """Drain: no new associations; instances in hand are finished and answered for up to `timeout` seconds, then all is cut."""
        with self._changed:
            if self._stopping:
                return
            self._stopping = True
            open_now = [*self._half_open, *self._established]
        if self._socket is not None:
            close_listening(self._socket)
        if self._acceptor is not None:
            self._acceptor.join()
        for association in open_now:
            association.drain()
        with self._changed:
            if not self._changed.wait_for(lambda: not self._established, timeout):
                _log.warning("drain_timeout", count=len(self._established))
            left = [*self._half_open, *self._established]
        for association in left:
            association.cut()
        with self._changed:
            self._changed.wait_for(lambda: not self._established and not self._half_open, 5.0)
        if self._following is not None:
            self._following.stop(_ROWS_S)
        self._commitments.stop()

    @property
    def associations(self) -> int:
        """How many are established now."""
        return self._places.taken

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, address = listening.accept()
            except OSError as error:
                if self._stopping or error.errno in (errno.EBADF, errno.EINVAL):
                    return
                _log.error("accept_failed", detail=error.strerror)
                time.sleep(_PAUSE_S)
                continue
            self.take(sock, address[0], next(self._numbers))

    def take(self, sock: socket.socket, address: str, number: int) -> None:
        """Serve a connection, in a thread of its own.

        Parameters
        ----------
        sock : socket.socket
            Closed when it is over.
        address : str
            The peer's IP address.
        number : int
            For the log.
        """
        association = Association(sock, address, number, self._shared)
        with self._changed:
            if self._stopping:
                sock.close()
                return
            self._half_open[association] = None
            oldest = next(iter(self._half_open)) if len(self._half_open) > self._max_half_open else None
            if oldest is not None:
                del self._half_open[oldest]  # its thread needs a moment to end; the next one over the limit is another's turn
        if oldest is not None:
            oldest.cut()
        try:
            threading.Thread(target=self._serve, args=(association,), name="association", daemon=True).start()
        except RuntimeError:  # the system gives no more threads
            _log.error("accept_failed", detail="no thread can be started")
            sock.close()
            self._places.done()
            with self._changed:
                self._half_open.pop(association, None)

    def _serve(self, association: Association) -> None:
        try:
            try:
                association.run()
            except Exception as error:  # noqa: BLE001 - the edge of a thread: a fault of ours ends one association, not the node
                _log.error("association_failed", exc_info=error)
                association.cut()
            # Its place is free now. What follows is a wait that counts as half open: it can be cut short like one.
            with self._changed:
                self._end(association)
                self._half_open.setdefault(association)
                self._changed.notify_all()
                idle = not self._established
            if idle:
                self._spool.rest()
            self._places.done()
            association.leave()
        finally:
            with self._changed:
                self._end(association)
                self._half_open.pop(association, None)
                self._changed.notify_all()

    def _end(self, association: Association) -> None:
        if association in self._established:
            self._established.remove(association)
            self._places.give()

    def _establish(self, association: Association) -> bool:
        with self._changed:
            if self._stopping or not self._places.take(self._config.listener.max_associations):
                return False
            self._half_open.pop(association, None)
            self._established.add(association)
            return True


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; ConfigError if the address or port cannot be had."""
    where = f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise ConfigError(f"listener.host: {host!r} is no address of this machine ({error.strerror})") from error
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        key, why = {
            errno.EADDRINUSE: ("listener.port", "is taken by another program"),
            errno.EACCES: ("listener.port", "needs the right to listen on ports below 1024"),
            errno.EADDRNOTAVAIL: ("listener.host", "is no address of this machine"),
        }.get(error.errno or 0, ("listener.port", f"cannot be listened on ({error.strerror})"))
        raise ConfigError(f"{key}: {where} {why}") from error
    return sock


def close_listening(sock: socket.socket) -> None:
    """Close a listening socket; a thread in its `accept` wakes."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
    sock.close()
