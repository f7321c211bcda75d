"""Recalls as commands and pages ask for them: from what a person typed to a suspicion, from the ledger's entries to a list for archives."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from radanon_node.errors import ConfigError
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.recalls import RecalledEntry, Suspicion

COLUMNS = ("instance_id", "route", "destination", "patient", "study", "sop_class_uid", "sop_instance_uid", "outcome")
"""Of the list for archives."""


def suspicion_of(ledger: Ledger, found: Sequence[str], same: Sequence[str], given: Suspicion) -> Suspicion:
    """The suspicion that a command or a form describes.

    Raises
    ------
    ConfigError
        An instance that is not known here, a common feature that is not noted for it, or nothing at all was given.
    """
    ids: list[int] = []
    for name in found:
        hits = [one.instance_id for one in ledger.search(name, 10_000)]
        if not hits:
            raise ConfigError(f"recall: nothing that left is known as {name!r}")
        ids += hits
    suspicion = replace(given, instances=tuple(dict.fromkeys(ids)))
    if same:
        shared = ledger.suspicion_of(ids[0]) if ids else None
        if shared is None:
            raise ConfigError("recall: --same needs an instance that was released")
        for name in same:
            value = getattr(shared, name)
            if not value:
                raise ConfigError(f"recall: the {name} of this instance is not noted; give --route, --policy or days instead")
            suspicion = replace(suspicion, **{name: value})
    if not suspicion.instances and not suspicion.wide:
        raise ConfigError("recall: name an instance, or what is suspect: --device, --policy, --rule or --route")
    return suspicion


def day_bounds(first: date | None, last: date | None) -> tuple[float | None, float | None]:
    """Whole days (UTC), both included, as seconds since 1970, the end not included.

    Examples
    --------
    >>> day_bounds(date(1970, 1, 2), date(1970, 1, 2))
    (86400.0, 172800.0)
    """
    return _seconds(first), _seconds(last + timedelta(days=1)) if last is not None else None


def _seconds(day: date | None) -> float | None:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() if day is not None else None


def named(entries: Sequence[RecalledEntry], destination: str | None = None) -> list[dict[str, Any]]:
    """A row per instance and destination that has or may have it; one with an empty destination for what never left."""
    rows = []
    for one in entries:
        facts = {name: value for name, value in asdict(one).items() if name != "destinations"}
        rows += [{**facts, "destination": place} for place in (one.left or [""]) if destination in (None, place)]
    return rows


def write_csv(rows: Sequence[dict[str, Any]], file: Any) -> None:
    """The rows of `named` as CSV with a head."""
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
