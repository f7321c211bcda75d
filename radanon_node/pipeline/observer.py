"""What the worker notes of burnt-in text while it cleans: places per kind of device, and counts; never what was read.

Three things come of it: proposed device rules, an alarm (or a hold, by policy) when a device draws its text elsewhere than it used to, and
counts per route and kind of device of certain finds (read text that is an identifier of the very patient) and of text found where
Burned In Annotation (0028,0301) said NO.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import structlog

from radanon_node.errors import HoldInstance, Reason, StorageError
from radanon_node.markers.layouts import SOFTWARE_CHANGED, Device, Layout, LayoutState, Sighting, cells_of
from radanon_node.pipeline.types import Region, Source, Verdict

log = structlog.get_logger("radanon.layouts")

READ_EVERY = 10
"""Of the pictures of a kind of device, every so many has all its text read for the counts; the others only what might stay."""
_CACHED_S = 30.0
_FLUSH_S = 5.0
_MOST_WAITING = 5000
CERTAIN = "identifier"
"""``why`` of a region whose reading is a strong identifier of this patient."""


class Book(Protocol):
    """Where it is kept: `ledger.layouts.Layouts`."""

    def device_token(self, device: Device) -> str: ...
    def layout(self, device: Device) -> Layout: ...
    def layout_sightings(self, sightings: Sequence[Sighting]) -> list[str]: ...
    def layout_unit(self, device: Device) -> bool: ...
    def add_finds(self, counts: Mapping[tuple[str, str, str, str], int]) -> None: ...


class Observer:
    """Notes of one worker process. Not safe for threads.

    Parameters
    ----------
    book : Book
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._layouts: dict[str, tuple[float, Layout]] = {}
        self._units: dict[tuple[str, str, str], str] = {}
        self._looks: Counter[str] = Counter()
        self._sightings: list[Sighting] = []
        self._finds: Counter[tuple[str, str, str, str]] = Counter()
        self._flushed = time.monotonic()

    def reads_all(self, device: Device) -> bool:
        """Whether the text of this picture is to be read whole, for the counts."""
        token = self._book.device_token(device)
        self._looks[token] += 1
        return self._looks[token] % READ_EVERY == 1

    def judged(self, device: Device, route: str, regions: Sequence[Region], said_no: bool, learns: bool, holds: bool) -> None:
        """Note one picture whose text was judged.

        Parameters
        ----------
        device : Device
        route : str
        regions : sequence of Region
            As judged, without margins.
        said_no : bool
            Burned In Annotation of the input is NO.
        learns : bool
            The picture is a screen with a layout (not a film).
        holds : bool
            By policy a changed layout is a reason to hold.

        Raises
        ------
        HoldInstance
            ``layout_changed``.
        StorageError
            The ledger does not answer.
        """
        token = self._book.device_token(device)
        self._count(token, route, regions, said_no)
        if not learns or not device.named:
            return
        changed_software = self._software_changed(token, device, route)
        cells = cells_of(regions, device.rows, device.columns)
        layout = self._layout(token, device)
        changed = layout.contradicts(cells)
        self._sightings.append(Sighting(device, cells, changed))
        if changed:
            self._add(token, route, "layout_changed")
            log.warning("layout changed", device=token, route=route)
        if holds and changed:
            raise HoldInstance(Reason.LAYOUT_CHANGED,
                               f"device {token}: text stands elsewhere than on the {layout.instances} pictures before")
        waiting = layout.alarm == SOFTWARE_CHANGED and layout.state in (LayoutState.LEARNING, LayoutState.PROPOSED)
        if holds and (changed_software or waiting):
            raise HoldInstance(Reason.LAYOUT_CHANGED, f"device {token}: its software changed; `radanon rules acknowledge` lets it pass")

    def flush(self, force: bool = False) -> None:
        """Write what was noted, now and then; kept for the next time if the ledger does not take it."""
        waiting = len(self._sightings) + len(self._finds)
        if not waiting or (not force and waiting < 64 and time.monotonic() - self._flushed < _FLUSH_S):
            return
        self._flushed = time.monotonic()
        try:
            for token in self._book.layout_sightings(self._sightings):
                log.info("device rule proposed", device=token)
            self._sightings.clear()
            self._book.add_finds(dict(self._finds))
            self._finds.clear()
        except StorageError as error:
            log.warning("notes on text not written yet", error=str(error))
            del self._sightings[_MOST_WAITING:]

    def _count(self, token: str, route: str, regions: Sequence[Region], said_no: bool) -> None:
        found = [region for region in regions if region.source is Source.TEXT_MODEL and region.verdict is Verdict.REDACT]
        certain = sum(region.why == CERTAIN for region in found)
        self._add(token, route, "looked")
        if found:
            self._add(token, route, "with_text")
        if certain:
            self._add(token, route, "with_certain_phi")
            self._add(token, route, "certain_lines", certain)
        if found and said_no:
            self._add(token, route, "said_no_but_text")
        if certain and said_no:
            self._add(token, route, "said_no_but_certain_phi")

    def _add(self, token: str, route: str, what: str, count: int = 1) -> None:
        self._finds[datetime.now(UTC).strftime("%Y-%m-%d"), route, token, what] += count

    def _software_changed(self, token: str, device: Device, route: str) -> bool:
        if not device.unit or not device.software:
            return False
        unit = (device.manufacturer, device.model, device.unit)
        if self._units.get(unit) == device.software:
            return False
        changed = self._book.layout_unit(device)
        if len(self._units) > _MOST_WAITING:
            self._units.clear()
        self._units[unit] = device.software
        if changed:
            self._layouts.pop(token, None)
            self._add(token, route, "software_changed")
            log.warning("software of a device changed", device=token, route=route)
        return changed

    def _layout(self, token: str, device: Device) -> Layout:
        asked, layout = self._layouts.get(token, (0.0, Layout()))
        if time.monotonic() - asked > _CACHED_S or token not in self._layouts:
            layout = self._book.layout(device)
            if len(self._layouts) > _MOST_WAITING:
                self._layouts.clear()
            self._layouts[token] = (time.monotonic(), layout)
        return layout
