"""Device region rules: which apply, what they black out, and that a mistake in a rule file is one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radanon_node.errors import ConfigError, HoldInstance, Reason
from radanon_node.markers.rules import RuleSet, dump_rules, load_rules
from radanon_node.markers.rules_conditions import parse_condition
from radanon_node.pipeline.types import Box, Source, Verdict


def ultrasound(**changes: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
    dataset.Modality, dataset.Manufacturer, dataset.ManufacturerModelName = "US", "ACME Medical ", "Sono 3"
    dataset.Rows, dataset.Columns = 768, 1024
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "ABDOMINAL"]
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def rules_of(tmp_path: Path, text: str) -> RuleSet:
    path = tmp_path / "rules.yaml"
    path.write_text(text, "utf-8")
    return load_rules([path])


ONE = """
rules:
  - id: acme-sono3
    when: {Modality: US, Manufacturer: {contains: acme}, ManufacturerModelName: [Sono 3, Sono 4]}
    size: [768, 1024]
    boxes: [[0, 0, 1024, 60], [900, 700, 500, 500]]
"""


def test_a_rule_blacks_out_its_boxes_clipped_to_the_picture(tmp_path: Path) -> None:
    regions = rules_of(tmp_path, ONE).regions_for(ultrasound(), 768, 1024)
    assert [region.box for region in regions] == [Box(0, 0, 1024, 60), Box(900, 700, 1024, 768)]
    assert {(region.verdict, region.source, region.why, region.frames) for region in regions} == {
        (Verdict.REDACT, Source.DEVICE_RULE, "rule:acme-sono3", None)}


def test_another_device_is_left_to_the_detectors(tmp_path: Path) -> None:
    assert rules_of(tmp_path, ONE).regions_for(ultrasound(Manufacturer="Other"), 768, 1024) == []


def test_a_known_device_with_an_unknown_size_is_held_as_a_changed_layout(tmp_path: Path) -> None:
    with pytest.raises(HoldInstance) as held:
        rules_of(tmp_path, ONE).regions_for(ultrasound(), 720, 960)
    assert held.value.reason is Reason.LAYOUT_CHANGED
    ignoring = rules_of(tmp_path, ONE.replace("size: [768, 1024]", "size: [768, 1024]\n    other_size: ignore"))
    assert ignoring.regions_for(ultrasound(), 720, 960) == []


def test_a_second_rule_for_the_other_size_lifts_the_hold(tmp_path: Path) -> None:
    second = ONE + ONE.split("rules:\n")[1].replace("acme-sono3", "acme-sono3-small").replace("[768, 1024]", "[720, 960]")
    regions = rules_of(tmp_path, second).regions_for(ultrasound(), 720, 960)
    assert {region.why for region in regions} == {"rule:acme-sono3-small"}


def test_a_device_that_must_have_a_rule_is_held_without_one(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, ONE + "require_rule_for:\n  - {Modality: US}\n")
    assert rules.hits(ultrasound(), 768, 1024)
    with pytest.raises(HoldInstance) as held:
        rules.hits(ultrasound(Manufacturer="Other"), 768, 1024)
    assert held.value.reason is Reason.RULE_MISSING
    assert rules.hits(ultrasound(Modality="CT", Manufacturer="Other"), 512, 512) == []


def test_keep_only_the_ultrasound_regions(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, "rules:\n  - {id: r, when: {Modality: US}, keep_only: ultrasound_regions}\n")
    item = Dataset()
    item.RegionLocationMinX0, item.RegionLocationMinY0, item.RegionLocationMaxX1, item.RegionLocationMaxY1 = 100, 50, 899, 699
    [region] = rules.regions_for(ultrasound(SequenceOfUltrasoundRegions=Sequence([item])), 768, 1024)
    expected = np.ones((768, 1024), bool)
    expected[50:700, 100:900] = False
    assert region.mask is not None and (region.mask == expected).all() and region.box == Box(0, 0, 1024, 768)
    with pytest.raises(HoldInstance):
        rules.regions_for(ultrasound(), 768, 1024)


@pytest.mark.parametrize(("condition", "holds"), [
    ({"Rows": 768}, True), ({"Rows": {"less_than": 768}}, False), ({"Rows": {"greater_than": 700, "less_than": 800}}, True),
    ({"ImageType": {"contains": "abdominal"}}, True), ({"ImageType": {"equals": "ORIGINAL"}}, False),
    ({"(0008,0070)": {"starts_with": "acme"}}, True), ({"Manufacturer": {"ends_with": "x"}}, False),
    ({"ManufacturerModelName": {"matches": r"^sono \d$"}}, True), ({"StationName": {"present": False}}, True),
    ({"StationName": ""}, False), ({"not": {"Modality": "CT"}}, True), ({"any": [{"Rows": 1}, {"Columns": 1024}]}, True),
    ({"all": [{"Rows": 1}, {"Columns": 1024}]}, False), ({"SequenceOfUltrasoundRegions/RegionDataType": 1}, True),
    ({"Rows/Columns": 3}, False)])
def test_conditions(condition: dict[str, Any], holds: bool) -> None:
    item = Dataset()
    item.RegionDataType = 1
    dataset = ultrasound(SequenceOfUltrasoundRegions=Sequence([item]))
    parsed = parse_condition(condition, "when")
    assert parsed.holds(dataset) is holds
    assert parse_condition(yaml.safe_load(yaml.safe_dump(parsed.as_yaml())), "when").holds(dataset) is holds


@pytest.mark.parametrize(("text", "message"), [
    ("rules: 3", "rules: must be a list"),
    ("rule: []", "nothing else"),
    ("rules: {", "cannot be read as YAML"),
    ("rules: []\nrequire_rule_for: [3]", "require_rule_for[0]"),
    ("rules: [{when: {Rows: 1}}]", "id: must be a name"),
    ("rules: [{id: a, boxes: all}]", "when: must be a mapping"),
    ("rules: [{id: a, when: {Rowss: 1}, boxes: all}]", "no attribute 'Rowss'"),
    ("rules: [{id: a, when: {Rows: 1}}]", "needs boxes or keep_only"),
    ("rules: [{id: a, when: {Rows: {is: 1}}, boxes: all}]", "no operator"),
    ("rules: [{id: a, when: {Rows: {less_than: x}}, boxes: all}]", "must be a number"),
    ("rules: [{id: a, when: {StationName: {matches: '('}}, boxes: all}]", "not a regular expression"),
    ("rules: [{id: a, when: {Rows: 1}, boxes: [[0, 0, 0, 5]]}]", "boxes[0]"),
    ("rules: [{id: a, when: {Rows: 1}, box: all}]", "unknown keys box"),
    ("rules: [{id: a, when: {Rows: 1}, boxes: all, size: [1]}]", "size: must be"),
    ("rules: [{id: a, when: {Rows: 1}, boxes: all, other_size: x}]", "other_size"),
    ("rules: [{id: a, when: {Rows: 1}, boxes: all}, {id: a, when: {Rows: 2}, boxes: all}]", "used twice")])
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        rules_of(tmp_path, text)
    assert any(message in line for line in wrong.value.problems), wrong.value.problems


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as wrong:
        load_rules([tmp_path / "absent.yaml", tmp_path / "also-absent.yaml"])
    assert len(wrong.value.problems) == 2


@settings(max_examples=60, deadline=None)
@given(boxes=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 1500), st.integers(1, 900), st.integers(1, 900)),
                      min_size=1, max_size=5),
       rows=st.integers(1, 900), columns=st.integers(1, 900))
def test_regions_lie_inside_the_picture_and_survive_a_round_trip(
        tmp_path_factory: pytest.TempPathFactory, boxes: list[tuple[int, ...]], rows: int, columns: int) -> None:
    folder = tmp_path_factory.mktemp("rules")
    rules = rules_of(folder, yaml.safe_dump({"rules": [{"id": "r", "when": {"Modality": "US"}, "boxes": [list(box) for box in boxes]}]}))
    again = rules_of(folder, dump_rules(rules.rules))
    assert again == rules
    for region in again.regions_for(ultrasound(), rows, columns):
        assert 0 <= region.box.x0 < region.box.x1 <= columns and 0 <= region.box.y0 < region.box.y1 <= rows
