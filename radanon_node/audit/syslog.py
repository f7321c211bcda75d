"""Syslog towards a collector: RFC 5424 headers as PS3.15 A.6 wants them, over TLS (RFC 5425) or UDP (RFC 5426).

Syslog has no answers. Over TLS, messages count as arrived once the collector's machine has acknowledged all bytes and the connection has
stayed open for a moment after; until then they are sent again on the next connection, so that one may come twice and none is missing.
UDP promises nothing: a datagram that is lost is lost.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from radanon_node.errors import ConfigError, Unreachable
from radanon_node.settings import SyslogSettings

_PRIORITY = 10 * 8 + 5  # facility security/authorization, severity notice (PS3.15 A.6)
_MESSAGE_ID = "DICOM+RFC3881"
_BOM = b"\xef\xbb\xbf"
_SIOCOUTQ = 0x5411  # tcp(7): bytes the peer has not acknowledged
_TIMEOUT_S = 10.0
_SETTLE_S = 0.5
_MOST_UDP = 65000


def frame(message: bytes, at: float, host: str) -> bytes:
    """A syslog message (RFC 5424 6) around an audit message."""
    moment = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    safe_host = "".join(letter for letter in host if "!" <= letter <= "~")[:255] or "-"
    return f"<{_PRIORITY}>1 {moment} {safe_host} radanon {os.getpid()} {_MESSAGE_ID} - ".encode("ascii") + _BOM + message


def context_for(settings: SyslogSettings) -> ssl.SSLContext:
    """What the collector is called with; ConfigError if a file cannot be used."""
    names = [path for path in (settings.ca, settings.certificate, settings.private_key) if path is not None]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = settings.verify_hostname
    try:
        if settings.ca is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.load_verify_locations(cafile=str(settings.ca))
        if settings.certificate is not None:
            context.load_cert_chain(settings.certificate, settings.private_key, password=lambda: "-")
    except ssl.SSLError as error:
        raise ConfigError(f"audit.syslog: its PEM files cannot be used ({error.reason})") from error
    except OSError as error:
        raise ConfigError(f"audit.syslog: {' or '.join(map(str, names))}: {error.strerror}") from error
    return context


class Collector:
    """One collector. Used by one thread.

    Parameters
    ----------
    settings : SyslogSettings

    Raises
    ------
    ConfigError
        Its PEM files cannot be used.
    """

    def __init__(self, settings: SyslogSettings) -> None:
        self._settings = settings
        self._context = context_for(settings) if settings.protocol == "tls" else None
        self._socket: socket.socket | None = None

    def deliver(self, frames: Sequence[bytes]) -> None:
        """Have the collector take messages.

        Raises
        ------
        Unreachable
            It did not, or not surely: all of them are to be sent again.
        """
        try:
            if self._context is None:
                self._datagrams(frames)
                return
            connection = self._connected()
            for one in frames:
                connection.sendall(f"{len(one)} ".encode("ascii") + one)  # RFC 5425 4.3: octet counting
            self._settle(connection)
        except (OSError, ssl.SSLError) as error:
            self.close()
            raise Unreachable(f"audit.syslog: {type(error).__name__}") from None

    def close(self) -> None:
        """End the connection."""
        found, self._socket = self._socket, None
        if found is not None:
            with suppress(OSError):
                found.close()

    def _connected(self) -> socket.socket:
        if self._socket is None:
            assert self._context is not None
            plain = socket.create_connection((self._settings.host, self._settings.port), _TIMEOUT_S)
            try:
                plain.settimeout(_TIMEOUT_S)
                self._socket = self._context.wrap_socket(plain, server_hostname=self._settings.host)
            except (OSError, ssl.SSLError):
                plain.close()
                raise
        return self._socket

    def _settle(self, connection: socket.socket) -> None:
        """Wait until the peer's machine has every byte and its program has had a moment to hang up."""
        until = time.monotonic() + _TIMEOUT_S
        while struct.unpack("i", fcntl.ioctl(connection, _SIOCOUTQ, b"\0\0\0\0"))[0]:
            if time.monotonic() > until:
                raise TimeoutError
            readable, _, _ = select.select([connection], [], [], 0.02)
            if readable and not _alive(connection):  # what a connection that was reset did not send stays in its queue
                raise ConnectionResetError
        until = time.monotonic() + _SETTLE_S
        while (left := until - time.monotonic()) > 0:
            readable, _, _ = select.select([connection], [], [], left)
            if readable and not _alive(connection):
                raise ConnectionResetError

    def _datagrams(self, frames: Sequence[bytes]) -> None:
        family, kind, number, _, address = socket.getaddrinfo(self._settings.host, self._settings.port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, number) as sender:
            for one in frames:
                sender.sendto(one[:_MOST_UDP], address)


def _alive(connection: socket.socket) -> bool:
    connection.settimeout(0.0)
    try:
        return bool(connection.recv(4096))  # collectors say nothing: what comes is TLS's own
    except (ssl.SSLWantReadError, BlockingIOError):
        return True
    except OSError:
        return False
    finally:
        connection.settimeout(_TIMEOUT_S)
