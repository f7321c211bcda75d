"""The streaming reader against pynetdicom's own decoding: the same bytes for every way to split a message."""

from __future__ import annotations

import socket
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.pdu import P_DATA_TF

from radanon_node.errors import AssociationEnded
from radanon_node.network import command_set as cs
from radanon_node.network.streaming import MemorySink, MessageReader
from radanon_node.network.upper_layer import MAX_PDU, PduStream
from tests.network.kit import CT, RELEASE_RQ, pdu, store_command


class Fed:
    """A reader at one end of a socket pair whose other end was fed with `data`, in pieces, and closed."""

    def __init__(self, data: bytes, pieces: list[int] | None = None, close: bool = True) -> None:
        self.near, self.far = socket.socketpair()
        self.sinks: list[MemorySink] = []
        self.reader = MessageReader(PduStream(self.near, 10.0), {1, 3}.__contains__, self._sink)
        self._feeder = threading.Thread(target=self._feed, args=(data, pieces or [], close), daemon=True)
        self._feeder.start()

    def _sink(self, _: int, __: cs.Command) -> MemorySink:
        self.sinks.append(MemorySink())
        return self.sinks[-1]

    def _feed(self, data: bytes, pieces: list[int], close: bool) -> None:
        start = 0
        try:
            for size in pieces:
                self.far.sendall(data[start:start + size])
                start += size
            self.far.sendall(data[start:])
            if close:
                self.far.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the reader has seen enough

    def __enter__(self) -> MessageReader:
        return self.reader

    def __exit__(self, *_: object) -> None:
        self.near.close()
        self.far.close()
        self._feeder.join(10)


@st.composite
def splits(draw: st.DrawFn, total: int, most: int = 8) -> list[int]:
    """Cut points of `total` bytes, empty parts included."""
    points = sorted(draw(st.lists(st.integers(0, total), max_size=most)))
    return [end - start for start, end in zip([0, *points], [*points, total])]


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """(command, data set, both as a stream of PDUs), split in a random but legal way."""
    data = draw(st.binary(max_size=64)) * draw(st.integers(1, 5000))
    command = store_command(CT, "1.2.3." + "9" * draw(st.integers(1, 40)), draw(st.integers(0, 65535)))
    pdvs: list[tuple[int, int, bytes]] = []
    for whole, kind in ((command, 1), (data, 0)):
        sizes = draw(splits(len(whole)))
        position = 0
        for index, size in enumerate(sizes):
            for start in range(0, max(size, 1), 60000):
                part = whole[position + start:position + min(size, start + 60000)]
                pdvs.append((1, kind | (2 if index == len(sizes) - 1 and start + 60000 >= size else 0), part))
            position += size
    stream = b""
    while pdvs:
        group, room = [pdvs.pop(0)], draw(st.integers(0, 3))
        while pdvs and room and sum(len(item[2]) + 6 for item in [*group, pdvs[0]]) <= MAX_PDU:
            group.append(pdvs.pop(0))
            room -= 1
        stream += pdu(*group)
    return command, data, stream


def pynetdicom_reads(stream: bytes) -> tuple[bytes, bytes]:
    """Command set and data set of a stream of P-DATA-TF PDUs as pynetdicom's DUL and DIMSE providers put them together."""
    message, position = DIMSEMessage(), 0
    while position < len(stream):
        length = int.from_bytes(stream[position + 2:position + 6], "big")
        item = P_DATA_TF()
        item.decode(stream[position:position + 6 + length])
        position += 6 + length
        if message.decode_msg(item.to_primitive()):
            break
    assert message.data_set is not None
    return message.encoded_command_set.getvalue(), message.data_set.getvalue()


