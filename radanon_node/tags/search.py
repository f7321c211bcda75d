"""The second look of law 4: does anything of the patient stand in the bytes that are about to leave?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from unicodedata import normalize

from radanon_node.pipeline.types import Buffer
from radanon_node.tags.matching import Identifiers, inside_number
from radanon_node.tags.words import is_latin, plain, spellings

_WIDE = re.compile(rb"[^\0]\0[^\0]\0[^\0]\0[^\0]")  # four characters of two bytes, one of them zero
_ACCENTS = {code: plain(chr(code)) for code in range(0xC0, 0x100)}
_FOLD = bytes(
    ord(_ACCENTS[code]) if code in _ACCENTS and len(_ACCENTS[code]) == 1 and _ACCENTS[code].isascii() else ord(chr(code).lower())
    if code < 0x80 else code
    for code in range(256)
)
"""Small letters without the accents of Latin-1, byte for byte."""
_LEGACY = (
    "utf-8", "latin-1", "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_5", "iso8859_6", "iso8859_7", "iso8859_8", "iso8859_9",
    "iso8859_11", "cp1250", "cp1251", "cp1252", "koi8_r", "shift_jis", "euc_jp", "euc_kr", "gb18030", "big5",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """A place that holds identity. It names the place and the kind, never what stands there.

    Parameters
    ----------
    offset : int
        Of the first byte, in the data searched.
    kind : str
        ``name``, ``id``, ``date``, ``uid``, ``site`` or ``device``.
    """

    offset: int
    kind: str


def find_identity(data: Buffer, skip: Sequence[tuple[int, int]], identifiers: Identifiers) -> list[Finding]:
    """Search encoded bytes for the strong identifiers, in UTF-8, UTF-16, ISO 2022 and the single-byte sets of PS3.3 C.12.1.1.2.

    Parameters
    ----------
    data : Buffer
        A whole Part 10 file as it would be sent; a deflated one must be inflated first.
    skip : sequence of (int, int)
        Byte spans of pixel values.
    identifiers : Identifiers
        Those that the policy does not keep.

    Returns
    -------
    list of Finding
        Empty if nothing was found.
    """
    encoded = _encoded_names(tuple(identifiers.written.items()), tuple(identifiers.phrases.items()))
    findings: list[Finding] = []
    for start, piece in _pieces(data, skip):
        for at, kind in _search(piece, identifiers, encoded):
            findings.append(Finding(start + at, kind))
    return findings


def _pieces(data: Buffer, skip: Sequence[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    at = 128 if bytes(data[:128]) == bytes(128) else 0  # an empty preamble
    for start, stop in sorted(skip):
        if start > at:
            yield at, bytes(data[at:start])
        at = max(at, stop)
    if at < len(data):
        yield at, bytes(data[at:])


def _search(piece: bytes, identifiers: Identifiers, encoded: tuple[tuple[bytes, str], ...]) -> Iterator[tuple[int, str]]:
    # Latin-1 gives every byte one character, so that positions stay and no byte is lost.
    folded = piece.translate(_FOLD)
    yield from _in_bytes(folded.decode("latin-1"), identifiers)
    if _WIDE.search(folded) is not None:
        yield from _in_wide(folded, identifiers)
    for name, kind in encoded:
        at = piece.find(name)
        if at >= 0:
            yield at, kind


def _in_wide(folded: bytes, identifiers: Identifiers) -> Iterator[tuple[int, str]]:
    """Identifiers in UTF-16 text of either byte order."""
    days = identifiers.days | identifiers.birth_days
    wide = [(f"{day.year:04d}{day.month:02d}{day.day:02d}", "date") for day in days]
    for table in (identifiers.words, identifiers.numbers, identifiers.phrases, identifiers.uids):
        wide += table.items()
    for token, kind in wide:
        # Without the last zero byte it is the inside of big endian text too.
        at = folded.find(token.encode("utf-16-le")[:-1])
        if at >= 0:
            yield at, kind


_letter = str.isalpha


def _ascii_letter(mark: str) -> bool:
    return mark.isascii() and mark.isalpha()


def _in_bytes(text: str, identifiers: Identifiers) -> Iterator[tuple[int, str]]:
    """As `Identifiers.find`, but aware that the bytes behind a value are the next element's tag.

    The low byte of a group may look like a letter or a digit (0054, 0032): it is told by the zero byte that follows it.
    """
    for table, same in ((identifiers.words, _letter), (identifiers.numbers, str.isdigit), (identifiers.uids, str.isdigit)):
        for token, kind in table.items():
            at = text.find(token)
            # Bytes beyond ASCII may be the end of a sign of another script, or a length: they make only short words part of another.
            beside = _ascii_letter if same is _letter and len(token) > 4 else same
            while at >= 0:
                stop = at + len(token)
                start = at
                while table is identifiers.numbers and start and text[start - 1] == "0":
                    start -= 1  # an ID that was filled up with zeros
                before = start > 0 and beside(text[start - 1])
                after = stop < len(text) and beside(text[stop]) and text[stop + 1 : stop + 2] != "\0"
                if not before and not after and (same is _letter or not inside_number(text, start, stop)):
                    yield at, kind
                at = text.find(token, at + 1)
    for token, kind in identifiers.phrases.items():
        at = text.find(token)
        if at >= 0:
            yield at, kind
    if identifiers.days or identifiers.birth_days:
        for match in identifiers.dates_in(text):
            yield match.start, match.kind


@lru_cache(maxsize=64)
def _encoded_names(words: tuple[tuple[str, str], ...], phrases: tuple[tuple[str, str], ...]) -> tuple[tuple[bytes, str], ...]:
    """Names beyond ASCII as bytes of every character set they can be written in."""
    found: dict[bytes, str] = {}
    for text, kind in (*words, *phrases):
        if text.isascii():
            continue
        forms = {text, text.upper(), text.title(), *(form for form in spellings(text) if not form.isascii())}
        forms |= {normalize("NFD", form) for form in forms}
        codecs = (*_LEGACY, "utf-16-le", "utf-16-be", "iso2022_jp", "iso2022_jp_2", "iso2022_kr")
        for form in forms:
            for codec in codecs:
                try:
                    value = form.encode(codec)
                except UnicodeError:
                    continue
                if codec.startswith("iso2022"):
                    value = re.sub(rb"^\x1b\$[()]?[A-Z@]|\x1b\([A-Z]$|^\x1b\$\)C|\x0e|\x0f", b"", value)
                # Two bytes are found by chance in any binary value: a name of one sign is not looked for here.
                if len(value) >= (3 if is_latin(form) else 4):
                    found[value] = kind
    return tuple(found.items())
