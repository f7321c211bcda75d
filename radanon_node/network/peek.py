"""A look at the first elements of a data set while it streams in: does it parse, and is it the instance that the request announced?"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Literal

from pydicom.datadict import dictionary_has_tag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from radanon_node.network.contexts import DEFLATED, EXPLICIT_BE, IMPLICIT_LE

HEAD = 65536
"""Bytes looked at, at most. SOP Class and Instance UID are among the first elements; where they are not, the worker compares them."""

_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_UNDEFINED = 0xFFFFFFFF
_VRS = frozenset(item.value.encode() for item in VR if len(item.value) == 2)
_LONG = frozenset(item.value.encode() for item in EXPLICIT_VR_LENGTH_32)


class NotADataSet(Exception):
    """The bytes are not the beginning of a data set in this transfer syntax."""


class _CutOff(Exception):
    """The head ends inside an element."""


@dataclass(frozen=True, slots=True)
class Peeked:
    """What the head tells.

    Parameters
    ----------
    sop_class_uid, sop_instance_uid : str or None
        Values of (0008,0016) and (0008,0018) of the top level, without padding; None where not seen. Never to be logged.
    complete : bool
        Whether the head reaches beyond (0008,0018), so that more bytes would tell nothing new.
    """

    sop_class_uid: str | None
    sop_instance_uid: str | None
    complete: bool


def peek(head: bytes | bytearray | memoryview, transfer_syntax: str, whole: bool = False) -> Peeked:
    """Read SOP Class UID and SOP Instance UID from the beginning of an encoded data set.

    Parameters
    ----------
    head : bytes-like
        First bytes of the data set (without file meta information).
    transfer_syntax : str
        UID; everything that is not implicit, big endian or deflated is explicit VR little endian (PS3.5 Annex A).
    whole : bool
        Nothing follows `head`.

    Raises
    ------
    NotADataSet
        The first elements cannot be those of a data set: no VR where one must be, tags not in order, file meta elements, or one of
        them ends beyond the data set.
    """
    if transfer_syntax in DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            head = inflater.decompress(bytes(head), HEAD)
        except zlib.error as error:
            raise NotADataSet from error
        whole = inflater.eof
    implicit = transfer_syntax == IMPLICIT_LE
    order = ">" if transfer_syntax == EXPLICIT_BE else "<"
    found: dict[int, str | None] = {_SOP_CLASS: None, _SOP_INSTANCE: None}
    position, previous = 0, -1
    complete = cut_off = False
    while position < len(head):
        try:
            tag, vr, length, position = _element(head, position, implicit, order)
            if tag <= previous:
                raise NotADataSet
            if previous < 0:
                _check_first(tag)
            if tag > _SOP_INSTANCE:
                complete = True
                break
            previous = tag
            if length == _UNDEFINED:
                # PS3.5 6.2.2: UN of undefined length holds implicit VR little endian.
                position = _skip_sequence(head, position, implicit or vr == b"UN", "<" if vr == b"UN" else order)
                continue
            if position + length > len(head):
                raise _CutOff
            if tag in found:
                found[tag] = bytes(head[position:position + length]).decode("latin-1").strip("\0 ")
            position += length
        except (_CutOff, struct.error):
            cut_off = True
            break
    if whole and not complete:
        if cut_off:
            raise NotADataSet
        complete = True
    return Peeked(found[_SOP_CLASS], found[_SOP_INSTANCE], complete)


def study_hint(head: bytes | bytearray, transfer_syntax: str) -> str:
    """What looks like the Study Instance UID (0020,000D) in the head of a data set; empty if nothing does. Never to be logged.

    Good enough to share turns by, for which it is found without parsing what stands before it; nothing else may rest on it.
    """
    if transfer_syntax in DEFLATED:
        return ""
    order: Literal["big", "little"] = "big" if transfer_syntax == EXPLICIT_BE else "little"
    tag = (0x0020).to_bytes(2, order) + (0x000D).to_bytes(2, order) + (b"" if transfer_syntax == IMPLICIT_LE else b"UI")
    start = head.find(tag)
    if start < 0:
        return ""
    start += len(tag)
    width = 4 if transfer_syntax == IMPLICIT_LE else 2
    length = int.from_bytes(head[start:start + width], order)
    value = bytes(head[start + width:start + width + min(length, 64)]).rstrip(b"\0")
    return value.decode("ascii") if value and not value.strip(b"0123456789.") else ""


def _check_first(tag: int) -> None:
    group = tag >> 16
    if group < 0x0004 or group == 0xFFFE:
        raise NotADataSet
    # In implicit VR anything parses; a public tag that no edition of the standard knows betrays noise (or the wrong byte order).
    if group != 0x0008 and group % 2 == 0 and not dictionary_has_tag(tag):
        raise NotADataSet


def _element(head: bytes | bytearray | memoryview, position: int, implicit: bool, order: str) -> tuple[int, bytes, int, int]:
    """(tag, VR or empty, length, start of the value) of the element at `position`; PS3.5 7.1."""
    group, element = struct.unpack_from(order + "HH", head, position)
    tag = group << 16 | element
    if implicit or group == 0xFFFE:
        (length,) = struct.unpack_from(order + "I", head, position + 4)
        return tag, b"", length, position + 8
    vr = bytes(head[position + 4:position + 6])
    if len(vr) < 2:
        raise _CutOff
    if vr not in _VRS:
        raise NotADataSet
    if vr in _LONG:
        (length,) = struct.unpack_from(order + "I", head, position + 8)
        return tag, vr, length, position + 12
    (length,) = struct.unpack_from(order + "H", head, position + 6)
    return tag, vr, length, position + 8


def _skip_sequence(head: bytes | bytearray | memoryview, position: int, implicit: bool, order: str) -> int:
    """Where a sequence of undefined length ends that begins at `position`; nesting is counted, not recursed into."""
    depth = 1
    while depth:
        tag, vr, length, position = _element(head, position, implicit, order)
        if tag in (0xFFFEE0DD, 0xFFFEE00D):
            depth -= 1
        elif length == _UNDEFINED:
            if vr == b"UN" and not implicit:
                raise _CutOff  # another encoding inside: rare enough to be left to the worker
            depth += 1
        elif tag != 0xFFFEE000 or length:
            position += length
        if position > len(head):
            raise _CutOff
    return position
