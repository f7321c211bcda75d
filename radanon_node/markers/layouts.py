"""Learned layouts: where the text of one kind of device stands, as counts on a coarse grid, and what follows from it.

Scanners draw their banners at fixed places. After enough pictures of one kind of device (modality, make, model, software, size) with text
at the same places, a device rule is proposed for review; a picture whose text is missing there and stands far away from all that was seen
says that the device's layout changed. Only places are kept, never what was read there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from radanon_node.markers.rules import Rule
from radanon_node.markers.rules_conditions import Condition, Group, Test
from radanon_node.pipeline.types import Box, Kind, Region, Source, Verdict

GRID = (48, 64)
"""Rows and columns of the grid, whatever the picture's size: 16 pixels a cell on 768 x 1024."""
LEAST = 50
"""Pictures of a device before its places count as learned."""
_STABLE = 0.8  # part of the pictures that have text in a cell of a fixed place
_SEEN = 0.05  # names differ in length: cells beside a fixed place that this part of the pictures reaches belong to it
_RARE = 0.02
_FAR = 2  # cells between a new place and all that was seen
_LEAST_FAR = 2  # new cells far away that make it a change and not a speck
_FORGET = 2000  # pictures after which old ones count half


SOFTWARE_CHANGED, LAYOUT_CHANGED = "software_changed", "layout_changed"
"""Alarms."""


