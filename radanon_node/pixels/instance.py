"""A Part 10 file taken apart and put together again, without a copy of its pixels (PS3.10 Section 7)."""

from __future__ import annotations

import mmap
import tempfile
import zlib
from dataclasses import dataclass, field
from struct import pack

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from radanon_node import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.types import Buffer
from radanon_node.pixels.elements import Fragments, NewPixels, PixelElement, Pixels, put_pixels
from radanon_node.pixels.reader import (
    EXTENDED_LENGTHS,
    EXTENDED_OFFSETS,
    PIXELS,
    TOTAL_LENGTH,
    Findings,
    RawPixels,
    broken,
    read_dataset,
)
from radanon_node.pixels.syntaxes import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, TransferSyntax, transfer_syntax
from radanon_node.pixels.writer import write_elements

__all__ = ["Encoded", "Fragments", "Instance", "NewPixels", "PixelElement", "Pixels", "encode_instance", "read_instance"]

MAX_INFLATED = 2**31
"""Most bytes a deflated data set may grow to."""

MAPPED_FROM = 2**28
"""Encoded files from this size on do not stay in memory: a long multi-frame passes in constant memory."""

_DIRECTORY = "1.2.840.10008.1.3.10"
_SOP_CLASS, _SOP_INSTANCE = BaseTag(0x00080016), BaseTag(0x00080018)


@dataclass(frozen=True)
class Instance:
    """What `read_instance` found.

    Parameters
    ----------
    dataset : Dataset
        Everything but the pixel element and its extended offset tables; elements nobody has touched are raw.
    transfer_syntax : TransferSyntax
    sop_class_uid, sop_instance_uid : str
    pixels : PixelElement or None
    data : Buffer
        The bytes all this was read from; inflated where the transfer syntax is deflated.
    pixel_spans : tuple of (int, int)
        Where in `data` pixel values are: the native value, or each fragment.
    nested_pixels : tuple of str
        Paths of Pixel Data inside sequences, such as an icon.
    notes : tuple of str
        Oddities that are no reason to hold: zero bytes after the last element, an absent preamble.
    """

    dataset: Dataset
    transfer_syntax: TransferSyntax
    sop_class_uid: str
    sop_instance_uid: str
    pixels: PixelElement | None
    data: Buffer = field(repr=False)
    pixel_spans: tuple[tuple[int, int], ...] = ()
    nested_pixels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def transfer_syntax_uid(self) -> str:
        return self.transfer_syntax.uid


@dataclass(frozen=True)
class Encoded:
    """A Part 10 file and where its pixels are.

    Parameters
    ----------
    data : Buffer
        In memory, or from `MAPPED_FROM` bytes on a read-only map of a file without name.
    pixel_spans : tuple of (int, int)
        Byte ranges of pixel values. Of no use for a deflated file: read that back and use ``Instance.data`` instead.
    """

    data: Buffer = field(repr=False)
    pixel_spans: tuple[tuple[int, int], ...]


def read_instance(data: Buffer) -> Instance:
    """Take a Part 10 file apart.

    Parameters
    ----------
    data : Buffer
        The file. Preamble and meta information may be absent; the transfer syntax is then told from the first element.

    Returns
    -------
    Instance
        Its pixels are a view into `data`, which must stay as it is.

    Raises
    ------
    HoldInstance
        ``not_dicom``, ``unparsable_dataset``, ``unknown_transfer_syntax``, ``missing_attribute`` (no SOP Class or SOP Instance
        UID), ``uid_mismatch`` (meta and data set name different instances), ``unsupported_pixels`` (two pixel elements).

    Notes
    -----
    Stricter than pydicom on purpose: an element twice in one data set, a VR encoding that is not the transfer syntax's, bytes
    left at the end or a truncated last element are verdicts and not guessed away.
    """
    meta, start, notes = _read_meta(data)
    if meta.get(0x00020002) == _DIRECTORY:
        raise HoldInstance(Reason.NOT_DICOM, "a DICOMDIR: an index of files, no instance")
    syntax = transfer_syntax(meta[0x00020010]) if 0x00020010 in meta else _guess_syntax(data, start)
    if syntax.deflated:
        data, start = _inflate(data, start), 0
    dataset, findings = read_dataset(data, start, syntax.implicit_vr, syntax.little_endian)
    sop_class, sop_instance = _uid(dataset, _SOP_CLASS, "SOP Class UID"), _uid(dataset, _SOP_INSTANCE, "SOP Instance UID")
    for tag, found, name in ((0x00020002, sop_class, "SOP Class UID"), (0x00020003, sop_instance, "SOP Instance UID")):
        if meta.get(tag, found) != found:
            raise HoldInstance(Reason.UID_MISMATCH, f"{name} of the meta information and of the data set differ")
    pixels = _pixel_element(data, findings, dataset)
    return Instance(
        dataset, syntax, sop_class, sop_instance, pixels, data, _pixel_spans(findings.pixels),
        tuple(findings.nested_pixels), tuple(notes + findings.notes),
    )


