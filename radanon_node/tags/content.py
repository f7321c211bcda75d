"""Content trees of structured reports under the Clean Structured Content Option (PS3.15 E.3.4, Table E.3.4-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from radanon_node.tags import dates, dummies
from radanon_node.tags.plan import Node
from radanon_node.tags.raw import ascii_text, elements, encoded, encodings_of, make, text_of, value_bytes
from radanon_node.tags.sequences import items_of
from radanon_node.tags.tables import Concept, concepts
from radanon_node.tags.text import clean
from radanon_node.tags.values import DUMMY_DATE, DUMMY_DATETIME, DUMMY_TEXT, DUMMY_TIME

if TYPE_CHECKING:
    from radanon_node.tags.walk import Walk

TREES = frozenset({"ContentSequence", "AcquisitionContextSequence", "SpecimenPreparationSequence"})
"""Sequences whose items, or items below, are content items with a concept name."""

_CONCEPT_NAME, _CONCEPT_CODE, _VALUE_TYPE = BaseTag(0x0040A043), BaseTag(0x0040A168), BaseTag(0x0040A040)
_CONTENT, _STEPS, _BY_REFERENCE = BaseTag(0x0040A730), BaseTag(0x00400612), BaseTag(0x0040DB73)
_TEXT, _NAME, _UID = BaseTag(0x0040A160), BaseTag(0x0040A123), BaseTag(0x0040A124)
_DATETIME, _DATE, _TIME = BaseTag(0x0040A120), BaseTag(0x0040A121), BaseTag(0x0040A122)
_MEASURED, _NUMERIC = BaseTag(0x0040A300), BaseTag(0x0040A30A)
_DATE_TAGS = {"DATE": (_DATE, "DA", DUMMY_DATE), "TIME": (_TIME, "TM", DUMMY_TIME), "DATETIME": (_DATETIME, "DT", DUMMY_DATETIME)}
_VALUE_TAGS = {_TEXT: "TEXT", _NAME: "PNAME", _UID: "UIDREF", _DATE: "DATE", _TIME: "TIME", _DATETIME: "DATETIME", _MEASURED: "NUM",
               _NUMERIC: "NUM", _CONCEPT_CODE: "CODE"}  # fmt: skip


def clean_items(walk: Walk, source: Dataset, tag: BaseTag, node: Node, codecs: list[str], depth: int, where: str) -> list[Dataset]:
    """The items of a content tree, each dealt with as its concept says.

    Items that the table removes go with all below them; where the tree refers to its items by their position, they stay as dummies
    instead, so that the positions of the others stay true.
    """
    may_drop = not _refers_by_position(source, tag)
    return _items(walk, source, tag, node, codecs, depth, where, may_drop)


def _items(
    walk: Walk, source: Dataset, tag: BaseTag, node: Node, codecs: list[str], depth: int, where: str, may_drop: bool
) -> list[Dataset]:
    child = node.child(int(tag))
    scrubbed = _without_content(walk, source, tag, node, codecs, depth, where)
    made = []
    for original, result in scrubbed:
        own_codecs = encodings_of(original, codecs)
        row, value_type = concept_of(original)
        option, code = walk.scrubber.policy.concept_decision(row.basic, row.options) if row is not None else ("", "")
        if code == "X" and may_drop:
            continue
        stored = elements(result)
        for below in (_CONTENT, _STEPS):
            if below in elements(original):
                items = _items(walk, original, below, child, own_codecs, depth + 1, where, may_drop)
                if items:
                    stored[below] = DataElement(below, "SQ", Sequence(items))
                else:
                    stored.pop(below, None)
        _set_value(walk, original, result, value_type, option, code, own_codecs)
        made.append(result)
    return made


def _without_content(
    walk: Walk, source: Dataset, tag: BaseTag, node: Node, codecs: list[str], depth: int, where: str
) -> list[tuple[Dataset, Dataset]]:
    """Each item, and its scrubbed copy without the content below it."""
    pairs = []
    child = node.child(int(tag))
    for index, original in enumerate(items_of(source, tag) or ()):
        shallow = Dataset({key: element for key, element in elements(original).items() if key not in (_CONTENT, _STEPS)})
        implicit, little = original.original_encoding
        if implicit is not None and little is not None:
            shallow.set_original_encoding(implicit, little, original.original_character_set)
        below = f"{where}/ContentSequence[{index}]".lstrip("/") if walk.fates is not None else ""
        pairs.append((original, walk.level(shallow, child, codecs, depth + 1, below)))
    return pairs


def concept_of(item: Dataset) -> tuple[Concept | None, str]:
    """The row of Table E.3.4-1 for a content item, and its value type."""
    stored = elements(item)
    value_type = ascii_text(stored.get(_VALUE_TYPE)) or next((kind for tag, kind in _VALUE_TAGS.items() if tag in stored), "")
    names = items_of(item, _CONCEPT_NAME) if _CONCEPT_NAME in stored else None
    if not names:
        return None, value_type
    name = elements(names[0])
    code = next((ascii_text(name[BaseTag(tag)]) for tag in (0x00080100, 0x00080119) if BaseTag(tag) in name), "")
    scheme = ascii_text(name.get(BaseTag(0x00080102))).split(" ")[0]
    scheme = {"SRT": "SCT", "SNM3": "SCT", "99SDM": "SCT"}.get(scheme, scheme)
    return concepts().get((code, scheme, value_type)), value_type


def _set_value(walk: Walk, original: Dataset, result: Dataset, value_type: str, option: str, code: str, codecs: list[str]) -> None:
    """Write the value of a content item as its concept, or else its value type, wants it."""
    source, into = elements(original), elements(result)
    options = walk.scrubber.policy.options
    if value_type == "TEXT" and _TEXT in source:
        if code == "K" or (code not in ("C", "") and option != "basic"):
            return
        text = text_of(source[_TEXT], codecs, "UT")
        cleaned = "" if code in ("D", "X", "X/D") else clean(text, walk.hunted)
        into[_TEXT] = make(_TEXT, "UT", encoded(cleaned or DUMMY_TEXT, codecs), result)
    elif value_type == "UIDREF" and _UID in source and (code == "K" or "retain_uids" in options):
        into[_UID] = source[_UID]
    elif value_type in _DATE_TAGS:
        tag, vr, dummy = _DATE_TAGS[value_type]
        if tag in source and code in ("D", "X", "X/D"):
            into[tag] = make(tag, vr, dummy.encode("ascii"), result)
    elif value_type == "CODE" and _CONCEPT_CODE in source and code in ("D", "X", "X/D"):
        into[_CONCEPT_CODE] = DataElement(_CONCEPT_CODE, "SQ", Sequence([dummies.code_item(result)]))
    elif value_type == "NUM":
        _set_number(result, original, code)


def _set_number(result: Dataset, original: Dataset, code: str) -> None:
    """A measured age above 89 years is given as 90; a number that must go keeps no value."""
    into = elements(result)
    if code in ("X", "D", "X/D"):
        if _MEASURED in into:
            into[_MEASURED] = DataElement(_MEASURED, "SQ", Sequence())
        return
    row, _ = concept_of(original)
    if row is None or row.code != "121033" or _MEASURED not in into:
        return
    for measured in items_of(result, _MEASURED) or ():
        stored = elements(measured)
        units = next(iter(items_of(measured, BaseTag(0x004008EA)) or ()), None) if BaseTag(0x004008EA) in stored else None
        unit = ascii_text(elements(units).get(BaseTag(0x00080100))) if units is not None else "a"
        per_year = {"a": 1.0, "mo": 12.0, "wk": 52.1775, "d": 365.2425}.get(unit, 1.0)
        try:
            too_old = float(value_bytes(stored[_NUMERIC])) / per_year >= dates.OLDEST_AGE
        except (KeyError, ValueError):
            too_old = True
        if too_old:
            stored[_NUMERIC] = make(_NUMERIC, "DS", str(int(dates.OLDEST_AGE * per_year)).encode(), measured)


def _refers_by_position(source: Dataset, tag: BaseTag) -> bool:
    for item in items_of(source, tag) or ():
        stored = elements(item)
        if _BY_REFERENCE in stored or (_CONTENT in stored and _refers_by_position(item, _CONTENT)):
            return True
    return False
