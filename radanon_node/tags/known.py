"""What is known of a patient from earlier instances: a bounded list of identifying values, hunted in later instances too.

A patient who was renamed, or whose referring physician is named in one study only, is spelled in another study's free text. So what
identified the patient in one instance is remembered, as the values `collect` found (no UIDs, no serial numbers of devices), and merged
into the identifiers of the next one. Where it is kept is the business of a `Memory`; the ledger's is sealed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Protocol

from radanon_node.tags.identifiers import from_values
from radanon_node.tags.matching import Identifiers
from radanon_node.tags.pseudonyms import PatientKey

# Per patient: a renamed one has two or three names; staff, accession numbers and places gather over years.
_MOST = {"name": 24, "staff": 48, "id": 64, "site": 32}
_MOST_DAYS, _MOST_BIRTHS = 48, 6
_LONGEST = 200  # characters; a longer value is prose and not looked for as it stands


@dataclass(frozen=True, slots=True)
class Known:
    """Identifying values of one patient. Its text form shows none of them.

    Parameters
    ----------
    values : tuple of (str, str)
        Value and kind (``name``, ``staff``, ``id``, ``site``), oldest first.
    days, births : tuple of date
        Days of studies and the like, and of birth, oldest entry first.
    """

    values: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    days: tuple[date, ...] = field(default=(), repr=False)
    births: tuple[date, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, identifiers: Identifiers) -> Known:
        """What one instance's identifiers add."""
        values = sorted(one for one in identifiers.values if one[1] in _MOST and len(one[0]) <= _LONGEST)
        return cls(tuple(values), tuple(sorted(identifiers.days)), tuple(sorted(identifiers.birth_days)))

    def with_(self, other: Known) -> Known:
        """Both, `other` as the newer; `self` itself if that says nothing new. Past the bounds the oldest entries of a kind go."""
        values = [one for one in other.values if one not in self.values]
        days = [day for day in other.days if day not in self.days]
        births = [day for day in other.births if day not in self.births]
        if not values and not days and not births:
            return self
        counts: dict[str, int] = {}
        kept: list[tuple[str, str]] = []
        for one in reversed([*self.values, *values]):
            counts[one[1]] = counts.get(one[1], 0) + 1
            if counts[one[1]] <= _MOST[one[1]]:
                kept.append(one)
        return Known(tuple(reversed(kept)), (*self.days, *days)[-_MOST_DAYS:], (*self.births, *births)[-_MOST_BIRTHS:])

    def added_to(self, own: Identifiers) -> Identifiers:
        """The identifiers of an instance with those of the patient's other instances; `own` itself if there are no others."""
        days, births = own.days.union(self.days), own.birth_days.union(self.births)
        if own.values.issuperset(self.values):
            return own if len(days) == len(own.days) and len(births) == len(own.birth_days) else replace(own, days=days, birth_days=births)
        return replace(from_values(own.values.union(self.values)), days=days, birth_days=births, uids=own.uids)

    def as_json(self) -> str:
        """Text for a sealed column."""
        return json.dumps({"values": self.values, "days": [day.isoformat() for day in self.days],
                           "births": [day.isoformat() for day in self.births]}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Known:
        """Out of `as_json`."""
        raw = json.loads(text)
        return cls(tuple((value, kind) for value, kind in raw["values"] if kind in _MOST),
                   tuple(map(date.fromisoformat, raw["days"])), tuple(map(date.fromisoformat, raw["births"])))


class Memory(Protocol):
    """Where it is kept what patients are known by."""

    def exchange(self, seen: Mapping[PatientKey, Known]) -> dict[PatientKey, Known]:
        """Keep what was seen now, and return all that is known of each of these patients; durable before it returns.

        Raises
        ------
        StorageError
            It cannot be kept or read now.
        """


def remembered(patient: PatientKey) -> bool:
    """Whether instances of this patient can be told to be of one patient at all."""
    return not patient.without_id.startswith("study\0")
