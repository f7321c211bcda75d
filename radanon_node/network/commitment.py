"""Storage Commitment Push Model (PS3.4 Annex J), both sides that meet the listener.

Towards modalities this node is the SCP: a request is answered at once, and its result follows when every instance in it is decided, that
is, when the archives accepted it or it was set aside. The result goes out on the modality's own association while that is open, else on
a new one to the address and port of its entry in `callers`. A request whose modality can be called is kept in the ledger before it is
answered, and reported on by whichever node is there when it is decided; of one that cannot, nothing is left when its association ends, and
the modality asks again, as it must when no result comes (J.3.2). Nothing is claimed to be committed that the archives have not accepted.

Towards archives it is the SCU (the sender asks); their results, when they come on an association of their own, go to the ledger.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO

import structlog
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pynetdicom import AE
from pynetdicom.dsutils import decode, encode
from pynetdicom.presentation import build_role

from radanon_node.errors import StorageError
from radanon_node.ledger.commit_requests import KeptRequest
from radanon_node.ledger.ledger import Ledger
from radanon_node.network.command_set import Command
from radanon_node.network.commit_request import handle_event_report
from radanon_node.network.contexts import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, is_uid
from radanon_node.network.tls import client_context
from radanon_node.settings import Config

_log = structlog.get_logger("radanon.network")

PROCESSING_FAILURE, NO_SUCH_INSTANCE, INVALID_ARGUMENT, NO_SUCH_ACTION = 0x0110, 0x0112, 0x0115, 0x0123
ALL_COMMITTED, FAILURES_EXIST = 1, 2
"""Event Type IDs, PS3.4 Table J.3-2."""

_LIFETIME_S = 24 * 3600.0
_LOOK_S = 5.0
_RETRY_S = 60.0
_HELD_S = 120.0
_KEPT = ("transaction_uid", "references", "route", "calling_ae", "host", "port")


@dataclass(frozen=True, slots=True)
class Job:
    """One request of a modality. The UIDs are the original ones: never to be logged.

    Parameters
    ----------
    references : tuple of (str, str)
        SOP Class UID and SOP Instance UID.
    host, port : str, int or None
        Where the modality listens; None if that is not configured.
    expires : float
        On the monotonic clock: when undecided instances count as not committed.
    kept : KeptRequest or None
        Its row in the ledger, held by whoever has the job.
    """

    transaction_uid: str
    references: tuple[tuple[str, str], ...]
    route: str
    calling_ae: str
    host: str
    port: int | None
    expires: float
    kept: KeptRequest | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Contents of an N-EVENT-REPORT-RQ about a job."""

    event_type: int
    data: Dataset


