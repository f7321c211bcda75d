"""Moving dates: DA, DT, TM and AS values (PS3.5 Table 6.2-1) under Retain Longitudinal Temporal Information Modified Dates.

Every function works on one component of a value (no backslash) and returns None when it cannot read it: the caller then falls
back to the Basic Profile, so that nothing unreadable is taken for moved.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

# ACR-NEMA wrote dates with dots; ISO hyphens are met too. Year and month may stand alone (legacy, and legal in DT).
_DA = re.compile(r"(\d{4})(?:([.\-/]?)(\d{2})(?:\2(\d{2}))?)?$")
_DT = re.compile(r"(\d{4}(?:\d{2}(?:\d{2}(?:\d{2}(?:\d{2}(?:\d{2})?)?)?)?)?)(\.\d{1,6})?([+-]\d{4})?$")
_TM = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(\.\d{1,6})?)?)?$")
_AS = re.compile(r"(\d{3})([DWMY])$")
OLDEST_AGE = 90
"""Ages above 89 years are given as this (45 CFR 164.514(b)(2)(i)(C))."""


def _parts(year: str, month: str | None, day: str | None) -> date | None:
    try:
        return date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        return None


def parse_date(text: str) -> date | None:
    """The day a DA component names; the first day of a month or year given alone."""
    found = _DA.fullmatch(text.strip())
    return _parts(found[1], found[3], found[4]) if found else None


def shift_date(text: str, days: int) -> str | None:
    """A DA component moved back by `days`, in the precision it was given and without separators.

    Examples
    --------
    >>> shift_date("2024.03.01", 1), shift_date("202403", 1), shift_date("00000000", 1)
    ('20240229', '202402', None)
    """
    text = text.strip()
    if "-" in text and (ends := re.fullmatch(r"(\d{8})?-(\d{8})?", text)):
        moved = [shift_date(end, days) if end else "" for end in ends.groups()]
        return None if None in moved else f"{moved[0]}-{moved[1]}"
    found = _DA.fullmatch(text)
    day = parse_date(text)
    if found is None or day is None:
        return None
    try:
        moved_day = day - timedelta(days=days)
    except OverflowError:
        return None
    length = 8 if found[4] else 6 if found[3] else 4
    return f"{moved_day.year:04d}{moved_day.month:02d}{moved_day.day:02d}"[:length]


def shift_datetime(text: str, days: int, seconds: int = 0) -> str | None:
    """A DT component moved back by `days` and `seconds`; fraction, zone and precision stay.

    Examples
    --------
    >>> shift_datetime("20240301123000.5+0100", 1), shift_datetime("2024", 40)
    ('20240229123000.5+0100', '2023')
    """
    text = text.strip()
    found = _DT.fullmatch(text)
    if found is None:
        return shift_date(text, days)
    digits = found[1]
    padded = digits + "00000101000000"[len(digits):]
    second = min(int(padded[12:14]), 59)  # 60 is a leap second in DICOM
    try:
        year, month, day, hour, minute = (int(padded[a:b]) for a, b in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12)))
        moment = datetime(year, month, day, hour, minute, second)
        moment -= timedelta(days=days, seconds=seconds if len(digits) > 8 else 0)
    except (ValueError, OverflowError):
        return None
    return f"{moment.year:04d}{moment:%m%d%H%M%S}"[: len(digits)] + (found[2] or "") + (found[3] or "")


def valid_time(text: str) -> bool:
    """Whether a TM component can be read."""
    found = _TM.fullmatch(text.strip())
    return found is not None and int(found[1]) < 24 and int(found[2] or 0) < 60 and int(found[3] or 0) <= 60


def shift_time(text: str, seconds: int) -> tuple[str, int] | None:
    """A TM component moved back by `seconds` round the clock.

    Returns
    -------
    (str, int) or None
        The new time, in the precision it was given, and how many days earlier it falls: 0 or 1.

    Examples
    --------
    >>> shift_time("003000.25", 3600)
    ('233000.25', 1)
    """
    text = text.strip()
    found = _TM.fullmatch(text)
    if found is None or not valid_time(text):
        return None
    of_day = int(found[1]) * 3600 + int(found[2] or 0) * 60 + min(int(found[3] or 0), 59)
    days, left = divmod(of_day - seconds, 86400)
    length = 6 if found[3] else 4 if found[2] else 2
    clock = f"{left // 3600:02d}{left // 60 % 60:02d}{left % 60:02d}"[:length]
    return clock + (found[4] or ""), -days


def cap_age(text: str) -> str | None:
    """An AS component with ages over 89 years given as 90 years; None if it is no age.

    Examples
    --------
    >>> cap_age("095Y"), cap_age("034Y"), cap_age("old")
    ('090Y', '034Y', None)
    """
    found = _AS.fullmatch(text.strip())
    if found is None:
        return None
    years = int(found[1]) / {"Y": 1, "M": 12, "W": 52.1775, "D": 365.2425}[found[2]]
    return f"{OLDEST_AGE:03d}Y" if years >= OLDEST_AGE else found[0]
