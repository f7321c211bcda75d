"""Words of names and free text brought to one form, so that spellings of the same name compare equal."""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from functools import lru_cache

_LIGATURES = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})
_DIGRAPHS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae", "ß": "ss"})
_BACK = re.compile(r"([aou])e")
_NOT_LATIN = re.compile(r"[^\x00-\u024f\u0300-\u036f\u1e00-\u1eff]")
# Signs that are parts of a word though they are no letters: accents and vowel points of their own (Latin, Cyrillic, Hebrew, Arabic,
# the scripts of India and South-East Asia, kana), and what is not seen at all (soft hyphen, joiners).
_INVISIBLE = "\u00ad\u200b-\u200d\u2060\ufeff"
_ATTACHED = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u0711\u0730-\u074a"
    "\u0900-\u0963\u0966-\u0dff\u0e31-\u0e3a\u0e40-\u0e4e\u0eb1-\u0ebc\u0ec8-\u0ecd\u1000-\u109f\u1780-\u17d3\u20d0-\u20ff\u3099\u309a"
)
_LETTERS = rf"[^\W\d_](?:[^\W\d_]|[{_ATTACHED}{_INVISIBLE}])*"
WORD = re.compile(rf"{_LETTERS}(?:['’]{_LETTERS})*")
"""A word: letters of any script with what belongs to them, apostrophes inside."""
LATIN_RUN = re.compile("[a-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0300-\u036f\u1e00-\u1eff]+")
"""Small Latin letters within a word that goes on in another script, as in 患者doe."""

_UNSEEN = re.compile(f"[{_INVISIBLE}]")
_UNACCENTED = str.maketrans("άέήίϊΐόύϋΰώςё", "αεηιιιουυυωσе")

_MONTHS = {name: number for number, names in enumerate((
    "jan january januar janvier enero gennaio janeiro jänner", "feb february februar février febrero febbraio fevereiro",
    "mar march märz mars marzo março mrz", "apr april avril abril aprile", "may mai mayo maggio maio", "jun june juni juin junio giugno",
    "jul july juli juillet julio luglio", "aug august août agosto", "sep sept september septembre septiembre settembre",
    "oct october oktober octobre octubre ottobre okt", "nov november novembre noviembre", "dec december dezember décembre diciembre dez",
), start=1) for name in names.split()}  # fmt: skip
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
DATES = re.compile(
    r"(?<!\d)(?:"
    r"(?P<compact>(?:1[89]|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(?=(?:\d\d){0,3}(?!\d))"
    r"|(?P<y>(?:1[89]|20)\d\d)[-./](?P<m>\d{1,2})[-./](?P<d>\d{1,2})(?!\d)"
    r"|(?<!\.)(?P<a>\d{1,2})(?P<between>[-./]) ?(?P<b>\d{1,2})(?P=between) ?(?P<y2>(?:1[89]|20)\d\d|\d\d)(?!\d|\.\d|/)"
    r"|(?<!\.)(?P<a6>\d{1,2}) (?P<b6>\d{1,2}) (?P<y6>(?:1[89]|20)\d\d)(?!\d|\.\d)"
    rf"|(?P<d3>\d{{1,2}})(?:st|nd|rd|th|\.)?[- ]*(?P<m3>{_MONTH})\.?,?[- ]*(?P<y3>(?:1[89]|20)?\d\d)(?!\d)"
    r")"
    rf"|(?<![^\W\d_])(?P<m4>{_MONTH})\.?[- ]+(?P<d4>\d{{1,2}})(?:st|nd|rd|th)?,?[- ]+(?P<y4>(?:1[89]|20)?\d\d)(?!\d)"
    rf"|(?<!\d)(?P<y5>(?:1[89]|20)\d\d)[- ](?P<m5>{_MONTH})[- ](?P<d5>\d{{1,2}})(?!\d)"
    r"|(?P<ky>(?:1[89]|20)\d\d)\s?[年년]\s?(?P<km>\d{1,2})\s?[月월]\s?(?P<kd>\d{1,2})\s?[日일]"
)
"""A day in one of the usual spellings, in lower-case text."""

MONTH_STEMS = {number: tuple(sorted({name[:3] for name in _MONTHS if _MONTHS[name] == number} | {"年", "년"})) for number in range(1, 13)}
"""Month -> one of these is in every date of that month that is not digits and separators alone."""

SEPARATED = re.compile(r"[-./ ]\d{1,2}[-./ ]{1,2}\d")
"""Cheap to look for, and in every date of digits with separators."""


@lru_cache(maxsize=4096)
def plain(word: str) -> str:
    """`word` without case and accents.

    Examples
    --------
    >>> plain("MÜLLER"), plain("O’Neill"), plain("Łukasz")
    ('muller', "o'neill", 'lukasz')
    """
    if word.isascii():
        return word.lower()
    lowered = visible(word).casefold().translate(_LIGATURES).replace("’", "'")
    return "".join(mark for mark in unicodedata.normalize("NFKD", lowered) if not unicodedata.combining(mark))


def visible(word: str) -> str:
    """`word` composed (Unicode NFC), without soft hyphens and joiners."""
    return word if word.isascii() else unicodedata.normalize("NFC", _UNSEEN.sub("", word))


def folded(text: str) -> str:
    """Small letters of Greek and Cyrillic without the accents that capitals are written without; of the same length.

    Examples
    --------
    >>> folded("παπαδόπουλος"), folded("королёв")
    ('παπαδοπουλοσ', 'королев')
    """
    return text.translate(_UNACCENTED)


def spellings(word: str) -> set[str]:
    """The plain forms a word is met in: without accents, and with the digraphs of German and Nordic languages.

    Examples
    --------
    >>> sorted(spellings("Müller"))
    ['mueller', 'muller']
    """
    if word.isascii():
        lowered = word.lower()
        # The other way round: a name sent as Mueller is found where somebody wrote Müller.
        return {lowered, _BACK.sub(r"\1", lowered)} if len(lowered) > 4 else {lowered}
    return {plain(word), plain(visible(word).lower().translate(_DIGRAPHS))}


def is_latin(word: str) -> bool:
    """Whether words of its script are set apart by spaces, so that whole words can be compared."""
    return _NOT_LATIN.search(word) is None


def days_in(found: re.Match[str]) -> list[date]:
    """The days that a match of `DATES` may mean: several where day and month, or the century, are not told apart."""
    part = found.groupdict()
    if part["compact"]:
        text = part["compact"]
        candidates = [(text[:4], text[4:6], text[6:8])]
    elif part["a"]:
        candidates = [(part["y2"], part["a"], part["b"]), (part["y2"], part["b"], part["a"])]
        if len(part["a"]) == 2 and len(part["y2"]) == 2:
            candidates.append((part["a"], part["b"], part["y2"]))
    elif part["a6"]:
        candidates = [(part["y6"], part["a6"], part["b6"]), (part["y6"], part["b6"], part["a6"])]
    else:
        candidates = []
        for year, month, day in (("y", "m", "d"), ("y3", "m3", "d3"), ("y4", "m4", "d4"), ("y5", "m5", "d5"), ("ky", "km", "kd")):
            if part[year]:
                candidates.append((part[year], part[month], part[day]))
    days = []
    for year, month, day in candidates:
        for century in ("",) if len(year) == 4 else ("19", "20"):
            try:
                days.append(date(int(century + year), _MONTHS.get(month) or int(month), int(day)))
            except ValueError:
                continue
    return days
