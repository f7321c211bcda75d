"""What identifies this instance's patient, staff and site: collected at every depth, matched in every usual spelling.

Two strengths are kept apart. A *strong* identifier (a name that is no word of the trade, an ID of five characters, a date, a UID)
is looked for in every byte that leaves. A *weak* one ("Long", "Head", "MR", 17) is only taken out of free text, where a lost
harmless word costs little; searching all bytes for it would hold half of all instances.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from functools import cache, lru_cache

from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset

from radanon_node.tags.dates import parse_date
from radanon_node.tags.forms import digests, escaped, in_other_scripts, joined, with_other_separators
from radanon_node.tags.matching import Identifiers, Match
from radanon_node.tags.raw import ascii_text, elements, encodings_of, text_of
from radanon_node.tags.sequences import items_of
from radanon_node.tags.tables import profile_rows, vocabulary
from radanon_node.tags.values import DUMMY_DATE, DUMMY_TEXT
from radanon_node.tags.words import WORD, is_latin, plain, spellings, visible

__all__ = ["Identifiers", "Match", "collect", "from_values"]

_STAND_INS = frozenset({plain(DUMMY_TEXT), "anonymized", "anonymous", "unknown", "none", "urn"})
_NEVER_DAYS = frozenset({parse_date(DUMMY_DATE)})
_SHORTEST_UID = 6  # "0" or "1.2" as a UID would be found everywhere


_BIRTH = frozenset({0x00100030})
_SITE = re.compile(r"Institution|Organization|Station|Location|Department|EthicsCommittee|Sponsor|CoordinatingCenter|SiteName")
_DEVICE = re.compile(r"Device|Detector|Plate|Cassette|Gantry|Generator|Lens|Camera|Source|Machine|Equipment")
_PATIENT_NAMES = frozenset({0x00100010, 0x00101001, 0x00101005, 0x00101060})
# Attributes of Table E.1-1 without identity of their own: the codes of languages, the patient's properties, GPS reference letters.
_NOT_IDENTIFYING = re.compile(r"GPS.*(Ref|Status|Mode|Differential|DOP)$|^(TimezoneOffsetFromUTC|EthnicGroup|SmokingStatus|PatientState)$")


@cache
def _interests() -> dict[int, tuple[str, str]]:
    """Tag -> (VR, kind) of the attributes whose values identify."""
    found: dict[int, tuple[str, str]] = {}
    for tag, row in profile_rows().items():
        descriptive = "clean_descriptors" in row.options or "retain_patient_characteristics" in row.options
        if row.vr == "PN":
            found[tag] = ("PN", "name" if tag in _PATIENT_NAMES else "staff")
        elif row.vr in ("DA", "DT"):
            found[tag] = (row.vr, "birth" if tag in _BIRTH else "date")
        elif row.vr == "UI":
            found[tag] = ("UI", "device" if "retain_device_identity" in row.options else "uid")
        elif row.vr in ("LO", "SH", "ST", "LT", "UT", "UC", "AE") and not descriptive and not _NOT_IDENTIFYING.search(row.keyword):
            kind = "site" if "retain_institution_identity" in row.options or _SITE.search(row.keyword) else "id"
            if "retain_device_identity" in row.options:
                kind = "device"
            found[tag] = (row.vr, kind)
    for tag in (0x00080106, 0x00080107):  # versions of context groups: the standard's dates, not the patient's
        found.pop(tag, None)
    return found


def collect(dataset: Dataset) -> Identifiers:
    """The identifiers of a received data set, at every depth.

    Parameters
    ----------
    dataset : Dataset
        As received. It is not changed.
    """
    values: set[tuple[str, str]] = set()
    days: set[date] = set()
    births: set[date] = set()
    uids: dict[str, str] = {}
    _walk(dataset, ["iso8859"], values, days, births, uids, 0)
    base = from_values(frozenset(values))
    return replace(
        base, days=frozenset(days - _NEVER_DAYS), birth_days=frozenset(births - _NEVER_DAYS),
        uids=uids,
    )


def _walk(
    dataset: Dataset,
    inherited: list[str],
    values: set[tuple[str, str]],
    days: set[date],
    births: set[date],
    uids: dict[str, str],
    depth: int,
) -> None:
    codecs = encodings_of(dataset, inherited)
    interests = _interests()
    for tag, element in elements(dataset).items():
        interest = interests.get(tag)
        if interest is None:
            if element.VR == "SQ" or (element.VR in (None, "UN") and depth < 32):
                for item in items_of(dataset, tag) or ():
                    _walk(item, codecs, values, days, births, uids, depth + 1)
            elif element.VR == "PN":
                values.add((text_of(element, codecs, "PN"), "staff"))
            continue
        vr, kind = interest
        if vr == "UI":
            for part in ascii_text(element).split("\\"):
                uid = part.strip(" \0")
                if len(uid) >= _SHORTEST_UID and "." in uid and uid not in UID_dictionary and uids.get(uid) != "uid":
                    uids[uid] = kind
        elif vr in ("DA", "DT"):
            for part in ascii_text(element).split("\\"):
                day = parse_date(part[:8] if vr == "DT" else part)
                if day is not None and len(part) >= 8:
                    (births if kind == "birth" else days).add(day)
        else:
            text = text_of(element, codecs, vr)
            if text:
                values.add((text, kind))


@lru_cache(maxsize=64)
def from_values(values: frozenset[tuple[str, str]]) -> Identifiers:
    """The tables for a set of (value, kind); the same for all instances of a series, so kept."""
    made = _Builder()
    for text, kind in sorted(values):
        for part in text.split("\\"):
            if kind in ("name", "staff"):
                made.name(part, kind)
            else:
                made.identifier(part.strip(), kind)
    return Identifiers(made.words, made.weak, made.numbers, made.phrases, made.written, values=values)


class _Builder:
    def __init__(self) -> None:
        self.words: dict[str, str] = {}
        self.weak: dict[str, str] = {}
        self.numbers: dict[str, str] = {}
        self.phrases: dict[str, str] = {}
        self.written: dict[str, str] = {}

    def name(self, text: str, kind: str) -> None:
        """A PN value: every word of every component group, and the words run together."""
        for group in text.split("="):
            components = [WORD.findall(component.lower()) for component in group.split("^")]
            for word in (word for words in components for word in words):
                self._word(word, kind)
            self._joined(components, kind)
            for number in re.findall(r"\d{5,}", group):
                self.numbers.setdefault(number, "id")
        if len(text) >= 5:
            self._digests(text, "name")

    def _word(self, word: str, kind: str) -> None:
        word = visible(word)
        if len(word) < 2:
            return
        for form in escaped(word):
            self.phrases.setdefault(form, "name")
        if not is_latin(word):
            # Without spaces between words a name can only be looked for as it is written; one sign alone is no name.
            for form in in_other_scripts(word):
                self.phrases.setdefault(form, "name")
            return
        if not word.isascii():
            self.written.setdefault(word, "name")
        shortest = 3 if kind == "name" else 4
        for form in spellings(word):
            if form in _STAND_INS:
                continue
            common = form in vocabulary() or len(form) < shortest
            (self.weak if common else self.words).setdefault(form, "name")
            for part in form.split("'"):
                if len(part) > 2 and part != form:
                    (self.weak if part in vocabulary() else self.words).setdefault(part, "name")
            bare = form.replace("'", "")
            if bare != form and len(bare) >= 5 and bare not in vocabulary():
                self.words.setdefault(bare, "name")

    def _joined(self, components: list[list[str]], kind: str) -> None:
        """Family and given name without anything between them: ``doejohn``, ``jdoe``, 李四."""
        if all(is_latin(word) for words in components for word in words):
            shortest = 4 if kind == "name" else 6
            for form, parts in joined(components):
                # "headneck" is no name, whoever is called Head^Neck.
                if len(form) >= shortest and form not in vocabulary() and not vocabulary().issuperset(parts) and form not in _STAND_INS:
                    self.words.setdefault(form, "name")
            return
        family, given = ("".join(words) for words in (*components[:2], [], [])[:2])
        if family and given:
            between = ("", " ", "\u3000") if len(family) == len(given) == 1 else ("",)
            for sign in between:
                for form in in_other_scripts(f"{family}{sign}{given}"):
                    self.phrases.setdefault(form, "name")

    def _digests(self, text: str, kind: str) -> None:
        for form in digests(text):
            self.phrases.setdefault(form, kind)

    def identifier(self, text: str, kind: str) -> None:
        """An ID, an address, the name of an institution or a device."""
        lowered = text.lower()
        if not lowered or plain(lowered) in _STAND_INS:
            return
        kind = kind if kind in ("site", "device") else "id"
        for number in re.findall(r"\d+", lowered):
            if number == lowered:
                (self.numbers if len(number) >= 5 else self.weak).setdefault(number, kind)
                stripped = number.lstrip("0")
                if len(stripped) >= 5:
                    self.numbers.setdefault(stripped, kind)
        words = WORD.findall(lowered)
        known = all(plain(word) in vocabulary() for word in words) and not any(mark.isdigit() for mark in lowered)
        if len(lowered) >= 5 and not lowered.isdigit() and not known:
            self.phrases.setdefault(lowered, kind)
        if kind == "id":
            self._id_forms(text, lowered)
        for word in words:
            if len(word) >= 4 and plain(word) not in vocabulary():
                for form in spellings(word):
                    if form not in _STAND_INS:
                        self.weak.setdefault(form, kind)
        if len(lowered) in (2, 3, 4) and lowered.isalnum() and not known and not lowered.isdigit():
            self.weak.setdefault(lowered, kind)

    def _id_forms(self, text: str, lowered: str) -> None:
        """An ID with other separators, its digits alone, its digest."""
        for form in with_other_separators(lowered):
            self.phrases.setdefault(form, "id")
        digits = re.sub(r"[-/. ]", "", lowered)
        numbers = [digits] if digits.isdigit() and digits != lowered else re.findall(r"\d+", lowered) if not lowered.isdigit() else []
        for number in numbers:
            if len(number) >= 7 and len(set(number)) > 2:
                self.numbers.setdefault(number, "id")
        if len(lowered) >= 5:
            self._digests(text, "id")
