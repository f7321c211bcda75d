"""A strict reader of encoded data sets (PS3.5 Section 7): every byte is accounted for, or the instance is held.

pydicom's own reader is made to open as many files as it can: it guesses the VR encoding, lets a later element replace an
earlier one of the same tag and stops silently at a broken end. Here each of these is a verdict. Values stay raw
(`RawDataElement`) so that elements nobody changes are written back without having been converted.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cache, lru_cache
from struct import Struct

from pydicom import config
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, empty_value_for_VR
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.types import Buffer
from radanon_node.tags.raw import dataset_of

# pydicom warns of invalid values by quoting them, on standard error and in its log: names would stand there (law 5).
config.settings.reading_validation_mode = config.IGNORE

UNDEFINED = 0xFFFFFFFF
MAX_DEPTH = 32
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
FLOAT_PIXELS, DOUBLE_PIXELS, PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010
PIXEL_TAGS = frozenset({FLOAT_PIXELS, DOUBLE_PIXELS, PIXELS})
EXTENDED_OFFSETS, EXTENDED_LENGTHS, TOTAL_LENGTH = 0x7FE00001, 0x7FE00002, 0x7FE00003

# PS3.5 Table 7.1-1: VRs with two reserved bytes and a 32-bit length, and Table 7.1-2: those with a 16-bit length.
LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
SHORT_VRS = ("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US")
_VRS: dict[bytes, tuple[str, bool]] = {
    **{vr.encode(): (vr, False) for vr in SHORT_VRS},
    **{vr.encode(): (vr, True) for vr in LONG_VRS},
}


_tag = lru_cache(maxsize=1 << 14)(BaseTag)  # the same few hundred tags, instance after instance
_raw = tuple.__new__  # RawDataElement without the detour over its defaults


class Formats:
    """The fixed parts of element headers in one byte order."""

    def __init__(self, order: str) -> None:
        self.explicit = Struct(f"{order}HH2sH").unpack_from  # group, element, VR, length or reserved
        self.implicit = Struct(f"{order}HHL").unpack_from  # group, element, length
        self.length = Struct(f"{order}L").unpack_from


LITTLE, BIG = Formats("<"), Formats(">")


@dataclass(slots=True)
class RawPixels:
    """The top-level pixel element as it lies in the file.

    Parameters
    ----------
    tag : int
    vr : str or None
        None in implicit VR.
    start, stop : int
        Of the value; for encapsulated pixels, of the items without the sequence delimiter.
    undefined : bool
        Encapsulated.
    fragments : list of (int, int)
        Start and stop in the file of each item's value, the Basic Offset Table first.
    """

    tag: int
    vr: str | None
    start: int
    stop: int
    undefined: bool
    fragments: list[tuple[int, int]]


@dataclass(slots=True)
class Findings:
    """What the reader saw on its way besides the elements."""

    pixels: RawPixels | None = None
    nested_pixels: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def broken(position: int, what: str) -> HoldInstance:
    return HoldInstance(Reason.UNPARSABLE_DATASET, f"at byte {position}: {what}")


def read_dataset(data: Buffer, start: int, implicit: bool, little: bool) -> tuple[Dataset, Findings]:
    """Parse the data set that fills `data` from `start` to its end.

    Parameters
    ----------
    data : Buffer
    start : int
    implicit, little : bool
        VR and byte order of the transfer syntax.

    Returns
    -------
    Dataset
        All elements but the top-level pixel element; sequences parsed, everything else raw.
    Findings
        Where the pixel element is, and which sequences hold Pixel Data of their own.

    Raises
    ------
    HoldInstance
        ``unparsable_dataset``.
    """
    findings = Findings()
    reader = _Reader(data, findings)
    dataset, _ = reader.dataset(start, len(data), implicit, little, None, False, 0, "")
    return dataset, findings


class _Reader:
    def __init__(self, data: Buffer, findings: Findings) -> None:
        self.data = data
        self.findings = findings
        self.cut = data.__getitem__ if isinstance(data, bytes) else lambda part: bytes(data[part])

    def dataset(
        self, pos: int, end: int, implicit: bool, little: bool, encoding: list[str] | None, delimited: bool, depth: int, path: str
    ) -> tuple[Dataset, int]:
        """One data set: `delimited` ones end with an Item Delimitation Item, others exactly at `end`."""
        if depth > MAX_DEPTH:
            raise broken(pos, f"sequences nested deeper than {MAX_DEPTH}")
        data, cut, formats = self.data, self.cut, LITTLE if little else BIG
        explicit_header, implicit_header, long_length = formats.explicit, formats.implicit, formats.length
        elements: dict[BaseTag, RawDataElement | DataElement] = {}
        closed = not delimited
        vr: str | None
        while pos < end:
            begin = pos
            if end - pos < 8:
                if depth == 0 and not any(data[pos:end]):
                    self.findings.notes.append("zero bytes after the last element")
                    pos = end
                    break
                raise broken(pos, "the data set ends inside an element header")
            if implicit:
                group, number, length = implicit_header(data, pos)
                tag = group << 16 | number
                pos += 8
                vr = None
            else:
                group, number, code, length = explicit_header(data, pos)
                tag = group << 16 | number
                pos += 8
                if group != 0xFFFE:
                    try:
                        vr, is_long = _VRS[code]
                    except KeyError:
                        if depth == 0 and tag == 0 and not any(data[begin:end]):
                            self.findings.notes.append("zero bytes after the last element")
                            pos = end
                            break
                        raise broken(begin, "no valid VR where the transfer syntax asks for one") from None
                    if is_long:
                        if end - pos < 4:
                            raise broken(pos, "the data set ends inside an element header")
                        (length,) = long_length(data, pos)
                        pos += 4
            if group == 0xFFFE:
                if tag == ITEM_END and delimited:
                    closed = True
                    break
                raise broken(begin, "an item or delimiter where an element is expected")
            if tag == 0 and implicit and depth == 0 and not any(data[begin:end]):
                self.findings.notes.append("zero bytes after the last element")
                pos = end
                break
            key = _tag(tag)
            if key in elements:
                raise broken(begin, f"({group:04X},{number:04X}) occurs twice in one data set")
            if length != UNDEFINED:
                stop = pos + length
                if stop > end:
                    raise broken(begin, f"({group:04X},{number:04X}) is longer than what is left")
                if tag in PIXEL_TAGS:
                    pos = self._pixels(tag, vr, pos, stop, False, [], depth, path, elements, key, implicit, little)
                    continue
                if vr == "SQ" or (vr is None and _is_sequence(tag)):
                    items = self.items(pos, stop, implicit, little, encoding, False, depth, _join(path, tag))[0]
                    elements[key] = DataElement(key, "SQ", Sequence(items), pos, False, already_converted=True)
                else:
                    value = cut(slice(pos, stop)) if length else _empty(vr)
                    elements[key] = _raw(RawDataElement, (key, vr, length, value, pos, implicit, little, True, False))
                    if tag == 0x00080005:
                        encoding = _encodings(value)
                pos = stop
                continue
            if tag in PIXEL_TAGS or vr in ("OB", "OW"):
                fragments, stop = self.fragments(pos, end, little)
                pos = self._pixels(tag, vr, pos, stop, True, fragments, depth, path, elements, key, implicit, little)
                continue
            if vr not in ("SQ", "UN", None):
                raise broken(begin, f"({group:04X},{number:04X}) has undefined length, which its VR does not allow")
            # A UN of undefined length is a sequence in implicit VR little endian whatever the transfer syntax (PS3.5 6.2.2).
            unknown = vr == "UN"
            items, pos = self.items(
                pos, end, implicit or unknown, little or unknown, encoding, True, depth, _join(path, tag)
            )
            elements[key] = DataElement(key, "SQ", Sequence(items), begin, False, already_converted=True)
        if not closed:
            raise broken(pos, "an item without its delimiter")
        return dataset_of(elements, implicit, little, encoding or ["iso8859"]), pos

    def items(
        self, pos: int, end: int, implicit: bool, little: bool, encoding: list[str] | None, delimited: bool, depth: int, path: str
    ) -> tuple[list[Dataset], int]:
        """The items of a sequence (PS3.5 7.5), in a value of known end or up to the Sequence Delimitation Item."""
        header = (LITTLE if little else BIG).implicit
        items: list[Dataset] = []
        while pos < end:
            if end - pos < 8:
                raise broken(pos, "a sequence ends inside an item header")
            group, number, length = header(self.data, pos)
            tag = group << 16 | number
            pos += 8
            if tag == SEQUENCE_END and length == 0:
                if not delimited and pos != end:
                    raise broken(pos, "bytes after a sequence delimiter")
                return items, pos
            if tag != ITEM:
                raise broken(pos - 8, "no item where a sequence needs one")
            if length == UNDEFINED:
                item, pos = self.dataset(pos, end, implicit, little, encoding, True, depth + 1, path)
            else:
                if pos + length > end:
                    raise broken(pos - 8, "an item longer than its sequence")
                item, pos = self.dataset(pos, pos + length, implicit, little, encoding, False, depth + 1, path)
            items.append(item)
        if delimited:
            raise broken(pos, "a sequence without its delimiter")
        return items, pos

    def fragments(self, pos: int, end: int, little: bool) -> tuple[list[tuple[int, int]], int]:
        """Items of encapsulated pixels (PS3.5 A.4): start and stop of each value, and where the delimiter begins."""
        header = (LITTLE if little else BIG).implicit
        found: list[tuple[int, int]] = []
        while end - pos >= 8:
            group, number, length = header(self.data, pos)
            tag = group << 16 | number
            if tag == SEQUENCE_END:
                return found, pos
            if tag != ITEM or length == UNDEFINED or pos + 8 + length > end:
                raise broken(pos, "encapsulated pixels are broken: no whole item where one must be")
            found.append((pos + 8, pos + 8 + length))
            pos += 8 + length
        raise broken(pos, "encapsulated pixels without a sequence delimiter")

    def _pixels(
        self,
        tag: int,
        vr: str | None,
        start: int,
        stop: int,
        undefined: bool,
        fragments: list[tuple[int, int]],
        depth: int,
        path: str,
        elements: dict[BaseTag, RawDataElement | DataElement],
        key: BaseTag,
        implicit: bool,
        little: bool,
    ) -> int:
        """Notes a pixel element; at the top level it is left out of the data set. Returns where the next element begins."""
        after = stop + 8 if undefined else stop
        if depth == 0 and tag in PIXEL_TAGS:
            if self.findings.pixels is not None:
                raise HoldInstance(Reason.UNSUPPORTED_PIXELS, "more than one pixel element")
            self.findings.pixels = RawPixels(tag, vr, start, stop, undefined, fragments)
            return after
        if tag in PIXEL_TAGS:
            self.findings.nested_pixels.append(_join(path, tag))
        length = UNDEFINED if undefined else stop - start
        elements[key] = RawDataElement(key, vr, length, self.cut(slice(start, stop)), start, implicit, little)
        return after


def _join(path: str, tag: int) -> str:
    name = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    return f"{path}/{name}" if path else name


@cache
def _is_sequence(tag: int) -> bool:
    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:
        return False


@cache
def _empty(vr: str | None) -> bytes | None:
    value = empty_value_for_VR(vr, raw=True)
    return value if isinstance(value, bytes) else None


def _encodings(value: bytes | None) -> list[str]:
    """Python codecs of Specific Character Set (PS3.3 C.12.1.1.2)."""
    names = [name.strip() for name in (value or b"").decode("ascii", "replace").split("\\")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warning quotes the value
        try:
            return list(convert_encodings(names if len(names) > 1 else names[0]))
        except LookupError:
            raise HoldInstance(Reason.UNPARSABLE_DATASET, "Specific Character Set names a set that is not defined") from None
