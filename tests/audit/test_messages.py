"""Audit messages fit the schema of PS3.15 A.5.1 and name nobody."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.audit.messages import RULES, Teller
from radanon_node.audit.syslog import frame
from radanon_node.ledger.types import AuditEntry

etree = pytest.importorskip("lxml.etree")
SCHEMA = etree.RelaxNG(etree.parse(str(Path(__file__).parent / "data" / "audit_message.rng")))
TELLER = Teller("node1", "radanon1", "hospital")


def checked(message: bytes) -> etree._Element:
    root = etree.fromstring(message)
    SCHEMA.assertValid(root)
    return root


def code(root: etree._Element, name: str = "EventID") -> str:
    return str(root.find(f"EventIdentification/{name}").get("csd-code"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.begins or "other")
def test_every_kind_of_act_fits_the_schema(rule: object) -> None:
    for who in ("anna", "node host1"):
        for instance in (None, 7):
            action = f"{rule.begins} x"  # type: ignore[attr-defined]
            checked(TELLER.act(3, AuditEntry(1.5, who, action, instance, 4 if instance else None, "the reason"), "ab" * 32))


@pytest.mark.parametrize(("action", "event", "kind"), [
    ("node start", "110100", "110120"), ("node stop", "110100", "110121"), ("logged in", "110114", "110122"),
    ("config reload", "110113", "110129"), ("audit export", "110101", None), ("map export: 3 patients, scope x", "110106", None),
    ("quarantine release", "110103", None), ("something new", "110113", "110132"),
])
def test_acts_have_the_codes_of_the_standard(action: str, event: str, kind: str | None) -> None:
    root = checked(TELLER.act(1, AuditEntry(0.0, "anna", action, None, None, "why"), ""))
    assert code(root) == event
    assert (root.find("EventIdentification/EventTypeCode") is not None) == (kind is not None)
    if kind:
        assert code(root, "EventTypeCode") == kind


def test_what_a_person_wrote_is_sent_only_if_allowed() -> None:
    entry = AuditEntry(0.0, "anna", "quarantine drop", 5, None, "film of DOE^JANE")
    hidden = base64.b64encode(entry.reason.encode())
    assert hidden not in TELLER.act(1, entry, "")
    assert hidden in Teller("node1", "radanon1", free_text=True).act(1, entry, "")


def test_transfers_fit_the_schema_and_are_said_to_be_anonymized() -> None:
    root = checked(TELLER.transfer("receiving", 5.0, {"ae_title": "CT1", "own_ae_title": "IN", "peer": "10.0.0.1", "association": 4}))
    assert code(root) == "110102"
    checked(TELLER.transfer("received", 5.0, {"ae_title": "CT1", "peer": "10.0.0.1", "instances": 3, "refused": 1}))
    facts = {"ae_title": "ARCHIVE", "own_ae_title": "RADANON", "peer": "archive", "destination": "archive", "instances": 2, "failed": 0,
             "patient": "ANON1", "study": "2.25.1", "sop_classes": {"1.2.840.10008.5.1.4.1.1.2": 2}}
    root = checked(TELLER.transfer("sent", 5.0, facts))
    assert code(root) == "110104"
    assert [item.get("ParticipantObjectID") for item in root.findall("ParticipantObjectIdentification")] == ["2.25.1", "ANON1"]
    assert root.find(".//Anonymized").text == "true"
    assert root.find(".//SOPClass").get("NumberOfInstances") == "2"


@settings(max_examples=60, deadline=None)
@given(who=st.text(min_size=1, max_size=30), action=st.text(max_size=30), reason=st.text(max_size=60))
def test_no_text_breaks_a_message(who: str, action: str, reason: str) -> None:
    encodable = [text.encode("utf-8", "replace").decode() for text in (who, action, reason)]
    checked(Teller("n", "s", free_text=True).act(1, AuditEntry(0.0, encodable[0], encodable[1], None, None, encodable[2]), ""))


def test_the_syslog_header_is_that_of_the_standard() -> None:
    framed = frame(b"<AuditMessage/>", 0.0, "a host\n")
    header, _, message = framed.partition(b"\xef\xbb\xbf")
    assert header.startswith(b"<85>1 1970-01-01T00:00:00.000000Z ahost radanon ")
    assert header.endswith(b" DICOM+RFC3881 - ")
    assert message == b"<AuditMessage/>"
