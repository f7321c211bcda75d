"""New values for elements: stand-ins, new UIDs, moved dates, cleaned text."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from functools import cache

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from radanon_node.tags import dates
from radanon_node.tags.matching import Identifiers
from radanon_node.tags.plan import Do, Step
from radanon_node.tags.pseudonyms import PatientKey, Pseudonyms
from radanon_node.tags.raw import Element, ascii_text, elements, encoded, make, text_of
from radanon_node.tags.text import clean
from radanon_node.tags.values import STRING_VRS, dummy_bytes, is_identifier

_PATIENT_ID, _PATIENT_NAME = 0x00100020, 0x00100010


@cache
def time_of(date_tag: int) -> int:
    """The tag of the time that belongs to a date (Study Date -> Study Time); 0 if it has none."""
    keyword = keyword_for_tag(date_tag)
    tag = tag_for_keyword(keyword.replace("Date", "Time")) if "Date" in keyword else None
    return int(tag) if tag is not None and tag != date_tag else 0


@dataclass
class Replacer:
    """Makes the new values of one instance.

    Parameters
    ----------
    pseudonyms : Pseudonyms
    patient : PatientKey
    hunted : Identifiers
        What must not stand in kept text.
    shift, seconds : int
        How far dates and times of day move back.
    new_days : set of date
        Filled with the days that moved dates fall on.
    """

    pseudonyms: Pseudonyms
    patient: PatientKey
    hunted: Identifiers
    shift: int = 0
    seconds: int = 0
    new_days: set[date] = field(default_factory=set)

    def value(self, source: Dataset, element: Element, step: Step, codecs: list[str], number: int) -> Element | None:
        """The new element of one that is no sequence."""
        do, vr = step.do, step.vr or (element.VR if element.VR in STRING_VRS else None) or "LO"
        if number == _PATIENT_ID:
            return make(number, "LO", self._nested_id(text_of(element, codecs)).encode("utf-8"), source)
        if number == _PATIENT_NAME:
            name = self.pseudonyms.patient_name(self.patient)
            return make(number, "PN", name.encode("ascii", "replace"), source)
        if do is Do.UID:
            return make(number, "UI", self._uids(element), source)
        if do is Do.EMPTY:
            return make(number, vr, b"", source)
        if do is Do.SHIFT:
            moved = self._shifted(source, element, vr, number)
            if moved is not None:
                return make(number, vr, moved, source)
            return self._fallback(source, element, step, vr, number, codecs)
        if do is Do.CLEAN:
            text = text_of(element, codecs, vr)
            cleaned = "\\".join(clean(part, self.hunted) for part in text.split("\\")) if vr not in ("ST", "LT", "UT") else clean(
                text, self.hunted
            )
            if not cleaned.strip("\\ "):
                return self._fallback(source, element, step, vr, number, codecs) if text else make(number, vr, b"", source)
            return make(number, vr, encoded(cleaned, codecs), source)
        if do is Do.DAY:
            days = {dates.parse_date(part[:8]) for part in ascii_text(element).split("\\")}
            return None if days & (self.hunted.days | self.hunted.birth_days) else element
        if do is Do.AGE:
            ages = [dates.cap_age(part) for part in ascii_text(element).split("\\")]
            known = [age for age in ages if age is not None]
            return make(number, "AS", "\\".join(known).encode("ascii"), source) if known else None
        return self._dummy(source, element, step, vr, number, codecs)

    def _fallback(self, source: Dataset, element: Element, step: Step, vr: str, number: int, codecs: list[str]) -> Element | None:
        """What could not be cleaned: gone, empty or a dummy, as the type in the IOD wants it."""
        if step.kind in ("1", "1C"):
            return self._dummy(source, element, step, vr, number, codecs)
        return make(number, vr, b"", source) if step.kind in ("2", "2C") else None

    def _dummy(self, source: Dataset, element: Element, step: Step, vr: str, number: int, codecs: list[str]) -> Element:
        if vr == "UI":
            return make(number, vr, self._uids(element) or self.pseudonyms.uid(f"none {number}").encode(), source)
        if vr in ("LO", "SH", "UC", "ST") and is_identifier(step.keyword):
            text = text_of(element, codecs)
            if text:
                return make(number, vr, self.pseudonyms.code(step.keyword, text).encode("ascii"), source)
        return make(number, vr, dummy_bytes(vr, step.keyword), source)

    def _nested_id(self, text: str) -> str:
        if not text or text == self.patient.patient_id:
            return self.pseudonyms.patient_id(self.patient)
        return self.pseudonyms.code("other patient", text)

    def _uids(self, element: Element) -> bytes:
        uid = self.pseudonyms.uid
        return "\\".join(uid(part.strip(" \0")) for part in ascii_text(element).split("\\")).encode("ascii", "replace")

    def _shifted(self, source: Dataset, element: Element, vr: str, number: int) -> bytes | None:
        """A moved DA, DT or TM, or a checked zone offset; None if it cannot be read."""
        parts = ascii_text(element).split("\\")
        if parts == [""]:
            return b""
        days, seconds = self.shift, self.seconds
        made: list[str | None]
        if vr == "DA":
            earlier = self._borrowed(source, number, len(parts)) if seconds else [0] * len(parts)
            made = [dates.shift_date(part, days + more) for part, more in zip(parts, earlier, strict=True)]
        elif vr == "DT":
            made = [dates.shift_datetime(part, days, seconds) for part in parts]
        elif vr == "TM":
            if seconds:
                moved = [dates.shift_time(part, seconds) for part in parts]
                made = [None if time is None else time[0] for time in moved]
            else:
                made = [part.strip() if dates.valid_time(part) else None for part in parts]
        else:
            zone = parts[0]
            made = [zone if len(zone) == 5 and zone[0] in "+-" and zone[1:].isdigit() else None]
        if None in made:
            return None
        if vr in ("DA", "DT"):
            self.new_days.update(day for part in made if part and (day := dates.parse_date(part[:8])) is not None)
        return "\\".join(part or "" for part in made).encode("ascii")

    def _borrowed(self, source: Dataset, number: int, count: int) -> list[int]:
        """How many days more a date moves because its time of day moves over midnight."""
        companion = time_of(number)
        element = elements(source).get(BaseTag(companion)) if companion else None
        times = ascii_text(element).split("\\") if element is not None else []
        moved = [dates.shift_time(part, self.seconds) for part in times]
        return [time[1] if index < len(moved) and (time := moved[index]) is not None else 0 for index in range(count)]
