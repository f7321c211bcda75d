"""Private attributes (PS3.5 Section 7.8): removed, but for those known to be safe (PS3.15 E.3.10) and those the site names."""

from __future__ import annotations

import re

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from radanon_node.errors import ConfigError
from radanon_node.settings_profile import TagSettings
from radanon_node.tags.raw import Element, elements, text_of
from radanon_node.tags.tables import safe_private
from radanon_node.tags.values import KNOWN_VRS

_ENTRY = re.compile(r"\(\s*([0-9A-Fa-f]{4})\s*,\s*(?:[xX]{2}|[0-9A-Fa-f]{2})([0-9A-Fa-f]{2})\s*\)\s*(\S.*?)\s*")
_NUMBER = re.compile(rb"[ 0-9+\-.eE\\]*\0?")
_SIZES = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "AT": 4, "SV": 8, "UV": 8, "OW": 2, "OF": 4, "OD": 8, "OL": 4}
_LONGEST = {"CS": 16, "SH": 16 * 4, "LO": 64 * 4, "AE": 16, "ST": 1024 * 4, "LT": 10240 * 4, "PN": 64 * 3 * 4, "UI": 64}
_CODE_STRING = re.compile(rb"[A-Z0-9 _\\]*\0?")
_UID = re.compile(rb"[0-9.\\]*\0?")


class PrivatePolicy:
    """Which private attributes stay.

    Parameters
    ----------
    settings : TagSettings

    Raises
    ------
    ConfigError
        For an entry of ``private_keep`` that is not ``(gggg,xxee) Private Creator``.
    """

    def __init__(self, settings: TagSettings) -> None:
        self._site: set[tuple[str, int, int]] = set()
        for entry in settings.private_keep:
            found = _ENTRY.fullmatch(entry)
            if not found or not int(found[1], 16) & 1:
                raise ConfigError(f"tags.private_keep: {entry!r} is not of the form (gggg,xxee) Private Creator with an odd group")
            self._site.add((found[3], int(found[1], 16), int(found[2], 16)))
        self._safe = "retain_safe_private" in settings.options
        self.keeps_any = self._safe or bool(self._site)

    def creators(self, dataset: Dataset, codecs: list[str]) -> dict[tuple[int, int], str]:
        """The creators declared on this level: (group, block) -> name. One level never speaks for another."""
        found: dict[tuple[int, int], str] = {}
        for tag, element in elements(dataset).items():
            group, number = tag >> 16, tag & 0xFFFF
            if group & 1 and 0x10 <= number <= 0xFF and element.VR in ("LO", "UN", None):
                found[group, number] = text_of(element, codecs)
        return found

    def verdict(self, tag: int, element: Element, creators: dict[tuple[int, int], str]) -> tuple[bool, str, str]:
        """Whether a private element stays.

        Returns
        -------
        keep : bool
        vr : str
            The VR its table lists, empty if its own holds.
        rule : str
        """
        group, number = tag >> 16, tag & 0xFFFF
        creator = creators.get((group, number >> 8), "")
        key = (creator, group, number & 0xFF)
        if number <= 0xFF or not creator:
            return False, "", "E.1-1 basic: X (private)"
        if key in self._site:
            return True, "", f"site private_keep: ({group:04X},xx{number & 0xFF:02X})"
        row = safe_private().get(key) if self._safe else None
        if row is None:
            return False, "", "E.1-1 basic: X (private)"
        own = element.VR
        if row.vrs and own not in (None, "UN") and own not in row.vrs:
            return False, "", "E.3.10-1: its VR is not the listed one: X"
        vr = own if own not in (None, "UN") else (row.vrs[0] if row.vrs else "UN")
        if vr not in KNOWN_VRS or not fits(element, vr):
            return False, "", "E.3.10-1: its value does not fit the listed VR: X"
        return True, vr, "E.3.10-1 retain_safe_private: K"


def fits(element: Element, vr: str) -> bool:
    """Whether a raw value can be a value of `vr`: a name is no decimal string, and no number of four bytes."""
    if vr == "SQ" or not isinstance(element, RawDataElement):
        return True
    value = element.value or b""
    if vr in _SIZES:
        return len(value) % _SIZES[vr] == 0
    if vr in ("DS", "IS"):
        return _NUMBER.fullmatch(value) is not None
    if vr == "CS":
        return _CODE_STRING.fullmatch(value) is not None
    if vr == "UI":
        return _UID.fullmatch(value) is not None
    limit = _LONGEST.get(vr)
    return limit is None or all(len(part) <= limit for part in value.split(b"\\"))


def block_creators(kept: set[tuple[int, int]], dataset: Dataset) -> dict[int, Element]:
    """The creator elements that kept private elements need, by tag."""
    stored = elements(dataset)
    return {tag: element for tag, element in stored.items() if (tag >> 16, tag & 0xFFFF) in kept and tag & 0xFF00 == 0}
