"""Device rules out of other tools' files: RSNA CTP DicomPixelAnonymizer scripts and coordinates of pydicom/deid recipes.

Both are turned into this product's own `Rule` values, to be written as YAML, read by a person and then used. Two differences make the
imported rules black out more, never less: all matching rules apply (CTP stops at the first), and comparisons ignore case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from radanon_node.errors import ConfigError
from radanon_node.markers.rules import ULTRASOUND_REGIONS, Rule
from radanon_node.markers.rules_conditions import Condition, Group, Not, check_path, make_test
from radanon_node.pipeline.types import Box

# CTP's methods (MircWiki, "The CTP DICOM Filter"); each has an IgnoreCase form.
_CTP_METHODS = {"equals": "equals", "contains": "contains", "startsWith": "starts_with", "endsWith": "ends_with", "matches": "matches",
                "isLessThan": "less_than", "isGreaterThan": "greater_than"}
_CTP_TOKEN = re.compile(r"""\s*(?:(?P<operator>[!*+()])|(?P<constant>true\.|false\.)
    |(?P<path>[\[\]\w,:]+)\.(?P<method>\w+)\(\s*(?:"(?P<value>[^"]*)")?\s*\))""", re.VERBOSE)
_CTP_RENAMED = {"SeqOfUltrasoundRegions": "SequenceOfUltrasoundRegions"}


def import_ctp(script: str, prefix: str = "ctp") -> list[Rule]:
    """Rules of a CTP DicomPixelAnonymizer script: sections ``{ signature } (left,top,width,height) ...``.

    Parameters
    ----------
    script : str
        The file's text; what is neither in braces nor parentheses is comment.
    prefix : str
        Rule ids become ``<prefix>-001`` and so on; the comment line before a section becomes its note.

    Raises
    ------
    ConfigError
        A section that cannot be read, with its number: nothing is left out silently.
    """
    rules = []
    position = 0
    for number, section in enumerate(re.finditer(r"\{([^}]*)\}((?:\s*\([^)]*\))*)", script), start=1):
        where = f"{prefix} section {number}"
        comment = [line.strip(" *\t\r") for line in script[position:section.start()].splitlines() if line.strip(" *\t\r")]
        position = section.end()
        boxes = tuple(_ctp_box(text, where) for text in re.findall(r"\(([^)]*)\)", section[2]))
        if not boxes:
            raise ConfigError(f"{where}: no regions")
        rules.append(Rule(f"{prefix}-{number:03d}", _Signature(section[1], where).parse(), boxes, note=comment[-1] if comment else ""))
    if not rules:
        raise ConfigError(f"{prefix}: no section {{ signature }} (region) found")
    return rules


def _ctp_box(text: str, where: str) -> Box:
    numbers = _numbers(text, where)
    left, top, width, height = numbers
    if width <= 0 or height <= 0:
        raise ConfigError(f"{where}: a region needs left, top, width, height")
    return Box(left, top, left + width, top + height)


def _numbers(text: str, where: str) -> list[int]:
    parts = text.split(",")
    if len(parts) != 4 or not all(re.fullmatch(r"\s*\d+\s*", part) for part in parts):
        raise ConfigError(f"{where}: coordinates must be four whole numbers")
    return [int(part) for part in parts]


@dataclass(frozen=True, slots=True)
class _Constant:
    """``true.`` or ``false.`` of a signature."""

    value: bool

    def holds(self, dataset: object) -> bool:
        return self.value

    def as_yaml(self) -> dict[str, object]:
        return {"SOPClassUID": {"present": self.value}}  # every object has one


