"""Values that several parts of ``config.yaml`` share: sizes, durations, AE titles, times of day; and the base of all parts."""

from __future__ import annotations

import re
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_UNITS = {"B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_TIME = r"([01]\d|2[0-3]):[0-5]\d"
_SPAN = rf"{_TIME}-{_TIME}"
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def _size(value: object) -> object:
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?i?B)?\s*", value, re.IGNORECASE)
        if not found:
            raise ValueError("must be a size such as 500MiB or 2GiB")
        return int(float(found[1]) * _UNITS[(found[2] or "B").upper()])
    return value


def _seconds(value: object) -> object:
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", value)
        if not found:
            raise ValueError("must be a duration such as 300s, 5m or 2h")
        return float(found[1]) * _SECONDS[found[2]]
    return value


def off(value: object) -> object:
    """YAML 1.1 reads the bare word ``off`` as false."""
    return "off" if value is False else value


def _ae_title(value: str) -> str:
    # PS3.5 Table 6.2-1, VR AE: 1 to 16 characters of the default repertoire, no backslash, no control characters.
    if not (1 <= len(value) <= 16) or value != value.strip() or not re.fullmatch(r"[\x20-\x5b\x5d-\x7e]+", value):
        raise ValueError("must be an AE title: 1 to 16 printable ASCII characters, no backslash, no spaces at the ends")
    return value


def _send_window(value: str) -> str:
    if not re.fullmatch(rf"{_SPAN}(\s*,\s*{_SPAN})*", value.strip()):
        raise ValueError("must be times of day such as \"19:00-06:00\", several separated by commas")
    return value.strip()


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("must be an IANA time zone such as Europe/Berlin") from error
    return value


def _letter(value: str) -> str:
    if not re.fullmatch(r"[A-Z]", value):
        raise ValueError("must be one capital letter")
    return value


def _password_hash(value: str) -> str:
    if not re.fullmatch(r"scrypt(\$[0-9]+){3}(\$[A-Za-z0-9+/]+=*){2}", value):
        raise ValueError("not as `radanon hash-password` prints it")
    return value


Size = Annotated[int, BeforeValidator(_size), Field(ge=0)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0)]
AETitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]
SendWindow = Annotated[str, AfterValidator(_send_window)]
Letter = Annotated[str, AfterValidator(_letter)]
PasswordHash = Annotated[str, AfterValidator(_password_hash)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]


class Settings(BaseModel):
    """Base of all parts: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
