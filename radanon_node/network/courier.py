"""What a lane hands instances to: an association to an archive, or a folder. One courier per lane, used by its thread alone."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Protocol

from pydicom.uid import UID

from radanon_node.errors import ConfigError, DeliveryFailed, DeliveryRefused, Unreachable
from radanon_node.ledger.seal import dataset_offset
from radanon_node.ledger.types import ReleaseRecord
from radanon_node.network.commit_request import REQUEST_ACTION, encode_request
from radanon_node.network.contexts import EXPLICIT_LE, IMPLICIT_LE, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from radanon_node.network.folder import FolderStore
from radanon_node.network.request_pdus import MAX_CONTEXTS, Offer
from radanon_node.network.scu import Association, EventHandler
from radanon_node.network.tls import client_context
from radanon_node.network.transcoder import TARGETS, UNCOMPRESSED, Transcoder
from radanon_node.pipeline.released import Released
from radanon_node.settings import DestinationSettings

# PS3.4 Table B.2-1 and PS3.7 Annex C, for the log and `deliveries list`.
_STATUSES = {
    0x0105: "no such attribute", 0x0106: "invalid attribute value", 0x0110: "processing failure",
    0x0112: "no such SOP Instance", 0x0117: "invalid SOP Instance", 0x0122: "SOP class not supported", 0x0124: "not authorized",
    0x0210: "duplicate invocation", 0x0211: "unrecognized operation", 0x0212: "mistyped argument",
}  # fmt: skip


class Courier(Protocol):
    """Delivers verified instances to one destination."""

    def prepare(self, batch: Sequence[ReleaseRecord]) -> None:
        """Get ready for these; Unreachable if nothing can be delivered now."""

    def begin(self, released: Released) -> None:
        """Start to deliver one; DeliveryRefused (Unreachable) or DeliveryFailed."""

    def result(self) -> str:
        """Wait until the begun one is there; returns a warning's text or nothing; DeliveryRefused or DeliveryFailed."""
        ...

    def ask_commitment(self, transaction_uid: str, batch: Sequence[ReleaseRecord], patience: float) -> None:
        """Request Storage Commitment, and wait up to `patience` seconds for a report; DeliveryRefused or DeliveryFailed."""

    def rest(self) -> None:
        """There is nothing to do: give back what others may need."""

    def abandon(self) -> None:
        """Something went wrong in between: start afresh with the next."""

    def cut(self) -> None:
        """From another thread: end at once what is going on."""


_DUPLICATE = 0x0111  # PS3.7 Annex C.5.8: duplicate SOP Instance


def judge(status: int) -> str:
    """What a C-STORE response's status means (PS3.4 Table B.2-1).

    Returns
    -------
    str
        Empty for success, a text for a warning (coerced elements, elements discarded, duplicate): all are delivered.

    Raises
    ------
    DeliveryRefused
        0xA7xx, out of resources.
    DeliveryFailed
        Anything else.
    """
    if status == 0x0000:
        return ""
    if 0xB000 <= status <= 0xBFFF:
        return f"delivered with warning 0x{status:04X}"
    if status == _DUPLICATE:
        # A new SOP Instance UID stands for one content (it is keyed on the original's): the archive has it, from before a crash.
        return "the archive has it already"
    if 0xA700 <= status <= 0xA7FF:
        raise DeliveryRefused("out of resources", status)
    if 0xA900 <= status <= 0xA9FF:
        raise DeliveryFailed("data set does not match SOP class", status)
    if 0xC000 <= status <= 0xCFFF:
        raise DeliveryFailed("cannot understand", status)
    raise DeliveryFailed(_STATUSES.get(status, "refused"), status)