class Commitments:
    """Storage Commitment requests that are not yet reported on.

    Parameters
    ----------
    config : Config
    ledger : Ledger
    """

    def __init__(self, config: Config, ledger: Ledger) -> None:
        self._config = config
        self._ledger = ledger
        self._changed = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def renew(self, config: Config) -> None:
        """Take a new configuration, for the calls to come."""
        self._config = config

    def request(self, command: Command, data: bytes, transfer_syntax: str, route: str, calling_ae: str, host: str,
                port: int | None) -> tuple[int, Job | None]:
        """Judge an N-ACTION-RQ.

        Returns
        -------
        (int, Job or None)
            Status of the response (PS3.7 10.1.4.1.10), and the job that it started.
        """
        if command.sop_instance_uid != STORAGE_COMMITMENT_INSTANCE:
            return NO_SUCH_INSTANCE, None
        if command.numbers.get("ActionTypeID") != 1:
            return NO_SUCH_ACTION, None
        found = read_data_set(data, transfer_syntax)
        transaction = str(found.get("TransactionUID", "")) if found is not None else ""
        references = _references(found, "ReferencedSOPSequence") if found is not None else []
        if not is_uid(transaction) or not references:
            return INVALID_ARGUMENT, None
        job = Job(transaction, tuple(references), route, calling_ae, host, port, time.monotonic() + _LIFETIME_S)
        if port is None:
            return 0, job
        try:
            kept = self._ledger.keep_request({name: getattr(job, name) for name in _KEPT}, _HELD_S, _LIFETIME_S)
        except StorageError:
            return PROCESSING_FAILURE, None
        return 0, replace(job, kept=kept)

    def start(self) -> None:
        """Report on what is decided, also on requests that an earlier node took."""
        if self._config.listener.storage_commitment and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="commitment", daemon=True)
            self._thread.start()

    def hold(self, job: Job) -> bool:
        """Before a job is reported on its own association: whether it is still to be reported, and by nobody else for a while."""
        try:
            return job.kept is None or self._ledger.hold_request(job.kept, _HELD_S)
        except StorageError:
            return False

    def done(self, job: Job) -> None:
        """The modality has its result."""
        try:
            if job.kept is not None:
                self._ledger.drop_request(job.kept)
        except StorageError as error:
            _log.warning("commitment_reported_again_later", calling_ae=job.calling_ae, called_ae=job.route, detail=str(error))

    def report(self, job: Job) -> Report | None:
        """The result of a job; None while instances in it are undecided or the ledger cannot tell."""
        try:
            states = self._ledger.committed([uid for _, uid in job.references], job.route)
        except StorageError:
            return None
        if "pending" in states.values() and time.monotonic() < job.expires:
            return None
        data = Dataset()
        data.TransactionUID = job.transaction_uid
        failures = {"failed": PROCESSING_FAILURE, "pending": PROCESSING_FAILURE, "unknown": NO_SUCH_INSTANCE}
        done = [_item(*pair) for pair in job.references if states[pair[1]] == "accepted"]
        failed = [_item(*pair, failures[states[pair[1]]]) for pair in job.references if states[pair[1]] != "accepted"]
        if done:
            data.ReferencedSOPSequence = done
        if failed:
            data.FailedSOPSequence = failed
        return Report(FAILURES_EXIST if failed else ALL_COMMITTED, data)

    def hand_over(self, job: Job) -> None:
        """Report it later, on a new association: the modality's own one is gone."""
        if job.kept is None:
            _log.warning("commitment_not_reported", calling_ae=job.calling_ae, called_ae=job.route, count=len(job.references),
                         reason="the caller's entry in callers names no port")
            return
        with suppress(StorageError):  # else it is due when nobody holds it any more
            self._ledger.hold_request(job.kept, 0.0)
        with self._changed:
            self._changed.notify()

    def stop(self) -> None:
        """End; what is not reported is in the ledger for the next start or another node."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def archive_reported(self, command: Command, data: bytes, transfer_syntax: str) -> int:
        """Take an archive's N-EVENT-REPORT about what the sender asked it; the status of the response."""
        if command.sop_instance_uid != STORAGE_COMMITMENT_INSTANCE:
            return NO_SUCH_INSTANCE
        status, destination, committed, failed = handle_event_report(
            self._config, self._ledger, self._ledger.seal, command.numbers.get("EventTypeID", 0), data, transfer_syntax)
        _log.info("archive_committed", destination=destination, status=f"0x{status:04X}", committed=committed, failed=failed)
        return status

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
            try:
                kept = self._ledger.due_request(_HELD_S)
                if kept is not None:
                    self._deliver(kept)
                    continue
            except StorageError as error:
                _log.warning("commitments_wait", detail=str(error))
            except Exception as error:  # noqa: BLE001  the thread's edge: its hold runs out, the next look is later
                _log.error("commitment_failed", exc_info=error)
            with self._changed:
                if not self._stopping:
                    self._changed.wait(_LOOK_S)

    def _deliver(self, kept: KeptRequest) -> None:
        """Report on a request if it is decided, or have it looked at again later."""
        fields = kept.request | {"references": tuple((str(pair[0]), str(pair[1])) for pair in kept.request["references"])}
        job = Job(**fields, expires=0.0 if kept.expired else math.inf, kept=kept)
        report = self.report(job)
        if report is None:
            self._ledger.hold_request(kept, _LOOK_S)
            return
        delivered = self._call_back(job, report)
        _log.info("commitment_reported" if delivered else "commitment_not_reported", calling_ae=job.calling_ae, called_ae=job.route,
                  count=len(job.references), failed=len(report.data.get("FailedSOPSequence", [])))
        if delivered or kept.expired:
            self._ledger.drop_request(kept)
        else:
            self._ledger.hold_request(kept, _RETRY_S)

    def _call_back(self, job: Job, report: Report) -> bool:
        assert job.port is not None
        caller = AE(ae_title=job.route)
        caller.add_requested_context(STORAGE_COMMITMENT, [EXPLICIT_LE, IMPLICIT_LE])
        tls = self._config.listener.tls
        association = caller.associate(
            job.host, job.port, ae_title=job.calling_ae, ext_neg=[build_role(STORAGE_COMMITMENT, scp_role=True)],
            tls_args=(client_context(tls), job.host) if tls else None)
        if not association.is_established:
            return False
        try:
            status, _ = association.send_n_event_report(report.data, report.event_type, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)
            return bool(status.get("Status") == 0)
        except (ValueError, RuntimeError):  # no context accepted for it; association lost meanwhile
            return False
        finally:
            if association.is_established:
                association.release()


def read_data_set(data: bytes, transfer_syntax: str) -> Dataset | None:
    """A small data set (event or action information); None if it does not parse."""
    try:
        found = decode(BytesIO(data), transfer_syntax == IMPLICIT_LE, transfer_syntax != EXPLICIT_BE)
        for element in found.iterall():  # pydicom parses values when they are asked for
            _ = element.value
        return found
    except (InvalidDicomError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError, EOFError, OSError):
        return None


def write_data_set(data: Dataset, transfer_syntax: str) -> bytes:
    """The reverse of `read_data_set`."""
    encoded = encode(data, transfer_syntax == IMPLICIT_LE, transfer_syntax != EXPLICIT_BE)
    if encoded is None:
        raise ValueError("a report of UIDs can always be encoded")
    return bytes(encoded)


def _references(data: Dataset, keyword: str) -> list[tuple[str, str]]:
    pairs = [(str(item.get("ReferencedSOPClassUID", "")), str(item.get("ReferencedSOPInstanceUID", "")))
             for item in data.get(keyword) or []]
    return [pair for pair in pairs if is_uid(pair[0]) and is_uid(pair[1])]


def _item(sop_class_uid: str, sop_instance_uid: str, failure: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    if failure is not None:
        item.FailureReason = failure
    return item
