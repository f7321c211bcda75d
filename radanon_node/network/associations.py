"""One peer from connection to close: the association acceptor's side of the upper layer (PS3.8 9.2) and the services on top of it.

One thread per peer, which blocks in `recv` with a time limit: no polling, so that open associations cost nothing while they are silent.
pynetdicom's acceptor needs two threads that wake every millisecond, waits for ever for the second half of a PDU, and holds a whole data
set in memory; its PDUs and data elements are used here, its reactor is not.
"""

from __future__ import annotations

import itertools
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from radanon_node.errors import SUCCESS, AssociationEnded, StorageError
from radanon_node.ledger.faults import point
from radanon_node.ledger.types import Admission
from radanon_node.network import command_set as cs
from radanon_node.network.commitment import Commitments, Job, write_data_set
from radanon_node.network.contexts import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, VERIFICATION, Acceptor, Context
from radanon_node.network.negotiation import (
    Access,
    Doorkeeper,
    Rejection,
    Request,
    accept,
    check_request,
    max_send,
    plain_address,
    read_request,
    reject,
)
from radanon_node.network.storing import InstanceSink, Origin, Storing
from radanon_node.network.streaming import MemorySink, Message, MessageReader, Sink
from radanon_node.network.upper_layer import BY_USER, MAX_PDU, P_DATA_TF, PduStream
from radanon_node.settings import Config

_log = structlog.get_logger("radanon.network")

UNRECOGNIZED_OPERATION = 0x0211
_LINGER_S = 5.0
_COMMITMENT_LOOK_S = 0.5
_FLUSH_S = 1.0


@dataclass(frozen=True, slots=True)
class Shared:
    """What all associations of a listener have in common.

    Parameters
    ----------
    tls : ssl.SSLContext or None
    establish : callable
        Asks for one of the places of established associations: called with the association, True if there was one.
    report : callable, optional
        Told of transfers that begin and end (``receiving``, ``received``) and their facts, for audit messages.
    """

    config: Config
    doorkeeper: Doorkeeper
    storing: Storing
    commitments: Commitments
    tls: ssl.SSLContext | None
    establish: Callable[[Association], bool]
    report: Callable[[str, Mapping[str, Any]], None] | None = None


