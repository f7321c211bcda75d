"""The flow figures behind the charts: counts once a minute, thinned out to hours; and which node processes live, by their own word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from radanon_node.ledger.database import Database
from radanon_node.ledger.schema import now, tally
from radanon_node.ledger.schema_review import flow, nodes
from radanon_node.ledger.tally import EXPIRED
from radanon_node.ledger.types import State

MINUTE, HOUR = 60, 3600
_KEPT = {MINUTE: 2 * 24 * 60, HOUR: 400 * 24}
"""Intervals kept of each width: two days of minutes, more than a year of hours."""
_NODE_GONE_S = 3600.0


@dataclass(frozen=True, slots=True)
class FlowPoint:
    """What moved in one interval.

    Parameters
    ----------
    at : int
        Its begin, seconds since 1970.
    received, quarantined : dict
        Instances per route; `quarantined` is how many are set aside at its end.
    delivered, waiting : dict
        Deliveries per destination; `waiting` is how many wait at its end.
    oldest : float
        Age of the oldest instance that waits at its end, seconds.
    free : int
        Bytes free for the spool.
    """

    at: int
    received: dict[str, int]
    quarantined: dict[str, int]
    delivered: dict[str, int]
    waiting: dict[str, int]
    oldest: float
    free: int


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node process that lives: its `age` in seconds since it last said so, and what it said."""

    name: str
    age: float
    data: dict[str, Any]


class Flow(Database):
    """Totals over time. Bounded: see `_KEPT`."""

    def record_flow(self, status: Mapping[str, Any]) -> bool:
        """Keep the totals of `status` (`status.full_status`) for this minute, if no node has done so yet; returns whether it was done."""
        with self._read() as connection:
            at = int(float(connection.scalar(select(now())) or 0))
            minute = at - at % MINUTE
            if connection.scalar(select(flow.c.at).where(flow.c.width == MINUTE, flow.c.at == minute)) is not None:
                return False
            gone: dict[str, Counter[str]] = {}
            for kind, name, count in connection.execute(
                    select(tally.c.kind, tally.c.name, func.sum(tally.c.change)).where(tally.c.kind.startswith(EXPIRED))
                    .group_by(tally.c.kind, tally.c.name)):
                gone.setdefault(kind.removeprefix(EXPIRED), Counter())[name] = int(count)
        data = _totals(status, gone)
        with self._write() as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            for width, kept in _KEPT.items():
                begin = at - at % width
                connection.execute(dialect.insert(flow).values(width=width, at=begin, data=data).on_conflict_do_nothing())
                connection.execute(delete(flow).where(flow.c.width == width, flow.c.at < begin - kept * width))
        return True

    def flow_points(self, width: int = MINUTE, count: int = 120) -> list[FlowPoint]:
        """The last `count` intervals of `width` seconds for which totals at both ends are known, oldest first."""
        with self._read() as connection:
            rows = list(connection.execute(select(flow.c.at, flow.c.data).where(flow.c.width == width).order_by(flow.c.at.desc())
                                           .limit(count + 1)))[::-1]
        return [_point(before, after) for before, after in pairwise(rows)]

    def node_alive(self, name: str, data: Mapping[str, Any]) -> None:
        """Say that the node process `name` lives, and what it does; rows of nodes that are silent for an hour go."""
        with self._write() as connection:
            connection.execute(delete(nodes).where((nodes.c.name == name) | (nodes.c.at < now() - _NODE_GONE_S)))
            connection.execute(nodes.insert().values(name=name, at=now(), data=dict(data)))

    def node_gone(self, name: str) -> None:
        """The node process `name` ends."""
        with self._write() as connection:
            connection.execute(delete(nodes).where(nodes.c.name == name))

    def nodes_list(self) -> list[NodeRow]:
        """The node processes on this ledger."""
        with self._read() as connection:
            return [NodeRow(row.name, max(0.0, float(row.age)), row.data)
                    for row in connection.execute(select(nodes.c.name, (now() - nodes.c.at).label("age"), nodes.c.data)
                                                  .order_by(nodes.c.name))]


def _totals(status: Mapping[str, Any], gone: Mapping[str, Counter[str]]) -> dict[str, Any]:
    aside = (State.QUARANTINED, State.FAILED)
    return {
        "received": {route: sum(states.values()) + gone.get("route", Counter())[route] for route, states in status["routes"].items()},
        "quarantined": {route: sum(states[state] for state in aside) for route, states in status["routes"].items()},
        "delivered": {name: row["delivered"] + gone.get("destination", Counter())[name] for name, row in status["destinations"].items()},
        "waiting": {name: row["waiting"] for name, row in status["destinations"].items()},
        "oldest": round(status["oldest_waiting_s"], 1),
        "free": status["disk"]["free"],
    }


def _point(before: Any, after: Any) -> FlowPoint:
    """What moved between two rows; a total that went back (a restored ledger) counts as nothing."""
    data = after.data
    moved = {part: {name: max(0, total - before.data[part].get(name, 0)) for name, total in data[part].items()}
             for part in ("received", "delivered")}
    return FlowPoint(before.at, moved["received"], data["quarantined"], moved["delivered"], data["waiting"], data["oldest"], data["free"])
