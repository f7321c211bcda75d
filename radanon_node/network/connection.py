"""The requestor's connection to a peer: bytes and whole PDUs (PS3.8 9.3) in and out of a socket, with a limit on every wait.

A plain socket stays in blocking mode and the kernel keeps the time (SO_SNDTIMEO, SO_RCVTIMEO): with a limit of Python's own each call
is three (set the mode, poll, do it), each of which lets go of the interpreter and has to get it back. OpenSSL would wait for ever on
such a socket, so that TLS has Python's.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from contextlib import suppress

from radanon_node.errors import DeliveryRefused
from radanon_node.network.request_pdus import ProtocolError

MAX_MESSAGE = 16 * 2**20
"""Longest PDU, and longest message, that is taken from a peer: a requestor receives small ones."""
_CONNECT_SECONDS = 15.0
_CHUNK = 16384


class Connection:
    """TCP, or TLS over it; not for several threads at once, except `cut`.

    Parameters
    ----------
    host, port
        Where to.
    timeout : float
        Seconds to wait for the peer to take the next bytes, and for its next ones.

    Raises
    ------
    OSError, UnicodeError
        No connection.
    """

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self._timeout = timeout
        self._buffer = bytearray()
        self._socket = socket.create_connection((host, port), min(timeout, _CONNECT_SECONDS))
        self._plain = True

    def secure(self, tls: ssl.SSLContext | None, host: str) -> None:
        """Begin to speak, with TLS where there is a context for it; OSError if the peer does not, or not as its certificate ought to."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if tls is not None:
            self._socket.settimeout(self._timeout)
            self._socket = tls.wrap_socket(self._socket, server_hostname=host)
            self._plain = False
        self.hurry(self._timeout)

    def hurry(self, seconds: float) -> None:
        """From now on wait that long."""
        self._timeout = seconds
        if not self._plain:
            self._socket.settimeout(seconds)
            return
        self._socket.settimeout(None)
        limit = struct.pack("ll", int(seconds), max(1, int(seconds % 1 * 1_000_000)))  # a struct timeval; zero would be for ever
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, option, limit)

    def send(self, parts: list[bytes | memoryview]) -> None:
        """Write all of it, in one call if the kernel takes it; OSError if the peer does not."""
        if not self._plain:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(b"".join(parts))
            return
        sent = self._socket.sendmsg(parts)
        for index, part in enumerate(parts):
            if sent < len(part):
                # The time was up, but some went: the rest goes part by part, or again gathered.
                self._socket.sendall(memoryview(part)[sent:])
                if index + 1 < len(parts):
                    self.send(parts[index + 1:])
                return
            sent -= len(part)

    def read_pdu(self, deadline: float) -> tuple[int, bytes]:
        """Type and body of the next PDU.

        Raises
        ------
        DeliveryRefused
            It is not there by the deadline (on the monotonic clock), or the connection has ended.
        ProtocolError
            It would be longer than `MAX_MESSAGE`.
        OSError
            The connection is lost.
        """
        buffer = self._buffer
        if len(buffer) < 6:
            self._fill(6, deadline)
        length = int.from_bytes(buffer[2:6], "big")
        if length > MAX_MESSAGE:
            raise ProtocolError("the peer sent a PDU of impossible length")
        end = 6 + length
        if len(buffer) < end:
            self._fill(end, deadline)
        kind, body = buffer[0], bytes(buffer[6:end])
        del buffer[:end]
        return kind, body

    def arrived(self, seconds: float) -> bool:
        """Whether there is something to be read, waiting for it up to that long."""
        pending = isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()
        return bool(self._buffer or pending or self._readable(seconds))

    def cut(self) -> None:
        """Close it at once; from any thread, whatever the others are doing."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self._socket.close()

    def _fill(self, size: int, deadline: float) -> None:
        """Read until `size` bytes are there."""
        timely = self._plain and not self._buffer  # the first read may take the whole time limit, which the kernel knows
        while len(self._buffer) < size:
            if not timely:
                self._wait(deadline)
            try:
                chunk = self._socket.recv(_CHUNK)
            except BlockingIOError:
                raise TimeoutError from None
            if not chunk:
                raise DeliveryRefused("the peer closed the connection")
            self._buffer += chunk
            timely = False

    def _wait(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or (self._plain and not self._readable(left)):
            raise DeliveryRefused("no answer: timed out")
        if not self._plain:
            self._socket.settimeout(left)

    def _readable(self, seconds: float) -> bool:
        watch = select.poll()
        watch.register(self._socket, select.POLLIN)
        return bool(watch.poll(max(seconds, 0.0) * 1000))


def cause(error: BaseException) -> str:
    """What became of a connection, in words that hold nothing of the peer's."""
    if isinstance(error, TimeoutError | BlockingIOError):
        return "timed out"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: certificate of the peer: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
