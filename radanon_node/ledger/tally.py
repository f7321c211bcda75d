"""What a full count would take too long for: how much there is and has been delivered, kept as differences beside the rows.

Each transaction appends its differences (none waits for another) and housekeeping merges them now and then. What is open is what there are
rows of, less what was delivered; `drift` compares that with the rows themselves, and `recount` mends it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Select, bindparam, case, delete, func, insert, literal, select, union_all

from radanon_node.ledger.database import Database
from radanon_node.ledger.prepared import prepared
from radanon_node.ledger.schema import UNDELIVERED, UNDELIVERED_INSTANCE, deliveries, instances, tally
from radanon_node.ledger.types import DeliveryState, State

DELIVERED_INSTANCES, DELIVERIES = "route", "destination"
"""`tally.kind` of delivered instances per route, and of deliveries done per destination."""
ROWS = "rows "
"""Prefix of the kinds of what there are rows of, delivered or not."""
EXPIRED = "expired "
"""Prefix of the kinds of what retention has removed, so that totals never go back."""

_LOCK = 0x74616C79  # of the advisory lock under which PostgreSQL's nodes mend the tally, one at a time
_MERGE_ROWS = 500
_ADD = prepared(lambda among: insert(tally).values(kind=bindparam("sort"), name=bindparam("of"), change=bindparam("by")))


def add_to_tally(connection: Connection, kind: str, counts: Mapping[str, int]) -> None:
    """Append differences per name, in the transaction that changes the rows."""
    _ADD.rows(connection, [{"sort": kind, "of": name, "by": count} for name, count in counts.items() if count])


def forget_in_tally(connection: Connection, ids: Sequence[int], rows: Sequence[Any]) -> None:
    """Instances and their deliveries are about to be removed.

    Parameters
    ----------
    ids : sequence of int
        Of the instances.
    rows : sequence of Row
        Theirs, with ``route`` and ``state``.
    """
    sent = connection.execute(select(deliveries.c.destination, deliveries.c.state).where(deliveries.c.instance_id.in_(ids))).all()
    done = Counter(row.destination for row in sent if row.state == DeliveryState.DELIVERED)
    add_to_tally(connection, DELIVERIES, negative(done))
    add_to_tally(connection, EXPIRED + DELIVERIES, done)
    add_to_tally(connection, ROWS + DELIVERIES, negative(Counter(row.destination for row in sent)))
    gone = Counter(row.route for row in rows)
    add_to_tally(connection, DELIVERED_INSTANCES, negative(Counter(row.route for row in rows if row.state == State.DELIVERED)))
    add_to_tally(connection, EXPIRED + DELIVERED_INSTANCES, gone)
    add_to_tally(connection, ROWS + DELIVERED_INSTANCES, negative(gone))


def negative(counts: Mapping[str, int]) -> dict[str, int]:
    """The same with the other sign."""
    return {name: -count for name, count in counts.items()}


def tallied(connection: Connection) -> dict[str, Counter[str]]:
    """What is delivered and what there are rows of: kind -> name -> number. Kinds as above, without those that have gone."""
    found: dict[str, Counter[str]] = {kind: Counter() for kind in _KINDS}
    for kind, name, count in connection.execute(select(tally.c.kind, tally.c.name, func.sum(tally.c.change)).where(tally.c.kind.in_(_KINDS))
                                                .group_by(tally.c.kind, tally.c.name)):
        found[kind][name] = int(count)
    return found


_KINDS = [DELIVERED_INSTANCES, DELIVERIES, ROWS + DELIVERED_INSTANCES, ROWS + DELIVERIES]


class Tallies(Database):
    """Upkeep of the tally: safe to be killed at any point, and to run in several nodes at once."""

    _merged = 0  # rows of the tally after it was merged last

    def merge_tally(self) -> None:
        """Put the differences together where many have gathered."""
        with self._read() as connection:
            gathered = int(connection.scalar(select(func.count()).select_from(tally)) or 0)
        if gathered <= self._merged + _MERGE_ROWS:
            return
        merged: dict[str, Counter[str]] = {}
        with self._write() as connection:
            for row in connection.execute(delete(tally).returning(tally.c.kind, tally.c.name, tally.c.change)):
                merged.setdefault(row.kind, Counter())[row.name] += row.change
            for kind, counts in merged.items():
                add_to_tally(connection, kind, counts)
        self._merged = sum(len(counts) for counts in merged.values())

    def drift(self) -> dict[str, int]:
        """How much more is open than by the tally, per ``route NAME`` and ``destination NAME``; empty if it fits.

        It always should: something else has written to the database if not. All that is open is counted (0.1 s for half a million rows).
        """
        with self._read() as connection:
            return {f"{kind} {row.name}": int(row.missing) for kind, query in _DRIFTS.items() for row in connection.execute(query)}

    def recount(self) -> dict[str, int]:
        """Mend the tally where it does not fit the rows; returns what `drift` found. Nobody who writes is held up where it fits."""
        if not self.drift():
            return {}
        found: dict[str, int] = {}
        with self._write() as connection:
            if connection.dialect.name == "postgresql":
                # A statement of its own: the next one must see what was committed while this one waited.
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            for sort, query in _DRIFTS.items():
                # One statement sees rows and tally at one moment: what others add meanwhile changes both alike.
                source = query.subquery()
                for row in connection.execute(
                        insert(tally).from_select(["kind", "name", "change"], select(literal(ROWS + sort), source.c.name, source.c.missing))
                        .returning(tally.c.name, tally.c.change)):
                    found[f"{sort} {row.name}"] = int(row.change)
        return found


def _drift(kind: str, name: Column[Any], condition: Any) -> Select[Any]:
    """Rows (name, missing): what is open and not in the tally."""
    rows = select(name.label("name"), func.count().label("number")).where(condition).group_by(name)
    sums = (select(tally.c.name, func.sum(case((tally.c.kind == kind, tally.c.change), else_=-tally.c.change)).label("number"))
            .where(tally.c.kind.in_([kind, ROWS + kind])).group_by(tally.c.name))
    both = union_all(rows, sums).subquery()
    missing = func.sum(both.c.number)
    return select(both.c.name, missing.label("missing")).group_by(both.c.name).having(missing != 0)


_DRIFTS = {DELIVERED_INSTANCES: _drift(DELIVERED_INSTANCES, instances.c.route, UNDELIVERED_INSTANCE),
           DELIVERIES: _drift(DELIVERIES, deliveries.c.destination, UNDELIVERED)}
