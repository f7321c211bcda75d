"""The reference tables of PS3.15 Annex E as values, read once from the package's data files."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

from pydicom.datadict import dictionary_VR, keyword_for_tag

OPTION_COLUMNS: dict[str, str] = {
    "retain_safe_private": "retain_safe_private",
    "retain_uids": "retain_uids",
    "retain_device_identity": "retain_device_identity",
    "retain_institution_identity": "retain_institution_identity",
    "retain_patient_characteristics": "retain_patient_characteristics",
    "retain_long_full_dates": "retain_longitudinal_full_dates",
    "retain_long_modified_dates": "retain_longitudinal_modified_dates",
    "clean_descriptors": "clean_descriptors",
    "clean_structured_content": "clean_structured_content",
    "clean_graphics": "clean_graphics",
}
"""Column of Table E.1-1 -> name of the option in the settings."""

METHOD_CODES: dict[str, str] = {
    "basic": "113100",
    "clean_pixel_data": "113101",
    "clean_recognizable_visual_features": "113102",
    "clean_graphics": "113103",
    "clean_structured_content": "113104",
    "clean_descriptors": "113105",
    "retain_longitudinal_full_dates": "113106",
    "retain_longitudinal_modified_dates": "113107",
    "retain_patient_characteristics": "113108",
    "retain_device_identity": "113109",
    "retain_uids": "113110",
    "retain_safe_private": "113111",
    "retain_institution_identity": "113112",
}
"""Option -> code of CID 7050, De-identification Method."""


@dataclass(frozen=True, slots=True)
class Row:
    """One attribute of Table E.1-1, or of the supplement beside it.

    Parameters
    ----------
    tag : int
        (gggg,eeee) as one number; for the repeating groups 50xx and 60xx the number of group 5000 or 6000.
    keyword : str
        The dictionary's keyword; the tag's digits where the dictionary has none.
    vr : str
        The dictionary's VR; empty where it has none.
    basic : str
        Action code of the Basic Profile, possibly compound such as ``X/Z/D``.
    options : dict of str to str
        Option name -> ``K`` or ``C``.
    name : str
        As the standard prints it.
    source : str
        ``E.1-1`` or ``supplement``.
    """

    tag: int
    keyword: str
    vr: str
    basic: str
    options: dict[str, str]
    name: str
    source: str = "E.1-1"


@dataclass(frozen=True, slots=True)
class Concept:
    """One row of Table E.3.4-1: what becomes of a content item whose concept name this is."""

    code: str
    scheme: str
    value_type: str
    meaning: str
    basic: str
    options: dict[str, str]


@dataclass(frozen=True, slots=True)
class SafePrivate:
    """One row of Table E.3.10-1: a private attribute known to hold no identity."""

    creator: str
    group: int
    low: int
    vrs: tuple[str, ...]
    meaning: str


def read_csv(name: str) -> Iterator[dict[str, str]]:
    """The rows of one of the package's data files."""
    text = resources.files("radanon_node.tags.data").joinpath(name).read_text(encoding="utf-8")
    lines = csv.reader(text.splitlines())
    names = next(lines)
    for line in lines:  # csv.DictReader does the same in twice the time
        yield dict(zip(names, line, strict=True))


def parse_tag(text: str) -> int:
    """``(0008,0050)`` -> 0x00080050; an ``x`` counts as 0.

    Examples
    --------
    >>> hex(parse_tag("(60xx,3000)"))
    '0x60003000'
    """
    digits = text.strip("() ").replace(",", "").lower().replace("x", "0")
    return int(digits, 16)


@lru_cache(maxsize=1 << 14)
def keyword_of(tag: int) -> str:
    return keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


@cache
def profile_rows() -> dict[int, Row]:
    """Table E.1-1 by tag, the repeating groups and private attributes left to the engine, with the supplement."""
    rows: dict[int, Row] = {}
    for line in read_csv("ps3_15_e1_1.csv"):
        if "gggg" in line["tag"] or line["tag"].startswith("(50xx"):
            continue
        tag = parse_tag(line["tag"])
        options = {option: line[column] for column, option in OPTION_COLUMNS.items() if line[column]}
        rows[tag] = Row(tag, keyword_of(tag), _vr(tag), line["basic"], options, line["name"])
    for line in read_csv("supplement.csv"):
        tag = parse_tag(line["tag"])
        uid = {"retain_uids": "K"} if line["action"] == "U" else {}
        rows[tag] = Row(tag, line["keyword"], _vr(tag), line["action"], uid, line["why"], "supplement")
    return rows


@cache
def concepts() -> dict[tuple[str, str, str], Concept]:
    """Table E.3.4-1 by (code value, scheme, value type)."""
    table: dict[tuple[str, str, str], Concept] = {}
    for line in read_csv("ps3_15_e3_4_1_sr_concepts.csv"):
        options = {option: line[column] for column, option in OPTION_COLUMNS.items() if line.get(column)}
        key = (line["code"], line["scheme"].split(" ")[0], line["value_type"])
        table[key] = Concept(*key, line["meaning"], line["basic"], options)
    return table


@cache
def safe_private() -> dict[tuple[str, int, int], SafePrivate]:
    """Table E.3.10-1 by (private creator, group, low byte of the element)."""
    table: dict[tuple[str, int, int], SafePrivate] = {}
    for line in read_csv("ps3_15_e3_10_1_safe_private.csv"):
        group, element = line["tag"].strip("()").split(",")
        vrs = tuple(part.strip() for part in line["vr"].replace(" or ", "/").split("/") if part.strip())
        row = SafePrivate(line["private_creator"].strip(), int(group, 16), int(element[2:], 16), vrs, line["meaning"])
        table[row.creator, row.group, row.low] = row
    return table


@cache
def method_meanings() -> dict[str, str]:
    """CID 7050: code value -> code meaning."""
    return {line["code"]: line["meaning"] for line in read_csv("cid_7050.csv")}


@cache
def vocabulary() -> frozenset[str]:
    """Lower-case words that belong to the trade (attribute names, anatomy, makers) and identify nobody by themselves."""
    return frozenset(resources.files("radanon_node.tags.data").joinpath("vocabulary.txt").read_text(encoding="utf-8").split())
