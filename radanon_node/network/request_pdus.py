"""The PDUs that the requestor of an association sends and reads (PS3.8 9.3): pure functions between values and bytes.

Bytes from a peer are read with every length checked: what does not fit is a `ProtocolError`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from radanon_node import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from radanon_node.errors import DeliveryRefused
from radanon_node.network.contexts import APPLICATION_CONTEXT

A_ASSOCIATE_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ, P_DATA_TF, A_RELEASE_RQ, A_RELEASE_RP, A_ABORT = range(1, 8)

RELEASE_RQ = struct.pack(">BBLL", A_RELEASE_RQ, 0, 4, 0)
RELEASE_RP = struct.pack(">BBLL", A_RELEASE_RP, 0, 4, 0)
ABORT = struct.pack(">BBLBBBB", A_ABORT, 0, 4, 0, 0, 0, 0)  # source: service user

MAX_CONTEXTS = 128

_FIXED_FIELDS = 68  # of an A-ASSOCIATE-AC, before its items
_REJECT_RESULTS = {1: "permanently", 2: "for now"}
_REJECT_REASONS = {
    (1, 1): "no reason given", (1, 2): "application context not supported", (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized", (2, 1): "no reason given", (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion", (3, 2): "local limit exceeded",
}  # fmt: skip


class ProtocolError(DeliveryRefused):
    """The peer does not speak the protocol."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One presentation context to propose.

    Parameters
    ----------
    abstract_syntax : str
        SOP Class UID.
    transfer_syntaxes : tuple of str
        The acceptor takes one of them.
    """

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What an A-ASSOCIATE-AC says.

    Parameters
    ----------
    max_pdu : int
        Longest P-DATA-TF variable field the acceptor takes; 0 = any.
    contexts : dict
        Presentation context ID -> (result, transfer syntax UID); result 0 is acceptance (PS3.8 Table 9-18).
    """

    max_pdu: int
    contexts: dict[int, tuple[int, str]]


def encode_associate(calling: str, called: str, offers: Sequence[Offer], max_pdu: int) -> bytes:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2). Context IDs are 1, 3, 5... in the order of `offers`.

    Parameters
    ----------
    calling, called : str
        AE titles.
    offers : sequence of Offer
        1 to `MAX_CONTEXTS`.
    max_pdu : int
        Longest P-DATA-TF variable field taken here.
    """
    if not 1 <= len(offers) <= MAX_CONTEXTS:
        raise ValueError("an association has 1 to 128 presentation contexts")
    body = [
        struct.pack(">HH16s16s32x", 1, 0, called.encode("ascii").ljust(16), calling.encode("ascii").ljust(16)),
        _item(0x10, APPLICATION_CONTEXT.encode("ascii")),
    ]
    for index, offer in enumerate(offers):
        syntaxes = b"".join(_item(0x40, uid.encode("ascii")) for uid in offer.transfer_syntaxes)
        abstract = _item(0x30, offer.abstract_syntax.encode("ascii"))
        body.append(_item(0x20, struct.pack(">BBBB", 2 * index + 1, 0, 0, 0) + abstract + syntaxes))
    user = (_item(0x51, struct.pack(">L", max_pdu)), _item(0x52, IMPLEMENTATION_CLASS_UID.encode("ascii")),
            _item(0x55, IMPLEMENTATION_VERSION_NAME.encode("ascii")))
    body.append(_item(0x50, b"".join(user)))
    data = b"".join(body)
    return struct.pack(">BBL", A_ASSOCIATE_RQ, 0, len(data)) + data


def decode_accept(body: bytes) -> Acceptance:
    """The body of an A-ASSOCIATE-AC (PS3.8 9.3.3), i.e. what follows its 6-byte header."""
    if len(body) < _FIXED_FIELDS:
        _misfit()
    contexts: dict[int, tuple[int, str]] = {}
    max_pdu = 0
    for kind, value in _items(body[_FIXED_FIELDS:]):
        if kind == 0x21:
            if len(value) < 4:
                _misfit()
            syntax = next((text for sub, text in _items(value[4:]) if sub == 0x40), b"")
            contexts[value[0]] = (value[2], syntax.rstrip(b"\0 ").decode("latin-1"))
        elif kind == 0x50:
            for sub, text in _items(value):
                if sub == 0x51 and len(text) == 4:
                    max_pdu = int.from_bytes(text, "big")
    return Acceptance(max_pdu, contexts)


def describe_reject(body: bytes) -> str:
    """An A-ASSOCIATE-RJ in words (PS3.8 Table 9-21)."""
    if len(body) < 4:
        _misfit()
    result, source, reason = body[1:4]
    why = _REJECT_REASONS.get((source, reason), f"source {source}, reason {reason}")
    return f"rejected {_REJECT_RESULTS.get(result, f'with result {result}')}: {why}"


def pdvs(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(context ID, message control header, fragment) of each PDV of a P-DATA-TF's body (PS3.8 9.3.5)."""
    at = 0
    while at < len(body):
        length = int.from_bytes(body[at:at + 4], "big")
        if length < 2 or at + 4 + length > len(body):
            _misfit()
        yield body[at + 4], body[at + 5], body[at + 6:at + 4 + length]
        at += 4 + length


def pdata_header(length: int, context_id: int, control: int) -> bytes:
    """Header of a P-DATA-TF with one PDV of `length` bytes; control: bit 0 command, bit 1 last fragment (PS3.8 E.2)."""
    return struct.pack(">BBLLBB", P_DATA_TF, 0, length + 6, length + 2, context_id, control)


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 2:at + 4], "big")
        if at + 4 + length > len(data):
            _misfit()
        yield data[at], data[at + 4:at + 4 + length]
        at += 4 + length


def _misfit() -> None:
    raise ProtocolError("the peer sent a PDU whose lengths do not fit")
