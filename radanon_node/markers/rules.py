"""Device region rules: known places of banners and plates, by make, model, software and size. See docs/device-rules.md.

A rule file::

    rules:
      - id: acme-sono3-768
        note: patient banner and the date under it
        when: {Modality: US, Manufacturer: {contains: acme}, ManufacturerModelName: Sono 3}
        size: [768, 1024]            # rows, columns that the boxes were measured on
        other_size: hold             # or ignore: the same device with another size
        boxes: [[0, 0, 1024, 60]]    # left, top, width, height in pixels; `all` blacks out the whole picture
      - id: acme-sono4
        when: {ManufacturerModelName: Sono 4}
        keep_only: ultrasound_regions   # or boxes: everything outside goes
    require_rule_for:
      - {Modality: US, Manufacturer: {contains: acme}}   # such a device without a rule is held

All rules that apply add up; none takes back what another or a detector blacks out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydicom.dataset import Dataset

from radanon_node.errors import ConfigError, HoldInstance, Reason
from radanon_node.markers.rules_conditions import Condition, parse_condition
from radanon_node.pipeline.types import Box, Kind, Region, Source, Verdict

WHOLE = "all"
ULTRASOUND_REGIONS = "ultrasound_regions"
_KEYS = {"id", "note", "when", "size", "other_size", "boxes", "keep_only"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One device rule.

    Parameters
    ----------
    id : str
        Named in receipts and by ``explain``.
    when : Condition
    boxes : tuple of Box or None
        Blacked out; None means the whole picture.
    keep_only : tuple of Box, str or None
        Where given, everything outside is blacked out; `ULTRASOUND_REGIONS` takes them from the data set.
    size : tuple of int or None
        (rows, columns) the rule was made for.
    hold_other_size : bool
        Hold an instance that meets `when` but not `size`: the device's layout changed.
    note : str
    """

    id: str
    when: Condition
    boxes: tuple[Box, ...] | None = ()
    keep_only: tuple[Box, ...] | str | None = None
    size: tuple[int, int] | None = None
    hold_other_size: bool = False
    note: str = ""

    def as_yaml(self) -> dict[str, Any]:
        """The mapping this rule is read from."""
        written: dict[str, Any] = {"id": self.id}
        if self.note:
            written["note"] = self.note
        written["when"] = self.when.as_yaml()
        if self.size is not None:
            written |= {"size": list(self.size), "other_size": "hold" if self.hold_other_size else "ignore"}
        if self.boxes is None:
            written["boxes"] = WHOLE
        elif self.boxes:
            written["boxes"] = [_written(box) for box in self.boxes]
        if self.keep_only is not None:
            written["keep_only"] = self.keep_only if isinstance(self.keep_only, str) else [_written(box) for box in self.keep_only]
        return written


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of a profile, and the devices that must have one."""

    rules: tuple[Rule, ...] = ()
    required: tuple[Condition, ...] = ()

    def hits(self, dataset: Dataset, rows: int, columns: int) -> list[Rule]:
        """The rules that apply to an object, in file order.

        Raises
        ------
        HoldInstance
            ``layout_changed`` (a rule's device with a size it does not know), ``rule_missing`` (a device that must have a rule).
        """
        found = []
        for rule in self.rules:
            if not rule.when.holds(dataset):
                continue
            if rule.size is None or rule.size == (rows, columns):
                found.append(rule)
            elif rule.hold_other_size and not self._other_fits(rule, dataset, rows, columns):
                raise HoldInstance(Reason.LAYOUT_CHANGED, f"rule {rule.id} knows this device at {rule.size[0]} x {rule.size[1]}, "
                                   f"the picture has {rows} x {columns}")
        if not found and any(condition.holds(dataset) for condition in self.required):
            raise HoldInstance(Reason.RULE_MISSING, "device region rules are required for this device and none applies")
        return found

    def _other_fits(self, rule: Rule, dataset: Dataset, rows: int, columns: int) -> bool:
        return any(other is not rule and other.size == (rows, columns) and other.when.holds(dataset) for other in self.rules)

    def regions_for(self, dataset: Dataset, rows: int, columns: int) -> list[Region]:
        """What the rules black out on all frames of an object of `rows` x `columns`.

        Returns
        -------
        list of Region
            Verdict ``REDACT``, kind ``BANNER``, source ``DEVICE_RULE``, ``why`` = ``rule:<id>``.

        Raises
        ------
        HoldInstance
            See `hits`.
        """
        return [region for rule in self.hits(dataset, rows, columns) for region in _regions(rule, dataset, rows, columns)]


def _regions(rule: Rule, dataset: Dataset, rows: int, columns: int) -> list[Region]:
    whole = Box(0, 0, columns, rows)
    boxes = [whole] if rule.boxes is None else [box.clipped(rows, columns) for box in rule.boxes]
    regions = [_region(box, rule) for box in boxes if box.width > 0 and box.height > 0]
    if rule.keep_only is not None:
        kept = ultrasound_regions(dataset) if isinstance(rule.keep_only, str) else rule.keep_only
        if not kept:
            raise HoldInstance(Reason.LAYOUT_CHANGED, f"rule {rule.id} keeps the ultrasound regions, and this object declares none")
        outside = np.ones((rows, columns), np.bool_)
        for box in kept:
            inside = box.clipped(rows, columns)
            if inside.width > 0 and inside.height > 0:
                outside[inside.y0:inside.y1, inside.x0:inside.x1] = False
        if outside.any():
            regions.append(Region(whole, Verdict.REDACT, Kind.BANNER, 1.0, Source.DEVICE_RULE, f"rule:{rule.id}", None, outside))
    return regions


def _region(box: Box, rule: Rule) -> Region:
    return Region(box, Verdict.REDACT, Kind.BANNER, 1.0, Source.DEVICE_RULE, f"rule:{rule.id}")


def ultrasound_regions(dataset: Dataset) -> tuple[Box, ...]:
    """The regions of a US picture, from Sequence of Ultrasound Regions (0018,6011), PS3.3 C.8.5.5; both corners belong to a region."""
    boxes = []
    for item in dataset.get("SequenceOfUltrasoundRegions") or ():
        corners = [item.get(f"RegionLocation{name}") for name in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
        if all(isinstance(corner, int) for corner in corners):
            boxes.append(Box(corners[0], corners[1], corners[2] + 1, corners[3] + 1))
    return tuple(boxes)


def load_rules(paths: Sequence[Path]) -> RuleSet:
    """Read rule files.

    Raises
    ------
    ConfigError
        One line per mistake with the file, the rule and the key; a file that cannot be read; an id used twice.
    """
    problems: list[str] = []
    rules: list[Rule] = []
    required: list[Condition] = []
    for path in paths:
        try:
            raw = yaml.safe_load(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problems.append(f"{path}: cannot be read as YAML ({type(error).__name__})")
            continue
        if not isinstance(raw, Mapping) or not set(raw) <= {"rules", "require_rule_for"}:
            problems.append(f"{path}: must hold `rules` and, if wanted, `require_rule_for`, nothing else")
            continue
        for index, one in enumerate(_listed(raw, "rules", path, problems)):
            try:
                rules.append(_rule(one, f"{path}: rules[{index}]"))
            except ConfigError as error:
                problems += error.problems
        for index, one in enumerate(_listed(raw, "require_rule_for", path, problems)):
            try:
                required.append(parse_condition(one, f"{path}: require_rule_for[{index}]"))
            except ConfigError as error:
                problems += error.problems
    seen: set[str] = set()
    for rule in rules:
        if rule.id in seen:
            problems.append(f"rule id {rule.id!r} is used twice")
        seen.add(rule.id)
    if problems:
        raise ConfigError(problems)
    return RuleSet(tuple(rules), tuple(required))


def _listed(raw: Mapping[str, Any], name: str, path: Path, problems: list[str]) -> list[Any]:
    listed = raw.get(name) or []
    if isinstance(listed, list):
        return listed
    problems.append(f"{path}: {name}: must be a list")
    return []


def dump_rules(rules: Sequence[Rule], required: Sequence[Condition] = ()) -> str:
    """YAML text of rules, as `load_rules` reads it."""
    written: dict[str, Any] = {"rules": [rule.as_yaml() for rule in rules]}
    if required:
        written["require_rule_for"] = [condition.as_yaml() for condition in required]
    return yaml.safe_dump(written, sort_keys=False, allow_unicode=True, width=120)


def _rule(raw: object, where: str) -> Rule:
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: must be a mapping")
    name = raw.get("id")
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f"{where}.id: must be a name")
    where = f"{where} ({name})"
    unknown = set(raw) - _KEYS
    if unknown:
        raise ConfigError(f"{where}: unknown keys {', '.join(sorted(map(str, unknown)))}; there are: {', '.join(sorted(_KEYS))}")
    size, other = raw.get("size"), raw.get("other_size", "hold")
    if size is not None and not (isinstance(size, list) and len(size) == 2 and all(_whole(part) and part > 0 for part in size)):
        raise ConfigError(f"{where}.size: must be [rows, columns]")
    if other not in ("hold", "ignore"):
        raise ConfigError(f"{where}.other_size: must be hold or ignore")
    boxes: tuple[Box, ...] | None = None if raw.get("boxes") == WHOLE else _boxes(raw.get("boxes", []), f"{where}.boxes")
    keep: tuple[Box, ...] | str | None = raw.get("keep_only")
    if keep is not None and keep != ULTRASOUND_REGIONS:
        keep = _boxes(keep, f"{where}.keep_only")
    if boxes == () and keep is None:
        raise ConfigError(f"{where}: needs boxes or keep_only")
    return Rule(name.strip(), parse_condition(raw.get("when"), f"{where}.when"), boxes, keep, (size[0], size[1]) if size else None,
                size is not None and other == "hold", str(raw.get("note", "")))


def _boxes(raw: object, where: str) -> tuple[Box, ...]:
    if not isinstance(raw, list):
        raise ConfigError(f"{where}: must be a list of [left, top, width, height]")
    boxes = []
    for index, one in enumerate(raw):
        if not (isinstance(one, list) and len(one) == 4 and all(_whole(part) for part in one) and min(one[:2]) >= 0 and min(one[2:]) > 0):
            raise ConfigError(f"{where}[{index}]: must be [left, top, width, height] in whole pixels")
        boxes.append(Box(one[0], one[1], one[0] + one[2], one[1] + one[3]))
    return tuple(boxes)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _written(box: Box) -> list[int]:
    return [box.x0, box.y0, box.width, box.height]
