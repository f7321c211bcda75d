"""Rows of the ledger as audit messages in the XML of PS3.15 A.5.1, with the codes of A.5.3 and A.6; no identity of a patient in them.

Patients and studies appear by their pseudonyms, and only once they have some: what the listener received is told by peers, AE titles
and counts. What a person wrote as a reason is free text, which may hold anything, and is left out unless the settings allow it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import radanon_node
from radanon_node.ledger.types import AuditEntry

Code = tuple[str, str, str]
"""Code value, coding scheme, meaning."""

_DCM, _RFC = "DCM", "RFC-3881"
APPLICATION_ACTIVITY = ("110100", _DCM, "Application Activity")
AUDIT_LOG_USED = ("110101", _DCM, "Audit Log Used")
BEGIN_TRANSFERRING = ("110102", _DCM, "Begin Transferring DICOM Instances")
INSTANCES_ACCESSED = ("110103", _DCM, "DICOM Instances Accessed")
INSTANCES_TRANSFERRED = ("110104", _DCM, "DICOM Instances Transferred")
EXPORT = ("110106", _DCM, "Export")
SECURITY_ALERT = ("110113", _DCM, "Security Alert")
USER_AUTHENTICATION = ("110114", _DCM, "User Authentication")

_START, _STOP = ("110120", _DCM, "Application Start"), ("110121", _DCM, "Application Stop")
_LOGIN, _LOGOUT = ("110122", _DCM, "Login"), ("110123", _DCM, "Logout")
_NETWORK = ("110128", _DCM, "Network Configuration")
_CONFIGURATION, _RESTRICTED = ("110129", _DCM, "Security Configuration"), ("110132", _DCM, "Use of Restricted Function")
_APPLICATION, _LAUNCHER = ("110150", _DCM, "Application"), ("110151", _DCM, "Application Launcher")
_DESTINATION, _SOURCE = ("110152", _DCM, "Destination Role ID"), ("110153", _DCM, "Source Role ID")
_MEDIA, _FILE = ("110154", _DCM, "Destination Media"), ("110030", _DCM, "USB Disk Emulation")
_STUDY, _PATIENT, _URI = ("110180", _DCM, "Study Instance UID"), ("2", _RFC, "Patient Number"), ("12", _RFC, "URI")
_OWN = "99RADANON"
_SERVER = "4"  # audit source type: application server process
_DE_IDENTIFICATION = "7"


@dataclass(frozen=True, slots=True)
class Rule:
    """How an act in the audit trail is told: by the beginning of its action; the first that fits."""

    begins: str
    event: Code
    action: str
    kind: Code | None = None
    outcome: str = "0"


RULES = (
    Rule("node start", APPLICATION_ACTIVITY, "E", _START),
    Rule("node stop", APPLICATION_ACTIVITY, "E", _STOP),
    Rule("config refused", SECURITY_ALERT, "E", _CONFIGURATION, "4"),
    Rule("config", SECURITY_ALERT, "E", _CONFIGURATION),
    Rule("log-in refused", USER_AUTHENTICATION, "E", _LOGIN, "8"),
    Rule("logged in", USER_AUTHENTICATION, "E", _LOGIN),
    Rule("logged out", USER_AUTHENTICATION, "E", _LOGOUT),
    Rule("audit", AUDIT_LOG_USED, "R"),
    Rule("map export", EXPORT, "R"),
    Rule("backup", EXPORT, "R"),
    Rule("review export", EXPORT, "R"),
    Rule("quarantine drop", INSTANCES_ACCESSED, "D"),
    Rule("quarantine", INSTANCES_ACCESSED, "U"),
    Rule("recall", INSTANCES_ACCESSED, "U"),
    Rule("review drop", INSTANCES_ACCESSED, "D"),
    Rule("review", INSTANCES_ACCESSED, "R"),
    Rule("deliveries", INSTANCES_ACCESSED, "R"),
    Rule("sample", INSTANCES_ACCESSED, "R"),
    Rule("original seen", INSTANCES_ACCESSED, "R"),
    Rule("destination", SECURITY_ALERT, "E", _NETWORK),
    Rule("layout", SECURITY_ALERT, "E", _CONFIGURATION),
    Rule("", SECURITY_ALERT, "E", _RESTRICTED),
)
"""An act that nothing else fits is reported as the use of a restricted function: none is left out."""


@dataclass(frozen=True, slots=True)
class Teller:
    """Makes messages of one node.

    Parameters
    ----------
    host : str
        Name of this machine.
    source : str
        AuditSourceID.
    site : str
        AuditEnterpriseSiteID; empty leaves it out.
    free_text : bool
        Whether reasons that people wrote are sent.
    """

    host: str
    source: str
    site: str = ""
    free_text: bool = False

    def act(self, number: int, entry: AuditEntry, link: str) -> bytes:
        """The message of one row of the audit trail; `link`, of its chain, binds whoever keeps it."""
        rule = next(rule for rule in RULES if entry.action.startswith(rule.begins))
        root = self._begin(rule.event, rule.action, entry.at, rule.kind, rule.outcome)
        by_node = entry.who.startswith("node ")
        if rule.event in (APPLICATION_ACTIVITY, EXPORT):
            self._node(root, _APPLICATION if rule.event is APPLICATION_ACTIVITY else _SOURCE, requestor=by_node)
        else:
            self._node(root, None, requestor=by_node)
        if not by_node:
            _participant(root, entry.who, _LAUNCHER if rule.event is APPLICATION_ACTIVITY else None, requestor=True)
        if rule.event is EXPORT:
            media = _participant(root, "file", _MEDIA, requestor=False)
            _coded(SubElement(SubElement(media, "MediaIdentifier"), "MediaType"), _FILE)
        self._source(root)
        facts = {"row": str(number), "link": link, "action": entry.action}
        if entry.delivery_id is not None:
            facts["delivery"] = str(entry.delivery_id)
        if self.free_text or by_node:
            facts["reason"] = entry.reason
        if entry.instance_id is not None:
            _object(root, f"{self.source}/instance/{entry.instance_id}", "2", "3", ("instance", _OWN, "Ledger instance"), "instance", facts)
        elif rule.event is AUDIT_LOG_USED:
            _object(root, f"{self.source}/audit", "2", "13", _URI, "Security Audit Log", facts)
        else:
            _object(root, f"{self.source}/audit/{number}", "2", "13", ("row", _OWN, "Row of the audit trail"), entry.action, facts)
        return _finish(root)

    def transfer(self, kind: str, at: float, facts: Mapping[str, Any]) -> bytes:
        """The message of a transfer: ``receiving`` (begun), ``received`` or ``sent``."""
        event = BEGIN_TRANSFERRING if kind == "receiving" else INSTANCES_TRANSFERRED
        outcome = "4" if facts.get("failed") else "0"
        root = self._begin(event, "E" if kind == "receiving" else "R" if kind == "sent" else "C", at, None, outcome)
        mine, theirs = (_SOURCE, _DESTINATION) if kind == "sent" else (_DESTINATION, _SOURCE)
        peer = (str(facts.get("ae_title", "")), str(facts.get("peer", "")))
        ours = self._node(root, mine, requestor=kind == "sent")
        if facts.get("own_ae_title"):
            ours.set("AlternativeUserID", f"AETITLES={facts['own_ae_title']}")
        _participant(root, peer[0] or peer[1] or "unknown", theirs, requestor=kind != "sent", address=peer[1])
        self._source(root)
        numbers = {name: str(facts[name]) for name in ("route", "destination", "instances", "failed", "refused", "duplicates", "conflicts")
                   if name in facts}
        if kind != "sent":
            _object(root, f"{self.source}/association/{facts.get('association', 0)}", "2", "3",
                    ("association", _OWN, "Association"), "association", numbers)
            return _finish(root)
        study = _object(root, str(facts.get("study") or "unknown"), "2", "3", _STUDY, "study", numbers, _DE_IDENTIFICATION)
        description = SubElement(study, "ParticipantObjectDescription")
        for uid, count in sorted(dict(facts.get("sop_classes", {})).items()):
            SubElement(description, "SOPClass", UID=uid, NumberOfInstances=str(count))
        SubElement(description, "Anonymized").text = "true"
        _object(root, str(facts.get("patient") or "unknown"), "1", "1", _PATIENT, "pseudonym", {})
        return _finish(root)

    def _begin(self, event: Code, action: str, at: float, kind: Code | None, outcome: str) -> Element:
        root = Element("AuditMessage")
        moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
        found = SubElement(root, "EventIdentification", EventActionCode=action, EventDateTime=moment, EventOutcomeIndicator=outcome)
        _coded(SubElement(found, "EventID"), event)
        if kind is not None:
            _coded(SubElement(found, "EventTypeCode"), kind)
        return root

    def _node(self, root: Element, role: Code | None, requestor: bool) -> Element:
        found = _participant(root, f"radanon@{self.host}", role, requestor, self.host)
        found.set("UserName", f"radanon_node {radanon_node.__version__}")
        return found

    def _source(self, root: Element) -> None:
        found = SubElement(root, "AuditSourceIdentification", AuditSourceID=self.source)
        if self.site:
            found.set("AuditEnterpriseSiteID", self.site)
        SubElement(found, "AuditSourceTypeCode", {"csd-code": _SERVER})


def _participant(root: Element, user: str, role: Code | None, requestor: bool, address: str = "") -> Element:
    found = SubElement(root, "ActiveParticipant", UserID=user, UserIsRequestor="true" if requestor else "false")
    if address:
        is_number = address.replace(".", "").isdigit() or ":" in address
        found.set("NetworkAccessPointID", address)
        found.set("NetworkAccessPointTypeCode", "2" if is_number else "1")
    if role is not None:
        _coded(SubElement(found, "RoleIDCode"), role)
    return found


def _object(root: Element, number: str, kind: str, role: str, id_type: Code, name: str, details: Mapping[str, str],
            life_cycle: str = "") -> Element:
    found = SubElement(root, "ParticipantObjectIdentification", ParticipantObjectID=number, ParticipantObjectTypeCode=kind,
                       ParticipantObjectTypeCodeRole=role)
    if life_cycle:
        found.set("ParticipantObjectDataLifeCycle", life_cycle)
    _coded(SubElement(found, "ParticipantObjectIDTypeCode"), id_type)
    SubElement(found, "ParticipantObjectName").text = name
    for key, value in details.items():
        SubElement(found, "ParticipantObjectDetail", type=key, value=base64.b64encode(value.encode()).decode())
    return found


def _coded(element: Element, code: Code) -> None:
    element.set("csd-code", code[0])
    element.set("codeSystemName", code[1])
    element.set("originalText", code[2])


def _finish(root: Element) -> bytes:
    for element in root.iter():  # XML 1.0 has no place for control characters, and one of them would cost the whole message
        for name, value in element.attrib.items():
            element.set(name, _printable(value))
        if element.text:
            element.text = _printable(element.text)
    body: bytes = tostring(root, encoding="utf-8", xml_declaration=False)
    return b'<?xml version="1.0" encoding="UTF-8"?>' + body


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