class NetworkCourier:
    """Storage SCU of one lane: keeps its association while the batches' presentation contexts fit it.

    Parameters
    ----------
    settings : DestinationSettings
        With host, port and AE title.
    on_event : EventHandler
        Takes Storage Commitment reports that come on the association.

    Raises
    ------
    ConfigError
        TLS files not usable, or a transfer syntax that nothing can be transcoded to.
    """

    def __init__(self, settings: DestinationSettings, on_event: EventHandler | None = None) -> None:
        if settings.host is None or settings.port is None or settings.ae_title is None:
            raise ValueError("a network destination has host, port and AE title")
        self._address = (settings.host, settings.port, settings.ae_title, settings.calling_ae_title)
        self._settings = settings
        self._fallbacks = settings.transfer_syntaxes or UNCOMPRESSED
        unknown = [uid for uid in self._fallbacks if uid not in TARGETS]
        if unknown:
            possible = ", ".join(sorted(TARGETS))
            raise ConfigError(f"transfer_syntaxes: nothing can be transcoded to {', '.join(unknown)}; possible: {possible}")
        self._tls: ssl.SSLContext | None = client_context(settings.tls) if settings.tls is not None else None
        self._on_event = on_event
        self._transcoder = Transcoder()
        self._association: Association | None = None
        self._opening: Association | None = None
        self._offered: set[tuple[str, str]] = set()
        self._message = 0
        self._stopped = False

    def prepare(self, batch: Sequence[ReleaseRecord]) -> None:
        """Have an association that was offered all of the batch's SOP classes and transfer syntaxes; a usable one is kept."""
        self._associate({(record.sop_class_uid, record.transfer_syntax_uid) for record in batch})

    def begin(self, released: Released) -> None:
        """Send the C-STORE request, transcoded only if the archive does not take the instance's own transfer syntax."""
        if type(released) is not Released:
            raise TypeError(f"only a Released instance is ever sent, not {type(released).__name__}")
        association = self._association
        if association is None:
            self.prepare([_as_record(released)])
            association = self._association
        if association is None:
            raise Unreachable("no association")
        syntax = self._choose(association, released)
        encoded = released.encoded if syntax == released.transfer_syntax_uid else self._transcoder.transcode(released, syntax)
        with memoryview(encoded) as view:
            start = dataset_offset(view)
            if not start:
                raise DeliveryFailed("the released file has no file meta information")
            try:
                with view[start:] as data_set:
                    self._message = association.send_store(released.sop_class_uid, released.sop_instance_uid, syntax, data_set)
            except DeliveryRefused:
                self._drop()
                raise

    def result(self) -> str:
        """Wait for the C-STORE response and `judge` it."""
        if self._association is None:
            raise DeliveryRefused("the association has ended")
        try:
            status = self._association.response(self._message)
        except DeliveryRefused:
            self._drop()
            raise
        return judge(status)

    def ask_commitment(self, transaction_uid: str, batch: Sequence[ReleaseRecord], patience: float) -> None:
        """N-ACTION request of the Storage Commitment Push Model (PS3.4 J.3.2); a report on this association goes to `on_event`."""
        self._associate({(STORAGE_COMMITMENT, EXPLICIT_LE), (STORAGE_COMMITMENT, IMPLICIT_LE)})
        association = self._association
        if association is None:
            raise Unreachable("no association")
        syntax = next((uid for uid in UNCOMPRESSED if (STORAGE_COMMITMENT, uid) in association.contexts), None)
        if syntax is None:
            raise DeliveryFailed("the archive does not offer Storage Commitment")
        request = encode_request(transaction_uid, [(record.sop_class_uid, record.sop_instance_uid) for record in batch], syntax)
        try:
            message = association.send_action(STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, REQUEST_ACTION, syntax, request)
            status = association.response(message)
        except DeliveryRefused:
            self._drop()
            raise
        if status != 0x0000:
            raise DeliveryFailed("Storage Commitment request refused", status)
        if not association.listen(patience):
            self._drop()

    def rest(self) -> None:
        """Release the association, and end the process that transcodes."""
        self._release()
        self._transcoder.close()

    def abandon(self) -> None:
        """Close the connection without a word: what state it is in is not known."""
        self._drop()

    def cut(self) -> None:
        """Close the connection under the lane's thread, which then ends with DeliveryRefused."""
        self._stopped = True
        opening = self._opening
        if opening is not None:
            opening.cut()
        self._drop()

    def _associate(self, needed: set[tuple[str, str]]) -> None:
        association = self._association
        if association is not None and needed <= self._offered and association.listen(0.0):
            return
        self._release()
        wanted = _with_fallbacks(needed, self._fallbacks)
        # What was needed before is likely to be needed again: offering it too saves the next change of association.
        before = self._offered - wanted
        if self._settings.storage_commitment:
            wanted |= {(STORAGE_COMMITMENT, EXPLICIT_LE), (STORAGE_COMMITMENT, IMPLICIT_LE)}
        if len(wanted | before) <= MAX_CONTEXTS:
            wanted |= before
        offers = [Offer(sop_class, (syntax,)) for sop_class, syntax in sorted(wanted)[:MAX_CONTEXTS]]
        host, port, called, calling = self._address
        try:
            self._association = Association(host, port, called, calling, offers, self._settings.timeout, self._tls, self._on_event,
                                            self._begun)
        finally:
            self._opening = None
        self._offered = {(offer.abstract_syntax, offer.transfer_syntaxes[0]) for offer in offers}
        if self._stopped:
            self._drop()

    def _begun(self, association: Association) -> None:
        self._opening = association
        if self._stopped:
            association.cut()

    def _choose(self, association: Association, released: Released) -> str:
        for syntax in (released.transfer_syntax_uid, *self._fallbacks):
            if (released.sop_class_uid, syntax) in association.contexts:
                return syntax
        names = ", ".join(UID(uid).name for uid in dict.fromkeys((released.transfer_syntax_uid, *self._fallbacks)))
        raise DeliveryFailed(f"no presentation context accepted for {UID(released.sop_class_uid).name} in {names}")

    def _release(self) -> None:
        if self._association is not None:
            self._association.release()
            self._association = None

    def _drop(self) -> None:
        association, self._association = self._association, None
        if association is not None:
            association.cut()


