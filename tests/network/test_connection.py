"""The requestor's connection: every wait has its limit, whatever the peer does, and all bytes arrive."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from radanon_node.errors import DeliveryRefused
from radanon_node.network.connection import Connection, cause
from radanon_node.network.request_pdus import ProtocolError


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection with a time limit of half a second, and its peer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = Connection("127.0.0.1", server.getsockname()[1], 0.5)
        peer, _ = server.accept()
    connection.secure(None, "")
    with peer:
        yield connection, peer
    connection.cut()


def pdu(size: int) -> bytes:
    return struct.pack(">BBL", 4, 0, size) + bytes(size)


def test_pdus_that_come_together_are_read_one_by_one(ends: tuple[Connection, socket.socket]) -> None:
    connection, peer = ends
    peer.sendall(pdu(3) + pdu(40_000) + pdu(0)[:4])
    until = time.monotonic() + 5
    assert connection.read_pdu(until) == (4, bytes(3))
    assert connection.read_pdu(until) == (4, bytes(40_000))
    peer.sendall(pdu(0)[4:])
    assert connection.read_pdu(until) == (4, b"")
    assert not connection.arrived(0.0)


def test_silence_is_a_time_out(ends: tuple[Connection, socket.socket]) -> None:
    connection, _ = ends
    with pytest.raises(TimeoutError) as caught:
        connection.read_pdu(time.monotonic() + 0.5)
    assert cause(caught.value) == "timed out"


def test_a_peer_that_dribbles_does_not_gain_time(ends: tuple[Connection, socket.socket]) -> None:
    """A byte now and then, each in time, and never the whole."""
    connection, peer = ends
    done = threading.Event()

    def dribble() -> None:
        for byte in pdu(1000):
            peer.sendall(bytes([byte]))
            if done.wait(0.05):
                return

    thread = threading.Thread(target=dribble)
    thread.start()
    with pytest.raises(DeliveryRefused, match="timed out"):
        connection.read_pdu(time.monotonic() + 0.5)
    done.set()
    thread.join()


def test_a_pdu_of_impossible_length_is_not_waited_for(ends: tuple[Connection, socket.socket]) -> None:
    connection, peer = ends
    peer.sendall(b"HTTP/1.1 400")
    with pytest.raises(ProtocolError):
        connection.read_pdu(time.monotonic() + 5)


def test_all_parts_arrive_at_a_slow_reader(ends: tuple[Connection, socket.socket]) -> None:
    """More than the kernel's buffers take at once."""
    connection, peer = ends
    parts: list[bytes | memoryview] = [bytes([number]) * 400_000 for number in range(40)]
    got = bytearray()

    def read() -> None:
        while len(got) < 16_000_000:
            got.extend(peer.recv(1 << 20))

    thread = threading.Thread(target=read)
    thread.start()
    for start in range(0, 40, 2):
        connection.send(parts[start:start + 2])
    thread.join()
    assert got == b"".join(parts)


def test_a_peer_that_takes_nothing_is_a_time_out(ends: tuple[Connection, socket.socket]) -> None:
    connection, _ = ends
    with pytest.raises(OSError) as caught:
        connection.send([bytes(64 * 2**20)])
    assert cause(caught.value) == "timed out"


def test_cutting_ends_the_wait_of_another_thread(ends: tuple[Connection, socket.socket]) -> None:
    connection, _ = ends
    connection.hurry(60.0)
    begun = threading.Event()

    def cut() -> None:
        begun.wait()
        connection.cut()

    thread = threading.Thread(target=cut)
    thread.start()
    begun.set()
    with pytest.raises((DeliveryRefused, OSError)):
        connection.read_pdu(time.monotonic() + 60)
    thread.join()