class _Signature:
    """Recursive descent over a signature: ``+`` is or, ``*`` is and, ``!`` is not, in order of increasing precedence."""

    def __init__(self, text: str, where: str) -> None:
        self._where = where
        self._tokens = list(self._split(text))
        self._at = 0

    def _split(self, text: str) -> Iterator[re.Match[str]]:
        position = 0
        text = text.rstrip()
        while position < len(text):
            token = _CTP_TOKEN.match(text, position)
            if token is None:
                raise ConfigError(f"{self._where}: cannot read the signature at character {position + 1}")
            yield token
            position = token.end()

    def parse(self) -> Condition:
        condition = self._either()
        if self._at != len(self._tokens):
            raise ConfigError(f"{self._where}: something follows the end of the signature")
        return condition

    def _next_is(self, operator: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at]["operator"] == operator:
            self._at += 1
            return True
        return False

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._next_is("+"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Group(tuple(parts), False)

    def _both(self) -> Condition:
        parts = [self._term()]
        while self._next_is("*"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else Group(tuple(parts), True)

    def _term(self) -> Condition:
        if self._next_is("!"):
            return Not(self._term())
        if self._next_is("("):
            inner = self._either()
            if not self._next_is(")"):
                raise ConfigError(f"{self._where}: a parenthesis is not closed")
            return inner
        if self._at >= len(self._tokens):
            raise ConfigError(f"{self._where}: the signature ends too early")
        token = self._tokens[self._at]
        self._at += 1
        if token["constant"]:
            return _Constant(token["constant"] == "true.")
        if token["operator"]:
            raise ConfigError(f"{self._where}: {token['operator']} where an attribute is expected")
        return self._test(token)

    def _test(self, token: re.Match[str]) -> Condition:
        method = token["method"].removesuffix("IgnoreCase")
        path = "/".join(_ctp_name(step) for step in token["path"].split("::"))
        check_path(path, self._where)
        if method in ("exists", "isMissing"):
            return make_test(path, "present", ("true" if method == "exists" else "false",), self._where)
        if method not in _CTP_METHODS or token["value"] is None:
            raise ConfigError(f"{self._where}: no method {token['method']!r}")
        return make_test(path, _CTP_METHODS[method], (token["value"],), self._where)


def _ctp_name(step: str) -> str:
    step = _CTP_RENAMED.get(step, step)
    return f"({step[1:-1]})" if step.startswith("[") else step


_DEID_TESTS = {"contains": "contains", "equals": "equals"}
_DEID_JOINED = re.compile(r"(\+|\|\||^)\s*(.+?)(?=\s*(?:\+|\|\|)\s*(?:not)?(?:contains|equals|present|missing|empty)\b|$)")


def import_deid(recipe: str, prefix: str = "deid") -> list[Rule]:
    """Rules with coordinates of a pydicom/deid recipe: ``LABEL`` blocks of a ``%filter``.

    ``contains``, ``notcontains``, ``equals``, ``notequals``, ``present``, ``missing``, ``empty``, ``notempty`` joined by ``+`` (and) or
    ``||`` (or), from left to right; a test line that begins with neither starts an alternative. ``coordinates`` are xmin, ymin, xmax,
    ymax, ``ctpcoordinates`` left, top, width, height; also ``all`` and ``from:SequenceOfUltrasoundRegions``; the ``keep`` forms keep
    what they name and black out the rest. Blocks without coordinates only flag in deid and are left out here.

    Raises
    ------
    ConfigError
        A line that cannot be read, with its number; a recipe without coordinates.
    """
    rules: list[Rule] = []
    label, tests, coordinates = "", list[tuple[int, str]](), list[tuple[int, str]]()

    def close() -> None:
        if coordinates:
            rules.append(_deid_rule(f"{prefix}-{len(rules) + 1:03d}", label, tests, coordinates, prefix))

    inside = False
    for number, line in enumerate(recipe.splitlines(), start=1):
        text = line.split("#")[0].strip()
        if not text or text.startswith("FORMAT"):
            continue
        if text.startswith("%"):
            close()
            label, tests, coordinates, inside = "", [], [], text.split()[0] == "%filter"
        elif inside and text.startswith("LABEL"):
            close()
            label, tests, coordinates = text[5:].strip(), [], []
        elif inside and re.match(r"(ctp)?(keep)?coordinates\b", text):
            coordinates.append((number, text))
        elif inside:
            tests.append((number, text))
    close()
    if not rules:
        raise ConfigError(f"{prefix}: no LABEL with coordinates found")
    return rules


def _deid_rule(name: str, label: str, tests: Sequence[tuple[int, str]], coordinates: Sequence[tuple[int, str]], prefix: str) -> Rule:
    condition: Condition | None = None
    for number, text in tests:
        where = f"{prefix} line {number}"
        for joint, one in _DEID_JOINED.findall(text):
            test = _deid_test(one, where)
            condition = test if condition is None else Group((condition, test), joint == "+")
    if condition is None:
        condition = make_test("SOPClassUID", "present", ("true",), prefix)
    boxes: list[Box] | None = []
    keep: list[Box] | str | None = None
    for number, text in coordinates:
        kind, _, value = text.partition(" ")
        value, where = value.strip(), f"{prefix} line {number}"
        if value == "from:SequenceOfUltrasoundRegions":
            if "keep" not in kind:
                raise ConfigError(f"{where}: blacking out the ultrasound regions themselves is not supported")
            keep = ULTRASOUND_REGIONS
        elif value == "all":
            if "keep" not in kind:
                boxes = None
        elif "keep" in kind:
            keep = [*(keep if isinstance(keep, list) else []), _deid_box(kind, value, where)]
        elif boxes is not None:
            boxes.append(_deid_box(kind, value, where))
    kept = tuple(keep) if isinstance(keep, list) else keep
    # deid paints `all` first and then keeps what a later line names: that is what keep_only says.
    painted = () if kept is not None and boxes is None else None if boxes is None else tuple(boxes)
    return Rule(name, condition, painted, kept, note=label)


def _deid_box(kind: str, value: str, where: str) -> Box:
    if kind.startswith("ctp"):
        return _ctp_box(value, where)
    left, top, right, bottom = _numbers(value, where)
    if right <= left or bottom <= top:
        raise ConfigError(f"{where}: coordinates must be xmin, ymin, xmax, ymax")
    return Box(left, top, right, bottom)


def _deid_test(text: str, where: str) -> Condition:
    parts = text.split(None, 2)
    verb, field = parts[0], parts[1] if len(parts) > 1 else ""
    check_path(field, where)
    if verb in ("present", "notempty", "missing", "empty") and len(parts) == 2:
        return make_test(field, "present", ("true" if verb in ("present", "notempty") else "false",), where)
    plain = verb.removeprefix("not")
    if plain not in _DEID_TESTS or len(parts) < 3:
        raise ConfigError(f"{where}: cannot read the test {verb!r}")
    # deid's `contains` is a regular expression searched without regard to case.
    test = make_test(field, "matches" if plain == "contains" else "equals", (parts[2].strip(),), where)
    return Not(test) if verb.startswith("not") else test
