"""Helpers of the network tests: a real listener on a free port, raw sockets as peers, small instances, DCMTK's programs."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, generate_uid
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import build_context

from radanon_node.config import parse
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from radanon_node.network import command_set as cs
from radanon_node.network.listener import Listener
from radanon_node.settings import Config

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
ROUTE = "RADANON"


def make_config(folder: Path, listener: dict[str, Any] | None = None, **sections: Any) -> Config:
    document: dict[str, Any] = {
        "node": {"data_dir": str(folder)},
        "listener": {"port": 0, "min_free_disk": 0, "acse_timeout": "20s", "network_timeout": "20s"} | (listener or {}),
        "routes": [{"ae_title": ROUTE, "profile": "default", "destinations": ["out"]}],
        "destinations": {"out": {"directory": str(folder / "out")}},
        "profiles": {"default": {}},
    }
    return parse(document | sections)


@dataclass
class Node:
    """A running listener with its real ledger and spool."""

    port: int
    config: Config
    ledger: Ledger
    spool: Spool
    listener: Listener
    admitted: list[int]

    def items(self) -> list[Any]:
        """Everything received so far, claimed as a worker would."""
        self.settle()
        return self.ledger.claim("test", 1000, 60.0)

    def settle(self) -> None:
        """Until what was acknowledged has its rows."""
        if self.listener._following is not None:
            assert self.listener._following.flush(10.0)

    def files(self) -> list[Path]:
        """Files with something in them: a few empty ones are kept ready while an association is open."""
        found = []
        for path in sorted(self.config.spool_dir.glob("in/[0-9a-f]*/?/*")):
            with suppress(FileNotFoundError):
                if path.stat().st_size:
                    found.append(path)
        return found

    def wait_for_a_file(self, seconds: float = 10.0) -> None:
        """Until the first bytes of an instance are on the disk."""
        limit = time.monotonic() + seconds
        while not self.files():
            assert time.monotonic() < limit, "no file came"
            time.sleep(0.005)

    def data_set(self, item: Any) -> bytes:
        """Bytes of a received file behind its file meta information."""
        with self.spool.open(item.file) as opened:
            return bytes(opened.data)[data_set_offset(bytes(opened.data[:400])):]


def data_set_offset(head: bytes) -> int:
    return 132 + 12 + int.from_bytes(head[140:144], "little")


@contextmanager
def running(config: Config, stop: float = 5.0) -> Iterator[Node]:
    spool = Spool(config.spool_dir, config.listener.min_free_disk)
    ledger = Ledger(config.ledger_url, bytes(32), spool)
    admitted: list[int] = []
    listener = Listener(config, spool, ledger, admitted.append)
    port = listener.start()
    try:
        yield Node(port, config, ledger, spool, listener, admitted)
    finally:
        listener.stop(stop)
        ledger.close()
        spool.close()


def serve(folder: Path, ready: Connection) -> None:
    """A listener as the main thing of a process of its own; sends its port, ends when told."""
    with running(make_config(folder)) as node:
        node.spool.sweep(node.ledger.known_files, node.ledger.readmit)
        ready.send(node.port)
        ready.recv()


@contextmanager
def served(folder: Path) -> Iterator[tuple[BaseProcess, int]]:
    """(process, port) of `serve`; killed if it still runs."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(folder, there), daemon=True)
    process.start()
    try:
        assert here.poll(60), "the listener's process does not start"
        yield process, here.recv()
        if process.is_alive():
            here.send("stop")
            process.join(20)
    finally:
        process.kill()
        process.join()


