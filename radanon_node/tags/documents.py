"""Encapsulated documents (PS3.3 A.45): what is inside cannot be cleaned, so it is held, or replaced by an empty valid document."""

from __future__ import annotations

from radanon_node.errors import HoldInstance, Reason

PDF, CDA = "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.104.2"
STL, OBJ, MTL = "1.2.840.10008.5.1.4.1.1.104.3", "1.2.840.10008.5.1.4.1.1.104.4", "1.2.840.10008.5.1.4.1.1.104.5"


_CLASSES = "1.2.840.10008.5.1.4.1.1.104."


def _pdf() -> bytes:
    """One empty A4 page (ISO 32000-1 Section 7.5)."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << >> >>",
    ]
    body = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(body)
    body += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    body += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    body += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(body)


_CDA = b"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3"><typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>\
<id nullFlavor="MSK"/><code nullFlavor="MSK"/><effectiveTime nullFlavor="MSK"/><confidentialityCode nullFlavor="MSK"/>\
<recordTarget nullFlavor="MSK"><patientRole><id nullFlavor="MSK"/></patientRole></recordTarget>\
<author nullFlavor="MSK"><time nullFlavor="MSK"/><assignedAuthor><id nullFlavor="MSK"/></assignedAuthor></author>\
<custodian nullFlavor="MSK"><assignedCustodian><representedCustodianOrganization><id nullFlavor="MSK"/>\
</representedCustodianOrganization></assignedCustodian></custodian><component nullFlavor="MSK"><nonXMLBody><text nullFlavor="MSK"/>\
</nonXMLBody></component></ClinicalDocument>
"""
_REPLACEMENTS = {
    PDF: _pdf(),
    CDA: _CDA,
    STL: bytes(80) + bytes(4),  # binary STL: header and a count of no triangles
    OBJ: b"# empty\n",
    MTL: b"# empty\n",
}


def replacement(sop_class_uid: str, policy: str) -> bytes:
    """The document that takes the place of an encapsulated one.

    Parameters
    ----------
    sop_class_uid : str
    policy : str
        ``quarantine`` or ``replace``.

    Raises
    ------
    HoldInstance
        ``encapsulated_document``: the policy is to hold, or nothing valid is known for this SOP class.
    """
    if not sop_class_uid.startswith(_CLASSES):
        return bytes(2)  # an attribute astray in another kind of object: a dummy, as the table says
    if policy != "replace":
        raise HoldInstance(Reason.ENCAPSULATED_DOCUMENT, "the policy holds encapsulated documents")
    document = _REPLACEMENTS.get(sop_class_uid)
    if document is None:
        raise HoldInstance(Reason.ENCAPSULATED_DOCUMENT, "no empty document is known for this SOP class")
    return document + b"\0" * (len(document) & 1)
