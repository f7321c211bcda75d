"""Importing other tools' rules: what they match and where, and that what cannot be read is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radanon_node.errors import ConfigError
from radanon_node.markers.rules import dump_rules, load_rules
from radanon_node.markers.rules_import import import_ctp, import_deid
from radanon_node.pipeline.types import Box

CTP = """
Notes of the site, without brackets.

 ***** US *****
Maker A, model 7
  { Modality.equals("US") *
    [0008,0070].containsIgnoreCase("maker a") *
    ( [0028,0010].equals("480") + Rows.equals("600") ) }
  (0,0,640,40) (240,0,190,16)
Everything but CT
  { !Modality.equals("CT") * SeqOfUltrasoundRegions::RegionLocationMinY0.isGreaterThan("10") }
  (1,2,3,4)
  { true. }  (0,0,5,5)
  { StationName.exists() + InstitutionName.startsWith("A") * false. } (0,0,6,6)
"""

DEID = """
FORMAT dicom

%filter graylist

LABEL Dose report of maker B # who wrote it
  contains Modality CT|MR
  + contains Manufacturer maker b
  + equals Rows 512
  coordinates 0,0,512,110

LABEL Two alternatives
  contains Modality US + contains Manufacturer maker c || equals StationName X1
  ctpcoordinates 5,6,70,8
  ctpcoordinates 1,1,2,2

LABEL Only flags
  missing Modality

LABEL Regions stay
  present SequenceOfUltrasoundRegions
  coordinates all
  keepcoordinates from:SequenceOfUltrasoundRegions

LABEL Not this one
  notequals Modality CT
  coordinates all

%header
REMOVE PatientID
"""


def data(**values: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.3"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def test_ctp_sections_become_rules_with_their_comment_as_note() -> None:
    rules = import_ctp(CTP)
    assert [rule.id for rule in rules] == ["ctp-001", "ctp-002", "ctp-003", "ctp-004"]
    assert rules[0].note == "Maker A, model 7" and rules[1].note == "Everything but CT"
    assert rules[0].boxes == (Box(0, 0, 640, 40), Box(240, 0, 430, 16))


def test_ctp_signatures_decide_as_written() -> None:
    first, second, always, never_both = (rule.when for rule in import_ctp(CTP))
    assert first.holds(data(Modality="US", Manufacturer="The Maker A", Rows=600))
    assert not first.holds(data(Modality="US", Manufacturer="The Maker A", Rows=601))
    item = data(RegionLocationMinY0=11)
    assert second.holds(data(Modality="US", SequenceOfUltrasoundRegions=Sequence([item])))
    assert not second.holds(data(Modality="CT", SequenceOfUltrasoundRegions=Sequence([item])))
    assert always.holds(data()) and not never_both.holds(data(InstitutionName="A"))
    assert never_both.holds(data(StationName="x"))  # and binds more tightly than or


@pytest.mark.parametrize("script", [
    "nothing here", '{ Modality.equals("US") }', '{ Modality.equals("US") (0,0,1,1)', '{ Modality.sounds("US") } (0,0,1,1)',
    '{ NoSuchThing.equals("US") } (0,0,1,1)', '{ Modality.equals("US") * } (0,0,1,1)', '{ (Modality.equals("US") } (0,0,1,1)',
    '{ Modality.equals("US") } (0,0,0,1)', '{ Modality.equals("US") } (0,0,1)', '{ Modality.equals("US") Rows.equals("1") } (0,0,1,1)',
    '{ Modality.equals("US" } (0,0,1,1)', '{ * Modality.equals("US") } (0,0,1,1)'])
def test_a_ctp_script_that_cannot_be_read_is_an_error(script: str) -> None:
    with pytest.raises(ConfigError):
        import_ctp(script)


def test_deid_labels_with_coordinates_become_rules() -> None:
    rules = import_deid(DEID)
    assert [rule.note for rule in rules] == ["Dose report of maker B", "Two alternatives", "Regions stay", "Not this one"]
    assert rules[0].boxes == (Box(0, 0, 512, 110),) and rules[1].boxes == (Box(5, 6, 75, 14), Box(1, 1, 3, 3))
    assert rules[2].keep_only == "ultrasound_regions" and rules[3].boxes is None


def test_deid_conditions_decide_as_written() -> None:
    dose, two, regions, other = (rule.when for rule in import_deid(DEID))
    assert dose.holds(data(Modality="MR", Manufacturer="Maker B GmbH", Rows=512))
    assert not dose.holds(data(Modality="US", Manufacturer="Maker B GmbH", Rows=512))
    assert two.holds(data(Modality="US", Manufacturer="maker c")) and two.holds(data(Modality="CT", StationName="X1"))
    assert not two.holds(data(Modality="US", Manufacturer="maker b"))
    assert regions.holds(data(SequenceOfUltrasoundRegions=Sequence([data()]))) and not regions.holds(data())
    assert other.holds(data(Modality="US")) and not other.holds(data(Modality="CT"))


@pytest.mark.parametrize("recipe", [
    "", "%filter x\nLABEL a\nequals Modality US\n", "%filter x\nLABEL a\nequals Nothing US\ncoordinates 0,0,1,1\n",
    "%filter x\nLABEL a\nresembles Modality US\ncoordinates 0,0,1,1\n", "%filter x\nLABEL a\nequals Modality US\ncoordinates 5,0,1,1\n",
    "%filter x\nLABEL a\ncontains Modality (\ncoordinates 0,0,1,1\n",
    "%filter x\nLABEL a\nequals Modality US\ncoordinates from:SequenceOfUltrasoundRegions\n"])
def test_a_deid_recipe_that_cannot_be_read_is_an_error(recipe: str) -> None:
    with pytest.raises(ConfigError):
        import_deid(recipe)


def test_imported_rules_are_written_as_yaml_that_reads_back_the_same(tmp_path: Path) -> None:
    rules = [*import_ctp(CTP), *import_deid(DEID)]
    path = tmp_path / "imported.yaml"
    path.write_text(dump_rules(rules), "utf-8")
    again = load_rules([path]).rules
    assert [(rule.id, rule.note, rule.boxes, rule.keep_only) for rule in again] == [
        (rule.id, rule.note, rule.boxes, rule.keep_only) for rule in rules]
    samples = [data(), data(Modality="US", Manufacturer="maker a", Rows=480), data(Modality="CT", StationName="X1"),
               data(Modality="MR", Manufacturer="maker b", Rows=512)]
    for mine, theirs in zip(rules, again):
        assert [mine.when.holds(sample) for sample in samples] == [theirs.when.holds(sample) for sample in samples]
