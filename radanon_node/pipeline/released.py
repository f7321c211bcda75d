"""`Released`: the only value that the sender takes. The verifier makes it; a sealed ledger record re-opens it.

A `Released` cannot be built by calling the class: `pipeline/verify.py` issues it after the second look (law 4), and
`Released.reopen` rebuilds it in the sender's process from a ledger record whose seal (a keyed MAC over the record, digest of
the bytes included) shows that the verifier issued exactly these bytes.
"""

from __future__ import annotations

import hmac
from typing import Any, Protocol

from blake3 import blake3

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.types import Buffer, Cleaned

_ISSUED = object()


class ReleaseRecordLike(Protocol):
    """What the ledger keeps of a released instance."""

    @property
    def sop_class_uid(self) -> str: ...
    @property
    def sop_instance_uid(self) -> str: ...
    @property
    def transfer_syntax_uid(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def digest(self) -> str: ...


class SealLike(Protocol):
    """Checks the keyed MAC of a record."""

    def check(self, record: Any) -> bool: ...


def digest_of(data: Buffer) -> str:
    """BLAKE3 of a file's bytes (256 bits), in hex: what receipts and seals name; several times faster than BLAKE2 and SHA-2 here."""
    return blake3(data).hexdigest()


class Released:
    """A verified instance: may be sent.

    Attributes
    ----------
    label : str
    encoded : Buffer
        The Part 10 file, exactly as verified.
    sop_class_uid, sop_instance_uid, transfer_syntax_uid : str
    digest : str
        `digest_of(encoded)`.
    folder : tuple of str
        (PATIENT, STUDY, SERIES) pseudonyms; empty strings when re-opened from the ledger.
    study_key, patient_key, device_key : str
        Keyed tokens of the original study, patient and device: deliveries are grouped by study, two patients in one study are a mix-up,
        and samples are drawn by device.
    receipt : dict
        Law 6's record with the proof line; empty when re-opened.
    """

    __slots__ = (
        "device_key", "digest", "encoded", "folder", "label", "patient_key", "receipt", "sop_class_uid", "sop_instance_uid", "study_key",
        "transfer_syntax_uid",
    )  # fmt: skip

    label: str
    encoded: Buffer
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    digest: str
    folder: tuple[str, str, str]
    study_key: str
    patient_key: str
    device_key: str
    receipt: dict[str, Any]

    def __init__(self, warrant: object, **values: Any) -> None:
        if warrant is not _ISSUED:
            raise TypeError("Released is made by the verifier alone (pipeline/verify.py)")
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Released is immutable ({name})")

    @classmethod
    def reopen(cls, record: ReleaseRecordLike, data: Buffer, seal: SealLike) -> Released:
        """Rebuild from the ledger's record and the spooled bytes.

        Raises
        ------
        HoldInstance
            ``invalid_output`` when the record's seal or the bytes' digest do not hold.
        """
        if not seal.check(record):
            raise HoldInstance(Reason.INVALID_OUTPUT, "the ledger's record of the released instance has a broken seal")
        if len(data) != record.size or not hmac.compare_digest(digest_of(data), record.digest):
            raise HoldInstance(Reason.INVALID_OUTPUT, "the released file is not the one that was verified")
        return cls(
            _ISSUED,
            label="",
            encoded=data,
            sop_class_uid=record.sop_class_uid,
            sop_instance_uid=record.sop_instance_uid,
            transfer_syntax_uid=record.transfer_syntax_uid,
            digest=record.digest,
            folder=("", "", ""),
            study_key="",
            patient_key="",
            device_key="",
            receipt={},
        )


def _issue(cleaned: Cleaned, digest: str, receipt: dict[str, Any], study_key: str, patient_key: str, device_key: str) -> Released:
    """For `pipeline/verify.py` alone (a test holds the code base to it); `digest` is that of ``cleaned.encoded``."""
    return Released(
        _ISSUED,
        label=cleaned.label,
        encoded=cleaned.encoded,
        sop_class_uid=cleaned.sop_class_uid,
        sop_instance_uid=cleaned.sop_instance_uid,
        transfer_syntax_uid=cleaned.transfer_syntax_uid,
        digest=digest,
        folder=cleaned.folder,
        study_key=study_key,
        patient_key=patient_key,
        device_key=device_key,
        receipt=receipt,
    )
