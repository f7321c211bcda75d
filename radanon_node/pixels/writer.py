"""Writes a data set in one transfer syntax (PS3.5 Section 7), with explicit lengths and without converting what is still raw.

pydicom's writer goes through a file object per element; for the common short text and number values this one writes the bytes
itself and leaves the rest to pydicom's converters, one element at a time.
"""

from __future__ import annotations

from struct import Struct, pack
from typing import Any

from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.tag import BaseTag

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pixels.reader import ITEM, LONG_VRS, PIXEL_TAGS, PIXELS, SEQUENCE_END, SHORT_VRS, UNDEFINED

# VRs whose value is written as its characters when they are all ASCII, the same bytes in every character set of PS3.3 C.12.1.1.2.
_TEXT = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"})
_CHARSET_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_TEXT_PADDED = _TEXT | {"DS", "IS"}
_NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d"}


_CODES: dict[str | None, bytes] = {vr: vr.encode() for vr in SHORT_VRS}


def _number(item: tuple[BaseTag, Any]) -> int:
    return +item[0]  # plain integers compare faster than tags


class _Order:
    def __init__(self, order: str) -> None:
        self.prefix = order
        self.implicit = Struct(f"{order}HHL").pack
        self.short = Struct(f"{order}HH2sH").pack
        self.long = Struct(f"{order}HH2sHL").pack


_LITTLE, _BIG = _Order("<"), _Order(">")


def write_elements(dataset: Dataset, implicit: bool, little: bool, parent_charset: Any = None) -> tuple[list[bytes], list[bytes]]:
    """Encode the elements of `dataset`.

    Parameters
    ----------
    dataset : Dataset
        Raw elements of the same VR encoding and byte order are copied; the others are converted.
    implicit, little : bool
        Of the transfer syntax.
    parent_charset : str or list of str, optional
        Specific Character Set where the data set has none of its own.

    Returns
    -------
    before, after : list of bytes
        Elements with tags below and above those of the pixel element. Groups 0000 and 0002 and group lengths are left out.

    Raises
    ------
    HoldInstance
        ``invalid_output`` for values that cannot be written.
    """
    order = _LITTLE if little else _BIG
    charset = dataset.get("SpecificCharacterSet", parent_charset)
    recode = _charset_changed(dataset, charset)
    before: list[bytes] = []
    after: list[bytes] = []
    implicit_header, short_header = order.implicit, order.short
    for key, element in sorted(dataset.items(), key=_number):
        tag = +key
        group = tag >> 16
        if group in (0, 2) or tag & 0xFFFF == 0:
            continue
        out = before if tag < PIXELS else after
        if isinstance(element, RawDataElement):
            vr = element.VR
            same = element.is_implicit_VR == implicit and element.is_little_endian == little
            if same and not (recode and (vr is None or vr in _CHARSET_VRS)):
                value = element.value or b""
                length = len(value)
                if element.length != UNDEFINED and not length & 1 and (implicit or (vr in _CODES and length <= 0xFFFF)):
                    # What nearly all elements are.
                    if implicit:
                        out.append(implicit_header(group, tag & 0xFFFF, length))
                    else:
                        out.append(short_header(group, tag & 0xFFFF, _CODES[vr], length))
                    out.append(value)
                elif element.length == UNDEFINED:
                    out += _undefined(tag, vr, value, implicit, order)
                else:
                    _put(out, tag, vr, value, implicit, order)
                continue
            element = dataset[key]
        _converted(out, tag, element, implicit, little, order, charset)
    return before, after


def _charset_changed(dataset: Dataset, charset: Any) -> bool:
    """Whether raw text was read in another character set than the data set has now; one that was never read has none of its own."""
    read = dataset.original_character_set
    if not read:
        return False
    now = convert_encodings(charset if charset is None or isinstance(charset, str) else list(charset))
    return list(read) != list(now)


def _converted(out: list[bytes], tag: int, element: DataElement, implicit: bool, little: bool, order: _Order, charset: Any) -> None:
    vr, value = str(element.VR), element.value
    if vr == "SQ":
        body: list[bytes] = []
        for item in value:
            head, tail = write_elements(item, implicit, little, charset)
            body.append(order.implicit(ITEM >> 16, ITEM & 0xFFFF, sum(map(len, head)) + sum(map(len, tail))))
            body += head
            body += tail
        _put(out, tag, vr, b"".join(body), implicit, order)
        return
    if tag in PIXEL_TAGS and element.is_undefined_length:
        out += _undefined(tag, vr, value, implicit, order)
        return
    if value is None or value == "":
        _put(out, tag, vr, b"", implicit, order)
        return
    # pydicom pads every odd value but this VR's.
    encoded = value if vr == "UN" and isinstance(value, bytes) else _plain(vr, value, order)
    if encoded is None:
        _put_by_pydicom(out, element, implicit, little, charset)
    else:
        _put(out, tag, vr, encoded, implicit, order)


def _plain(vr: str, value: Any, order: _Order) -> bytes | None:
    """The bytes of a common value, or None where pydicom's converters must do it."""
    if vr in _TEXT or vr == "UI":
        if isinstance(value, (str, int)) or type(value).__name__ == "PersonName":
            text = str(value)
        else:
            try:
                text = "\\".join(map(str, value))
            except TypeError:
                return None
        return text.encode("ascii") if text.isascii() else None
    if vr in _NUMBERS and isinstance(value, (int, float)):
        try:
            return pack(order.prefix + _NUMBERS[vr], value)
        except Exception as error:
            raise HoldInstance(Reason.INVALID_OUTPUT, f"a number does not fit its VR {vr}") from error
    return None


def _put_by_pydicom(out: list[bytes], element: DataElement, implicit: bool, little: bool, charset: Any) -> None:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, little
    try:
        write_data_element(buffer, element, charset or "ISO_IR 6")
    except Exception as error:  # noqa: BLE001  whatever a converter stumbles over is a verdict on this instance
        where = f"({element.tag >> 16:04X},{element.tag & 0xFFFF:04X})"
        raise HoldInstance(Reason.INVALID_OUTPUT, f"{where} cannot be encoded ({type(error).__name__})") from None
    out.append(buffer.getvalue())


def _put(out: list[bytes], tag: int, vr: str | None, value: bytes, implicit: bool, order: _Order) -> None:
    length = len(value)
    if length & 1:
        value = bytes(value) + (b" " if vr in _TEXT_PADDED else b"\0")
        length += 1
    if implicit or vr is None:
        out.append(order.implicit(tag >> 16, tag & 0xFFFF, length))
    elif vr in LONG_VRS:
        out.append(order.long(tag >> 16, tag & 0xFFFF, vr.encode(), 0, length))
    elif length <= 0xFFFF:
        out.append(order.short(tag >> 16, tag & 0xFFFF, vr.encode(), length))
    else:
        out.append(order.long(tag >> 16, tag & 0xFFFF, b"UN", 0, length))  # PS3.5 6.2.2: too long for its VR
    out.append(value)


def _undefined(tag: int, vr: str | None, value: bytes, implicit: bool, order: _Order) -> list[bytes]:
    """An element of undefined length that is no sequence of data sets: encapsulated pixels inside a sequence item."""
    if implicit or vr is None:
        head = order.implicit(tag >> 16, tag & 0xFFFF, UNDEFINED)
    else:
        head = order.long(tag >> 16, tag & 0xFFFF, vr.encode(), 0, UNDEFINED)
    return [head, value, order.implicit(SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)]