def make_instance(size: int = 4000, sop_class: str = CT, uid: str | None = None) -> Dataset:
    instance = Dataset()
    instance.SOPClassUID, instance.SOPInstanceUID = sop_class, uid or generate_uid()
    instance.Modality, instance.PatientName, instance.PatientID = "CT", "Example^Only", "42"
    instance.StudyInstanceUID, instance.SeriesInstanceUID = generate_uid(), generate_uid()
    columns = min(size // 2, 1000)
    instance.Rows, instance.Columns = size // 2 // columns, columns
    instance.BitsAllocated, instance.BitsStored, instance.HighBit = 16, 12, 11
    instance.PixelRepresentation, instance.SamplesPerPixel, instance.PhotometricInterpretation = 0, 1, "MONOCHROME2"
    instance.PixelData = os.urandom(size)
    instance["PixelData"].VR = "OW"
    return instance


def encoded(instance: Dataset, syntax: str = EXPLICIT) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = syntax == IMPLICIT, syntax != "1.2.840.10008.1.2.2"
    write_dataset(buffer, instance)
    return buffer.getvalue()


def save(instance: Dataset, path: Path, syntax: str = EXPLICIT) -> Path:
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = UID(syntax)
    instance.file_meta.MediaStorageSOPClassUID = instance.SOPClassUID
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    instance.save_as(path, enforce_file_format=True)
    return path


# A peer that speaks byte by byte.


def associate_rq(contexts: Sequence[tuple[int, str, Sequence[str]]] = ((1, CT, (EXPLICIT,)), (3, "1.2.840.10008.1.1", (IMPLICIT,))),
                 called: str = ROUTE, calling: str = "MODALITY", max_pdu: int = 16384,
                 roles: dict[str, tuple[bool, bool]] | None = None) -> bytes:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID("1.2.840.10008.3.1.1.1")
    primitive.called_ae_title, primitive.calling_ae_title = called, calling
    definitions = []
    for context_id, abstract, syntaxes in contexts:
        context = build_context(abstract, list(syntaxes))
        context.context_id = context_id
        definitions.append(context)
    primitive.presentation_context_definition_list = definitions
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, implementation.implementation_class_uid = max_pdu, UID("1.2.3.4")
    items: list[Any] = [length, implementation]
    for uid, (scu, scp) in (roles or {}).items():
        role = SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = UID(uid), scu, scp
        items.append(role)
    primitive.user_information = items
    return bytes(A_ASSOCIATE_RQ(primitive).encode())


def pdu(*pdvs: tuple[int, int, bytes], kind: int = 4) -> bytes:
    """A P-DATA-TF of (context id, control header, fragment) items."""
    body = b"".join(struct.pack(">IBB", len(data) + 2, context_id, control) + data for context_id, control, data in pdvs)
    return struct.pack(">BBI", kind, 0, len(body)) + body


def store_command(sop_class: str = CT, sop_instance: str = "", message_id: int = 1) -> bytes:
    return cs.pack(CommandField=cs.C_STORE_RQ, MessageID=message_id, Priority=0, CommandDataSetType=1,
                   AffectedSOPClassUID=sop_class, AffectedSOPInstanceUID=sop_instance)


def echo_command(message_id: int = 1) -> bytes:
    return cs.pack(CommandField=cs.C_ECHO_RQ, MessageID=message_id, CommandDataSetType=cs.NO_DATA_SET,
                   AffectedSOPClassUID="1.2.840.10008.1.1")


RELEASE_RQ = bytes.fromhex("050000000004") + bytes(4)


class Peer:
    """A raw connection."""

    def __init__(self, port: int, timeout: float = 15.0) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def recv(self) -> tuple[int, bytes]:
        """Type and body of the next PDU; (0, b"") if the connection was closed."""
        header = self._exactly(6)
        if len(header) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxI", header)
        return kind, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                part = self.sock.recv(size - len(data))
            except ConnectionError:
                return b""
            if not part:
                return b""
            data += part
        return data

    def associate(self, **arguments: Any) -> bytes:
        """Ask for an association and demand that it is accepted; the body of the A-ASSOCIATE-AC."""
        self.send(associate_rq(**arguments))
        kind, body = self.recv()
        assert kind == 2, (kind, body)
        return body

    def response(self) -> cs.Command:
        """The next message, which must be a response in one PDU."""
        kind, body = self.recv()
        assert kind == 4, (kind, body)
        assert body[5] == 3
        return cs.parse(body[6:])

    def store(self, data: bytes, sop_instance: str, sop_class: str = CT, context_id: int = 1, message_id: int = 1,
              step: int = 16000) -> int:
        """C-STORE in an ordinary way; the status."""
        self.send(pdu((context_id, 3, store_command(sop_class, sop_instance, message_id))))
        parts = [data[start:start + step] for start in range(0, len(data), step)] or [b""]
        for index, part in enumerate(parts):
            self.send(pdu((context_id, 2 if index == len(parts) - 1 else 0, part)))
        answer = self.response()
        assert answer.kind == 0x8001
        assert answer.numbers["MessageIDBeingRespondedTo"] == message_id
        return answer.numbers["Status"]


def dcmtk(program: str, *arguments: object, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run one of DCMTK's programs; the test is skipped where they are not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False,
                          env=os.environ | {"TCP_NODELAY": "1"})


def wakeups(pid: int) -> int:
    """How often the threads of a process have waited for something and been woken (proc(5), voluntary_ctxt_switches)."""
    return sum(int(line.split()[1]) for task in Path(f"/proc/{pid}/task").iterdir()
               for line in (task / "status").read_text().splitlines() if line.startswith("voluntary_ctxt_switches"))


def sleeps(pid: int, window: float = 0.5, patience: float = 20.0) -> bool:
    """Whether a process comes to rest: a `window` of seconds in which none of its threads wakes even once. What polls never does."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        before = wakeups(pid)
        time.sleep(window)  # that nothing happens is no event
        if wakeups(pid) == before:
            return True
    return False
