"""Codestreams looked at from outside: size, precision, completeness, and what in them is not picture.

JPEG (ITU-T T.81 Annex B) and JPEG-LS (T.87 Annex C) share their marker structure; JPEG 2000 and HTJ2K are T.800 Annex A. No
entropy-coded data is decoded here. What the headers say is compared with the data set before a decoder, written in C, is let
loose on the bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import unpack_from

from radanon_node.errors import HoldInstance, Reason

SOI, EOI, SOS, DRI, COM, DAC = 0xD8, 0xD9, 0xDA, 0xDD, 0xFE, 0xCC
SOF_BASELINE, SOF_EXTENDED, SOF_PROGRESSIVE, SOF_LOSSLESS, SOF_JPEG_LS = 0xC0, 0xC1, 0xC2, 0xC3, 0xF7
DHT, DQT, LSE = 0xC4, 0xDB, 0xF8
_TABLES = {DHT, DAC, DQT, DRI, LSE}
_BARE = {0x00, 0x01, *range(0xD0, 0xD9), 0xDE, 0xDF}
"""Markers without a length (TEM, RST, SOI) and those of hierarchical JPEG: none of them has a place between segments here."""
_SOFS = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_NEXT_MARKER_LS = re.compile(rb"\xff[\x80-\xfe]")

# Comments that encoders sign with: a fixed text and version numbers, nothing in which a value of the data set could stand.
_BANNERS = re.compile(
    rb"(Created by (GDCM/)?OpenJPEG version [\d.]+"
    rb"|OpenJPH Ver [\d.]+"
    rb"|Kakadu-v?[\d.]+"
    rb"|Kdu-Layer-Info: log_2\{Delta-D\(squared-error\)/Delta-L\(bytes\)\}, L\(bytes\)\n[-+\d.e, \n]*"
    rb"|(Creator: )?JasPer Version [\d.]+"
    rb"|CREATOR: gd-jpeg v[\d.]+ \(using IJG JPEG v\d+\), quality = \d+\n?"
    rb"|Lavc[\d.]+"
    rb"|LEAD Technologies Inc\. V[\d.]+"
    rb"|Intel\(R\) JPEG Library, version [\d.\[\]]+)\0*"
)


@dataclass(frozen=True, slots=True)
class Stream:
    """What a codestream says of itself.

    Parameters
    ----------
    rows, columns, components, precision : int
    signed : bool
        JPEG 2000 only; the JPEG family is unsigned.
    sof : int
        Low byte of the JPEG frame header's marker; 0 for JPEG 2000.
    sampling : tuple of (int, int)
        Horizontal and vertical factors per component; for JPEG 2000 the subsampling (XRsiz, YRsiz).
    arithmetic, lossless : bool
        `lossless` for JPEG 2000: reversible transform; for JPEG-LS: NEAR is 0.
    colour_transform : bool
        JPEG 2000: a multiple component transform is applied.
    foreign : tuple of (int, int)
        Byte ranges of segments and trailing bytes that are no picture and hold more than an encoder's signature.
    end : int
        Just after the end marker.
    """

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool
    sof: int
    sampling: tuple[tuple[int, int], ...]
    arithmetic: bool
    lossless: bool
    colour_transform: bool
    foreign: tuple[tuple[int, int], ...]
    end: int

    def clean(self, data: bytes) -> bytes:
        """`data` without the foreign parts: decodes to the same values."""
        parts, at = [], 0
        for start, stop in self.foreign:
            parts.append(data[at:start])
            at = stop
        parts.append(data[at : max(self.end, at)])
        return b"".join(parts)


def undecodable(what: str) -> HoldInstance:
    return HoldInstance(Reason.UNDECODABLE_PIXELS, what)


def read_jpeg(data: bytes) -> Stream:
    """Walk the markers of a JPEG or JPEG-LS stream from SOI to EOI.

    Raises
    ------
    HoldInstance
        ``undecodable_pixels``: no SOI, no frame header, a segment past the end, no EOI.
    """
    if data[:2] != b"\xff\xd8":
        raise undecodable("a frame does not begin with a JPEG start of image")
    pos, size = 2, len(data)
    frame: tuple[int, int, int, int] | None = None
    sof, near, scans, arithmetic = 0, 0, 0, False
    sampling: list[tuple[int, int]] = []
    foreign: list[tuple[int, int]] = []
    while True:
        while pos + 1 < size and data[pos] == 0xFF and data[pos + 1] == 0xFF:
            pos += 1  # fill bytes (T.81 B.1.1.2)
        if pos + 2 > size or data[pos] != 0xFF:
            raise undecodable("a JPEG stream ends without an end of image")
        marker = data[pos + 1]
        if marker == EOI:
            pos += 2
            break
        if marker in _BARE:
            raise undecodable("a JPEG marker where none of its kind can be")
        if pos + 4 > size:
            raise undecodable("a JPEG segment is cut off")
        (length,) = unpack_from(">H", data, pos + 2)
        stop = pos + 2 + length
        if length < 2 or stop > size:
            raise undecodable("a JPEG segment is cut off")
        if marker in _SOFS:
            if frame is not None or length < 8:
                raise undecodable("a JPEG stream with several or broken frame headers")
            sof = marker
            precision, rows, columns, count = unpack_from(">BHHB", data, pos + 4)
            if length != 8 + 3 * count:
                raise undecodable("a JPEG frame header of the wrong length")
            frame = precision, rows, columns, count
            sampling = [(data[pos + 11 + 3 * k] >> 4, data[pos + 11 + 3 * k] & 15) for k in range(count)]
            arithmetic = 0xC9 <= marker <= 0xCF
        elif marker == COM or 0xE0 <= marker <= 0xEF:
            if not _harmless(marker, data[pos + 4 : stop]):
                foreign.append((pos, stop))
        elif marker == SOS:
            scans += 1
            if sof == SOF_JPEG_LS and length >= 6:
                near = max(near, data[stop - 3])
            found = (_NEXT_MARKER_LS if sof == SOF_JPEG_LS else _NEXT_MARKER).search(data, stop)
            if found is None:
                raise undecodable("a JPEG stream ends without an end of image")
            stop = found.start()
        elif marker not in _TABLES:
            foreign.append((pos, stop))  # DNL, reserved and extension segments: decoders skip them, whatever they hold
        pos = stop
    if frame is None or not scans:
        raise undecodable("a JPEG stream without picture")
    if _speaks(data[pos:]):
        foreign.append((pos, size))
    precision, rows, columns, count = frame
    lossless = sof == SOF_LOSSLESS or sof == 0xCB or (sof == SOF_JPEG_LS and near == 0)
    return Stream(
        rows, columns, count, precision, False, sof, tuple(sampling), arithmetic, lossless, False, tuple(foreign), pos
    )


def _speaks(rest: bytes) -> bool:
    """Whether bytes behind the end marker are more than padding; one byte is padding whatever its value."""
    return len(rest) > 1 and any(rest)


def _harmless(marker: int, body: bytes) -> bool:
    """Whether an application or comment segment may stay: what decoders need, without room for anything else."""
    if marker == 0xE0:
        return len(body) == 14 and body[:5] == b"JFIF\0" and body[12:14] == b"\0\0"
    if marker == 0xEE:
        return len(body) == 12 and body[:5] == b"Adobe"
    if marker == 0xE8:
        return len(body) == 5 and body[:4] == b"mrfx"  # the colour transform of HP's JPEG-LS
    return marker == COM and (not body.rstrip(b"\0") or _BANNERS.fullmatch(body) is not None)


_SOC, _SIZ, _COD, _COC, _CAP, _SOT, _SOD, _EOC, _COM = 0xFF4F, 0xFF51, 0xFF52, 0xFF53, 0xFF50, 0xFF90, 0xFF93, 0xFFD9, 0xFF64
_MAIN_HEADER = {_CAP, _SIZ, _COD, _COC, 0xFF55, 0xFF56, 0xFF57, 0xFF59, 0xFF5C, 0xFF5D, 0xFF5E, 0xFF5F, 0xFF60, 0xFF63}
"""CAP, SIZ, COD, COC, TLM, PRF, PLM, CPF, QCD, QCC, RGN, POC, PPM, CRG (T.800 Table A.2, T.814): what says how to decode."""
_TILE_HEADER = {_COD, _COC, 0xFF58, 0xFF5C, 0xFF5D, 0xFF5E, 0xFF5F, 0xFF61}
"""COD, COC, PLT, QCD, QCC, RGN, POC, PPT."""


def read_j2k(data: bytes) -> Stream:
    """Walk main header and tile parts of a JPEG 2000 or HTJ2K codestream from SOC to EOC.

    Raises
    ------
    HoldInstance
        ``undecodable_pixels``. A JP2 file around the codestream is refused too: PS3.5 A.4.4 wants the codestream alone.
    """
    if data[:2] != b"\xff\x4f":
        raise undecodable("a frame does not begin with a JPEG 2000 codestream")
    pos, size = 2, len(data)
    foreign: list[tuple[int, int]] = []
    header: tuple[int, int, int, int, bool] | None = None
    sampling: list[tuple[int, int]] = []
    reversible, transform = True, False
    while True:
        marker, length, stop = _j2k_segment(data, pos, size)
        body = pos + 4
        if marker == _SIZ:
            if length < 41:
                raise undecodable("a JPEG 2000 size segment of the wrong length")
            _, x1, y1, x0, y0 = unpack_from(">HLLLL", data, body)
            (count,) = unpack_from(">H", data, body + 34)
            if length != 38 + 3 * count or not count:
                raise undecodable("a JPEG 2000 size segment of the wrong length")
            parts = [tuple(data[body + 36 + 3 * k : body + 39 + 3 * k]) for k in range(count)]
            if len({depth for depth, _, _ in parts}) != 1:
                raise HoldInstance(Reason.UNSUPPORTED_PIXELS, "JPEG 2000 components of different depth")
            sampling = [(x, y) for _, x, y in parts]
            header = y1 - y0, x1 - x0, count, (parts[0][0] & 0x7F) + 1, bool(parts[0][0] & 0x80)
        elif marker == _COD and length >= 12:
            transform = bool(data[body + 4])
            reversible &= data[body + 9] == 1
        elif marker == _COC and header is not None:
            reversible &= data[body + (7 if header[2] < 257 else 8)] == 1
        elif marker == _SOT:
            break
        elif marker not in _MAIN_HEADER and not _banner(data, marker, pos, stop):
            foreign.append((pos, stop))  # comments, and segments of no known kind: decoders skip them
        pos = stop
    if header is None:
        raise undecodable("a JPEG 2000 codestream without size segment")
    pos = _tile_parts(data, pos, size)
    if _speaks(data[pos:]):
        foreign.append((pos, size))
    rows, columns, count, precision, signed = header
    return Stream(
        rows, columns, count, precision, signed, 0, tuple(sampling), False, reversible, transform, tuple(foreign), pos
    )


def _banner(data: bytes, marker: int, pos: int, stop: int) -> bool:
    """Whether a segment of JPEG 2000 is a comment that only names the encoder."""
    return marker == _COM and _BANNERS.fullmatch(data[pos + 6 : stop]) is not None


def _j2k_segment(data: bytes, pos: int, size: int) -> tuple[int, int, int]:
    if pos + 4 > size:
        raise undecodable("a JPEG 2000 header is cut off")
    marker, length = unpack_from(">HH", data, pos)
    stop = pos + 2 + length
    if marker < 0xFF00 or 0xFF30 <= marker <= 0xFF3F or length < 2 or stop > size:
        raise undecodable("a JPEG 2000 header is broken")
    return marker, length, stop


def _tile_parts(data: bytes, pos: int, size: int) -> int:
    """Step over the tile parts; returns the position after EOC."""
    while pos + 2 <= size:
        (marker,) = unpack_from(">H", data, pos)
        if marker == _EOC:
            return pos + 2
        if marker != _SOT or pos + 12 > size:
            break
        (length,) = unpack_from(">L", data, pos + 6)
        if length == 0:  # the last tile part, up to EOC
            end = data.rfind(b"\xff\xd9", pos)
            length = end - pos
        if length < 14 or pos + length > size:
            break
        _tile_header(data, pos + 12, pos + length)
        pos += length
    raise undecodable("a JPEG 2000 codestream is incomplete")


def _tile_header(data: bytes, pos: int, end: int) -> None:
    """What is no picture in a tile part's header cannot be cut out without moving the tile: hold it rather than let it pass."""
    while pos + 2 <= end:
        (marker,) = unpack_from(">H", data, pos)
        if marker == _SOD:
            return
        marker, _, stop = _j2k_segment(data, pos, end)
        if marker not in _TILE_HEADER and not _banner(data, marker, pos, stop):
            raise HoldInstance(Reason.UNSUPPORTED_PIXELS, "a comment or unknown segment inside a JPEG 2000 tile header")
        pos = stop
    raise undecodable("a JPEG 2000 tile header is broken")
