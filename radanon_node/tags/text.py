"""Cleaning free text (Clean Descriptors Option, PS3.15 E.3.5): identity goes, harmless words stay."""

from __future__ import annotations

import re

from radanon_node.tags.matching import Identifiers
from radanon_node.tags.words import DATES

# What identifies somebody whoever it is; the patient's own identifiers are hunted beside these.
_TITLE = r"(?:mr|mrs|ms|miss|dr|prof|professor|herr|frau|hr|fr|mme|mlle|monsieur|madame|sr|sra|señor|señora|sig|dott|doctor)"
_PATTERNS = (
    re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"),  # mail
    re.compile(r"\b(?:https?|ftp|file)://\S+|\bwww\.\S+|\\\\[\w.-]+\\\S+", re.IGNORECASE),
    re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b"),  # IPv4
    re.compile(r"\b\d{3}-\d{2}-\d{4}\b"),  # US social security number
    re.compile(r"\b(?:tel|telephone|telefon|phone|fax|mobile|cell)\b[ .:#]{0,3}[+(]?\d[\d ()./-]{4,}\d", re.IGNORECASE),
    re.compile(r"(?<![\w.])(?:\+\d{1,3}[ ./-]?)?(?:\(\d{2,5}\)|\d{3,5})[ ./-]\d{3,4}[ ./-]\d{3,5}(?![\w.])"),  # telephone
    re.compile(r"(?<![\w.])\d{3}-\d{4}(?![\w.])"),
    re.compile(r"(?<![\w.])\+\d[\d ./-]{6,}\d"),
    re.compile(
        r"\b(?:mrn|m\.r\.n\.|acc(?:ession)?|pat(?:ient)?[ -]?id|case|visit|order|ssn|dob|d\.o\.b\.|geb(?:oren)?\.?|born)"
        r"[ .:#-]{0,3}(?:no|nr|number)?[ .:#-]{0,3}[A-Za-z]{0,4}[-/]?\d[\w./-]*",
        re.IGNORECASE,
    ),
    # Titles are recognised in any case, but only before a word with a capital letter; its following capitalised words go too.
    re.compile(rf"\b(?i:{_TITLE})\b\.?[ ^,]+(?:[A-Z][.]? ?)*[A-ZÀ-ÖØ-Þ][\w'’À-ÿ-]+(?:[ ^]+[A-ZÀ-ÖØ-Þ][\w'’À-ÿ-]+)?"),
    re.compile(r"(?<![\w^])[^\W\d_][\w'’-]{1,63}(?:\^[^\W\d_][\w'’.-]{0,63}){1,4}\^{0,3}"),  # a name as DICOM writes it: Doe^Jane
    re.compile(r"(?<![\w.])[A-Z]{0,3}\d{6,}(?![\w.])"),  # numbers as long as accession numbers and the like
    re.compile(r"(?<![\d.])[0-2](?:\.\d+){5,}"),  # UIDs
    re.compile(r"\b\d{1,5}[a-z]? (?:[A-ZÀ-Þ][\w'’-]+ ){1,3}(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Boulevard|Blvd|Court|Way)\b\.?"),
    re.compile(r"\b[A-ZÀ-Þ][\wß-]+(?:straße|strasse|str\.|weg|platz|gasse|allee) \d+ ?[a-z]?\b"),
)
_EDGES = " \t\r\n,;:^-"
_SPACES = re.compile(r"[ \t]{2,}")
_LEFT_OVERS = re.compile(r"(?<=[(\[])[\s,;:^]+|\([\s.]*\)|\[[\s.]*\]|(?<=[\s,;])[,;^]{1,8}(?=\s|$)")
_LONGEST = 100_000


def clean(text: str, identifiers: Identifiers) -> str:
    """`text` without anybody's identity.

    Parameters
    ----------
    text : str
        One value, decoded.
    identifiers : Identifiers
        The patient's, the staff's and the site's own, hunted word by word in any spelling, the weak ones too.

    Returns
    -------
    str
        Never longer than `text`; empty if nothing harmless was in it, or it is longer than any description is.

    Examples
    --------
    >>> clean("CHEST 2 VIEWS for Mr. Smith, MRN 4711-22, on 03/04/2021", Identifiers())
    'CHEST 2 VIEWS for on'
    """
    if len(text) > _LONGEST:
        return ""  # no description of an image is that long
    spans = [(match.start, match.stop) for match in identifiers.find(text, weak=True)]
    for pattern in _PATTERNS:
        spans += [found.span() for found in pattern.finditer(text)]
    lowered = text.lower()
    if len(lowered) == len(text):
        spans += [found.span() for found in DATES.finditer(lowered)]
    return without(text, spans)


def hunt(text: str, identifiers: Identifiers) -> str:
    """`text` of an attribute that no table lists: only this instance's strong identifiers are taken out."""
    spans = [(match.start, match.stop) for match in identifiers.find(text)]
    return without(text, spans) if spans else text


def without(text: str, spans: list[tuple[int, int]]) -> str:
    """`text` with `spans` cut out to whole words, and what punctuation that leaves tidied."""
    if not spans:
        return text
    pieces: list[str] = []
    at = 0
    for start, stop in sorted(spans):
        if stop <= at:
            continue
        pieces.append(text[at:max(start, at)])
        at = stop
    pieces.append(text[at:])
    tidy = _SPACES.sub(" ", "".join(pieces))
    for _ in range(4):
        tidy = _SPACES.sub(" ", _LEFT_OVERS.sub("", tidy.strip(_EDGES)))
    return re.sub(r"\s{1,8}(?=[,;.])", "", tidy).strip(_EDGES)