class LayoutState(StrEnum):
    """State of what is learned about one kind of device."""

    LEARNING = "learning"
    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Device:
    """A kind of device as a rule tells it apart, and the single unit.

    Parameters
    ----------
    modality, manufacturer, model, software : str
        Modality (0008,0060), Manufacturer (0008,0070), Manufacturer's Model Name (0008,1090), Software Versions (0018,1020).
    rows, columns : int
        Of the picture.
    unit : str
        Device Serial Number (0018,1000), else Station Name (0008,1010); empty if the object says neither.
    """

    modality: str
    manufacturer: str
    model: str
    software: str
    rows: int
    columns: int
    unit: str = ""

    @classmethod
    def of(cls, dataset: Dataset, rows: int, columns: int) -> Device:
        """As the data set names it."""
        modality, make, model, software, serial, station = (_text(dataset, keyword) for keyword in (
            "Modality", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber", "StationName"))
        return cls(modality, make, model, software, rows, columns, serial or station)

    @property
    def named(self) -> bool:
        """Whether make or model is known: nothing can be learned about a device that cannot be told from others."""
        return bool(self.manufacturer or self.model)


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    parts = value if isinstance(value, MultiValue | list | tuple) else [value]
    return "\\".join(str(part).strip() for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class Sighting:
    """One picture of a device, as the worker saw it.

    Parameters
    ----------
    cells : frozenset of int
        Where its text stood (`cells_of`).
    changed : bool
        Its layout contradicts what was learned: counted as an alarm, not learned from.
    """

    device: Device
    cells: frozenset[int]
    changed: bool = False


@dataclass(frozen=True)
class Layout:
    """What is learned about one kind of device.

    Parameters
    ----------
    instances : int
        Pictures counted.
    cells : mapping of int to int
        Cell (row * 64 + column) -> pictures with text there.
    state : LayoutState
    alarm : str
        Why somebody should look at it: ``software_changed``, ``layout_changed`` or empty.
    """

    instances: int = 0
    cells: Mapping[int, int] = field(default_factory=dict)
    state: LayoutState = LayoutState.LEARNING
    alarm: str = ""

    @cached_property
    def _shares(self) -> NDArray[np.float32]:
        shares = np.zeros(GRID, np.float32)
        for cell, count in self.cells.items():
            shares[divmod(cell, GRID[1])] = count / max(self.instances, 1)
        return shares

    @cached_property
    def places(self) -> tuple[NDArray[np.bool_], ...]:
        """The fixed places: connected cells that pictures reach, around at least one cell where nearly all have text."""
        if self.instances < LEAST:
            return ()
        import cv2  # not at the top: the ledger imports this module, and only workers, which have OpenCV, compute places

        count, labels = cv2.connectedComponents((self._shares >= _SEEN).astype(np.uint8), connectivity=4)
        parts = (labels == label for label in range(1, count))
        return tuple(part for part in parts if bool((self._shares[part] >= _STABLE).any()))

    @property
    def learned(self) -> bool:
        """Whether enough pictures agree."""
        return bool(self.places)

    def seen_with(self, cells: Iterable[int]) -> Layout:
        """With one more picture counted."""
        counts = dict(self.cells)
        for cell in cells:
            counts[cell] = counts.get(cell, 0) + 1
        instances = self.instances + 1
        if instances >= _FORGET:
            instances //= 2
            counts = {cell: count // 2 for cell, count in counts.items() if count > 1}
        return Layout(instances, counts, self.state, self.alarm)

    def contradicts(self, cells: frozenset[int]) -> bool:
        """Whether a picture with text in `cells` is of another layout: at least half of the fixed places are empty, and text stands far
        away from all that was seen. An annotation somewhere on the picture, or a picture without its overlay, is no other layout."""
        if not cells or not self.learned:
            return False
        import cv2  # as above

        here = np.zeros(GRID, np.uint8)
        for cell in cells:
            here[divmod(cell, GRID[1])] = 1
        near = cv2.dilate(here, np.ones((3, 3), np.uint8)).astype(np.bool_)
        missing = sum(not (near & place & (self._shares >= _STABLE)).any() for place in self.places)
        known = cv2.dilate((self._shares >= _RARE).astype(np.uint8), np.ones((2 * _FAR + 1,) * 2, np.uint8)).astype(np.bool_)
        far = int((here.astype(np.bool_) & ~known).sum())
        return 2 * missing >= len(self.places) and far >= _LEAST_FAR

    def boxes(self, rows: int, columns: int) -> tuple[Box, ...]:
        """The fixed places as boxes in pixels of a picture of `rows` x `columns`, for a rule."""
        found = []
        for place in self.places:
            found += [Box(x0 * columns // GRID[1], y0 * rows // GRID[0], -(-x1 * columns // GRID[1]), -(-y1 * rows // GRID[0]))
                      for x0, y0, x1, y1 in _rectangles(place)]
        return tuple(found)


def _rectangles(place: NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Runs of a row, joined over rows that have the same run."""
    open_: dict[tuple[int, int], int] = {}
    done = []
    for y in range(place.shape[0] + 1):
        edges = np.flatnonzero(np.diff(place[y].astype(np.int8), prepend=0, append=0)) if y < place.shape[0] else np.zeros(0, int)
        runs = {(int(x0), int(x1)) for x0, x1 in zip(edges[::2], edges[1::2])}
        done += [(x0, top, x1, y) for (x0, x1), top in open_.items() if (x0, x1) not in runs]
        open_ = {run: open_.get(run, y) for run in runs}
    return sorted(done, key=lambda box: (box[1], box[0]))


def cells_of(regions: Sequence[Region], rows: int, columns: int) -> frozenset[int]:
    """The cells of the grid in which the text detector found text that goes, standing on all frames."""
    cells: set[int] = set()
    for region in regions:
        if (region.verdict is not Verdict.REDACT or region.source is not Source.TEXT_MODEL or region.frames is not None
                or region.kind not in (Kind.TEXT, Kind.BANNER)):
            continue
        box = region.box.clipped(rows, columns)
        if box.width <= 0 or box.height <= 0:
            continue
        ys = range(box.y0 * GRID[0] // rows, (box.y1 - 1) * GRID[0] // rows + 1)
        xs = range(box.x0 * GRID[1] // columns, (box.x1 - 1) * GRID[1] // columns + 1)
        cells.update(y * GRID[1] + x for y in ys for x in xs)
    return frozenset(cells)


def rule_of(device: Device, boxes: Sequence[Box], name: str, note: str) -> Rule:
    """The device rule that blacks out `boxes` on pictures of this kind of device.

    A device that says nothing of an attribute is told apart by those it names. Another size is left to its own rule: one device saves
    screens of several sizes.
    """
    tests: list[Condition] = [Test(keyword, "equals", (value,)) for keyword, value in (
        ("Modality", device.modality), ("Manufacturer", device.manufacturer), ("ManufacturerModelName", device.model),
        ("SoftwareVersions", device.software)) if value]
    condition = tests[0] if len(tests) == 1 else Group(tuple(tests), True)
    return Rule(name, condition, tuple(boxes), None, (device.rows, device.columns), False, note)
