"""Storage Commitment as its SCU (PS3.4 Annex J): ask an archive to commit to what it was sent, and read what it reports.

A transaction UID carries a keyed MAC over its destination's name. So a report can be checked in any process, also in one that
did not ask (the listener: most archives report by an association of their own, later), and nobody but the asked archive can make one up.
"""

from __future__ import annotations

import hmac
import secrets
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from radanon_node.errors import StorageError
from radanon_node.ledger.seal import Seal
from radanon_node.network.contexts import EXPLICIT_BE, IMPLICIT_LE
from radanon_node.settings import Config

if TYPE_CHECKING:
    from radanon_node.ledger.ledger import Ledger

SUCCESS, PROCESSING_FAILURE, NO_SUCH_EVENT_TYPE, INVALID_ARGUMENT = 0x0000, 0x0110, 0x0113, 0x0115
REQUEST_ACTION = 1
_ALL_COMMITTED, _FAILURES_EXIST = 1, 2
_PREFIX = "2.25."
_HALF = 2**64


@dataclass(frozen=True, slots=True)
class Report:
    """An N-EVENT-REPORT's information (PS3.4 Table J.3-4).

    Parameters
    ----------
    transaction_uid : str
    committed, failed : tuple of str
        New SOP Instance UIDs.
    """

    transaction_uid: str
    committed: tuple[str, ...]
    failed: tuple[str, ...]


def new_transaction(seal: Seal, destination: str) -> str:
    """A fresh transaction UID for a request to `destination` (a UUID-derived form, PS3.5 B.2)."""
    nonce = secrets.randbits(62) | 1 << 62
    return f"{_PREFIX}{nonce * _HALF + _mac(seal, destination, nonce)}"


def is_transaction(seal: Seal, destination: str, transaction_uid: str) -> bool:
    """Whether `new_transaction` made it for `destination`."""
    digits = transaction_uid.removeprefix(_PREFIX)
    if not (transaction_uid.startswith(_PREFIX) and digits.isascii() and digits.isdigit()):
        return False
    nonce, mac = divmod(int(digits), _HALF)
    return nonce < _HALF and hmac.compare_digest(_mac(seal, destination, nonce).to_bytes(8, "big"), mac.to_bytes(8, "big"))


def encode_request(transaction_uid: str, instances: Iterable[tuple[str, str]], transfer_syntax: str) -> bytes:
    """Action information of a Storage Commitment request (PS3.4 Table J.3-1).

    Parameters
    ----------
    instances : iterable of (SOP Class UID, SOP Instance UID)
    transfer_syntax : str
        Of the presentation context: implicit or explicit VR little endian.
    """
    dataset = Dataset()
    dataset.TransactionUID = transaction_uid
    dataset.ReferencedSOPSequence = [_reference(*instance) for instance in instances]
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, transfer_syntax == IMPLICIT_LE
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def decode_report(data: bytes, transfer_syntax: str) -> Report:
    """Event information of a report; ValueError if it is not readable as such."""
    try:
        dataset = read_dataset(BytesIO(data), transfer_syntax == IMPLICIT_LE, transfer_syntax != EXPLICIT_BE)
        transaction = str(dataset.TransactionUID)
        committed, failed = (
            tuple(str(item.ReferencedSOPInstanceUID) for item in dataset.get(keyword) or ())
            for keyword in ("ReferencedSOPSequence", "FailedSOPSequence")
        )
    except (AttributeError, LookupError, TypeError, OSError, EOFError, NotImplementedError, struct.error) as error:
        raise ValueError("not the information of a Storage Commitment report") from error
    return Report(transaction, committed, failed)


def handle_event_report(
    config: Config, ledger: Ledger, seal: Seal, event_type: int, data: bytes, transfer_syntax: str
) -> tuple[int, str, int, int]:
    """Take an N-EVENT-REPORT-RQ of the Storage Commitment Push Model, on whatever association it came, and write it to the ledger.

    Parameters
    ----------
    event_type : int
        1 = all committed, 2 = failures exist.
    data : bytes
        The request's data set.
    transfer_syntax : str
        Of its presentation context.

    Returns
    -------
    status : int
        To answer with (PS3.7 10.1.1.1.8): 0x0000; 0x0113 no such event type; 0x0115 unreadable, or a transaction that this node never
        began; 0x0110 the ledger cannot take it now (the archive will be asked again).
    destination : str
        Name of the destination that was asked, or empty.
    committed, failed : int
        How many instances the report names.
    """
    if event_type not in (_ALL_COMMITTED, _FAILURES_EXIST):
        return NO_SUCH_EVENT_TYPE, "", 0, 0
    try:
        report = decode_report(data, transfer_syntax)
    except ValueError:
        return INVALID_ARGUMENT, "", 0, 0
    asked = (name for name, settings in config.destinations.items() if settings.storage_commitment)
    destination = next((name for name in asked if is_transaction(seal, name, report.transaction_uid)), None)
    if destination is None:
        return INVALID_ARGUMENT, "", 0, 0
    try:
        ledger.committed_by_archive(destination, report.committed, report.failed, config.destinations[destination].retry_initial)
    except StorageError:
        return PROCESSING_FAILURE, destination, 0, 0
    return SUCCESS, destination, len(report.committed), len(report.failed)


def _reference(sop_class: str, sop_instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    return item


def _mac(seal: Seal, destination: str, nonce: int) -> int:
    return int.from_bytes(seal.index("storage commitment", destination, str(nonce))[:8], "big")


__all__: Sequence[str] = ("Report", "decode_report", "encode_request", "handle_event_report", "is_transaction", "new_transaction")
