"""Storage SCP (PS3.4 Annex B): one C-STORE from its command set to the status that answers it.

0x0000 is given only when the file is synced with its record in it (ledger/record.py), or, where rows are shared with other machines, its
row committed. Everything else leaves nothing behind.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from radanon_node import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from radanon_node.errors import (
    CANNOT_UNDERSTAND,
    DATASET_MISMATCH,
    SUCCESS,
    StorageError,
    outcome_of,
)
from radanon_node.ledger.faults import point
from radanon_node.ledger.record import PREAMBLE, Digest
from radanon_node.ledger.spool import Incoming
from radanon_node.ledger.types import Arrival
from radanon_node.network.admission import Admitter
from radanon_node.network.command_set import Command
from radanon_node.network.contexts import Context, is_uid
from radanon_node.network.following import Following, Told
from radanon_node.network.peek import HEAD, NotADataSet, peek, study_hint
from radanon_node.network.writeback import Writeback
from radanon_node.stages import Stages

# PS3.7 Annex C: also answers to C-STORE (9.1.1.1.9).
INVALID_SOP_INSTANCE, SOP_CLASS_NOT_SUPPORTED = 0x0117, 0x0122


class Files(Protocol):
    """The part of `ledger.spool.Spool` that takes new files."""

    def begin(self, header: bytes) -> Incoming: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose instances these are: AE titles of the association, as agreed with the peer."""

    route: str
    calling_ae: str
    priority: str = "normal"


@dataclass(frozen=True, slots=True)
class Storing:
    """What stores instances: shared by all associations of a listener.

    Parameters
    ----------
    spool : Files
    admitter : Admitter
    max_instance_size : int
    stages : Stages
    following : Following or None
        Rows follow the answer; None: the row comes first.
    """

    spool: Files
    admitter: Admitter
    max_instance_size: int
    stages: Stages = field(default_factory=Stages)
    following: Following | None = None

    def flush(self, seconds: float) -> None:
        """Wait until what was acknowledged by now has its rows, at most so long."""
        if self.following is not None:
            self.following.flush(seconds)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an instance is not taken: status of the response and its Error Comment, which names no value."""

    status: int
    comment: str


@dataclass(frozen=True, slots=True)
class Stored:
    """Answer to one C-STORE-RQ."""

    status: int
    comment: str
    size: int


def file_header(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble, prefix and File Meta Information (PS3.10 7.1) of a received instance.

    Parameters
    ----------
    sop_class_uid, sop_instance_uid, transfer_syntax_uid : str
        From the request and its presentation context.
    """
    before, after = _around(sop_class_uid, transfer_syntax_uid)
    elements = before + _short(0x0003, b"UI", sop_instance_uid) + after
    return bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00" + len(elements).to_bytes(4, "little") + elements


