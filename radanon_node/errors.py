"""Every failure of the product: one exception tree, one list of reason codes, one table of what a failure leads to.

The tree::

    RadanonError
    ├── ConfigError            the settings, the key file or the weights cannot be used     -> exit 2
    ├── HoldInstance           a verdict on ONE instance: it goes to quarantine, with a `Reason`
    ├── StorageError           the spool or the ledger cannot take or give it now            -> DIMSE 0xA700
    │   ├── DiskLow            free space is below ``listener.min_free_disk``
    │   └── LedgerUnavailable  the database does not answer or refused the transaction
    ├── DeliveryError          a destination did not take an instance
    │   ├── DeliveryRefused    it may take it later (A7xx, abort, time-out, connection lost)
    │   │   └── Unreachable    nothing can be delivered there now: no connection, no association, its disk is full
    │   └── DeliveryFailed     it says it never will (A9xx, Cxxx, 01xx) or took no presentation context
    └── AssociationEnded       a calling peer went away or broke the protocol; ends its association and nothing else

No exception text carries a value out of a data set: texts are logged and shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RadanonError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigError(RadanonError):
    """The settings cannot be used.

    Parameters
    ----------
    problems : list of str
        One line per mistake: the key's path, what is wrong, what is allowed.
    """

    def __init__(self, problems: list[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else problems
        super().__init__("\n".join(self.problems))


class Reason(StrEnum):
    """Why an instance is in quarantine: stable codes, listed in docs/quarantine-reasons.md."""

    NOT_DICOM = "not_dicom"
    UNPARSABLE_DATASET = "unparsable_dataset"
    UNKNOWN_TRANSFER_SYNTAX = "unknown_transfer_syntax"
    UNKNOWN_SOP_CLASS = "unknown_sop_class"
    MISSING_ATTRIBUTE = "missing_attribute"
    UID_MISMATCH = "uid_mismatch"
    UID_CONFLICT = "uid_conflict"
    MIXED_PATIENTS = "mixed_patients"
    UNKNOWN_PATIENT = "unknown_patient"
    UNDECODABLE_PIXELS = "undecodable_pixels"
    PIXEL_DATA_MISMATCH = "pixel_data_mismatch"
    PIXEL_LIMIT = "pixel_limit"
    UNSUPPORTED_PIXELS = "unsupported_pixels"
    VIDEO = "video"
    ENCAPSULATED_DOCUMENT = "encapsulated_document"
    POLICY_HOLD = "policy_hold"
    MODEL_MISSING = "model_missing"
    RULE_MISSING = "rule_missing"
    LAYOUT_CHANGED = "layout_changed"
    TOO_MUCH_TEXT = "too_much_text"
    IDENTITY_LEFT = "identity_left"
    RECALLED = "recalled"
    PIXELS_CHANGED_OUTSIDE = "pixels_changed_outside"
    PIXELS_NOT_FILLED = "pixels_not_filled"
    INVALID_OUTPUT = "invalid_output"
    TIME_LIMIT = "time_limit"
    WORKER_KILLED = "worker_killed"
    INTERNAL_ERROR = "internal_error"


UNSEEABLE = frozenset({Reason.UNDECODABLE_PIXELS, Reason.UNSUPPORTED_PIXELS, Reason.VIDEO})
"""Pixels that nothing here can look at: let pass only by site policy (``pixels.unknown: pass``) or by a reviewer."""

WAIVABLE = UNSEEABLE | {Reason.POLICY_HOLD, Reason.TOO_MUCH_TEXT, Reason.LAYOUT_CHANGED, Reason.IDENTITY_LEFT}
"""Reasons a reviewer may let pass (``quarantine release``); everything else needs a correction at the source, or is dropped."""


class HoldInstance(RadanonError):
    """This instance must not leave: quarantine it.

    Parameters
    ----------
    reason : Reason
        The stable code.
    detail : str
        A sentence for the administrator; names tags, sizes and counts, never a value of the data set.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else str(reason))


class StorageError(RadanonError):
    """The spool or the ledger cannot keep or give an instance at the moment."""


class DiskLow(StorageError):
    """Free space is below the configured floor."""


class LedgerUnavailable(StorageError):
    """The ledger's database does not answer or refused the transaction."""


class DeliveryError(RadanonError):
    """A destination did not take an instance.

    Parameters
    ----------
    detail : str
        What happened, without identities.
    status : int or None
        The C-STORE response's status (PS3.4 Table B.2-1, PS3.7 Annex C), if there was a response.
    """

    def __init__(self, detail: str, status: int | None = None) -> None:
        self.detail = detail
        self.status = status
        super().__init__(detail if status is None else f"{detail} (status 0x{status:04X})")


class DeliveryRefused(DeliveryError):
    """The destination may take it later: retry with backoff."""


class Unreachable(DeliveryRefused):
    """The destination as a whole does not take anything now: it is down, no instance is to blame."""


class DeliveryFailed(DeliveryError):
    """The destination says it will never take it: counts an attempt, ends as ``failed``."""


class AssociationEnded(RadanonError):
    """An incoming association cannot go on.

    Parameters
    ----------
    why : str
        A stable word for the log: ``aborted_by_peer``, ``connection_lost``, ``idle``, ``invalid_pdu``, ...
    abort : tuple of (int, int) or None
        Source and reason of the A-ABORT that the peer is sent (PS3.8 Table 9-26); None = nothing is sent.
    """

    def __init__(self, why: str, abort: tuple[int, int] | None = None) -> None:
        self.why = why
        self.abort = abort
        super().__init__(why)


# DIMSE status codes of the Storage service (PS3.4 Table B.2-1).
SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DATASET_MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
PROCESSING_FAILURE = 0x0110


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one kind of failure leads to at the three edges of the product.

    Parameters
    ----------
    dimse_status : int
        What a C-STORE sender is told when the failure is seen while it still waits.
    ledger_state : str or None
        The state of the instance's ledger row; None where no row exists or it stays as it was.
    exit_code : int
        Exit status of a command that ends with it.
    """

    dimse_status: int
    ledger_state: str | None
    exit_code: int


EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_QUARANTINED = 0, 1, 2, 3

_OUTCOMES: dict[type[RadanonError], Outcome] = {
    ConfigError: Outcome(OUT_OF_RESOURCES, None, EXIT_USAGE),
    HoldInstance: Outcome(SUCCESS, "quarantined", EXIT_QUARANTINED),
    StorageError: Outcome(OUT_OF_RESOURCES, None, EXIT_FAILURE),
    DeliveryError: Outcome(PROCESSING_FAILURE, "failed", EXIT_FAILURE),
    RadanonError: Outcome(PROCESSING_FAILURE, "quarantined", EXIT_FAILURE),
}


def outcome_of(error: BaseException) -> Outcome:
    """The row of the table for `error`: its nearest class in the tree; a foreign error counts as internal.

    Examples
    --------
    >>> hex(outcome_of(DiskLow("spool")).dimse_status)
    '0xa700'
    """
    for cls in type(error).__mro__:
        if cls in _OUTCOMES:
            return _OUTCOMES[cls]
    return _OUTCOMES[RadanonError]


def describe(error: BaseException) -> str:
    """An error in words that are safe to log: its type, and its text only if it is one of this package's own."""
    if isinstance(error, RadanonError):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return type(error).__name__
