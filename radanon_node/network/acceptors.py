"""Acceptors in several processes: this process listens and hands each connection to the one that has the fewest.

One interpreter receives no faster than its lock lets one thread run. So connections are handed over, as open sockets (SCM_RIGHTS,
unix(7)), to processes that do all the rest: TLS, negotiation, C-STORE, rows. SO_REUSEPORT would spread connections by a hash of the peer's
address and port: of four associations all may fall on one process, and those in the queue of one that dies are lost.

A process that dies takes its own associations with it and nothing else: their peers send again, its rows are written from its files
(ledger/record.py), the next connections go to the others until it is replaced.
"""

from __future__ import annotations

import itertools
import os
import pickle
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from radanon_node.bell import Bell
from radanon_node.errors import ConfigError
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from radanon_node.network.listener import Listener, close_listening, listen
from radanon_node.network.places import Link, Places
from radanon_node.settings import Config
from radanon_node.stages import Stages

_log = structlog.get_logger("radanon.network")

_HEAD = struct.Struct(">cQ")
_CONNECTION, _CONFIG, _UP = b"C", b"R", b"U"
_LONGEST = 256
_PAUSE_S = 0.1  # when no connection can be had or handed over
_DRAIN_SHARE = 0.9  # of the time that the parent gives: the rest is for what comes after


@dataclass(slots=True)
class _Line:
    """This process's end, and what it knows of the child."""

    sock: socket.socket
    link: Link
    up: bool = False
    given: int = 0


class Acceptors:
    """The listening side of a node whose associations are served by other processes.

    Parameters
    ----------
    config : Config
    count : int
        Processes. Each is to be started with a `link` of its own and to call `serve` with it.
    """

    def __init__(self, config: Config, count: int) -> None:
        self._config = config
        self.count = count
        self._places = Places(count)
        self._changed = threading.Condition()
        self._lines: list[_Line | None] = [None] * count
        self._bell = Bell()
        self._stopping = False
        self._numbers = itertools.count(1)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Listen; returns and raises what `Listener.start` does. Connections wait until a process is there for them."""
        self._socket = listen(self._config.listener.host, self._config.listener.port)
        self._socket.setblocking(False)
        self._thread = threading.Thread(target=self._run, args=(self._socket,), name="listener", daemon=True)
        self._thread.start()
        port: int = self._socket.getsockname()[1]
        return port

    def link(self, slot: int) -> Link:
        """For the process that is started next as number `slot`; the one before it must have ended."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.setblocking(False)  # a child that was stopped (SIGSTOP) must not hold up the others
        link = Link(theirs, self._places.of(slot))
        with self._changed:
            self._drop(slot)
            self._places.clear(slot)
            self._lines[slot] = _Line(mine, link)
        self._bell.set()
        return link

    def wait_until_up(self, seconds: float) -> bool:
        """Wait until all processes take connections, at most so long; whether they do."""
        with self._changed:
            return self._changed.wait_for(lambda: all(line is not None and line.up for line in self._lines), seconds)

    def renew(self, config: Config) -> None:
        """Have all processes take a configuration for the associations to come; those that are started later are started with it."""
        with self._changed:
            for slot, line in enumerate(self._lines):
                if line is not None and not _tell(line, config):
                    self._drop(slot)  # it drains then, and the next one is started with the new configuration

    def stop(self, timeout: float = 0.0) -> None:
        """Listen no more. The processes drain when they are told to stop, within `timeout` seconds of their own configuration."""
        with self._changed:
            self._stopping = True
        self._bell.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def associations(self) -> int:
        """How many are established now, in all processes."""
        return self._places.taken

    def _run(self, listening: socket.socket) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    break
                lines = {line.sock.fileno(): (slot, line) for slot, line in enumerate(self._lines) if line is not None}
                ready = any(line.up for _, line in lines.values())
            poll = select.poll()
            poll.register(self._bell, select.POLLIN)
            if ready:
                poll.register(listening, select.POLLIN)
            for each in lines:
                poll.register(each, select.POLLIN)
            events = dict(poll.poll())
            self._bell.clear()
            for fd in events.keys() & lines.keys():
                self._hear(*lines[fd])
            if listening.fileno() in events:
                self._accept(listening)
        close_listening(listening)
        with self._changed:
            for slot in range(len(self._lines)):
                self._drop(slot)

    def _hear(self, slot: int, line: _Line) -> None:
        """A child says that it is there, or has ended."""
        with self._changed:
            if self._lines[slot] is not line:
                return
            try:
                up = line.sock.recv(1) == _UP
            except BlockingIOError:
                return
            except OSError:
                up = False
            if not up:
                self._lost(slot)
                return
            line.up = True
            _close(line.link)  # so that its end shows when it dies
            self._changed.notify_all()

    def _accept(self, listening: socket.socket) -> None:
        try:
            sock, address = listening.accept()
        except BlockingIOError:  # it has gone again
            return
        except OSError as error:
            _log.error("accept_failed", detail=error.strerror)
            time.sleep(_PAUSE_S)
            return
        head = _HEAD.pack(_CONNECTION, next(self._numbers)) + address[0].encode()
        while not self._hand_over(sock, head):
            with self._changed:  # none is there that takes it: until one is
                if self._stopping:
                    break
                self._changed.wait(_PAUSE_S)
            self._look_around()
        sock.close()  # the child has its own hold on it

    def _hand_over(self, sock: socket.socket, head: bytes) -> bool:
        """Give a connection to the process with the fewest; whether one has taken it."""
        with self._changed:
            able = [(slot, line) for slot, line in enumerate(self._lines) if line is not None and line.up]
            for slot, line in sorted(able, key=lambda each: (each[1].given - self._places.done_by(each[0]), each[1].given)):
                try:
                    socket.send_fds(line.sock, [head], [sock.fileno()])
                except BlockingIOError:  # it takes nothing at the moment
                    continue
                except OSError:
                    self._lost(slot)
                    continue
                line.given += 1
                return True
        return False

    def _look_around(self) -> None:
        for slot, line in enumerate(list(self._lines)):
            if line is not None:
                self._hear(slot, line)

    def _lost(self, slot: int) -> None:
        """Its process is dead."""
        self._drop(slot)
        self._places.clear(slot)

    def _drop(self, slot: int) -> None:
        line, self._lines[slot] = self._lines[slot], None
        if line is not None:
            line.sock.close()
            _close(line.link)


