"""A-ASSOCIATE: what a peer asks for, who is let in, and the answer (PS3.8 9.3.2-9.3.4, PS3.7 Annex D); PDUs are pynetdicom's."""

from __future__ import annotations

import ipaddress
import logging
import socket
import struct
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_items import PresentationContextItemRQ, UserInformationItem
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext

from radanon_node import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from radanon_node.errors import AssociationEnded
from radanon_node.network.contexts import (
    APPLICATION_CONTEXT,
    Context,
    Proposal,
)
from radanon_node.network.upper_layer import A_ABORT, INVALID_PARAMETER, KNOWN_PDUS, MAX_PDU, UNEXPECTED_PDU, UNRECOGNIZED_PDU, PduStream
from radanon_node.network.upper_layer import A_ASSOCIATE_RQ as ASSOCIATE_RQ
from radanon_node.settings import CallerSettings, Config

# pynetdicom's own messages print what peers sent; logs.py withholds them, other programs that use this package may not.
logging.getLogger("pynetdicom").addHandler(logging.NullHandler())

_MAX_REQUEST = 2**20
_MIN_PEER_PDU = 1024
_RESOLVED_S = 60.0


class Rejection(Enum):
    """Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""

    APPLICATION_CONTEXT = (1, 1, 2)
    CALLING_AE_TITLE = (1, 1, 3)
    CALLED_AE_TITLE = (1, 1, 7)
    PROTOCOL_VERSION = (1, 2, 2)
    TEMPORARY_CONGESTION = (2, 3, 1)
    LOCAL_LIMIT = (2, 3, 2)


@dataclass(frozen=True, slots=True)
class Request:
    """What an A-ASSOCIATE-RQ says, as far as it matters here.

    Parameters
    ----------
    called_ae, calling_ae : str
        Without padding.
    max_pdu : int
        Largest P-DATA-TF the peer takes; 0 = no limit.
    roles : dict
        `contexts.Roles`.
    """

    called_ae: str
    calling_ae: str
    protocol_version: int
    application_context: str
    proposals: tuple[Proposal, ...]
    max_pdu: int
    roles: dict[str, tuple[bool, bool]] = field(default_factory=dict)


def read_request(stream: PduStream) -> Request:
    """Wait for a peer's A-ASSOCIATE-RQ.

    Raises
    ------
    AssociationEnded
        It sent something else, too much, or nothing in time.
    """
    kind, length = stream.header()
    if kind == A_ABORT:
        raise AssociationEnded("aborted_by_peer")
    if kind != ASSOCIATE_RQ:
        raise AssociationEnded("not_an_association_request", abort=UNEXPECTED_PDU if kind in KNOWN_PDUS else UNRECOGNIZED_PDU)
    if not 68 <= length <= _MAX_REQUEST:
        raise AssociationEnded("invalid_association_request", abort=INVALID_PARAMETER)
    body = stream.take(length)
    return parse_request(struct.pack(">BBI", kind, 0, length) + body)


def parse_request(encoded: bytes) -> Request:
    """Decode an A-ASSOCIATE-RQ; AssociationEnded if it is none."""
    try:
        pdu = A_ASSOCIATE_RQ()
        pdu.decode(encoded)
        proposals = tuple(
            Proposal(int(item.presentation_context_id or 0), str(item.abstract_syntax), tuple(map(str, item.transfer_syntax)))
            for item in pdu.variable_items if isinstance(item, PresentationContextItemRQ))
        user = next((item for item in pdu.variable_items if isinstance(item, UserInformationItem)), None)
        roles = {str(uid): (bool(item.scu), bool(item.scp)) for uid, item in user.role_selection.items()} if user else {}
        request = Request(
            str(pdu.called_ae_title).strip(), str(pdu.calling_ae_title).strip(), int(pdu.protocol_version),
            str(pdu.application_context_name), proposals, int((user.maximum_length if user else 0) or 0), roles)
    except Exception as error:
        raise AssociationEnded("invalid_association_request", abort=INVALID_PARAMETER) from error
    ids = {item.context_id for item in proposals}
    if not proposals or len(ids) < len(proposals) or any(number % 2 == 0 for number in ids):
        raise AssociationEnded("invalid_association_request", abort=INVALID_PARAMETER)
    return request


def check_request(request: Request) -> Rejection | None:
    """What every acceptor must look at, whoever calls (PS3.8 9.3.2, PS3.7 A.2.1)."""
    if not request.protocol_version & 1:
        return Rejection.PROTOCOL_VERSION
    if request.application_context != APPLICATION_CONTEXT:
        return Rejection.APPLICATION_CONTEXT
    return None


def reject(rejection: Rejection) -> bytes:
    """Encode an A-ASSOCIATE-RJ."""
    return struct.pack(">BBIBBBB", 0x03, 0, 4, 0, *rejection.value)


def accept(request: Request, contexts: list[Context], roles: dict[str, tuple[bool, bool]]) -> bytes:
    """Encode an A-ASSOCIATE-AC with the answers to all proposals."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID(APPLICATION_CONTEXT)
    primitive.calling_ae_title = request.calling_ae
    primitive.called_ae_title = request.called_ae
    results = []
    for context in contexts:
        result = PresentationContext()
        result.context_id, result.result = context.context_id, context.result
        # Not significant (and not valid, if that is why it is not accepted) unless accepted.
        result.transfer_syntax = [UID(context.transfer_syntax if context.accepted else "1.2.840.10008.1.2")]
        results.append(result)
    primitive.presentation_context_definition_results_list = results
    length = MaximumLengthNotification()
    length.maximum_length_received = MAX_PDU
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    items: list[Any] = [length, implementation, version]
    for uid, (scu, scp) in roles.items():
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = UID(uid), scu, scp
        items.append(role)
    primitive.user_information = items
    encoded: bytes = A_ASSOCIATE_AC(primitive).encode()
    return encoded


