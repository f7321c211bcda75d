"""Forms in which a name or an ID is written by people and programs: run together, in other scripts, escaped, as a digest."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from html.entities import codepoint2name
from urllib.parse import quote

from radanon_node.tags.words import folded, is_latin, plain, spellings, visible

_PARTS = re.compile(r"[^\W\d_]+|\d+")
_MARKS = re.compile("[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa\u30fc]+")
_TO_KATAKANA = {code: code + 0x60 for code in range(0x3041, 0x3097)}
_TO_HIRAGANA = {code + 0x60: code for code in range(0x3041, 0x3097)}
_SHORTEST_KANA = 3  # two signs are found inside other words, as アキ in アキレス腱


def joined(components: Sequence[Sequence[str]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Words of a name run together: family and given name, either first, and names of several words.

    Parameters
    ----------
    components : sequence of sequences of str
        The words of family name, given name and so on, in small letters.

    Yields
    ------
    form : str
        In plain form, without apostrophes.
    parts : tuple of str
        The plain words it was made of; a login's initial among them.

    Examples
    --------
    >>> sorted(form for form, _ in joined([["dyck"], ["jan"]]))
    ['dyckj', 'dyckjan', 'jandyck', 'jdyck']
    """
    filled = [words for words in components if words]
    if len(filled) == 1 and len(filled[0]) == 2:
        filled = [filled[0][:1], filled[0][1:]]  # "Doe John" without a caret
    seen: set[str] = set()
    for spell in (plain, _with_digraphs):
        names = [tuple(spell(word).replace("'", "") for word in words) for words in filled[:2]]
        made: list[tuple[str, tuple[str, ...]]] = [("".join(words), words) for words in names if len(words) > 1]
        if len(names) == 2:
            (whole, given), first = names, names[1][:1]
            made += [("".join(words), words) for words in (whole + given, given + whole)]
            for family in (whole, *((word,) for word in whole if len(whole) > 1)):
                made += [("".join(words), words) for words in (family + first, first + family)]
                if len("".join(family)) >= 4 and first[0]:
                    made += [("".join(words), words) for words in ((*family, first[0][0]), (first[0][0], *family))]
        for form, parts in made:
            if form not in seen:
                seen.add(form)
                yield form, parts


def _with_digraphs(word: str) -> str:
    return max(spellings(word), key=lambda form: (len(form), form)) if not word.isascii() else plain(word)


def in_other_scripts(word: str) -> set[str]:
    """A word of a script other than Latin as it is met: in small and wide signs, without accents or vowel points, in the other kana.

    Examples
    --------
    >>> "παπαδοπουλοσ" in in_other_scripts("παπαδόπουλος")
    True
    >>> "ヤマダ" in in_other_scripts("やまだ") and "ヤマダ" in in_other_scripts("ﾔﾏﾀﾞ")
    True
    """
    word = visible(word)
    wide = unicodedata.normalize("NFKC", word)
    forms = {word, wide, folded(wide), _MARKS.sub("", wide), unicodedata.normalize("NFD", wide)}
    if _KANA.fullmatch(wide) and len(wide) >= _SHORTEST_KANA:
        katakana = wide.translate(_TO_KATAKANA)
        forms |= {katakana, wide.translate(_TO_HIRAGANA), "".join(_half_width().get(sign, sign) for sign in katakana)}
    return {form for form in forms if len(form) > 1}


@cache
def _half_width() -> dict[str, str]:
    """Katakana -> its half-width signs (JIS X 0201), a voiced one as two."""
    signs = [chr(code) for code in range(0xFF66, 0xFF9E)]
    found = {unicodedata.normalize("NFKC", sign): sign for sign in signs}
    for mark in "\uff9e\uff9f":
        for sign in signs:
            voiced = unicodedata.normalize("NFKC", sign + mark)
            if len(voiced) == 1:
                found.setdefault(voiced, sign + mark)
    return found


def escaped(word: str) -> set[str]:
    """A word with letters beyond ASCII as web forms, XML and addresses write it, in small letters.

    Examples
    --------
    >>> sorted(escaped("ü"))[:4]
    ['%c3%9c', '%c3%bc', '%dc', '%fc']
    """
    found: set[str] = set()
    if word.isascii():
        return found
    for form in (word, word.upper()):
        codes = [ord(mark) for mark in form]
        for pattern in ("&#{};", "&#x{:x};", "\\u{:04x}"):
            found.add("".join(chr(code) if code < 128 else pattern.format(code) for code in codes))
        found.add("".join(chr(code) if code < 128 else f"&{codepoint2name.get(code, f'#{code}')};" for code in codes))
        found |= {quote(form), quote(form).replace("%", "=")}
        if max(codes) < 256:
            found.add(quote(form, encoding="latin-1"))
    return {form.lower() for form in found}


def digests(text: str) -> set[str]:
    """What programs put in place of an ID or name and think it hidden: its MD5, SHA-1, SHA-256 and Base64, in small letters."""
    data = text.encode("utf-8")
    made = {hashlib.new(name, data, usedforsecurity=False).hexdigest() for name in ("md5", "sha1", "sha256")}
    return made | {base64.b64encode(data).decode().rstrip("=").lower()} if len(data) >= 6 else made


def with_other_separators(identifier: str) -> set[str]:
    """An ID of letters and digits with other signs between its parts, or none.

    Examples
    --------
    >>> sorted(with_other_separators("px-48151"))
    ['px 48151', 'px-48151', 'px48151', 'px_48151']
    """
    parts = _PARTS.findall(identifier)
    whole = "".join(parts)
    if len(parts) < 2 or len(parts) > 6 or len(whole) < 6 or sum(map(str.isdigit, whole)) < 3 or whole.isdigit() or not is_latin(whole):
        return set()
    return {sign.join(parts) for sign in ("", " ", "-", "_")}