def _tell(line: _Line, config: Config) -> bool:
    """Send a configuration; whether the child will get it."""
    # As a file: one message holds a limited number of bytes, a configuration any number.
    with os.fdopen(os.memfd_create("radanon-config", os.MFD_CLOEXEC), "wb") as file:
        pickle.dump(config, file)
        file.flush()
        try:
            socket.send_fds(line.sock, [_HEAD.pack(_CONFIG, 0)], [file.fileno()])
        except OSError:
            return False
    return True


def _close(link: Link) -> None:
    link.sock.close()
    link.places.close()


def serve(link: Link, config: Config, spool: Spool, ledger: Ledger, on_admitted: Callable[[int], None], stages: Stages,
          stop: Bell, on_renewed: Callable[[Config], None]) -> None:
    """The body of one of the processes: serve the connections that are handed over, until told to stop, then drain.

    Parameters
    ----------
    link : Link
    config : Config
    spool : Spool
    ledger : Ledger
    on_admitted : callable
        As for `Listener`.
    stages : Stages
    stop : Bell
    on_renewed : callable
        Called with a configuration that was taken.
    """
    listener = Listener(config, spool, ledger, on_admitted, stages, link.places)
    listener.begin()
    link.sock.send(_UP)
    poll = select.poll()
    poll.register(link.sock, select.POLLIN)
    poll.register(stop, select.POLLIN)
    while stop.fileno() not in (events := dict(poll.poll())):
        if link.sock.fileno() not in events:
            continue
        data, fds, _, _ = socket.recv_fds(link.sock, _LONGEST, 1, socket.MSG_CMSG_CLOEXEC)
        if not data:
            break  # who listens has gone
        kind, number = _HEAD.unpack_from(data)
        if kind == _CONNECTION and fds:
            listener.take(socket.socket(fileno=fds[0]), data[_HEAD.size:].decode(), number)
        elif kind == _CONFIG and fds:
            try:
                wanted = _read(fds[0])
                listener.renew(wanted)
            except ConfigError as error:  # a file was changed since it was tried out: the next process is started with it, or says why not
                _log.error("configuration refused: the process is replaced", problems=error.problems)
                break
            config = wanted
            on_renewed(config)
    # The link stays open until the process ends: its end means that the places are free.
    listener.stop(_DRAIN_SHARE * config.node.drain_timeout)


def _read(fd: int) -> Config:
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        config: Config = pickle.load(file)
        return config