@given(messages(), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_split_yields_the_bytes_that_pynetdicom_sees(message: tuple[bytes, bytes, bytes], draw: st.DataObject) -> None:
    command, data, stream = message
    assert pynetdicom_reads(stream) == (command, data)
    with Fed(stream + RELEASE_RQ, draw.draw(splits(len(stream), 5))) as reader:
        found = reader.next()
        assert found is not None
        assert isinstance(found.sink, MemorySink)
        assert bytes(found.sink.data) == data
        assert found.command == cs.parse(command)
        assert reader.next() is None


def test_messages_that_share_a_pdu_are_told_apart() -> None:
    echo = cs.pack(CommandField=cs.C_ECHO_RQ, MessageID=7, CommandDataSetType=cs.NO_DATA_SET, AffectedSOPClassUID="1.2.840.10008.1.1")
    with Fed(pdu((1, 3, store_command(CT, "1.2.3")), (1, 2, b"abcd"), (3, 3, echo)) + RELEASE_RQ) as reader:
        first, second = reader.next(), reader.next()
        assert first is not None
        assert second is not None
        assert (first.context_id, first.command.kind, second.context_id, second.command.message_id) == (1, 1, 3, 7)
        assert reader.next() is None


STORE = pdu((1, 3, store_command(CT, "1.2.3")))
BAD = {
    "PDU larger than announced": b"\x04\x00" + (MAX_PDU + 1).to_bytes(4, "big") + bytes(20),
    "PDU length of four gigabytes": b"\x04\x00\xff\xff\xff\xff" + bytes(20),
    "PDV longer than its PDU": b"\x04\x00\x00\x00\x00\x0a" + (200).to_bytes(4, "big") + b"\x01\x03" + bytes(4),
    "PDV shorter than its header": b"\x04\x00\x00\x00\x00\x06" + (1).to_bytes(4, "big") + b"\x01\x03",
    "PDU too short for a PDV": b"\x04\x00\x00\x00\x00\x03" + bytes(3),
    "rest of a PDU too short for a PDV": STORE[:2] + (len(STORE) - 6 + 3).to_bytes(4, "big") + STORE[6:] + bytes(3),
    "context that was not accepted": pdu((5, 3, store_command(CT, "1.2.3"))),
    "context changed inside a message": STORE + pdu((3, 2, b"abcd")),
    "data set without a command": pdu((1, 2, b"abcd")),
    "second command before the data set": STORE + STORE,
    "endless command": pdu((1, 1, bytes(60000))) * 2,
    "command that is none": pdu((1, 3, b"not a command set")),
    "unknown PDU type": b"\x0a\x00\x00\x00\x00\x04" + bytes(4),
    "A-ASSOCIATE-RQ again": b"\x01\x00\x00\x00\x00\x04" + bytes(4),
    "release of the wrong length": b"\x05\x00\x00\x00\x00\x05" + bytes(5),
}


@pytest.mark.parametrize("name", BAD)
def test_what_breaks_the_protocol_is_answered_with_an_abort(name: str) -> None:
    fed = Fed(BAD[name])
    with fed as reader, pytest.raises(AssociationEnded) as ended:
        reader.next()
    assert ended.value.abort is not None
    assert ended.value.abort[0] == 2
    assert all(not sink.data for sink in fed.sinks)


@pytest.mark.parametrize("keep", [1, 5, 6, 9, 11, 12, 40, -1])
def test_a_stream_that_ends_early_yields_no_message(keep: int) -> None:
    whole = STORE + pdu((1, 0, bytes(50))) + pdu((1, 2, bytes(50)))
    fed = Fed(whole[:keep])
    with fed as reader, pytest.raises(AssociationEnded) as ended:
        reader.next()
    assert ended.value.why == "connection_lost"
    assert all(not sink.data for sink in fed.sinks)


@pytest.mark.parametrize("tail", [RELEASE_RQ, b"\x07\x00\x00\x00\x00\x04" + bytes(4)], ids=["release", "abort"])
def test_a_message_that_is_never_finished_is_forgotten(tail: bytes) -> None:
    fed = Fed(STORE + pdu((1, 0, bytes(50))) + tail)
    with fed as reader:
        if tail == RELEASE_RQ:
            assert reader.next() is None
        else:
            with pytest.raises(AssociationEnded, match="aborted_by_peer"):
                reader.next()
    assert all(not sink.data for sink in fed.sinks)


@given(st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_noise_never_raises_anything_but_the_end_of_the_association(noise: bytes) -> None:
    with Fed(noise) as reader:
        try:
            while reader.next() is not None:
                pass
        except AssociationEnded:
            pass


def test_silence_ends_with_idle_and_not_with_a_hanging_thread() -> None:
    near, far = socket.socketpair()
    with near, far:
        reader = MessageReader(PduStream(near, 0.05), {1}.__contains__, lambda _, __: MemorySink())
        far.sendall(STORE[:9])
        with pytest.raises(AssociationEnded, match="idle"):
            reader.next()


def test_pynetdicom_still_has_what_is_used_of_it() -> None:
    """The parts of pynetdicom 3.0.4 that this package leans on, private ones included; a change of version must pass here first."""
    from pynetdicom import __version__
    from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
    from pynetdicom.pdu_items import SCP_SCU_RoleSelectionSubItem, UserInformationItem
    from pynetdicom.sop_class import _STORAGE_CLASSES

    assert __version__ == "3.0.4"
    assert _STORAGE_CLASSES["CTImageStorage"] == CT
    assert A_ASSOCIATE_RQ().variable_items == A_ASSOCIATE_AC().variable_items == []
    assert UserInformationItem().role_selection == {}
    assert SCP_SCU_RoleSelectionSubItem().scu is None
