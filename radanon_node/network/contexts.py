"""What the listener accepts: SOP classes, transfer syntaxes, and how one presentation context is answered (PS3.8 9.3.2, PS3.7 D.3.3.4)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydicom._uid_dict import UID_dictionary
from pynetdicom.sop_class import _STORAGE_CLASSES  # the classes of PS3.4 Annex B that are newer than pydicom's dictionary

from radanon_node.settings import ListenerSettings

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
DEFLATED = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
"""Syntaxes whose whole data set is a deflate stream (PS3.5 A.5, A.7, A.18)."""

UNCOMPRESSED = (IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE)
# Not encodings of a DICOM data set (MIME, XML), or of streams that never travel by C-STORE (SMPTE ST 2110), or private to PAPYRUS.
_NOT_FOR_STORAGE = re.compile(r"1\.2\.840\.10008\.1\.2\.[67]\.\d|1\.2\.840\.10008\.1\.20")
_NO_STORAGE = {STORAGE_COMMITMENT, "1.2.840.10008.1.20.2", "1.2.840.10008.1.3.10"}
"""Called "Storage" in the dictionary, but no objects of theirs are stored over the network: commitment, and DICOMDIR."""

_UID = re.compile(r"[0-9.]{1,64}")

ACCEPTED, USER_REJECTION, ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = 0, 1, 3, 4
"""Result/Reason of a presentation context, PS3.8 Table 9-18."""


def _storage_sop_classes() -> frozenset[str]:
    known = {uid for uid, (name, kind, *_) in UID_dictionary.items() if kind == "SOP Class" and "Storage" in name}
    return frozenset((known | {str(uid) for uid in _STORAGE_CLASSES.values()}) - _NO_STORAGE)


STORAGE_SOP_CLASSES = _storage_sop_classes()
"""UIDs of every storage SOP class of PS3.4, retired ones included."""

TRANSFER_SYNTAXES = frozenset(uid for uid, (_, kind, *_) in UID_dictionary.items()
                              if kind == "Transfer Syntax" and not _NOT_FOR_STORAGE.fullmatch(uid))
"""UIDs of every transfer syntax of PS3.5, retired ones included, in which a data set can be sent."""


def is_uid(value: str) -> bool:
    """Whether it can be written as a UID (PS3.5 9.1; leading zeros of a component, which are common, are let pass)."""
    return _UID.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Proposal:
    """One presentation context as the peer proposes it."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """The answer to a proposal. `transfer_syntax` is empty unless `result` is 0."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str
    result: int

    @property
    def accepted(self) -> bool:
        return self.result == ACCEPTED


Roles = Mapping[str, tuple[bool, bool]]
"""SOP class UID -> (requestor is SCU, requestor is SCP), PS3.7 D.3.3.4."""


class Acceptor:
    """Decides about presentation contexts.

    Parameters
    ----------
    settings : ListenerSettings
    stores : bool
        Whether the peer may send instances.
    reports : bool
        Whether the peer is an archive that may come back with Storage Commitment results: it then is the SCP on our association.
    """

    def __init__(self, settings: ListenerSettings, stores: bool = True, reports: bool = False) -> None:
        self._extra = frozenset(settings.extra_sop_classes)
        self._any_class = settings.unknown_sop_classes == "quarantine"
        self._stores = stores
        self._commits = stores and settings.storage_commitment
        self._reports = reports

    def answer(self, proposals: Iterable[Proposal], roles: Roles) -> list[Context]:
        """One `Context` per proposal, in its order."""
        return [self._answer(proposal, roles.get(proposal.abstract_syntax)) for proposal in proposals]

    def roles(self, contexts: Sequence[Context], roles: Roles) -> dict[str, tuple[bool, bool]]:
        """What is answered to the role selections of accepted contexts; never more than was proposed."""
        accepted = {context.abstract_syntax for context in contexts if context.accepted}
        return {uid: (scu and self._as_scu(uid), scp and self._as_scp(uid)) for uid, (scu, scp) in roles.items() if uid in accepted}

    def _is_storage(self, uid: str) -> bool:
        return uid in STORAGE_SOP_CLASSES or uid in self._extra or (self._any_class and uid not in UID_dictionary and is_uid(uid))

    def _as_scu(self, abstract_syntax: str) -> bool:
        if abstract_syntax == STORAGE_COMMITMENT:
            return self._commits
        return abstract_syntax == VERIFICATION or (self._stores and self._is_storage(abstract_syntax))

    def _as_scp(self, abstract_syntax: str) -> bool:
        return abstract_syntax == STORAGE_COMMITMENT and self._reports

    def _answer(self, proposal: Proposal, role: tuple[bool, bool] | None) -> Context:
        uid, offered = proposal.abstract_syntax, proposal.transfer_syntaxes
        scu, scp = role if role is not None else (True, False)  # the default roles, PS3.7 D.3.3.4

        def result(code: int, syntax: str = "") -> Context:
            return Context(proposal.context_id, uid, syntax, code)

        if not (self._as_scu(uid) or self._as_scp(uid)):
            return result(ABSTRACT_SYNTAX_NOT_SUPPORTED)
        syntax = choose(offered, TRANSFER_SYNTAXES if self._is_storage(uid) else UNCOMPRESSED)
        if not syntax:
            return result(TRANSFER_SYNTAXES_NOT_SUPPORTED)
        if not ((scu and self._as_scu(uid)) or (scp and self._as_scp(uid))):
            return result(USER_REJECTION)
        return result(ACCEPTED, syntax)


def choose(offered: Sequence[str], allowed: Collection[str]) -> str:
    """The transfer syntax taken for a context: the first that the peer lists and we know, so that what it has is sent as it is.

    Between the uncompressed ones explicit VR little endian wins: it alone keeps the VRs of private elements in the common byte order.

    Examples
    --------
    >>> choose((IMPLICIT_LE, EXPLICIT_LE), TRANSFER_SYNTAXES) == EXPLICIT_LE
    True
    """
    first = next((uid for uid in offered if uid in allowed), "")
    return EXPLICIT_LE if first in UNCOMPRESSED and EXPLICIT_LE in offered else first
