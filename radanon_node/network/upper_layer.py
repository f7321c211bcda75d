"""One peer's byte stream: PDUs in and out of a socket (PS3.8 9.3), with few copies, few system calls and a limit on every wait."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from contextlib import suppress

from radanon_node.errors import AssociationEnded

A_ASSOCIATE_RQ, P_DATA_TF, A_RELEASE_RQ, A_ABORT = 0x01, 0x04, 0x05, 0x07
KNOWN_PDUS = range(0x01, 0x08)

MAX_PDU = 131072
"""Largest P-DATA-TF announced and accepted, in bytes after its header: DCMTK's largest. More gains nothing and costs peers memory."""

# Source and reason of an A-ABORT, PS3.8 Table 9-26. (0, 0) is the service user's, which has no reasons.
UNRECOGNIZED_PDU, UNEXPECTED_PDU, INVALID_PARAMETER, BY_USER = (2, 1), (2, 2), (2, 6), (0, 0)

PDU_TIMEOUTS = 10
"""A P-DATA-TF has to be whole within that many times the limit of silence: a peer that trickles would keep its place for ever."""

_BUFFER = 262144
_RELEASE_RP = bytes.fromhex("0600 00000004 00000000")
_LINGER_CHUNK = 65536


class PduStream:
    """Reads and writes PDUs on a connected socket; used by one thread.

    Parameters
    ----------
    sock : socket.socket
        Plain or TLS. Closed by `close`.
    timeout : float
        Seconds of silence after which a wait ends with ``AssociationEnded("idle")``.
    deadline : float or None
        On the monotonic clock: a limit for everything until it is set to None (ARTIM, PS3.8 9.1.5; `limit_pdu`).
    """

    def __init__(self, sock: socket.socket, timeout: float, deadline: float | None = None) -> None:
        self._sock = sock
        self._timeout = timeout
        self.deadline = deadline
        self._buffer = memoryview(bytearray(_BUFFER))
        self._start = self._end = 0
        self._quick = not isinstance(sock, ssl.SSLSocket) and sock.family in (socket.AF_INET, socket.AF_INET6)
        self._current: float | None = None
        self._set_timeout(timeout)
        if self._quick:
            with suppress(OSError):  # the peer may be gone already: the first read will tell
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def limit_pdu(self) -> None:
        """From now on the rest of one PDU is waited for, however it comes."""
        self.deadline = time.monotonic() + PDU_TIMEOUTS * self._timeout

    def header(self) -> tuple[int, int]:
        """Type and length of the next PDU; ``connection_lost`` if the peer is gone."""
        self._need(6)
        kind, length = struct.unpack_from(">BxI", self._buffer, self._start)
        self._start += 6
        return kind, length

    def take(self, size: int) -> bytes:
        """The next `size` bytes, for PDUs that are not P-DATA-TF; `size` is the caller's to limit."""
        if size <= _BUFFER:
            self._need(size)
            taken = bytes(self._buffer[self._start:self._start + size])
            self._start += size
            return taken
        parts = bytearray()
        while len(parts) < size:
            parts += self.chunk(size - len(parts))
        return bytes(parts)

    def pdv_header(self) -> tuple[int, int, int]:
        """Item length, presentation context id and message control header of the next PDV (PS3.8 9.3.5.1, E.2)."""
        self._need(6)
        found: tuple[int, int, int] = struct.unpack_from(">IBB", self._buffer, self._start)
        self._start += 6
        return found

    def chunk(self, limit: int) -> memoryview:
        """What has arrived already, at least 1 and at most `limit` bytes; valid until the next call."""
        if self._start == self._end:
            self._start = self._end = 0
            self._fill()
        stop = min(self._end, self._start + limit)
        view = self._buffer[self._start:stop]
        self._start = stop
        return view

    def send(self, data: bytes) -> None:
        """Write all of it; ``connection_lost`` or ``idle`` if the peer does not take it."""
        try:
            self._set_timeout(self._wait())
            self._sock.sendall(data)
        except TimeoutError as error:
            raise AssociationEnded("idle") from error
        except OSError as error:
            raise AssociationEnded("connection_lost") from error

    def readable(self, seconds: float) -> bool:
        """Whether something is there to be read, waiting for it at most that long."""
        if self._end > self._start or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()):
            return True
        try:
            self._set_timeout(seconds)
            target = self._compacted()  # before `_end` is read
            self._end += self._receive(target)
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        except OSError as error:
            raise AssociationEnded("connection_lost") from error
        return True

    def release(self) -> None:
        """Answer an A-RELEASE-RQ (PS3.8 9.3.7)."""
        self.send(_RELEASE_RP)

    def abort(self, source: int, reason: int) -> None:
        """Send an A-ABORT if the peer still takes it; never raises."""
        with suppress(OSError, ValueError):
            self._set_timeout(1.0)
            self._sock.sendall(struct.pack(">BBIBBBB", A_ABORT, 0, 4, 0, 0, source, reason))

    def linger(self, seconds: float) -> None:
        """State 13 (PS3.8 9.2): let the peer close first, throwing away what it sends, so that our last PDU is not lost in a reset."""
        limit = time.monotonic() + seconds
        with suppress(OSError, ValueError):
            if self._quick:
                self._sock.shutdown(socket.SHUT_WR)
            while (left := limit - time.monotonic()) > 0:
                self._set_timeout(left)
                if not self._sock.recv(_LINGER_CHUNK):
                    return

    def close(self) -> None:
        """Close the socket; never raises."""
        with suppress(OSError):
            self._sock.close()

    def _wait(self) -> float:
        if self.deadline is None:
            return self._timeout
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise AssociationEnded("idle", abort=BY_USER)
        return min(left, self._timeout)

    def _set_timeout(self, seconds: float) -> None:
        if seconds != self._current:  # each setting is a system call
            self._sock.settimeout(seconds)
            self._current = seconds

    def _compacted(self) -> memoryview:
        # Moves what is unread to the front; it is a few bytes of a header at most, or nothing.
        if self._start:
            unread = self._end - self._start
            self._buffer[:unread] = bytes(self._buffer[self._start:self._end])
            self._start, self._end = 0, unread
        return self._buffer[self._end:]

    def _need(self, size: int) -> None:
        while self._end - self._start < size:
            if self._start + size > _BUFFER or self._start == self._end:
                self._compacted()
            self._fill()

    def _fill(self) -> None:
        try:
            self._set_timeout(self._wait())
            self._end += self._receive(self._buffer[self._end:])
        except TimeoutError as error:
            raise AssociationEnded("idle", abort=BY_USER) from error
        except OSError as error:
            raise AssociationEnded("connection_lost") from error

    def _receive(self, target: memoryview) -> int:
        got = self._sock.recv_into(target)
        if not got:
            raise AssociationEnded("connection_lost")
        if self._quick:
            # Acknowledge at once. A sender with Nagle's algorithm on (DCMTK's default) keeps its last small segment back until then,
            # and the kernel would let it wait 40 ms; it leaves this mode by itself, hence after every read.
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return got
