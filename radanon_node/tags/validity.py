"""The check after scrubbing: nothing that the IOD requires was lost or emptied (PS3.5 Section 7.4)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from radanon_node.errors import HoldInstance, Reason
from radanon_node.tags.dummies import MAKERS
from radanon_node.tags.iods import IodTypes, iod_types
from radanon_node.tags.policy import describe_path
from radanon_node.tags.raw import Element, ascii_text, elements
from radanon_node.tags.sequences import items_of
from radanon_node.tags.tables import keyword_of, profile_rows

_REQUIRED = tuple(BaseTag(tag) for tag in (
    0x00080016, 0x00080018, 0x00080060, 0x00100010, 0x00100020, 0x0020000D, 0x0020000E, 0x00280002, 0x00280004, 0x00280010, 0x00280011,
    0x00280100, 0x00280101, 0x00280102, 0x00280103,
))  # fmt: skip
"""Type 1 or 2 in every IOD that has them: instance, series and study, modality, patient, and how pixels are laid out."""


def _is_empty(element: Element) -> bool:
    value = element.value
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def check(original: Dataset, cleaned: Dataset, sop_class_uid: str) -> None:
    """Compare what is about to leave with what was received.

    Parameters
    ----------
    original : Dataset
        As received.
    cleaned : Dataset
        As read back from the encoded result.
    sop_class_uid : str
        Of the result; must be the original's.

    Raises
    ------
    HoldInstance
        ``invalid_output``: a Type 1 attribute was lost or emptied, a Type 2 one was lost, or the SOP Class changed. The text names
        the attribute, never a value.
    """
    if ascii_text(elements(original).get(_REQUIRED[0])) != sop_class_uid:
        raise HoldInstance(Reason.INVALID_OUTPUT, "the SOP Class UID changed")
    for tag in _REQUIRED:
        before, after = elements(original).get(tag), elements(cleaned).get(tag)
        if before is not None and not _is_empty(before) and (after is None or _is_empty(after)):
            raise HoldInstance(Reason.INVALID_OUTPUT, f"{describe_path((tag,))} was lost")
    _compare(original, cleaned, iod_types(sop_class_uid), ())


def _compare(original: Dataset, cleaned: Dataset, types: IodTypes, path: tuple[int, ...]) -> None:
    after = elements(cleaned)
    names = tuple(keyword_of(tag) for tag in path)
    rows = profile_rows()
    for tag, element in elements(original).items():
        number = int(tag)
        if number >> 16 & 1:
            continue
        found = after.get(tag)
        if types.known and number in rows:
            kind = types.type_of(names, keyword_of(number))
            if kind in ("1", "2") and found is None:
                raise HoldInstance(Reason.INVALID_OUTPUT, f"{describe_path((*path, number))} is Type {kind} and was lost")
            if kind == "1" and found is not None and _is_empty(found) and not _is_empty(element):
                raise HoldInstance(Reason.INVALID_OUTPUT, f"{describe_path((*path, number))} is Type 1 and was emptied")
        if found is not None and found.VR == "SQ" and element.VR == "SQ" and keyword_of(number) not in MAKERS:
            before_items, after_items = items_of(original, number) or [], items_of(cleaned, number) or []
            if len(before_items) == len(after_items):
                for before_item, after_item in zip(before_items, after_items, strict=True):
                    _compare(before_item, after_item, types, (*path, number))
