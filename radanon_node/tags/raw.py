"""Reading and making elements without decoding the whole data set: pydicom's raw elements, by tag.

pydicom keeps an element as it was read (`RawDataElement`) until somebody asks for its value. A data set of which most elements
are kept untouched is scrubbed and written several times faster when nobody asks. The place where they lie is private to pydicom
(``Dataset._dict``): the version is pinned, and tests/tags/test_raw.py holds what is relied upon.
"""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import TypeAlias, cast

from pydicom import charset
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from radanon_node.tags.values import padded
from radanon_node.tags.words import plain

Element: TypeAlias = DataElement | RawDataElement


def elements(dataset: Dataset) -> dict[BaseTag, Element]:
    """The elements of one level as they are stored, by tag. Not to be changed by the caller."""
    return cast(dict[BaseTag, Element], dataset._dict)


_BLANK = vars(Dataset({}))


def dataset_of(stored: dict[BaseTag, Element], implicit: bool | None, little: bool | None, codecs: str | MutableSequence[str]) -> Dataset:
    """A data set of these elements, read in that encoding: as ``Dataset(stored)`` and ``set_original_encoding``, in a tenth of the time."""
    made = Dataset.__new__(Dataset)
    # Dataset sets its attributes one by one through a method of Python; an item of a sequence is mostly that.
    vars(made).update(_BLANK, _dict=stored, _private_blocks={}, _pixel_array_opts={"use_pdh": False}, _pixel_id={},
                      _read_implicit=implicit, _read_little=little, _read_charset=codecs)
    return made


def value_bytes(element: Element) -> bytes:
    """The encoded value of an element that is no sequence; of a decoded one, encoded again (little endian)."""
    if isinstance(element, RawDataElement):
        return element.value if isinstance(element.value, bytes) else bytes(element.value or b"")
    value = element.value
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_data_element(buffer, element, "utf8")
    return buffer.getvalue()[8:]


def ascii_text(element: Element | None) -> str:
    """An element of a VR that is always ASCII (UI, DA, TM, CS, AS...), without padding; bytes beyond ASCII as surrogates."""
    if element is None:
        return ""
    if not isinstance(element, RawDataElement):
        value = element.value
        if value is None or element.VR == "SQ":
            return ""
        return "\\".join(str(part) for part in value) if isinstance(value, MultiValue | list | tuple) else str(value).strip(" \0")
    return value_bytes(element).decode("ascii", "surrogateescape").strip(" \0")


def encodings_of(dataset: Dataset, inherited: list[str]) -> list[str]:
    """Python codecs of a level's Specific Character Set (0008,0005), or those of the level above."""
    element = elements(dataset).get(BaseTag(0x00080005))
    if element is None:
        return inherited
    terms = [term.strip() for term in ascii_text(element).split("\\")]
    return python_codecs(tuple(terms))


def python_codecs(terms: tuple[str, ...]) -> list[str]:
    """Codecs for the defined terms of (0008,0005); an unknown term makes the list empty: nothing declared can be trusted.

    Examples
    --------
    >>> python_codecs(("ISO_IR 192",)), python_codecs(("",)), python_codecs(("KLINGON",))
    (['UTF8'], ['iso8859'], [])
    """
    codecs = []
    for term in terms:
        codec = charset.python_encoding.get(term) or charset.python_encoding.get(term.replace(" ", "_", 1))
        if codec is None:
            return []
        codecs.append(codec)
    return codecs


def decode(value: bytes, codecs: list[str], vr: str) -> str | None:
    """Text of an encoded value; None where it is not text of the declared character sets.

    Parameters
    ----------
    value : bytes
    codecs : list of str
        From `encodings_of`.
    vr : str
        Decides the delimiters that switch code extensions back (PS3.5 Section 6.1.2.5.3).
    """
    if not value:
        return ""
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    if not codecs:
        return None
    if codecs in (["iso8859"], ["ascii"]):
        return None  # bytes beyond ASCII, though only the default repertoire is declared
    try:
        if len(codecs) == 1 and b"\x1b" not in value:
            return value.decode(codecs[0])
        text = charset.decode_bytes(value, codecs, PN_DELIMS if vr == "PN" else TEXT_VR_DELIMS)
    except (UnicodeError, LookupError, ValueError, IndexError):
        return None
    return None if "\ufffd" in text else text


def guess(value: bytes) -> str:
    """Text of bytes whose character set is not declared or not true: UTF-8 if they are, else Latin-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def encode(text: str, codecs: list[str]) -> bytes | None:
    """`text` in the declared character sets, or None where they cannot hold it."""
    if text.isascii():
        return text.encode("ascii")
    for codec in codecs if len(codecs) == 1 and codecs[0] not in ("iso8859", "ascii") else []:
        try:
            return text.encode(codec)
        except (UnicodeError, LookupError):
            return None
    if len(codecs) > 1:
        try:
            encoded = charset.encode_string(text, codecs)
            return encoded if decode(encoded, codecs, "LO") == text else None
        except (UnicodeError, LookupError, ValueError):
            return None
    return None


def encoded(text: str, codecs: list[str]) -> bytes:
    """`text` in the declared character sets; what they cannot hold without its accents, else as question marks."""
    exact = encode(text, codecs)
    if exact is not None:
        return exact
    bare = "".join(mark if mark.isascii() else plain(mark) for mark in text)
    return bare.encode("ascii", "replace")


def text_of(element: Element | None, codecs: list[str], vr: str = "LO") -> str:
    """Text of any element of characters, decoded as declared, else as guessed."""
    if element is None:
        return ""
    if not isinstance(element, RawDataElement):
        return ascii_text(element)
    value = value_bytes(element).rstrip(b" \0")
    decoded = decode(value, codecs, vr)
    return (guess(value) if decoded is None else decoded).strip(" \0")


def first_text(dataset: Dataset, tag: int) -> str:
    """Text of one element of the top level, stripped; empty if it is absent."""
    element = elements(dataset).get(BaseTag(tag))
    if element is None:
        return ""
    return text_of(element, encodings_of(dataset, ["iso8859"]), "PN" if tag == 0x00100010 else "LO")


def make(tag: int, vr: str, value: bytes, like: Dataset) -> RawDataElement:
    """A new element with an encoded value, in the encoding of the data set it goes into."""
    value = padded(value, vr)
    implicit, little = like.original_encoding
    return RawDataElement(BaseTag(tag), vr, len(value), value, 0, bool(implicit), little is not False)
