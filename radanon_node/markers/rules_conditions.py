"""Conditions on a data set, as device rules write them: frozen trees that answer yes or no.

In YAML a condition is a mapping of attributes to tests; all must hold::

    Modality: US                                  # equal, ignoring case and spaces around
    Manufacturer: {contains: acme}                # also starts_with, ends_with, matches (regular expression), equals
    ManufacturerModelName: [Sono 3, Sono 4]       # any of these
    Rows: {less_than: 800}                        # also greater_than
    SequenceOfUltrasoundRegions: {present: true}
    SequenceOfUltrasoundRegions/RegionDataType: 1 # in the first item of a sequence
    any: [{Rows: 768}, {Rows: 720}]               # nested: any, all, not
    not: {SoftwareVersions: {starts_with: "5."}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from radanon_node.errors import ConfigError

OPERATORS = ("equals", "contains", "starts_with", "ends_with", "matches", "less_than", "greater_than", "present")


class Condition(Protocol):
    """Anything that can be asked about a data set and written back as YAML."""

    def holds(self, dataset: Dataset) -> bool: ...
    def as_yaml(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Test:
    """One attribute against one or more values; any of the values is enough.

    Parameters
    ----------
    path : str
        Keywords or ``(gggg,eeee)`` tags joined by ``/``; all but the last are sequences, of which the first item counts.
    operator : str
        One of `OPERATORS`.
    values : tuple of str
    """

    path: str
    operator: str
    values: tuple[str, ...]

    def holds(self, dataset: Dataset) -> bool:
        """Whether the attribute passes; one that is absent passes only ``present: false``."""
        value = _value_at(dataset, self.path)
        if self.operator == "present":
            return (value is not None) == (self.values[0] == "true")
        if value is None:
            return False
        text = "\\".join(str(part).strip() for part in value) if isinstance(value, MultiValue | list | tuple) else str(value).strip()
        return any(_passes(self.operator, text, wanted) for wanted in self.values)

    def as_yaml(self) -> dict[str, Any]:
        """The mapping this test is read from."""
        values: Any = list(self.values) if len(self.values) > 1 else self.values[0]
        if self.operator == "present":
            values = values == "true"
        return {self.path: values if self.operator == "equals" else {self.operator: values}}


@dataclass(frozen=True, slots=True)
class Group:
    """All or any of several conditions."""

    parts: tuple[Condition, ...]
    every: bool

    def holds(self, dataset: Dataset) -> bool:
        return (all if self.every else any)(part.holds(dataset) for part in self.parts)

    def as_yaml(self) -> dict[str, Any]:
        """A flat mapping where that says the same, else ``all`` or ``any``."""
        written = [part.as_yaml() for part in self.parts]
        keys = [key for part in written for key in part]
        if self.every and len(keys) == len(set(keys)):
            return {key: value for part in written for key, value in part.items()}
        return {"all" if self.every else "any": written}


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition."""

    part: Condition

    def holds(self, dataset: Dataset) -> bool:
        return not self.part.holds(dataset)

    def as_yaml(self) -> dict[str, Any]:
        return {"not": self.part.as_yaml()}


def parse_condition(raw: object, where: str) -> Condition:
    """Read a condition from YAML.

    Raises
    ------
    ConfigError
        With `where` and what is wrong: an unknown attribute or operator, an empty mapping, a bad regular expression.
    """
    if not isinstance(raw, Mapping) or not raw:
        raise ConfigError(f"{where}: must be a mapping of attributes to tests")
    parts: list[Condition] = []
    for key, wanted in raw.items():
        here = f"{where}.{key}"
        if key == "not":
            parts.append(Not(parse_condition(wanted, here)))
        elif key in ("any", "all"):
            if not isinstance(wanted, list) or not wanted:
                raise ConfigError(f"{here}: must be a list of conditions")
            parts.append(Group(tuple(parse_condition(one, f"{here}[{index}]") for index, one in enumerate(wanted)), key == "all"))
        else:
            parts.extend(_parse_tests(str(key), wanted, here))
    return parts[0] if len(parts) == 1 else Group(tuple(parts), True)


def _parse_tests(path: str, wanted: object, where: str) -> list[Condition]:
    check_path(path, where)
    tests: list[Condition] = []
    for operator, values in (wanted if isinstance(wanted, Mapping) else {"equals": wanted}).items():
        if operator not in OPERATORS:
            raise ConfigError(f"{where}: no operator {operator!r}; there are: {', '.join(OPERATORS)}")
        listed = values if isinstance(values, list) else [values]
        if not listed or any(value is None or isinstance(value, Mapping | list) for value in listed):
            raise ConfigError(f"{where}.{operator}: must be a value or a list of values")
        texts = tuple(str(value).lower() if isinstance(value, bool) else str(value).strip() for value in listed)
        tests.append(make_test(path, operator, texts, where))
    if not tests:
        raise ConfigError(f"{where}: no test")
    return tests


def make_test(path: str, operator: str, values: tuple[str, ...], where: str) -> Test:
    """A `Test` whose values fit its operator.

    Raises
    ------
    ConfigError
        A regular expression that does not compile, a number that is none, ``present`` with neither true nor false.
    """
    for value in values:
        if operator == "matches":
            try:
                re.compile(value)
            except re.error as error:
                raise ConfigError(f"{where}: not a regular expression: {error}") from None
        elif operator in ("less_than", "greater_than") and _number(value) is None:
            raise ConfigError(f"{where}.{operator}: must be a number")
        elif operator == "present" and value not in ("true", "false"):
            raise ConfigError(f"{where}.present: must be true or false")
    return Test(path, operator, values)


def check_path(path: str, where: str) -> None:
    """Raise ConfigError unless every step of `path` is a keyword of the data dictionary or a tag."""
    for step in path.split("/"):
        if _tag(step) is None:
            raise ConfigError(f"{where}: no attribute {step!r} in the DICOM data dictionary")


def _tag(step: str) -> int | None:
    found = re.fullmatch(r"\(([0-9A-Fa-f]{4}),([0-9A-Fa-f]{4})\)", step)
    return int(found[1] + found[2], 16) if found else tag_for_keyword(step)


def _value_at(dataset: Dataset, path: str) -> Any:
    *sequences, last = path.split("/")
    for step in sequences:
        tag = _tag(step)
        items = dataset[Tag(tag)].value if tag is not None and Tag(tag) in dataset else None
        if not isinstance(items, MultiValue | list) and not hasattr(items, "__getitem__"):
            return None
        if not items or not isinstance(items[0], Dataset):
            return None
        dataset = items[0]
    tag = _tag(last)
    return dataset[Tag(tag)].value if tag is not None and Tag(tag) in dataset else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _passes(operator: str, text: str, wanted: str) -> bool:
    if operator == "matches":
        return re.search(wanted, text, re.IGNORECASE) is not None
    if operator in ("less_than", "greater_than"):
        value, limit = _number(text), _number(wanted)
        return value is not None and limit is not None and (value < limit if operator == "less_than" else value > limit)
    text, wanted = text.casefold(), wanted.casefold()
    if operator == "equals":
        return text == wanted
    if operator == "contains":
        return wanted in text
    return text.startswith(wanted) if operator == "starts_with" else text.endswith(wanted)
