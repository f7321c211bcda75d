"""What the ledger takes and gives: frozen values, no SQL and no data sets in them.

States of an instance: ``received -> processing -> released -> delivered``; aside: ``quarantined``, ``failed``, ``dropped``.
States of a delivery: ``waiting -> sending -> (sent ->) delivered``; aside: ``failed``. ``sent`` exists only where the destination
is asked for Storage Commitment (PS3.4 Annex J) before it counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple, TypeAlias

from radanon_node.errors import Reason


class State(StrEnum):
    """State of one received instance."""

    RECEIVED = "received"
    PROCESSING = "processing"
    RELEASED = "released"
    DELIVERED = "delivered"
    QUARANTINED = "quarantined"
    FAILED = "failed"
    DROPPED = "dropped"


class DeliveryState(StrEnum):
    """State of one instance's way to one destination."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A received instance whose file is sealed in the spool and that no row knows yet.

    Parameters
    ----------
    file : str
        Name in the spool.
    size : int
        Bytes of the file.
    route : str
        Called AE title.
    calling_ae : str
        Calling AE title; kept sealed.
    sop_class_uid, sop_instance_uid : str
        Of the C-STORE request's command set; the instance UID is kept sealed.
    transfer_syntax_uid : str
        Of the presentation context.
    received_at : float
        When its last byte came, seconds since 1970 (the listener's clock; for people, nothing is decided by it).
    study : str
        What it shares its turns with: Study Instance UID where the listener saw it; kept nowhere.
    priority : {"high", "normal", "low"}
        Of the route.
    turn : int or None
        Its round (turns.py) where it has one already.
    """

    file: str
    size: int
    route: str
    calling_ae: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    received_at: float
    study: str = ""
    priority: str = "normal"
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of an arrival. All three are success to the sender.

    Parameters
    ----------
    id : int
        The row that stands for it: for ``duplicate`` the older one.
    outcome : {"new", "duplicate", "conflict"}
        ``conflict``: the same SOP Instance UID with other content, quarantined with ``uid_conflict``.
    """

    id: int
    outcome: Literal["new", "duplicate", "conflict"]


@dataclass(frozen=True, slots=True)
class WorkItem:
    """An instance claimed by a worker; `token` proves the claim.

    Parameters
    ----------
    attempts : int
        Claims before this one.
    sop_instance_uid : str
        The original one, unsealed: never to be logged.
    waived : str
        The reason codes a reviewer has let pass (``quarantine release``), separated by spaces.
    edits : dict or None
        Boxes that a reviewer added and took back (`reviewed.edits_from`).
    """

    id: int
    token: int
    route: str
    file: str
    size: int
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    attempts: int
    waived: str = ""
    edits: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """The verified new instance as it lies in the spool.

    Parameters
    ----------
    digest : str
        BLAKE3 of the file, hexadecimal.
    seal : str
        `Seal.sign` of the rest: only this node's pipeline can have made it.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    file: str
    size: int
    digest: str
    seal: str


@dataclass(frozen=True, slots=True)
class SampleDraw:
    """That a released instance is to be kept for a look (sampling.py).

    Parameters
    ----------
    priority : float
        Its number, uniform in [0, 1).
    rate, per_device, keep
        Of the settings in force.
    route : str
        Called AE title.
    """

    priority: float
    rate: float
    per_device: int
    keep: float
    route: str


@dataclass(frozen=True, slots=True)
class ReleasedItem:
    """Outcome of a work item: verified, stored, to be delivered.

    Parameters
    ----------
    destinations : tuple of str
        Names of `destinations` entries.
    receipt : dict
        Law 6's record, JSON values only.
    study_key : str
        Pseudonym of the study; deliveries are grouped by it.
    patient_key : str
        Pseudonym of the patient: a study that already has instances of another patient takes no more. Empty: not checked.
    content : bytes
        `Seal.content_digest` of the original; empty where it was not computed.
    patient, study : str
        The new Patient ID and Study Instance UID.
    device : str
        Keyed token of the device.
    counted : bool
        Whether it is among those that samples are drawn from.
    sample : SampleDraw or None
        Keep it for a look.
    """

    id: int
    token: int
    release: ReleaseRecord
    destinations: tuple[str, ...]
    receipt: dict[str, Any] = field(repr=False)
    study_key: str
    patient_key: str = ""
    content: bytes = b""
    patient: str = ""
    study: str = ""
    device: str = ""
    counted: bool = True
    sample: SampleDraw | None = None


@dataclass(frozen=True, slots=True)
class HeldItem:
    """Outcome of a work item: quarantined. `series_number` and `instance_number` help a person to find it."""

    id: int
    token: int
    reason: Reason
    detail: str = ""
    series_number: int | None = None
    instance_number: int | None = None


@dataclass(frozen=True, slots=True)
class RetryItem:
    """Outcome of a work item: not now.

    Parameters
    ----------
    delay : float
        Seconds until it is due again.
    counted : bool
        False where the instance is not to blame (disk full, shutdown): the attempt is given back.
    """

    id: int
    token: int
    detail: str = ""
    delay: float = 0.0
    counted: bool = True


Finished: TypeAlias = ReleasedItem | HeldItem | RetryItem


@dataclass(frozen=True, slots=True)
class DeliveryItem:
    """A delivery claimed by a sender.

    Parameters
    ----------
    attempts : int
        Times the destination itself said no so far.
    study_key : str
        Pseudonym of the study.
    """

    id: int
    token: int
    instance_id: int
    destination: str
    attempts: int
    release: ReleaseRecord
    study_key: str


DeliveryOutcome: TypeAlias = Literal["delivered", "sent", "retry", "rejected", "failed"]


class DeliveryResult(NamedTuple):
    """Outcome of one delivery.

    ``delivered``: the destination has it. ``sent``: it took it, Storage Commitment is awaited. ``retry``: not now, costs no
    attempt (unreachable, A7xx). ``rejected``: it said no, costs an attempt, again after `delay`. ``failed``: given up.
    """

    item: DeliveryItem
    outcome: DeliveryOutcome
    delay: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """One line of ``quarantine list``; no identity in it. `state` is ``quarantined`` or ``failed``."""

    id: int
    state: str
    reason: str
    detail: str
    route: str
    received_at: float
    series_number: int | None
    instance_number: int | None
    attempts: int


@dataclass(frozen=True, slots=True)
class DeliveryEntry:
    """One line of ``deliveries list``; `due` is seconds since 1970, None when nothing is to be done."""

    id: int
    instance_id: int
    destination: str
    state: str
    attempts: int
    detail: str
    due: float | None
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act of a person; these rows are never changed or removed."""

    at: float
    who: str
    action: str
    instance_id: int | None
    delivery_id: int | None
    reason: str
