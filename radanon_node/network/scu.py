"""An association as its requestor: Storage, Verification and Storage Commitment SCU (PS3.4 Annexes B, A, J).

One thread, one connection (`connection`), no queues: pynetdicom's association encodes a whole data set in memory and sleeps in its reactor,
which costs more than the sending itself. Here the data set goes from the mapped spool file to the socket in one system call per megabyte.
"""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from radanon_node.errors import AssociationEnded, DeliveryRefused, Unreachable
from radanon_node.network import command_set
from radanon_node.network import request_pdus as pdus
from radanon_node.network.command_set import Command
from radanon_node.network.connection import MAX_MESSAGE, Connection, cause
from radanon_node.network.contexts import VERIFICATION
from radanon_node.network.request_pdus import Offer, ProtocolError

_MAX_PDU = 65536  # what is announced: a requestor receives small messages only
_FRAGMENT_CAP = 131072
_WRITE_BYTES = 2**20
_WRITE_PARTS = 512  # below IOV_MAX
_RELEASE_SECONDS = 2.0

EventHandler = Callable[[Command, bytes, str], int]
"""Takes an N-EVENT-REPORT-RQ: command set, data set, transfer syntax UID; returns the status to answer with."""


class Association:
    """One association to one peer; not for several threads at once, except `cut`.

    Parameters
    ----------
    host, port, called, calling
        Where to, and both AE titles.
    offers : sequence of Offer
        At most 128.
    timeout : float
        Seconds to wait for the answer to any one request, and for the peer to take the next bytes.
    tls : ssl.SSLContext, optional
    on_event : EventHandler, optional
        Called for N-EVENT-REPORT requests that come while this side reads.
    opening : callable, optional
        Called with the association once there is a connection, before the peer has accepted anything: from then on it can be `cut`.

    Raises
    ------
    Unreachable
        No connection, no TLS session or no association.

    Attributes
    ----------
    contexts : dict
        Accepted presentation contexts: (SOP Class UID, transfer syntax UID) -> context ID.
    offers : tuple of Offer
    """

    def __init__(
        self, host: str, port: int, called: str, calling: str, offers: Sequence[Offer], timeout: float,
        tls: ssl.SSLContext | None = None, on_event: EventHandler | None = None, opening: Callable[[Association], None] | None = None,
    ) -> None:  # fmt: skip
        self.offers = tuple(offers)
        self.contexts: dict[tuple[str, str], int] = {}
        self._timeout = timeout
        self._on_event = on_event
        self._responses: deque[Command] = deque()
        self._message_id = 0
        self._syntax: dict[int, str] = {}
        try:
            self._connection = Connection(host, port, timeout)
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"no connection: {cause(error)}") from error
        if opening is not None:
            opening(self)
        try:
            self._open(called, calling, host, tls)
        except (DeliveryRefused, OSError) as error:
            self.cut()
            if isinstance(error, Unreachable):
                raise
            detail = error.detail if isinstance(error, DeliveryRefused) else cause(error)
            raise Unreachable(f"no association: {detail}") from error

    def _open(self, called: str, calling: str, host: str, tls: ssl.SSLContext | None) -> None:
        self._connection.secure(tls, host)
        self._connection.send([pdus.encode_associate(calling, called, self.offers, _MAX_PDU)])
        kind, body = self._connection.read_pdu(time.monotonic() + self._timeout)
        if kind == pdus.A_ASSOCIATE_RJ:
            raise Unreachable(pdus.describe_reject(body))
        if kind != pdus.A_ASSOCIATE_AC:
            raise Unreachable("association aborted by the peer" if kind == pdus.A_ABORT else "no association: unexpected PDU")
        answer = pdus.decode_accept(body)
        room = answer.max_pdu or _FRAGMENT_CAP
        self._fragment = (min(room, _FRAGMENT_CAP) - 6) & ~1
        if self._fragment < 2:
            raise ProtocolError("the peer's maximum PDU length leaves no room for data")
        for index, offer in enumerate(self.offers):
            result, syntax = answer.contexts.get(2 * index + 1, (4, ""))
            if result == 0 and syntax in offer.transfer_syntaxes:
                self.contexts.setdefault((offer.abstract_syntax, syntax), 2 * index + 1)
                self._syntax[2 * index + 1] = syntax

    # -- requests -------------------------------------------------------------------------------------------------------------

    def send_store(self, sop_class: str, sop_instance: str, transfer_syntax: str, data_set: memoryview) -> int:
        """Send a C-STORE-RQ (PS3.7 9.3.1.1) without waiting for the answer; one may be outstanding.

        Parameters
        ----------
        sop_class, sop_instance, transfer_syntax : str
            UIDs; (`sop_class`, `transfer_syntax`) must be in `contexts`.
        data_set : memoryview
            The encoded data set, of any size; it is not copied (with TLS: block by block).

        Returns
        -------
        int
            Message ID, for `response`.

        Raises
        ------
        DeliveryRefused
            The connection is lost, or the peer takes no bytes for `timeout` seconds.
        """
        context = self.contexts[sop_class, transfer_syntax]
        return self._transmit(context, data_set, command_set.store_request(self._next_id(), sop_class, sop_instance))

    def send_action(self, sop_class: str, sop_instance: str, action: int, transfer_syntax: str, data_set: bytes) -> int:
        """Send an N-ACTION-RQ (PS3.7 10.3.4.1); see `send_store`."""
        return self._request(self.contexts[sop_class, transfer_syntax], memoryview(data_set), CommandField=command_set.N_ACTION_RQ,
                             RequestedSOPClassUID=sop_class, RequestedSOPInstanceUID=sop_instance, ActionTypeID=action)

    def send_echo(self, transfer_syntax: str) -> int:
        """Send a C-ECHO-RQ (PS3.7 9.3.5.1); see `send_store`."""
        return self._request(self.contexts[VERIFICATION, transfer_syntax], None, CommandField=command_set.C_ECHO_RQ,
                             AffectedSOPClassUID=VERIFICATION)

    def response(self, message_id: int) -> int:
        """Wait for the answer to `message_id`; returns its status (PS3.7 Annex C).

        Raises
        ------
        DeliveryRefused
            Time-out, abort, connection lost or protocol error; the association is then at an end.
        """
        deadline = time.monotonic() + self._timeout
        try:
            while not self._responses:
                self._read_message(deadline)
        except OSError as error:
            raise DeliveryRefused(f"no answer: {cause(error)}") from error
        answer = self._responses.popleft().numbers
        if answer.get("MessageIDBeingRespondedTo") != message_id or "Status" not in answer:
            raise ProtocolError("the peer answered another request than the one it was sent")
        return answer["Status"]

    def listen(self, seconds: float) -> bool:
        """Take what the peer sends unasked for up to `seconds` (0: what is there already); False when it has ended the association."""
        deadline = time.monotonic() + seconds
        try:
            while True:
                if not self._connection.arrived(deadline - time.monotonic()):
                    return True
                self._read_message(time.monotonic() + self._timeout)
                if seconds:  # one message was what the caller waited for
                    return True
        except (DeliveryRefused, OSError):
            return False

    def release(self) -> None:
        """End the association in order (PS3.8 7.2); never raises, does not wait longer than two seconds."""
        with suppress(OSError, DeliveryRefused):
            seconds = min(self._timeout, _RELEASE_SECONDS)
            self._connection.hurry(seconds)
            deadline = time.monotonic() + seconds
            self._connection.send([pdus.RELEASE_RQ])
            while self._connection.read_pdu(deadline)[0] not in (pdus.A_RELEASE_RP, pdus.A_ABORT):
                pass
        self.cut()

    def abort(self) -> None:
        """End it with an A-ABORT; never raises."""
        with suppress(OSError):
            self._connection.hurry(1.0)
            self._connection.send([pdus.ABORT])
        self.cut()

    def cut(self) -> None:
        """Close the connection at once; from any thread, whatever the others are doing."""
        self._connection.cut()

    # -- the wire -------------------------------------------------------------------------------------------------------------

    def _request(self, context_id: int, data_set: memoryview | None, **elements: int | str) -> int:
        kind = command_set.NO_DATA_SET if data_set is None else 0x0001
        return self._transmit(context_id, data_set, command_set.pack(MessageID=self._next_id(), CommandDataSetType=kind, **elements))

    def _next_id(self) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def _transmit(self, context_id: int, data_set: memoryview | None, command: bytes) -> int:
        try:
            parts: list[bytes | memoryview] = list(self._command_parts(command, context_id))
            if data_set is None:
                self._connection.send(parts)
            else:
                self._stream(parts, data_set, context_id)
        except OSError as error:
            raise DeliveryRefused(f"connection lost while sending: {cause(error)}") from error
        return self._message_id

    def _command_parts(self, command: bytes, context_id: int) -> list[bytes]:
        parts = []
        for at in range(0, len(command), self._fragment):
            piece = command[at:at + self._fragment]
            parts += [pdus.pdata_header(len(piece), context_id, 3 if at + self._fragment >= len(command) else 1), piece]
        return parts

    def _stream(self, parts: list[bytes | memoryview], data_set: memoryview, context_id: int) -> None:
        size, step = len(data_set), self._fragment
        full = pdus.pdata_header(step, context_id, 0)
        waiting = 0
        for at in range(0, size, step):
            piece = data_set[at:at + step]
            last = at + step >= size
            parts += (pdus.pdata_header(len(piece), context_id, 2) if last else full, piece)
            waiting += len(piece)
            if waiting >= _WRITE_BYTES or len(parts) >= _WRITE_PARTS:
                self._connection.send(parts)
                parts, waiting = [], 0
        if parts:
            self._connection.send(parts)

    def _read_message(self, deadline: float) -> None:
        """Read one whole message: a response is queued, an event report answered."""
        command, data = bytearray(), bytearray()
        parsed: Command | None = None
        while True:
            kind, body = self._connection.read_pdu(deadline)
            if kind == pdus.A_ABORT:
                raise DeliveryRefused("the peer aborted the association")
            if kind == pdus.A_RELEASE_RQ:
                self._connection.send([pdus.RELEASE_RP])
                raise DeliveryRefused("the peer released the association")
            if kind != pdus.P_DATA_TF:
                raise ProtocolError("the peer sent an unexpected PDU")
            for context_id, control, fragment in pdus.pdvs(body):
                (command if control & 1 else data).extend(fragment)
                if len(command) + len(data) > MAX_MESSAGE:
                    raise ProtocolError("the peer sent a message of impossible length")
                if control & 3 == 3:
                    parsed = _parsed(command)
                if parsed is not None and (control & 3 == 2 or not parsed.has_data):
                    self._take(parsed, bytes(data), context_id)
                    return

    def _take(self, message: Command, data: bytes, context_id: int) -> None:
        if message.kind & command_set.RESPONSE:
            self._responses.append(message)
            return
        if message.kind != command_set.N_EVENT_REPORT_RQ or self._on_event is None:
            raise ProtocolError("the peer sent a request that this side does not serve")
        status = self._on_event(message, data, self._syntax.get(context_id, ""))
        self._connection.send([*self._command_parts(command_set.response(message, status), context_id)])


def _parsed(command: bytearray) -> Command:
    try:
        return command_set.parse(command)
    except AssociationEnded:
        raise ProtocolError("the peer sent an unreadable command set") from None