class Association:
    """One accepted connection.

    Parameters
    ----------
    sock : socket.socket
    address : str
        The peer's IP address.
    number : int
        To tell associations apart in the log.
    shared : Shared
    """

    def __init__(self, sock: socket.socket, address: str, number: int, shared: Shared) -> None:
        self._sock = sock
        self._address = plain_address(address)
        self._shared = shared
        self._request: Request | None = None
        self._contexts: dict[int, Context] = {}
        self._reader: MessageReader | None = None
        self._draining = threading.Event()
        self._jobs: list[Job] = []
        self._reported: dict[int, Job] = {}
        self._message_ids = itertools.count(1)
        self._counts = dict.fromkeys(("instances", "bytes", "refused", "duplicates", "conflicts"), 0)
        self._number = number
        self._begun = False
        self._log = _log.bind(association=number)

    def run(self) -> None:
        """Serve the peer until the association ends. Raises nothing that the peer can cause."""
        settings = self._shared.config.listener
        why = "released"
        stream: PduStream | None = None
        try:
            deadline = time.monotonic() + settings.acse_timeout
            self._secure(settings.acse_timeout)
            stream = PduStream(self._sock, settings.network_timeout, deadline)
            if self._establish(stream):
                stream.deadline = None
                self._serve(stream)
            else:
                why = "rejected"
        except AssociationEnded as ended:
            why = ended.why
            if stream is not None and ended.abort is not None:
                stream.abort(*ended.abort)
        finally:
            self._shared.storing.flush(_FLUSH_S)
            for job in [*self._jobs, *self._reported.values()]:
                self._shared.commitments.hand_over(job)
            if self._request is not None and self._reader is not None:
                self._report("received", **{name: self._counts[name] for name in ("instances", "refused", "duplicates", "conflicts")})
                self._log.info("association_closed", called_ae=self._request.called_ae, calling_ae=self._request.calling_ae,
                               peer=self._address, why=why, **self._counts)
            elif why not in ("rejected", "connection_lost"):
                self._log.info("connection_refused", peer=self._address, why=why)

    def leave(self) -> None:
        """After `run`: wait a little for the peer to close first, then close. The association's place is free by then."""
        stream = PduStream(self._sock, _LINGER_S)
        if not self._draining.is_set():
            stream.linger(_LINGER_S)
        stream.close()

    def drain(self) -> None:
        """End it after the instance in hand; at once if there is none. From another thread."""
        self._draining.set()
        reader = self._reader
        if reader is None or reader.idle:
            self.cut(socket.SHUT_RD)

    def cut(self, how: int = socket.SHUT_RDWR) -> None:
        """Take the connection away under its thread, which then ends. From another thread."""
        with suppress(OSError):
            # Not SSLSocket.shutdown, which would turn the socket into a plain one.
            socket.socket.shutdown(self._sock, how)

    def _secure(self, seconds: float) -> None:
        if self._shared.tls is None:
            return
        try:
            self._sock = self._shared.tls.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
            self._sock.settimeout(seconds)
            self._sock.do_handshake()
        except (OSError, ValueError) as error:
            raise AssociationEnded("tls_handshake_failed") from error

    def _establish(self, stream: PduStream) -> bool:
        request = self._request = read_request(stream)
        shared = self._shared
        access = shared.doorkeeper.check(request.called_ae, request.calling_ae, self._address)
        rejection = check_request(request) or (access if isinstance(access, Rejection) else None)
        if rejection is None and self._draining.is_set():
            rejection = Rejection.TEMPORARY_CONGESTION
        if rejection is None and not shared.establish(self):
            rejection = Rejection.LOCAL_LIMIT
        if rejection is not None or not isinstance(access, Access):
            rejection = rejection or Rejection.CALLING_AE_TITLE
            stream.send(reject(rejection))
            self._log.warning("association_rejected", called_ae=request.called_ae, calling_ae=request.calling_ae, peer=self._address,
                              reason=rejection.name.lower())
            return False
        acceptor = Acceptor(shared.config.listener, stores=access.stores, reports=access.reports)
        answers = acceptor.answer(request.proposals, request.roles)
        self._contexts = {context.context_id: context for context in answers if context.accepted}
        self._reader = MessageReader(stream, self._contexts.__contains__, self._sink)
        stream.send(accept(request, answers, acceptor.roles(answers, request.roles)))
        self._log.info("association_opened", called_ae=request.called_ae, calling_ae=request.calling_ae, peer=self._address,
                       contexts=len(answers), accepted=len(self._contexts), tls=shared.tls is not None)
        return True

    def _report(self, kind: str, **facts: int) -> None:
        """For the audit collector, once per association with an instance: it begins, it is over."""
        if self._shared.report is None or self._request is None or (kind == "received" and not any(self._counts.values())):
            return
        try:
            self._shared.report(kind, {"ae_title": self._request.calling_ae, "own_ae_title": self._request.called_ae, "peer": self._address,
                                       "route": self._request.called_ae, "association": self._number, **facts})
        except StorageError:
            self._log.warning("not told to the audit collector: the ledger does not answer", reason=kind)

    def _serve(self, stream: PduStream) -> None:
        assert self._reader is not None
        while True:
            if self._draining.is_set():
                raise AssociationEnded("shutdown", abort=BY_USER)
            if self._jobs:
                self._wait_for_results(stream)
            try:
                message = self._reader.next()
            except AssociationEnded as ended:
                if self._draining.is_set() and ended.why == "connection_lost":
                    raise AssociationEnded("shutdown", abort=BY_USER) from ended
                raise
            if message is None:
                self._shared.storing.flush(_FLUSH_S)  # once its association is over, a sender finds in `status` what it sent
                stream.release()
                return
            self._answer(stream, message)

    def _sink(self, context_id: int, command: cs.Command) -> Sink:
        if command.kind != cs.C_STORE_RQ:
            return MemorySink()
        assert self._request is not None
        if not self._begun:
            self._begun = True
            self._report("receiving")
        route = self._shared.config.route(self._request.called_ae)
        origin = Origin(self._request.called_ae, self._request.calling_ae, route.priority if route else "normal")
        return InstanceSink(self._shared.storing, origin, self._contexts[context_id], command, self._told)

    def _told(self, admission: Admission) -> None:
        self._counts["duplicates"] += admission.outcome == "duplicate"
        self._counts["conflicts"] += admission.outcome == "conflict"

    def _answer(self, stream: PduStream, message: Message) -> None:
        command, context = message.command, self._contexts[message.context_id]
        if command.kind == cs.C_STORE_RQ and context.abstract_syntax not in (VERIFICATION, STORAGE_COMMITMENT):
            self._answer_store(stream, message, context)
        elif command.kind == cs.C_ECHO_RQ and context.abstract_syntax == VERIFICATION:
            self._send(stream, context, cs.response(command, SUCCESS))
        elif command.kind == cs.N_ACTION_RQ and context.abstract_syntax == STORAGE_COMMITMENT:
            self._answer_action(stream, message, context)
        elif command.kind == cs.N_EVENT_REPORT_RQ and context.abstract_syntax == STORAGE_COMMITMENT:
            status = self._shared.commitments.archive_reported(command, _data(message), context.transfer_syntax)
            self._send(stream, context, cs.response(command, status))
        elif command.kind == cs.N_EVENT_REPORT_RQ | cs.RESPONSE:
            reported = self._reported.pop(command.numbers.get("MessageIDBeingRespondedTo", 0), None)
            if reported is not None:
                self._shared.commitments.done(reported)
        elif command.kind in cs.REQUESTS:
            if message.sink is not None:
                message.sink.abort()
            self._send(stream, context, cs.response(command, UNRECOGNIZED_OPERATION))
        elif message.sink is not None:  # C-CANCEL of what is long done, or an answer that nobody waits for
            message.sink.abort()

    def _answer_store(self, stream: PduStream, message: Message, context: Context) -> None:
        sink = message.sink if message.sink is not None else self._sink(message.context_id, message.command)
        assert isinstance(sink, InstanceSink)
        stored = sink.finish()
        if stored.status != SUCCESS:
            self._counts["refused"] += 1
            self._log.warning("instance_refused", status=f"0x{stored.status:04X}", reason=stored.comment)
        else:
            self._counts["instances"] += 1
            self._counts["bytes"] += stored.size
        self._send(stream, context, cs.response(message.command, stored.status, stored.comment))
        point("listener.after_response")

    def _answer_action(self, stream: PduStream, message: Message, context: Context) -> None:
        assert self._request is not None
        called_ae, calling_ae = self._request.called_ae, self._request.calling_ae
        caller = self._shared.doorkeeper.caller(called_ae, calling_ae, self._address)
        self._shared.storing.flush(_FLUSH_S)  # what was acknowledged is known
        status, job = self._shared.commitments.request(
            message.command, _data(message), context.transfer_syntax, called_ae, calling_ae, self._address, caller.port if caller else None)
        self._send(stream, context, cs.response(message.command, status))
        if job is not None:
            self._jobs.append(job)

    def _wait_for_results(self, stream: PduStream) -> None:
        """Until the peer speaks: report on its commitment requests as soon as they are decided."""
        silent_until = time.monotonic() + self._shared.config.listener.network_timeout
        while self._jobs and not self._draining.is_set() and time.monotonic() < silent_until:
            for job in list(self._jobs):
                report = self._shared.commitments.report(job)
                if report is not None:
                    self._jobs.remove(job)
                    if not self._shared.commitments.hold(job):
                        continue
                    message_id = next(self._message_ids)
                    self._reported[message_id] = job
                    context = next(item for item in self._contexts.values() if item.abstract_syntax == STORAGE_COMMITMENT)
                    request = cs.pack(CommandField=cs.N_EVENT_REPORT_RQ, MessageID=message_id, CommandDataSetType=1,
                                      AffectedSOPClassUID=STORAGE_COMMITMENT, AffectedSOPInstanceUID=STORAGE_COMMITMENT_INSTANCE,
                                      EventTypeID=report.event_type)
                    self._send(stream, context, request, write_data_set(report.data, context.transfer_syntax))
            if stream.readable(_COMMITMENT_LOOK_S):
                return

    def _send(self, stream: PduStream, context: Context, command: bytes, data: bytes = b"") -> None:
        assert self._request is not None
        limit = max_send(self._request)
        stream.send(b"".join([*_fragments(context.context_id, command, 1, limit), *_fragments(context.context_id, data, 0, limit)]))


def _fragments(context_id: int, data: bytes, kind: int, limit: int) -> list[bytes]:
    """P-DATA-TF PDUs of one PDV each (PS3.8 9.3.5) that carry a command set (kind 1) or data set (0) to a peer with that limit."""
    size = min(limit, MAX_PDU) - 6
    parts = [data[start:start + size] for start in range(0, len(data), size)]
    return [struct.pack(">BBIIBB", P_DATA_TF, 0, len(part) + 6, len(part) + 2, context_id, kind | (2 if part is parts[-1] else 0)) + part
            for part in parts]


def _data(message: Message) -> bytes:
    return bytes(message.sink.data) if isinstance(message.sink, MemorySink) else b""
