"""What identifies this instance's patient, staff and site: collected at every depth, matched in every usual spelling.

Two strengths are kept apart. A *strong* identifier (a name that is no word of the trade, an ID of five characters, a date, a UID)
is looked for in every byte that leaves. A *weak* one ("Long", "Head", "MR", 17) is only taken out of free text, where a lost
harmless word costs little; searching all bytes for it would hold half of all instances.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache, lru_cache

from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset

from radanon_node.tags.dates import parse_date
from radanon_node.tags.raw import ascii_text, elements, encodings_of, text_of
from radanon_node.tags.sequences import items_of
from radanon_node.tags.tables import profile_rows, vocabulary
from radanon_node.tags.values import DUMMY_DATE, DUMMY_TEXT
from radanon_node.tags.words import DATES, MONTH_STEMS, SEPARATED, WORD, days_in, is_latin, plain, spellings

_STAND_INS = frozenset({plain(DUMMY_TEXT), "anonymized", "anonymous", "unknown", "none", "urn"})
_NEVER_DAYS = frozenset({parse_date(DUMMY_DATE)})
_ID_PARTS = re.compile(r"[a-z]+|\d+")
# In encoded data a digit with a zero byte behind it may be the group of the next element (0032), right behind a value.
_CUT = re.compile(r"(?<=\d)\d(?=\0)")
_SHORTEST_UID = 6  # "0" or "1.2" as a UID would be found everywhere
_DIGITS = re.compile(r"\d{5,}")


@dataclass(frozen=True, slots=True)
class Match:
    """Where in a text an identifier is, and of which kind it is: ``name``, ``id``, ``date``, ``uid``, ``site``."""

    start: int
    stop: int
    kind: str


@dataclass(frozen=True)
class Identifiers:
    """The identifiers of one instance. Made by `collect`; never logged: its text form shows counts only.

    Parameters
    ----------
    words : dict of str to str
        Strong single words in plain form -> kind.
    weak : dict of str to str
        Weak words in plain form -> kind.
    numbers : dict of str to str
        Strong runs of digits -> kind.
    phrases : dict of str to str
        Lower-case texts that are looked for as they are, not word by word (IDs of letters and digits, names of institutions,
        names in scripts without spaces) -> kind.
    written : dict of str to str
        Strong words with letters beyond ASCII as they are written, for the search in encoded bytes -> kind.
    days : frozenset of date
        Dates of birth, study and so on.
    uids : dict of str to str
        UID -> ``uid``, or ``device`` for those that name equipment.
    """

    words: dict[str, str] = field(default_factory=dict, repr=False)
    weak: dict[str, str] = field(default_factory=dict, repr=False)
    numbers: dict[str, str] = field(default_factory=dict, repr=False)
    phrases: dict[str, str] = field(default_factory=dict, repr=False)
    written: dict[str, str] = field(default_factory=dict, repr=False)
    days: frozenset[date] = field(default=frozenset(), repr=False)
    birth_days: frozenset[date] = field(default=frozenset(), repr=False)
    uids: dict[str, str] = field(default_factory=dict, repr=False)

    def matches(self, text: str) -> bool:
        """Whether `text` is, or holds, a part of an identifier: strong or weak, in any spelling.

        Single letters never count: an initial L does not make every side letter L a name.
        """
        return next(self.find(text, weak=True), None) is not None

    def find(self, text: str, weak: bool = False) -> Iterator[Match]:
        """Every place in `text` that holds an identifier; overlaps are possible.

        Parameters
        ----------
        text : str
        weak : bool
            Look for the weak identifiers too.
        """
        lowered = text.lower()
        if len(lowered) != len(text):  # a few capital letters have longer small ones: keep the positions true
            lowered = "".join(mark.lower() if len(mark.lower()) == 1 else mark for mark in text)
        # `in` runs at the speed of memory: only where it finds something, words and their ends are looked at.
        if not lowered.isascii() or _any_in(self.words, lowered) or (weak and _any_in(self.weak, lowered)):
            for found in WORD.finditer(lowered):
                yield from self._word(found, weak)
        if _any_in(self.numbers, lowered) or (weak and self.weak):
            for found in _ID_PARTS.finditer(lowered) if weak else _DIGITS.finditer(lowered):
                kind = self.numbers.get(found[0]) or (self.weak.get(found[0]) if weak and found[0].isdigit() else None)
                if kind and not inside_number(lowered, found.start(), found.end()):
                    yield Match(found.start(), found.end(), kind)
        for phrase, kind in self.phrases.items():
            at = lowered.find(phrase)
            while at >= 0:
                yield Match(at, at + len(phrase), kind)
                at = lowered.find(phrase, at + 1)
        if self.days or self.birth_days:
            yield from self.dates_in(lowered)
        for uid, kind in self.uids.items():
            at = lowered.find(uid)
            while at >= 0:
                if not inside_number(lowered, at, at + len(uid), digits=True):
                    yield Match(at, at + len(uid), kind)
                at = lowered.find(uid, at + 1)

    def dates_in(self, lowered: str) -> Iterator[Match]:
        """Every place in lower-case text that may mean one of the days."""
        days = self.days | self.birth_days
        for day in days:
            compact = f"{day.year:04d}{day.month:02d}{day.day:02d}"
            at = lowered.find(compact)
            while at >= 0:
                # Eight digits alone, or the beginning of a date and time; not a piece of a longer number.
                stop = at + 8
                while stop < len(lowered) and lowered[stop].isdigit():
                    stop += 1
                if stop - at in (8, 10, 12, 14) and not (at and lowered[at - 1].isdigit()):
                    yield Match(at, stop, "date")
                elif stop - at == 9 and lowered[stop : stop + 1] == "\0":
                    yield Match(at, at + 8, "date")  # a digit and a zero byte: the group of the next element
                at = lowered.find(compact, at + 1)
        years = {f"{day.year % 100:02d}" for day in days}
        places = [found.start() for found in SEPARATED.finditer(lowered)]
        for stem in MONTH_STEMS:
            at = lowered.find(stem)
            while at >= 0:
                places.append(at)
                at = lowered.find(stem, at + 1)
        for at in places:
            start = max(at - 12, 0)
            near = lowered[start : at + 24]
            if any(year in near for year in years):
                for text in {near, _CUT.sub("\0", near)} if "\0" in near else (near,):
                    for found in DATES.finditer(text):
                        if not days.isdisjoint(days_in(found)):
                            yield Match(start + found.start(), start + found.end(), "date")

    def _word(self, found: re.Match[str], weak: bool) -> Iterator[Match]:
        forms = (found[0],) if found[0].isascii() else (found[0], *spellings(found[0]))
        for form in forms:
            kind = self.words.get(form) or (self.weak.get(form) if weak else None)
            if kind is not None:
                yield Match(found.start(), found.end(), kind)
                return
        if "'" in found[0] or "’" in found[0]:
            for part in re.split("['’]", found[0]):
                kind = self.words.get(plain(part)) if len(part) > 2 else None
                if kind is not None:
                    yield Match(found.start(), found.end(), kind)
                    return

    def without(self, kinds: Iterable[str] = (), days: Iterable[date] = (), texts: Iterable[str] = ()) -> Identifiers:
        """The identifiers left when policy keeps some on purpose.

        Parameters
        ----------
        kinds : iterable of str
            ``name``, ``id``, ``date`` (birth dates stay), ``uid``, ``site``, ``device``.
        days : iterable of date
            Days that are meant to be in the output (moved dates may fall on another date of the patient).
        texts : iterable of str
            Values the site keeps: whatever is found in them is no longer looked for.
        """
        dropped = set(kinds)
        gone = {plain(word) for text in texts for word in (*WORD.findall(text.lower()), *_ID_PARTS.findall(text.lower()))}
        whole = {text.lower().strip() for text in texts}
        meant = set(days) | {day for text in texts for found in DATES.finditer(text.lower()) for day in days_in(found)}

        def keep(table: dict[str, str]) -> dict[str, str]:
            if not dropped and not gone:
                return table
            return {text: kind for text, kind in table.items() if kind not in dropped and text not in gone}

        return replace(
            self,
            words=keep(self.words), weak=keep(self.weak), numbers=keep(self.numbers),
            written=keep(self.written),
            phrases={text: kind for text, kind in keep(self.phrases).items() if not any(text in kept for kept in whole)},
            days=frozenset() if "date" in dropped else self.days - meant,
            birth_days=self.birth_days - meant,
            uids={uid: kind for uid, kind in self.uids.items() if kind not in dropped and uid not in whole},
        )  # fmt: skip

    def __str__(self) -> str:
        return f"<{len(self.words) + len(self.numbers) + len(self.phrases)} identifiers>"


def _any_in(table: dict[str, str], text: str) -> bool:
    return any(key in text for key in table)


def inside_number(text: str, start: int, stop: int, digits: bool = False) -> bool:
    """Whether a run of digits is part of a larger number or UID, such as the 12345 of 12345.678.

    Parameters
    ----------
    text : str
    start, stop : int
    digits : bool
        Digits right beside it make it part of a larger one too.
    """
    if digits and ((start and text[start - 1].isdigit()) or (stop < len(text) and text[stop].isdigit())):
        return True
    before = start >= 2 and text[start - 1] == "." and text[start - 2].isdigit()
    after = stop + 1 < len(text) and text[stop] == "." and text[stop + 1].isdigit()
    return before or after


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
    base = _from_values(frozenset(values))
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
def _from_values(values: frozenset[tuple[str, str]]) -> Identifiers:
    """The tables for a set of (value, kind); the same for all instances of a series, so kept."""
    made = _Builder()
    for text, kind in sorted(values):
        for part in text.split("\\"):
            if kind in ("name", "staff"):
                made.name(part, kind)
            else:
                made.identifier(part.strip(), kind)
    return Identifiers(made.words, made.weak, made.numbers, made.phrases, made.written)


class _Builder:
    def __init__(self) -> None:
        self.words: dict[str, str] = {}
        self.weak: dict[str, str] = {}
        self.numbers: dict[str, str] = {}
        self.phrases: dict[str, str] = {}
        self.written: dict[str, str] = {}

    def name(self, text: str, kind: str) -> None:
        """A PN value: every word of every component group."""
        for group in text.split("="):
            for component in group.split("^"):
                for word in WORD.findall(component.lower()):
                    self._word(word, kind)
                for number in re.findall(r"\d{5,}", component):
                    self.numbers.setdefault(number, "id")

    def _word(self, word: str, kind: str) -> None:
        if len(word) < 2:
            return
        if not is_latin(word):
            # Without spaces between words a name can only be looked for as it is written; one sign alone is no name.
            self.phrases.setdefault(word, "name")
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
        for word in words:
            if len(word) >= 4 and plain(word) not in vocabulary():
                for form in spellings(word):
                    if form not in _STAND_INS:
                        self.weak.setdefault(form, kind)
        if len(lowered) in (2, 3, 4) and lowered.isalnum() and not known and not lowered.isdigit():
            self.weak.setdefault(lowered, kind)
