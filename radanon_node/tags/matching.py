"""Finding identifiers in text: whole words, runs of digits, phrases, days and UIDs, in any usual spelling."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date

from radanon_node.tags.tables import vocabulary
from radanon_node.tags.words import DATES, LATIN_RUN, MONTH_STEMS, SEPARATED, WORD, days_in, folded, is_latin, plain, spellings

_ID_PARTS = re.compile(r"[a-z]+|\d+")
# In encoded data a digit with a zero byte behind it may be the group of the next element (0032), right behind a value.
_CUT = re.compile(r"(?<=\d)\d(?=\0)")
_DIGITS = re.compile(r"\d{5,}")
_GROUPED = re.compile(r"(?<![\d.])\d+(?:[-/. ]\d+)+(?![\d.])")
_BETWEEN = " -'’._^,/"
_CLOSED = {ord(sign): None for sign in _BETWEEN}
_PIECES = 3  # of one name: O'Con-nell


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
    values : frozenset of (str, str)
        What words, numbers and phrases were made of: value as it stood there, and kind.
    """

    words: dict[str, str] = field(default_factory=dict, repr=False)
    weak: dict[str, str] = field(default_factory=dict, repr=False)
    numbers: dict[str, str] = field(default_factory=dict, repr=False)
    phrases: dict[str, str] = field(default_factory=dict, repr=False)
    written: dict[str, str] = field(default_factory=dict, repr=False)
    days: frozenset[date] = field(default=frozenset(), repr=False)
    birth_days: frozenset[date] = field(default=frozenset(), repr=False)
    uids: dict[str, str] = field(default_factory=dict, repr=False)
    values: frozenset[tuple[str, str]] = field(default=frozenset(), repr=False)

    def matches(self, text: str) -> bool:
        """Whether `text` is, or holds, a part of an identifier: strong or weak, in any spelling.

        Single letters never count: an initial L does not make every side letter L a name.
        """
        return next(self.find(text, weak=True), None) is not None

    def certain(self, text: str) -> bool:
        """Whether `text` holds a strong identifier: no word of the trade, nothing of one or two letters, no short number."""
        return next(self.find(text), None) is not None

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
                if not kind and found[0][0] == "0":
                    kind = self.numbers.get(found[0].lstrip("0"))
                if kind and not inside_number(lowered, found.start(), found.end()):
                    yield Match(found.start(), found.end(), kind)
        yield from self._apart(lowered)
        unaccented = lowered if lowered.isascii() else folded(lowered)
        for text in (lowered, unaccented) if unaccented != lowered else (lowered,):
            for phrase, kind in self.phrases.items():
                at = text.find(phrase)
                while at >= 0:
                    yield Match(at, at + len(phrase), kind)
                    at = text.find(phrase, at + 1)
        if self.days or self.birth_days:
            yield from self.dates_in(lowered)
            yield from self._short_birth_days(lowered)
        for uid, kind in self.uids.items():
            at = lowered.find(uid)
            while at >= 0:
                if not inside_number(lowered, at, at + len(uid), digits=True):
                    yield Match(at, at + len(uid), kind)
                at = lowered.find(uid, at + 1)

    def dates_in(self, lowered: str) -> Iterator[Match]:
        """Every place in lower-case text that may mean one of the days."""
        days = self.days | self.birth_days
        compacts = [f"{day.year:04d}{day.month:02d}{day.day:02d}" for day in days]
        for day in self.birth_days:  # day or month first, as national numbers and file names have it
            compacts += [f"{day.day:02d}{day.month:02d}{day.year:04d}", f"{day.month:02d}{day.day:02d}{day.year:04d}"]
        for compact in compacts:
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
        for stem in {stem for day in days for stem in MONTH_STEMS[day.month]}:
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

    def _short_birth_days(self, lowered: str) -> Iterator[Match]:
        """Birth dates of six digits, as in ``220350-1234``; only in text, since a time of day looks the same."""
        for day in self.birth_days:
            year, month, date_ = f"{day.year % 100:02d}", f"{day.month:02d}", f"{day.day:02d}"
            for compact in {year + month + date_, date_ + month + year, month + date_ + year}:
                at = lowered.find(compact)
                while at >= 0:
                    if not inside_number(lowered, at, at + 6, digits=True):
                        yield Match(at, at + 6, "date")
                    at = lowered.find(compact, at + 1)

    def _word(self, found: re.Match[str], weak: bool) -> Iterator[Match]:
        word = found[0]
        forms = (word,) if word.isascii() else (word, *spellings(word))
        for form in (*forms, *(form.replace("'", "").replace("’", "") for form in forms if "'" in form or "’" in form)):
            kind = self.words.get(form) or (self.weak.get(form) if weak else None)
            if kind is not None:
                yield Match(found.start(), found.end(), kind)
                return
        if "'" in word or "’" in word:
            for part in re.split("['’]", word):
                kind = self.words.get(plain(part)) if len(part) > 2 else None
                if kind is not None:
                    yield Match(found.start(), found.end(), kind)
                    return
        if not word.isascii() and not is_latin(word):
            for run in LATIN_RUN.finditer(word):
                for form in spellings(run[0]):
                    kind = self.words.get(form) or (self.weak.get(form) if weak else None)
                    if kind is not None:
                        yield Match(found.start() + run.start(), found.start() + run.end(), kind)

    def _apart(self, lowered: str) -> Iterator[Match]:
        """Names and numbers that stand with a sign or space inside them: ``Mac Kinnon``, ``Oye-laran``, ``123-45-6789``."""
        closed = lowered.translate(_CLOSED)
        if len(closed) == len(lowered):
            return
        if any(len(number) >= 7 and number in closed for number in self.numbers):
            for found in _GROUPED.finditer(lowered):
                kind = self.numbers.get("".join(filter(str.isdigit, found[0])))
                if kind is not None:
                    yield Match(found.start(), found.end(), kind)
        if lowered.isascii() and not any(len(word) >= 4 and word in closed for word in self.words):
            return
        words = list(WORD.finditer(lowered))
        for first in range(len(words)):
            pieces: list[str] = []
            for last in range(first, min(first + _PIECES, len(words))):
                gap = lowered[words[last - 1].end() : words[last].start()] if last > first else ""
                if len(gap) > 2 or gap.strip(_BETWEEN):
                    break
                pieces += plain(words[last][0]).split("'")
                kind = self.words.get("".join(pieces)) if len(pieces) > 1 else None
                # "arm in" is no Armin.
                if kind is not None and not vocabulary().issuperset(pieces):
                    yield Match(words[first].start(), words[last].end(), kind)

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
