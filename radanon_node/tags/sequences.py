"""Sequences however they come: parsed, raw, or as UN (PS3.5 Section 6.2.2), of defined or undefined length."""

from __future__ import annotations

from functools import cache
from io import BytesIO

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_sequence
from pydicom.tag import BaseTag

from radanon_node.tags.raw import elements

_ITEM = b"\xfe\xff\x00\xe0"


@cache
def public_vr(tag: int) -> str:
    """The dictionary's VR of a public attribute, the first of several; empty if the dictionary does not have it."""
    try:
        return dictionary_VR(tag).split(" ")[0]
    except KeyError:
        return ""


@cache
def is_named(tag: int) -> bool:
    """Whether the standard still says what a public attribute is: a few retired numbers have lost their names (PS3.6 Chapter 6)."""
    return bool(keyword_for_tag(tag))


def items_of(dataset: Dataset, tag: int) -> list[Dataset] | None:
    """The items of an element.

    Parameters
    ----------
    dataset : Dataset
    tag : int

    Returns
    -------
    list of Dataset or None
        None if it is no sequence, or bytes that say they are one and cannot be parsed.
    """
    element = elements(dataset)[BaseTag(tag)]
    if not isinstance(element, RawDataElement):
        return list(element.value) if element.VR == "SQ" and element.value is not None else None
    value = element.value or b""
    vr = element.VR
    is_sequence = vr == "SQ" or (vr in (None, "UN") and public_vr(tag) == "SQ")
    if not is_sequence and not (vr in (None, "UN") and len(value) >= 8 and value.startswith(_ITEM)):
        return None
    if not value:
        return []
    # The content of a UN is implicit VR little endian whatever the transfer syntax; some writers put explicit VR into it.
    tries = [(element.is_implicit_VR, element.is_little_endian)] if vr == "SQ" or vr is None else [(True, True), (False, True)]
    for implicit, little in tries:
        parsed = _parse(value, implicit, little, dataset, strict=vr == "UN")
        if parsed is not None:
            return parsed
    return None


def _parse(value: bytes, implicit: bool, little: bool, parent: Dataset, strict: bool) -> list[Dataset] | None:
    charset = parent.original_character_set or "iso8859"
    stream = BytesIO(value)
    try:
        sequence = read_sequence(stream, implicit, little, len(value), charset)
        for item in sequence:
            if not _plausible(item, implicit, strict):
                return None
    except Exception:  # noqa: BLE001  pydicom's parser fails on hostile bytes in many ways; all of them mean "no sequence"
        return None
    if stream.tell() < len(value) and any(value[stream.tell():]):
        return None
    items = list(sequence)
    for item in items:
        item.set_original_encoding(implicit, little, item.original_character_set or charset)
    return items


def _plausible(item: Dataset, implicit: bool, strict: bool) -> bool:
    """Whether the elements of an item are what its encoding says, and no value was cut off."""
    previous = -1
    for tag, element in elements(item).items():
        if strict and tag <= previous:
            return False
        previous = int(tag)
        if isinstance(element, RawDataElement):
            if element.length != 0xFFFFFFFF and len(element.value or b"") != element.length:
                return False
            if not implicit and (element.VR is None or not element.VR.isalpha()):
                return False
    return True
