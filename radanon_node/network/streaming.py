"""The streaming reader: DIMSE messages out of P-DATA-TF PDUs (PS3.8 Annex E, PS3.7 6.3), data sets handed on as they arrive.

A data set of any size passes in constant memory: what the socket gave is written on before more is read. tests/network/test_streaming.py
proves that the bytes are those that pynetdicom's own decoding yields, however a peer splits them into PDUs and PDVs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from radanon_node.errors import AssociationEnded
from radanon_node.network import command_set
from radanon_node.network.command_set import Command
from radanon_node.network.upper_layer import (
    A_ABORT,
    A_RELEASE_RQ,
    BY_USER,
    INVALID_PARAMETER,
    KNOWN_PDUS,
    MAX_PDU,
    P_DATA_TF,
    UNEXPECTED_PDU,
    UNRECOGNIZED_PDU,
    PduStream,
)

_MAX_COMMAND = 65536
_MAX_DATA_SET = 16 * 2**20
_COMMAND, _LAST = 0x01, 0x02


class Sink(Protocol):
    """Where the data set of one message goes."""

    def write(self, data: memoryview) -> None:
        """Take the next bytes; they must not be kept without a copy."""

    def abort(self) -> None:
        """The rest will not come: forget what was written. Never raises."""


class MemorySink:
    """Keeps a data set in memory, for the small ones of N-ACTION and N-EVENT-REPORT."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: memoryview) -> None:
        if len(self.data) + len(data) > _MAX_DATA_SET:
            raise AssociationEnded("data_set_too_large", abort=BY_USER)
        self.data += data

    def abort(self) -> None:
        self.data.clear()


@dataclass(frozen=True, slots=True)
class Message:
    """A whole DIMSE message. `sink` holds its data set; None if it has none."""

    context_id: int
    command: Command
    sink: Sink | None


class MessageReader:
    """Messages from one peer, in their order.

    Parameters
    ----------
    stream : PduStream
    accepts : callable
        Whether a presentation context id was accepted.
    sink_for : callable
        Makes the sink for the data set of a request: called with context id and command once the command set is complete.

    Attributes
    ----------
    idle : bool
        True while it waits for a message of which nothing has come yet.
    """

    def __init__(self, stream: PduStream, accepts: Callable[[int], bool], sink_for: Callable[[int, Command], Sink]) -> None:
        self._stream = stream
        self._accepts = accepts
        self._sink_for = sink_for
        self._left = 0  # bytes of the current P-DATA-TF that are still to be read
        self.idle = False

    def next(self) -> Message | None:
        """The next message, when its last fragment is there; None when the peer asks for release.

        Raises
        ------
        AssociationEnded
            The peer aborted, vanished, fell silent or broke the protocol. What came of a message by then has been forgotten.
        """
        sink: Sink | None = None
        command: Command | None = None
        fragments = bytearray()
        context_id = 0
        self.idle = self._left == 0
        try:
            while True:
                while self._left == 0:
                    if not self._next_pdu():
                        if sink is not None:
                            sink.abort()
                        return None
                    self.idle = False
                size, found_id, control = self._pdv()
                if (context_id or found_id) != found_id or not self._accepts(found_id):
                    raise AssociationEnded("invalid_pdu", abort=INVALID_PARAMETER)
                context_id = found_id
                if control & _COMMAND:
                    if command is not None or len(fragments) + size > _MAX_COMMAND:
                        raise AssociationEnded("invalid_pdu", abort=INVALID_PARAMETER)
                    fragments += self._stream.take(size)
                    if control & _LAST:
                        command = command_set.parse(fragments)
                        if not command.has_data:
                            return Message(context_id, command, None)
                        sink = self._sink_for(context_id, command)
                else:
                    if sink is None or command is None:
                        raise AssociationEnded("invalid_pdu", abort=INVALID_PARAMETER)
                    while size:
                        data = self._stream.chunk(size)
                        size -= len(data)
                        sink.write(data)
                    if control & _LAST:
                        return Message(context_id, command, sink)
        except BaseException:
            if sink is not None:
                sink.abort()
            raise
        finally:
            self.idle = False
            self._stream.deadline = None

    def _next_pdu(self) -> bool:
        """Read the header of the next P-DATA-TF; False if it is a release request instead."""
        self._stream.deadline = None
        kind, length = self._stream.header()
        if kind == P_DATA_TF:
            if length > MAX_PDU:
                raise AssociationEnded("invalid_pdu", abort=INVALID_PARAMETER)
            self._left = length
            self._stream.limit_pdu()
            return True
        if kind not in KNOWN_PDUS:
            raise AssociationEnded("invalid_pdu", abort=UNRECOGNIZED_PDU)
        if kind not in (A_RELEASE_RQ, A_ABORT):
            raise AssociationEnded("invalid_pdu", abort=UNEXPECTED_PDU)
        if length != 4:
            raise AssociationEnded("invalid_pdu", abort=INVALID_PARAMETER)
        self._stream.take(4)
        if kind == A_ABORT:
            raise AssociationEnded("aborted_by_peer")
        return False

    def _pdv(self) -> tuple[int, int, int]:
        """Bytes of the fragment, context id and control header of the next PDV of the current PDU."""
        if self._left < 6:
            raise AssociationEnded("invalid_pdu", abort=INVALID_PARAMETER)
        length, context_id, control = self._stream.pdv_header()
        if not 2 <= length <= self._left - 4:
            raise AssociationEnded("invalid_pdu", abort=INVALID_PARAMETER)
        self._left -= 4 + length
        return length - 2, context_id, control
