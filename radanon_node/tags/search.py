"""The second look of law 4: does anything of the patient stand in the bytes that are about to leave?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from radanon_node.pipeline.types import Buffer
from radanon_node.tags.identifiers import Identifiers
from radanon_node.tags.words import is_latin, spellings

_UTF16 = re.compile(rb"(?:[\x20-\x7e]\x00){5,}|(?:\x00[\x20-\x7e]){5,}")
# The low byte of the next element's group may be a letter or a digit and stands right behind a value without padding.
_CUT = re.compile(r"(?<=[a-z0-9])([a-z0-9])(?=\x00)")
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
    at = 0
    for start, stop in sorted(skip):
        if start > at:
            yield at, bytes(data[at:start])
        at = max(at, stop)
    if at < len(data):
        yield at, bytes(data[at:])


def _search(piece: bytes, identifiers: Identifiers, encoded: tuple[tuple[bytes, str], ...]) -> Iterator[tuple[int, str]]:
    # Latin-1 gives every byte one character, so that positions stay and no byte is lost.
    text = piece.lower().decode("latin-1")
    for match in identifiers.find(text):
        yield match.start, match.kind
    if _CUT.search(text):
        # Once more, with the characters blotted out that may be the beginning of the next element.
        blotted = _CUT.sub("\x00", text)
        for match in identifiers.find(blotted):
            yield match.start, match.kind
    for found in _UTF16.finditer(piece):
        wide = found[0].replace(b"\0", b"").lower().decode("latin-1")
        for match in identifiers.find(wide):
            yield found.start() + 2 * match.start, match.kind
    for name, kind in encoded:
        at = piece.find(name)
        if at >= 0:
            yield at, kind


@lru_cache(maxsize=64)
def _encoded_names(words: tuple[tuple[str, str], ...], phrases: tuple[tuple[str, str], ...]) -> tuple[tuple[bytes, str], ...]:
    """Names beyond ASCII as bytes of every character set they can be written in."""
    found: dict[bytes, str] = {}
    for text, kind in (*words, *phrases):
        if text.isascii():
            continue
        forms = {text, text.upper(), text.title(), *(form for form in spellings(text) if not form.isascii())}
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