def max_send(request: Request) -> int:
    """Bytes of a P-DATA-TF that may be sent to the peer, after its header."""
    return min(request.max_pdu, MAX_PDU) if request.max_pdu >= _MIN_PEER_PDU else (MAX_PDU if request.max_pdu == 0 else _MIN_PEER_PDU)


@dataclass(frozen=True, slots=True)
class Access:
    """What a caller may do: send instances (and ask for their commitment), or report an archive's commitment to us. C-ECHO is free."""

    stores: bool
    reports: bool


class Doorkeeper:
    """Who may call whom.

    Parameters
    ----------
    config : Config
        `routes` name the called AE titles; a route's `callers` apply in place of `listener.allowed_callers`. Where archives are asked
        for Storage Commitment they may call the AE title that asked them.
    """

    def __init__(self, config: Config) -> None:
        everybody = config.listener.allowed_callers
        self._routes = {route.ae_title: everybody if route.callers is None else route.callers for route in config.routes}
        self._restricted = {route.ae_title for route in config.routes if route.callers is not None or everybody}
        self._archives: dict[str, set[str]] = {}
        for destination in config.destinations.values():
            if destination.storage_commitment and destination.ae_title:
                self._archives.setdefault(destination.calling_ae_title, set()).add(destination.ae_title)
        self._resolved: dict[str, tuple[float, frozenset[str]]] = {}

    def check(self, called_ae: str, calling_ae: str, address: str) -> Access | Rejection:
        """What the caller may do, or why it is not let in.

        Parameters
        ----------
        address : str
            The caller's IP address.
        """
        if called_ae not in self._routes and called_ae not in self._archives:
            return Rejection.CALLED_AE_TITLE
        stores = called_ae in self._routes and (
            called_ae not in self._restricted or any(self._is(caller, calling_ae, address) for caller in self._routes[called_ae]))
        reports = calling_ae in self._archives.get(called_ae, ())
        return Access(stores, reports) if stores or reports else Rejection.CALLING_AE_TITLE

    def caller(self, called_ae: str, calling_ae: str, address: str) -> CallerSettings | None:
        """The configured entry that lets this caller in, if there is one."""
        return next((caller for caller in self._routes.get(called_ae, ()) if self._is(caller, calling_ae, address)), None)

    def _is(self, caller: CallerSettings, calling_ae: str, address: str) -> bool:
        return caller.ae_title == calling_ae and (caller.host is None or self._comes_from(caller.host, address))

    def _comes_from(self, host: str, address: str) -> bool:
        peer = plain_address(address)
        try:
            return ipaddress.ip_address(peer) in ipaddress.ip_network(host, strict=False)
        except ValueError:
            return peer in self._resolve(host)

    def _resolve(self, name: str) -> frozenset[str]:
        since, known = self._resolved.get(name, (float("-inf"), frozenset()))
        if time.monotonic() - since > _RESOLVED_S:
            try:
                known = frozenset(plain_address(str(info[4][0])) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM))
            except OSError:
                known = frozenset()  # a name that cannot be resolved lets nobody in
            self._resolved[name] = (time.monotonic(), known)
        return known


def plain_address(address: str) -> str:
    """An address as peers are configured: without the zone of a link-local one, IPv4 also where it came over an IPv6 socket."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
