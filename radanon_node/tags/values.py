"""Values that stand in for what was removed: valid for their VR, the same for everybody, telling nothing."""

from __future__ import annotations

DUMMY_DATE, DUMMY_TIME, DUMMY_DATETIME = "19000101", "000000", "19000101000000"
DUMMY_TEXT = "ANONYMIZED"
DUMMY_CODE = {"CodeValue": "ANON", "CodingSchemeDesignator": "99RADANON", "CodeMeaning": "Anonymized"}

_TEXT: dict[str, str] = {
    "AE": DUMMY_TEXT, "AS": "000D", "CS": DUMMY_TEXT, "DA": DUMMY_DATE, "DS": "0", "DT": DUMMY_DATETIME, "IS": "0",
    "LO": DUMMY_TEXT, "LT": DUMMY_TEXT, "PN": "Anonymized", "SH": DUMMY_TEXT, "ST": DUMMY_TEXT, "TM": DUMMY_TIME,
    "UC": DUMMY_TEXT, "UR": "urn:anonymized", "UT": DUMMY_TEXT,
}  # fmt: skip
_BINARY: dict[str, int] = {
    "AT": 4, "FL": 4, "FD": 8, "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8, "OB": 2, "OD": 8, "OF": 4, "OL": 4, "OV": 8,
    "OW": 2, "UN": 2,
}  # fmt: skip

TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""VRs whose bytes depend on the Specific Character Set (PS3.5 Section 6.1.2.3)."""

STRING_VRS = TEXT_VRS | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}
KNOWN_VRS = STRING_VRS | frozenset(_BINARY) | {"SQ"}
LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
"""VRs with a 32-bit length in explicit encodings (PS3.5 Section 7.1.2)."""

# A dummy of these must be one of the values the attribute is defined with (PS3.3).
_DEFINED: dict[str, str] = {
    "ReasonForTheAttributeModification": "CORRECT",
    "PatientSexNeutered": "UNALTERED",
    "PatientSex": "O",
}


def dummy_text(vr: str, keyword: str = "") -> str | None:
    """The dummy of a VR made of characters; None for numbers and bytes.

    Examples
    --------
    >>> dummy_text("DA"), dummy_text("CS", "ReasonForTheAttributeModification"), dummy_text("US")
    ('19000101', 'CORRECT', None)
    """
    return _DEFINED.get(keyword) or _TEXT.get(vr)


def dummy_bytes(vr: str, keyword: str = "") -> bytes:
    """The encoded dummy of any VR but UI and SQ, of even length."""
    text = dummy_text(vr, keyword)
    if text is None:
        return bytes(_BINARY.get(vr, 2))
    return padded(text.encode("ascii"), vr)


def padded(value: bytes, vr: str) -> bytes:
    """`value` made even as its VR wants it (PS3.5 Section 6.2)."""
    if len(value) % 2 == 0:
        return value
    return value + (b"\0" if vr in ("UI", "OB", "UN") else b" ")


def is_identifier(keyword: str) -> bool:
    """Whether an attribute names one thing among many, so that its dummies should differ from each other."""
    return keyword.endswith(("ID", "Identifier", "SerialNumber")) and not keyword.startswith("Flow")
