"""Learned layouts: the same places often enough are a proposal, other places are an alarm, an annotation is neither."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from radanon_node.markers.layouts import GRID, LEAST, Device, Layout, cells_of, rule_of
from radanon_node.markers.rules import dump_rules, load_rules
from radanon_node.pipeline.types import Box, Kind, Region, Source, Verdict

ROWS, COLUMNS = 768, 1024
DEVICE = Device("US", "Acme", "Sono 3", "7.1", ROWS, COLUMNS, "SN1")


def text(*boxes: Box, verdict: Verdict = Verdict.REDACT) -> list[Region]:
    return [Region(box, verdict, Kind.TEXT, 0.9, Source.TEXT_MODEL, "text") for box in boxes]


def banner(rng: np.random.Generator) -> list[Region]:
    """A name of any length at the top left, a date at the top right."""
    return text(Box(8, 6, 140 + int(rng.integers(0, 120)), 26), Box(860, 6, 1000, 26))


def learned(pictures: int = LEAST) -> Layout:
    rng, layout = np.random.default_rng(3), Layout()
    for _ in range(pictures):
        layout = layout.seen_with(cells_of(banner(rng), ROWS, COLUMNS))
    return layout


def test_nothing_is_proposed_before_enough_pictures() -> None:
    assert not learned(LEAST - 1).learned and learned().learned


def test_the_proposal_covers_the_places_whatever_the_names_length() -> None:
    boxes = learned().boxes(ROWS, COLUMNS)
    for wanted in (Box(8, 6, 240, 26), Box(860, 6, 1000, 26)):
        covered = np.zeros((ROWS, COLUMNS), np.bool_)
        for box in boxes:
            covered[box.y0:box.y1, box.x0:box.x1] = True
        assert covered[wanted.y0:wanted.y1, wanted.x0:wanted.x1].all()
    assert sum(box.area for box in boxes) < 0.03 * ROWS * COLUMNS


def test_text_that_wanders_is_no_fixed_place() -> None:
    rng, layout = np.random.default_rng(4), Layout()
    for _ in range(2 * LEAST):
        x, y = int(rng.integers(0, 900)), int(rng.integers(0, 700))
        layout = layout.seen_with(cells_of(text(Box(x, y, x + 90, y + 18)), ROWS, COLUMNS))
    assert not layout.learned


def test_a_moved_banner_contradicts() -> None:
    assert learned().contradicts(cells_of(text(Box(8, 700, 200, 720), Box(860, 700, 1000, 720)), ROWS, COLUMNS))


@pytest.mark.parametrize("regions", [
    text(Box(8, 6, 180, 26), Box(860, 6, 1000, 26), Box(300, 400, 420, 430)),  # an annotation on the picture
    text(Box(8, 10, 200, 30), Box(856, 10, 990, 30)),  # a few pixels lower
    text(Box(8, 6, 400, 26), Box(860, 6, 1000, 26)),  # a longer name than ever
    [],  # a picture without its overlay
])
def test_what_is_no_other_layout(regions: Sequence[Region]) -> None:
    assert not learned().contradicts(cells_of(regions, ROWS, COLUMNS))


def test_kept_words_and_text_of_single_frames_are_not_learned() -> None:
    moving = [Region(Box(5, 5, 50, 20), Verdict.REDACT, Kind.TEXT, 0.9, Source.TEXT_MODEL, "text", frames=(3,))]
    assert cells_of([*moving, *text(Box(5, 5, 50, 20), verdict=Verdict.KEEP)], ROWS, COLUMNS) == frozenset()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), st.data())
def test_cells_cover_their_box_on_any_size_of_picture(rows: int, columns: int, data: st.DataObject) -> None:
    x0, y0 = data.draw(st.integers(0, columns - 1)), data.draw(st.integers(0, rows - 1))
    box = Box(x0, y0, data.draw(st.integers(x0 + 1, columns)), data.draw(st.integers(y0 + 1, rows)))
    layout = Layout(LEAST, dict.fromkeys(cells_of(text(box), rows, columns), LEAST))
    covered = np.zeros((rows, columns), np.bool_)
    for one in layout.boxes(rows, columns):
        covered[one.y0:one.y1, one.x0:one.x1] = True
    assert covered[box.y0:box.y1, box.x0:box.x1].all()


def test_old_pictures_fade() -> None:
    layout = learned(2100)
    assert layout.instances < 2000 and layout.learned
    assert max(layout.cells.values()) <= layout.instances and all(0 <= cell < GRID[0] * GRID[1] for cell in layout.cells)


def test_a_rule_of_it_applies_to_the_device_and_to_no_other(tmp_path: Path) -> None:
    rule = rule_of(DEVICE, learned().boxes(ROWS, COLUMNS), "learned-1", "a note")
    path = tmp_path / "rules.yaml"
    path.write_text(dump_rules([rule]))
    rules = load_rules([path])
    dataset = Dataset()
    dataset.Modality, dataset.Manufacturer, dataset.ManufacturerModelName, dataset.SoftwareVersions = "US", "ACME", "Sono 3", "7.1"
    assert rules.rules == (rule,) and rules.hits(dataset, ROWS, COLUMNS) == [rule]
    assert rules.hits(dataset, 600, 800) == []
    dataset.SoftwareVersions = "8.0"
    assert rules.hits(dataset, ROWS, COLUMNS) == []


def test_a_device_is_read_from_the_data_set() -> None:
    dataset = Dataset()
    dataset.Modality, dataset.Manufacturer, dataset.SoftwareVersions, dataset.StationName = "US", " Acme ", ["7.1", "b"], "ROOM3"
    assert Device.of(dataset, 5, 6) == Device("US", "Acme", "", "7.1\\b", 5, 6, "ROOM3")
    assert not Device.of(Dataset(), 5, 6).named