def _read_meta(data: Buffer) -> tuple[dict[int, str], int, list[str]]:
    """UIDs of the meta information by tag, and where the data set begins."""
    notes: list[str] = []
    size = len(data)
    if size >= 132 and bytes(data[128:132]) == b"DICM":
        pos = 132
    elif size >= 12 and _first_group(data) in (2, 8):
        pos = 0
        notes.append("no preamble")
    else:
        raise HoldInstance(Reason.NOT_DICOM, "neither a Part 10 preamble nor a data set at the beginning")
    meta: dict[int, str] = {}
    while size - pos >= 8 and bytes(data[pos : pos + 2]) == b"\x02\x00":
        number = int.from_bytes(data[pos + 2 : pos + 4], "little")
        vr = bytes(data[pos + 4 : pos + 6])
        if vr in (b"OB", b"UN", b"OW", b"UT", b"UC", b"UR", b"SQ"):
            length, value_at = int.from_bytes(data[pos + 8 : pos + 12], "little"), pos + 12
        elif vr in (b"UI", b"SH", b"AE", b"UL", b"LO", b"ST", b"CS"):
            length, value_at = int.from_bytes(data[pos + 6 : pos + 8], "little"), pos + 8
        else:
            raise broken(pos, "the meta information is not in explicit VR little endian")
        if value_at + length > size:
            raise broken(pos, "the meta information is truncated")
        tag = 0x00020000 | number
        if tag in meta:
            raise broken(pos, "an element of the meta information occurs twice")
        raw = bytes(data[value_at : value_at + length])
        meta[tag] = raw.rstrip(b"\0 ").decode("ascii", "replace") if vr == b"UI" else ""
        pos = value_at + length
    if not meta:
        notes.append("no meta information")
    elif 0x00020010 not in meta:
        raise HoldInstance(Reason.UNKNOWN_TRANSFER_SYNTAX, "the meta information names no transfer syntax")
    for tag in (0x00020002, 0x00020003):
        if meta.get(tag) == "":
            del meta[tag]
    return meta, pos, notes


def _first_group(data: Buffer) -> int:
    first = bytes(data[0:2])
    return int.from_bytes(first, "big" if first[0] == 0 and first[1] else "little")


def _guess_syntax(data: Buffer, start: int) -> TransferSyntax:
    """The native transfer syntax that the first element of a file without meta information is written in."""
    head = bytes(data[start : start + 8])
    if len(head) < 8:
        raise HoldInstance(Reason.NOT_DICOM, "no data set")
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    if head[0] == 0 and head[1]:
        if not explicit:
            raise HoldInstance(Reason.UNKNOWN_TRANSFER_SYNTAX, "implicit VR big endian is no transfer syntax")
        return transfer_syntax(EXPLICIT_BIG)
    return transfer_syntax(EXPLICIT_LITTLE if explicit else IMPLICIT_LITTLE)


def _inflate(data: Buffer, start: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data[start:], MAX_INFLATED)
        if inflater.unconsumed_tail:
            raise HoldInstance(Reason.PIXEL_LIMIT, f"the deflated data set is larger than {MAX_INFLATED} bytes")
        inflated += inflater.flush()
    except zlib.error:
        raise broken(start, "the deflated data set is broken") from None
    rest = inflater.unused_data
    # Some writers leave gzip's trailer (CRC-32 and size) behind the deflate stream; nothing else may be there but zero bytes.
    trailer = pack("<LL", zlib.crc32(inflated), len(inflated) & 0xFFFFFFFF)
    if not inflater.eof or (any(rest) and rest.rstrip(b"\0") != trailer.rstrip(b"\0")):
        raise broken(start, "the deflated data set does not end where the file does")
    return inflated


def _uid(dataset: Dataset, tag: BaseTag, name: str) -> str:
    element = dataset.get_item(tag)
    value = element.value if element is not None else None
    if isinstance(value, bytes):
        value = value.rstrip(b"\0 ").decode("ascii", "replace")
    if not value:
        raise HoldInstance(Reason.MISSING_ATTRIBUTE, f"the data set has no {name}")
    return str(value)


