"""Learned layouts and counts of burnt-in text, per kind of device: keyed tokens, places and numbers; what names the device is sealed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from radanon_node.ledger.database import Database
from radanon_node.ledger.schema import finds, layout_units, layouts, now
from radanon_node.markers.layouts import LAYOUT_CHANGED, SOFTWARE_CHANGED, Device, Layout, LayoutState, Sighting
from radanon_node.pipeline.types import Box


class UnknownLayout(LookupError):
    """No kind of device has this token."""


@dataclass(frozen=True, slots=True)
class LayoutEntry:
    """What is known about one kind of device, for lists and decisions.

    Parameters
    ----------
    token : str
        Keyed; names the kind of device in logs, metrics and counts.
    device : Device
        Unsealed: make and model, no single unit.
    state : str
        ``learning``, ``proposed``, ``accepted``, ``rejected``.
    boxes : tuple of Box
        The proposal, pixels.
    alarm : str
        ``software_changed``, ``layout_changed`` or empty; stands until somebody decides.
    alarms : int
        Pictures that raised it.
    changed_at : float
        Seconds since 1970.
    """

    token: str
    device: Device
    state: str
    instances: int
    boxes: tuple[Box, ...]
    alarm: str
    alarms: int
    changed_at: float


class Layouts(Database):
    """What is learned of devices' screens. Safe for threads and processes."""

    def device_token(self, device: Device) -> str:
        """The keyed name of a kind of device; the single unit does not enter."""
        return self.seal.index("device layout", device.modality.casefold(), device.manufacturer.casefold(), device.model.casefold(),
                               device.software.casefold(), str(device.rows), str(device.columns)).hex()[:16]

    def layout(self, device: Device) -> Layout:
        """What is learned about it; an empty layout if nothing is."""
        with self._read() as connection:
            row = connection.execute(select(layouts).where(layouts.c.device == self.device_token(device))).first()
        return Layout() if row is None else _layout(row)

    def layout_sightings(self, sightings: Sequence[Sighting]) -> list[str]:
        """Count pictures, in one transaction.

        Returns
        -------
        list of str
            Tokens of devices for which a rule is proposed from now on.
        """
        by_token: dict[str, list[Sighting]] = {}
        for one in sightings:
            by_token.setdefault(self.device_token(one.device), []).append(one)
        if not by_token:
            return []
        proposed = []
        with self._write() as connection:
            for token in sorted(by_token):
                device = by_token[token][0].device
                row = self._locked(connection, token, device)
                layout, alarms = _layout(row), int(row.alarms)
                for one in by_token[token]:
                    if one.changed:
                        alarms += 1
                    else:
                        layout = layout.seen_with(one.cells)
                values: dict[str, Any] = {"instances": layout.instances, "cells": {str(cell): n for cell, n in layout.cells.items()}}
                if alarms != row.alarms:
                    values |= {"alarm": LAYOUT_CHANGED, "alarms": alarms, "changed_at": now()}
                if layout.state is LayoutState.LEARNING and layout.learned:
                    boxes = layout.boxes(device.rows, device.columns)
                    values |= {"state": LayoutState.PROPOSED, "proposal": [_listed(box) for box in boxes], "changed_at": now()}
                    proposed.append(token)
                connection.execute(update(layouts).where(layouts.c.device == token).values(**values))
        return proposed

    def layout_unit(self, device: Device) -> bool:
        """Note which software a single device runs; True, and an alarm on the layout, where the device ran another one before."""
        unit = self.seal.index("device unit", device.manufacturer.casefold(), device.model.casefold(), device.unit).hex()[:16]
        software = self.seal.index("device software", device.software.casefold()).hex()[:16]
        with self._read() as connection:
            if connection.scalar(select(layout_units.c.software).where(layout_units.c.unit == unit)) == software:
                return False
        with self._write() as connection:
            _insert(connection, layout_units, {"unit": unit, "software": software, "changed_at": now()}, "unit")
            changed = connection.execute(
                update(layout_units).where(layout_units.c.unit == unit, layout_units.c.software != software)
                .values(software=software, changed_at=now())).rowcount > 0
            if changed:
                token = self.device_token(device)
                self._locked(connection, token, device)
                connection.execute(update(layouts).where(layouts.c.device == token).values(
                    alarm=SOFTWARE_CHANGED, alarms=layouts.c.alarms + 1, changed_at=now()))
        return changed

    def layout_list(self, state: str | None = None, alarmed: bool = False, limit: int = 500) -> list[LayoutEntry]:
        """Kinds of devices, latest change first; only those in `state`, or with an alarm, if asked for."""
        query = select(layouts).order_by(layouts.c.changed_at.desc(), layouts.c.device).limit(limit)
        if state is not None:
            query = query.where(layouts.c.state == state)
        if alarmed:
            query = query.where(layouts.c.alarm != "")
        with self._read() as connection:
            rows = connection.execute(query).all()
        return [self._entry(row) for row in rows]

    def layout_show(self, token: str) -> LayoutEntry:
        """One kind of device; UnknownLayout if there is none."""
        with self._read() as connection:
            row = connection.execute(select(layouts).where(layouts.c.device == token)).first()
        if row is None:
            raise UnknownLayout(token)
        return self._entry(row)

    def layout_decide(self, token: str, decision: str, who: str, reason: str) -> LayoutEntry:
        """A person's decision, audited; returns the entry as it was before.

        Parameters
        ----------
        token : str
        decision : {"accepted", "rejected", "acknowledged"}
            ``accepted`` and ``rejected`` close a proposal (writing the rule file is the caller's part, before this); ``acknowledged``
            takes note of an alarm: what was learned is forgotten and learned anew.
        who, reason : str
            For the audit trail; `reason` must say something.

        Raises
        ------
        UnknownLayout, ValueError
        """
        if not reason.strip():
            raise ValueError("a reason is needed")
        if decision not in ("accepted", "rejected", "acknowledged"):
            raise ValueError(f"no decision {decision!r}")
        with self._write() as connection:
            row = connection.execute(select(layouts).where(layouts.c.device == token).with_for_update()).first()
            if row is None:
                raise UnknownLayout(token)
            values: dict[str, Any] = {"alarm": "", "changed_at": now()}
            if decision == "acknowledged":
                values |= {"state": LayoutState.LEARNING, "instances": 0, "cells": {}, "proposal": None}
            elif row.state != LayoutState.PROPOSED:
                raise ValueError(f"this device has no open proposal, it is {row.state}")
            else:
                values["state"] = decision
            connection.execute(update(layouts).where(layouts.c.device == token).values(**values))
            self._audit(connection, who, f"layout {decision}", f"device {token}: {reason}")
        return self._entry(row)

    def add_finds(self, counts: Mapping[tuple[str, str, str, str], int]) -> None:
        """Add to the counts of burnt-in text: (day, route, device token, what) -> how many."""
        if not counts:
            return
        with self._write() as connection:
            for (day, route, device, what), count in sorted(counts.items()):
                _insert(connection, finds, {"day": day, "route": route, "device": device, "what": what, "count": 0},
                        "day", "route", "device", "what")
                connection.execute(update(finds).where(finds.c.day == day, finds.c.route == route, finds.c.device == device,
                                                       finds.c.what == what).values(count=finds.c.count + count))

    def finds(self, since: str = "", until: str = "9999") -> dict[str, dict[str, dict[str, int]]]:
        """Counts of burnt-in text: route -> device token -> what -> how many.

        Parameters
        ----------
        since, until : str
            Days YYYY-MM-DD (UTC), both included.
        """
        columns = finds.c
        query = (select(columns.route, columns.device, columns.what, func.sum(columns.count)).where(columns.day.between(since, until))
                 .group_by(columns.route, columns.device, columns.what).order_by(columns.route, columns.device, columns.what))
        found: dict[str, dict[str, dict[str, int]]] = {}
        with self._read() as connection:
            for route, device, what, count in connection.execute(query):
                found.setdefault(route, {}).setdefault(device, {})[what] = int(count)
        return found

    def layout_counts(self) -> dict[str, int]:
        """How many kinds of devices are in each state, and how many have an alarm that nobody has decided on."""
        counts = dict.fromkeys(map(str, LayoutState), 0)
        with self._read() as connection:
            for state, count in connection.execute(select(layouts.c.state, func.count()).group_by(layouts.c.state)):
                counts[state] = int(count)
            counts["alarms"] = int(connection.scalar(select(func.count()).select_from(layouts).where(layouts.c.alarm != "")) or 0)
        return counts

    def forget_finds(self, before: str) -> int:
        """Remove the counts of days before YYYY-MM-DD; returns how many rows."""
        with self._write() as connection:
            return int(connection.execute(delete(finds).where(finds.c.day < before)).rowcount)

    def _locked(self, connection: Connection, token: str, device: Device) -> Any:
        description = self.seal.encrypt(json.dumps(asdict(device) | {"unit": ""}))
        _insert(connection, layouts, {"device": token, "description": description, "state": LayoutState.LEARNING, "instances": 0,
                                      "cells": {}, "changed_at": now()}, "device")
        return connection.execute(select(layouts).where(layouts.c.device == token).with_for_update()).one()

    def _entry(self, row: Any) -> LayoutEntry:
        device = Device(**json.loads(self.seal.decrypt(bytes(row.description))))
        boxes = tuple(Box(x, y, x + width, y + height) for x, y, width, height in row.proposal or ())
        return LayoutEntry(row.device, device, row.state, row.instances, boxes, row.alarm, row.alarms, row.changed_at)


def _layout(row: Any) -> Layout:
    return Layout(int(row.instances), {int(cell): int(count) for cell, count in row.cells.items()}, LayoutState(row.state), row.alarm)


def _listed(box: Box) -> list[int]:
    return [box.x0, box.y0, box.width, box.height]


def _insert(connection: Connection, table: Any, values: dict[str, Any], *keys: str) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(table).values(**values).on_conflict_do_nothing(index_elements=list(keys)))