@lru_cache(maxsize=256)
def _around(sop_class_uid: str, transfer_syntax_uid: str) -> tuple[bytes, bytes]:
    """The elements before and after the one that is another in each file."""
    return (
        b"\x02\x00\x01\x00OB\0\0\x02\x00\x00\x00\x00\x01" + _short(0x0002, b"UI", sop_class_uid),
        _short(0x0010, b"UI", transfer_syntax_uid) + _short(0x0012, b"UI", IMPLEMENTATION_CLASS_UID)
        + _short(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
    )


def _short(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return b"\x02\x00" + element.to_bytes(2, "little") + vr + len(value).to_bytes(2, "little") + value


class InstanceSink:
    """Takes the data set of one C-STORE-RQ to the spool.

    Once it is clear that the instance is refused, the rest of its data set is read and thrown away: the standard has no way to answer
    earlier, and the association goes on after it.

    Parameters
    ----------
    storing : Storing
    origin : Origin
    context : Context
        The accepted presentation context of the request.
    request : Command
    told : callable
        Called with the `Admission` once the row is there, perhaps from another thread and after `finish`.
    """

    def __init__(self, storing: Storing, origin: Origin, context: Context, request: Command, told: Told) -> None:
        self._told = told
        self._header = 0
        self._storing = storing
        self._origin = origin
        self._request = request
        self._syntax = context.transfer_syntax
        self._incoming: Incoming | None = None
        self._writeback = Writeback(0)
        self._digest: Digest | None = None
        self._head: bytearray | None = bytearray()  # None once it has told all it can
        self._look_again = 0
        self._study = ""
        self._size = 0
        self._begun = time.perf_counter()
        self._refusal = self._check_request(context.abstract_syntax)

    def write(self, data: memoryview) -> None:
        """Take the next bytes of the data set."""
        self._size += len(data)
        if self._refusal is not None:
            return
        try:
            if self._size > self._storing.max_instance_size:
                raise StorageError("larger than listener.max_instance_size")
            if self._incoming is None:
                self._begin()
            if self._looks_right(data):
                self._write(data)
        except StorageError as error:
            self._refuse(outcome_of(error).dimse_status, str(error))

    def abort(self) -> None:
        """Forget the instance."""
        if self._incoming is not None:
            self._incoming.abort()
            self._incoming = None

    def finish(self) -> Stored:
        """All bytes are there: keep them for good, or say why not."""
        if self._refusal is None and self._size == 0:
            self._refuse(CANNOT_UNDERSTAND, "the data set is empty")
        if self._refusal is None and self._head is not None:
            self._judge(self._head, whole=self._size == len(self._head))
        if self._refusal is None:
            try:
                self._keep()
            except StorageError as error:
                self._refuse(outcome_of(error).dimse_status, str(error))
        if self._refusal is not None:
            return Stored(self._refusal.status, self._refusal.comment, self._size)
        return Stored(SUCCESS, "", self._size)

    def _check_request(self, abstract_syntax: str) -> Refusal | None:
        if self._request.texts.get("AffectedSOPClassUID", "") != abstract_syntax:
            return Refusal(SOP_CLASS_NOT_SUPPORTED, "Affected SOP Class UID is not that of the presentation context")
        if not is_uid(self._request.texts.get("AffectedSOPInstanceUID", "")):
            return Refusal(INVALID_SOP_INSTANCE, "Affected SOP Instance UID is missing or not a UID")
        return None

    def _begin(self) -> None:
        (self._storing.following or self._storing.admitter).check()
        header = file_header(self._request.sop_class_uid, self._request.sop_instance_uid, self._syntax)
        self._incoming = self._storing.spool.begin(header)
        if self._storing.following is not None:
            self._digest = self._storing.following.digest()
            self._digest.update(header[PREAMBLE:])
        self._header = len(header)
        self._writeback = Writeback(self._header)

    def _write(self, data: memoryview) -> None:
        assert self._incoming is not None
        first = self._size == len(data)
        size = len(data)
        if self._digest is not None:
            self._digest.update(data)
        try:
            while data:
                data = data[os.write(self._incoming.fd, data):]
        except OSError as error:
            raise StorageError(f"spool: write: {error.strerror}") from error
        self._writeback.wrote(self._incoming.fd, size)
        if first:
            point("listener.after_first_bytes")

    def _looks_right(self, data: memoryview) -> bool:
        if self._head is None:
            return True
        self._head += data[:HEAD - len(self._head)]
        if len(self._head) >= self._look_again:
            # Twice as much the next time: a peer that sends byte by byte must not cost a look per byte.
            self._look_again = min(2 * len(self._head), HEAD)
            self._judge(self._head, whole=False)
        return self._refusal is None

    def _judge(self, head: bytearray, whole: bool) -> None:
        """Compare what the head says with the request; what it does not reach is no mismatch."""
        try:
            seen = peek(head, self._syntax, whole)
        except NotADataSet:
            self._refuse(CANNOT_UNDERSTAND, "the data set does not parse in its transfer syntax")
            return
        wanted = ((seen.sop_class_uid, self._request.sop_class_uid, "SOP Class UID"),
                  (seen.sop_instance_uid, self._request.sop_instance_uid, "SOP Instance UID"))
        for found, announced, name in wanted:
            if (found is not None or seen.complete) and found != announced:
                self._refuse(DATASET_MISMATCH, f"{name} of data set and request differ")
                return
        if seen.complete or len(head) == HEAD:
            self._study = study_hint(head, self._syntax)
            self._head = None

    def _keep(self) -> None:
        assert self._incoming is not None
        point("listener.after_write")
        incoming = self._incoming
        received = time.perf_counter()
        arrival = Arrival(
            file=incoming.name, size=self._header + self._size, route=self._origin.route, calling_ae=self._origin.calling_ae,
            sop_class_uid=self._request.sop_class_uid, sop_instance_uid=self._request.sop_instance_uid,
            transfer_syntax_uid=self._syntax, received_at=time.time(), study=self._study, priority=self._origin.priority)
        following, marked = self._storing.following, None
        if following is not None and self._digest is not None:
            marked = following.mark(incoming, arrival, self._digest)
        self._incoming = None
        incoming.seal()
        synced = time.perf_counter()
        point("listener.after_seal")
        if following is not None and marked is not None:
            following.admit(marked, self._told)
        else:
            self._told(self._storing.admitter.admit(arrival))
        self._storing.stages.observe_all((("receive", received - self._begun), ("sync", synced - received),
                                          ("admit", time.perf_counter() - synced)))
        point("listener.after_admit")

    def _refuse(self, status: int, comment: str) -> None:
        self.abort()
        self._head = None
        self._refusal = Refusal(status, comment)