def _pixel_element(data: Buffer, findings: Findings, dataset: Dataset) -> PixelElement | None:
    tables: dict[int, bytes] = {}
    for tag in (EXTENDED_OFFSETS, EXTENDED_LENGTHS, TOTAL_LENGTH):
        key = BaseTag(tag)
        if key in dataset:
            value = dataset.get_item(key).value
            tables[tag] = value if isinstance(value, bytes) else b""
            del dataset[key]
    raw = findings.pixels
    if raw is None:
        return None
    view = memoryview(data)[raw.start : raw.stop].toreadonly()
    vr = raw.vr or {PIXELS: "OW"}.get(raw.tag, "OF" if raw.tag == 0x7FE00008 else "OD")
    if not raw.undefined:
        return PixelElement(raw.tag, vr, view)
    if not raw.fragments:
        raise HoldInstance(Reason.UNPARSABLE_DATASET, "encapsulated pixels without an offset table item")
    first, *others = raw.fragments
    spans = tuple((start - raw.start, stop - raw.start) for start, stop in others)
    table = bytes(data[first[0] : first[1]])
    return PixelElement(raw.tag, vr, view, Fragments(spans, table, tables.get(EXTENDED_OFFSETS), tables.get(EXTENDED_LENGTHS)))


def _pixel_spans(raw: RawPixels | None) -> tuple[tuple[int, int], ...]:
    if raw is None:
        return ()
    return tuple(raw.fragments[1:]) if raw.undefined else ((raw.start, raw.stop),)


def encode_instance(dataset: Dataset, transfer_syntax_uid: str, pixels: Pixels | None) -> Encoded:
    """Put a Part 10 file together: empty preamble, fresh meta information, data set, pixel element.

    Parameters
    ----------
    dataset : Dataset
        Without pixel element. Must have SOP Class and SOP Instance UID.
    transfer_syntax_uid : str
        Encapsulated exactly if `pixels` are.
    pixels : NewPixels, PixelElement or None

    Returns
    -------
    Encoded
        The pixels' bytes are copied once.

    Raises
    ------
    HoldInstance
        ``invalid_output``.
    """
    syntax = transfer_syntax(transfer_syntax_uid)
    if pixels is not None and pixels.encapsulated != syntax.encapsulated:
        raise HoldInstance(Reason.INVALID_OUTPUT, "pixels and transfer syntax disagree about encapsulation")
    try:
        sop_class, sop_instance = _uid(dataset, _SOP_CLASS, "SOP Class UID"), _uid(dataset, _SOP_INSTANCE, "SOP Instance UID")
    except HoldInstance as hold:
        raise HoldInstance(Reason.INVALID_OUTPUT, hold.detail) from None
    head = [bytes(128), b"DICM", _meta(sop_class, sop_instance, syntax)]
    before, after = write_elements(dataset, syntax.implicit_vr, syntax.little_endian)
    parts: list[Buffer] = [*before]
    spans: list[tuple[int, int]] = []
    if pixels is not None:
        position = sum(map(len, head)) + sum(map(len, before))
        spans = put_pixels(parts, pixels, syntax, position)
    parts += after
    if syntax.deflated:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = b"".join([*map(deflater.compress, parts), deflater.flush()])
        return Encoded(b"".join([*head, body, b"\0" * (len(body) & 1)]), ())
    return Encoded(_joined([*head, *parts]), tuple(spans))


def _joined(parts: list[Buffer]) -> Buffer:
    """`parts` one after the other: in memory, or for a large file in an unlinked temporary one that is mapped."""
    size = sum(map(len, parts))
    if size < MAPPED_FROM:
        return b"".join(parts)
    with tempfile.TemporaryFile() as file:
        for part in parts:
            file.write(part)
        file.flush()
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)


def _meta(sop_class_uid: str, sop_instance_uid: str, syntax: TransferSyntax) -> bytes:
    """The File Meta Information group (PS3.10 Table 7.1-1)."""
    elements = [b"\x02\x00\x01\x00OB\0\0\x02\0\0\0\x00\x01"]
    for number, vr, text in (
        (0x02, b"UI", sop_class_uid), (0x03, b"UI", sop_instance_uid), (0x10, b"UI", syntax.uid),
        (0x12, b"UI", IMPLEMENTATION_CLASS_UID), (0x13, b"SH", IMPLEMENTATION_VERSION_NAME),
    ):
        value = text.encode("ascii", "replace")
        value += (b" " if vr == b"SH" else b"\0") * (len(value) & 1)
        elements.append(pack("<HH2sH", 2, number, vr, len(value)) + value)
    body = b"".join(elements)
    return pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body
