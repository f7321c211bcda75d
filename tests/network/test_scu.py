"""The requestor's association on the wire: what arrives for every split into PDUs, and peers that misbehave."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification

from radanon_node.errors import DeliveryRefused, Unreachable
from radanon_node.network import command_set
from radanon_node.network import request_pdus as pdus
from radanon_node.network.request_pdus import Offer
from radanon_node.network.scu import Association

CT = Offer(CTImageStorage, (ExplicitVRLittleEndian,))
ABORT = struct.pack(">BBLBBBB", 7, 0, 4, 0, 0, 2, 0)
RELEASE_RQ = struct.pack(">BBLL", 5, 0, 4, 0)


def accept_pdu(max_pdu: int) -> bytes:
    """An A-ASSOCIATE-AC that accepts context 1."""
    syntax = ExplicitVRLittleEndian.encode()
    context = struct.pack(">BBBB", 1, 0, 0, 0) + struct.pack(">BBH", 0x40, 0, len(syntax)) + syntax
    user = struct.pack(">BBHL", 0x51, 0, 4, max_pdu)
    items = struct.pack(">BBH", 0x21, 0, len(context)) + context + struct.pack(">BBH", 0x50, 0, len(user)) + user
    body = struct.pack(">HH", 1, 0) + bytes(64) + items
    return struct.pack(">BBL", 2, 0, len(body)) + body


def response_pdu(message_id: int, status: int = 0) -> bytes:
    command = command_set.pack(CommandField=0x8001, MessageIDBeingRespondedTo=message_id, CommandDataSetType=0x0101, Status=status)
    return pdus.pdata_header(len(command), 1, 3) + command


def read_pdu(peer: socket.socket) -> tuple[int, bytes]:
    def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = peer.recv(count - len(data))
            if not chunk:
                raise ConnectionError
            data += chunk
        return data

    head = exactly(6)
    return head[0], exactly(int.from_bytes(head[2:], "big"))


@contextlib.contextmanager
def peer(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A socket that reads the association request and then does what `behave` says; gives its port."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    read_pdu(connection)
                    behave(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            thread.join(10)


def call(port: int, timeout: float = 5.0) -> Association:
    return Association("127.0.0.1", port, "THERE", "HERE", [CT], timeout)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 40_000), max_pdu=st.one_of(st.integers(8, 600), st.integers(1000, 50_000), st.just(0)))
def test_every_split_arrives_whole(size: int, max_pdu: int) -> None:
    """No PDU is longer than the peer allows, fragments are even but for the last, the parts together are the data set."""
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    got, lengths = {0: b"", 1: b""}, list[int]()

    def behave(connection: socket.socket) -> None:
        connection.sendall(accept_pdu(max_pdu))
        last = -1
        while last != 2:
            kind, body = read_pdu(connection)
            assert kind == pdus.P_DATA_TF
            lengths.append(len(body))
            for _, last, fragment in pdus.pdvs(body):
                got[last & 1] += fragment
        connection.sendall(response_pdu(1))
        connection.recv(100)

    with peer(behave) as port:
        association = call(port)
        assert association.response(association.send_store(CTImageStorage, "1.2.3", ExplicitVRLittleEndian, memoryview(data))) == 0
        association.cut()
    assert got[0] == data
    command = command_set.parse(got[1])
    assert (command.kind, command.message_id, command.sop_class_uid, command.sop_instance_uid) == (1, 1, CTImageStorage, "1.2.3")
    assert not max_pdu or max(lengths) <= max_pdu
    assert all(length % 2 == 0 for length in lengths[:-1])


@pytest.mark.parametrize(("answer", "words"), [
    (b"", "closed the connection"),
    (ABORT, "aborted"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100), "impossible length"),
    (b"\x09\x00\x00\x00\x00\x00", "unexpected PDU"),
    (b"\x02\x00\x00\x00\x00\x04abcd", "lengths do not fit"),
    (accept_pdu(7), "no room for data"),
    (struct.pack(">BBLBBBB", 3, 0, 4, 0, 1, 1, 7), "called AE title not recognized"),
])  # fmt: skip
def test_no_association_in_words(answer: bytes, words: str) -> None:
    """Whatever comes instead of an acceptance: the destination is unreachable, and why."""
    with peer(lambda connection: connection.sendall(answer)) as port, pytest.raises(Unreachable, match=words):
        call(port)


@pytest.mark.parametrize(("answer", "words"), [
    (b"", "closed the connection"),
    (ABORT, "aborted"),
    (RELEASE_RQ, "released"),
    (response_pdu(77), "another request"),
    (pdus.pdata_header(4, 1, 3) + b"\0\0\0\0", "unreadable command set"),
    (b"\x04\x00\x00\x00\x00\x06\xff\xff\xff\xff\x01\x03", "lengths do not fit"),
    (b"\x04\x00\xff\xff\xff\xff", "impossible length"),
])  # fmt: skip
def test_bad_answers_end_the_association_in_words(answer: bytes, words: str) -> None:
    def behave(connection: socket.socket) -> None:
        connection.sendall(accept_pdu(0))
        while read_pdu(connection)[1][5] != 2:
            pass
        connection.sendall(answer)

    with peer(behave) as port:
        association = call(port)
        message = association.send_store(CTImageStorage, "1.2.3", ExplicitVRLittleEndian, memoryview(b"data"))
        with pytest.raises(DeliveryRefused, match=words):
            association.response(message)
        association.cut()


def test_answer_in_single_bytes_and_silence() -> None:
    """An answer that dribbles in is read; one that stops half-way is a time-out."""
    whole = threading.Event()

    def behave(connection: socket.socket) -> None:
        connection.sendall(accept_pdu(0))
        for message, stop in ((1, None), (2, 20)):
            while read_pdu(connection)[1][5] != 2:
                pass
            for byte in response_pdu(message)[:stop]:
                connection.sendall(bytes([byte]))
        whole.wait(10)

    with peer(behave) as port:
        association = call(port, timeout=1.0)
        assert association.response(association.send_store(CTImageStorage, "1.2.3", ExplicitVRLittleEndian, memoryview(b"data"))) == 0
        message = association.send_store(CTImageStorage, "1.2.4", ExplicitVRLittleEndian, memoryview(b"data"))
        with pytest.raises(DeliveryRefused, match="timed out"):
            association.response(message)
        whole.set()
        association.cut()


def test_peer_that_stops_reading_is_given_up() -> None:
    """Its window fills, nothing moves: a time-out, not a hang."""
    done = threading.Event()

    def behave(connection: socket.socket) -> None:
        connection.sendall(accept_pdu(0))
        done.wait(20)

    with peer(behave) as port:
        association = call(port, timeout=0.5)
        with pytest.raises(DeliveryRefused, match="timed out"):
            association.send_store(CTImageStorage, "1.2.3", ExplicitVRLittleEndian, memoryview(bytes(64 * 2**20)))
        done.set()
        association.cut()


def test_idle_association_knows_that_the_peer_has_left() -> None:
    for leave in (b"", ABORT, RELEASE_RQ):
        with peer(lambda connection, leave=leave: connection.sendall(accept_pdu(0) + leave)) as port:  # type: ignore[misc]
            association = call(port)
            assert not association.listen(5.0)
            association.cut()


@pytest.mark.integration
def test_echo_and_release_with_pynetdicom() -> None:
    """C-ECHO is answered, the release is orderly on both sides."""
    released = threading.Event()
    entity = AE("THERE")
    entity.add_supported_context(Verification)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_RELEASED, lambda event: released.set())])
    assert server is not None and server.socket is not None
    try:
        port = server.socket.getsockname()[1]
        association = Association("127.0.0.1", port, "THERE", "HERE", [Offer(Verification, (ExplicitVRLittleEndian,))], 5.0)
        assert association.response(association.send_echo(ExplicitVRLittleEndian)) == 0
        assert association.listen(0.0)
        association.release()
        assert released.wait(5)
    finally:
        server.shutdown()