class FolderCourier:
    """A folder destination as a courier; see `FolderStore`."""

    def __init__(self, settings: DestinationSettings) -> None:
        if settings.directory is None:
            raise ValueError("a folder destination has a directory")
        self._store = FolderStore(settings.directory)
        self._ready = False

    def prepare(self, batch: Sequence[ReleaseRecord]) -> None:
        """See that the folder is there."""
        if not self._ready:
            self._store.prepare()
            self._ready = True

    def begin(self, released: Released) -> None:
        """Write the instance."""
        if type(released) is not Released:
            raise TypeError(f"only a Released instance is ever written, not {type(released).__name__}")
        try:
            self._store.store(released)
        except Unreachable:
            self._ready = False
            raise

    def result(self) -> str:
        """It is there already."""
        return ""

    def ask_commitment(self, transaction_uid: str, batch: Sequence[ReleaseRecord], patience: float) -> None:
        """A synced file needs no promise."""
        raise DeliveryFailed("a folder has no Storage Commitment")

    def rest(self) -> None:
        """Nothing is held."""

    def abandon(self) -> None:
        """Look at the folder again before the next."""
        self._ready = False

    def cut(self) -> None:
        """A write is short; it is let finish."""


def _with_fallbacks(needed: set[tuple[str, str]], fallbacks: Sequence[str]) -> set[tuple[str, str]]:
    storage = {sop_class for sop_class, _ in needed if sop_class != STORAGE_COMMITMENT}
    return needed | {(sop_class, syntax) for sop_class in storage for syntax in fallbacks}


def _as_record(released: Released) -> ReleaseRecord:
    return ReleaseRecord(released.sop_class_uid, released.sop_instance_uid, released.transfer_syntax_uid, "", len(released.encoded),
                         released.digest, "")
