"""The ledger: what the node has promised and what became of it. The modules beside it are its parts; nothing else speaks SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from radanon_node.ledger.admission import Admissions
from radanon_node.ledger.audit import Audit
from radanon_node.ledger.commit_requests import CommitmentRequests
from radanon_node.ledger.counting import pair_counts
from radanon_node.ledger.deliveries import Deliveries
from radanon_node.ledger.flow import Flow
from radanon_node.ledger.layouts import Layouts
from radanon_node.ledger.outbox import Outboxes
from radanon_node.ledger.patients import Patients
from radanon_node.ledger.recalls import Recalls
from radanon_node.ledger.reporting import Reporting
from radanon_node.ledger.retention import Retention
from radanon_node.ledger.reviews import Reviews
from radanon_node.ledger.schema import (
    OPEN,
    PRIMARY,
    UNDELIVERED,
    UNDELIVERED_INSTANCE,
    deliveries,
    destinations,
    instances,
    now,
)
from radanon_node.ledger.shadow_counts import ShadowCounts
from radanon_node.ledger.tally import DELIVERED_INSTANCES, DELIVERIES, ROWS, tallied
from radanon_node.ledger.types import DeliveryState, State
from radanon_node.ledger.work import Work

_COMMITTED = {State.DELIVERED: "accepted", State.QUARANTINED: "failed", State.FAILED: "failed", State.DROPPED: "failed"}
_WAITING = frozenset(DeliveryState) - {DeliveryState.FAILED}
_CHUNK = 500


class Ledger(
    Admissions, Work, Deliveries, Reviews, Recalls, Retention, Patients, Layouts, Audit, Flow, Outboxes, CommitmentRequests, ShadowCounts,
    Reporting,
):
    """All of the ledger; see `Database` for the parameters. Safe for threads; any number of processes may open the same one.

    Every method raises LedgerUnavailable when the database cannot do it now.

    Examples
    --------
    >>> import tempfile; from pathlib import Path; from radanon_node.ledger.spool import Spool
    >>> folder = Path(tempfile.mkdtemp())
    >>> ledger = Ledger(f"sqlite:///{folder}/ledger.sqlite", bytes(32), Spool(folder / "spool"))
    >>> ledger.status()["states"]["received"]
    0
    """

    def status(self) -> dict[str, Any]:
        """Counts for ``status --json``, without its ``disk`` part.

        Returns
        -------
        dict
            ``{"states": {state: n}, "routes": {ae: {state: n}}, "destinations": {name: {"waiting", "delivered", "failed", "up"}},
            "oldest_waiting_s": seconds}``: all states named, routes and destinations as far as rows know them; the oldest waiting is
            that of the instances not yet delivered or set aside, 0.0 if there is none.
        """
        states = dict.fromkeys(map(str, State), 0)
        routes: dict[str, dict[str, int]] = {}
        places: dict[str, dict[str, Any]] = {}
        with self._snapshot() as connection:
            known = tallied(connection)
            for route, state, count in pair_counts(connection, instances.c.route, instances.c.state, UNDELIVERED_INSTANCE,
                                                   known[ROWS + DELIVERED_INSTANCES] - known[DELIVERED_INSTANCES]):
                states[state] += count
                routes.setdefault(route, dict.fromkeys(map(str, State), 0))[state] = count
            for name, state, count in pair_counts(connection, deliveries.c.destination, deliveries.c.state, UNDELIVERED,
                                                  known[ROWS + DELIVERIES] - known[DELIVERIES], together=_WAITING):
                place = places.setdefault(name, {"waiting": 0, "delivered": 0, "failed": 0, "up": True})
                place["failed" if state == DeliveryState.FAILED else "waiting"] += count
            for route, count in known[DELIVERED_INSTANCES].items():
                states[State.DELIVERED] += count
                routes.setdefault(route, dict.fromkeys(map(str, State), 0))[State.DELIVERED] = count
            for name, count in known[DELIVERIES].items():
                places.setdefault(name, {"waiting": 0, "delivered": 0, "failed": 0, "up": True})["delivered"] = count
            for name, up in connection.execute(select(destinations.c.name, destinations.c.up)):
                places.setdefault(name, {"waiting": 0, "delivered": 0, "failed": 0, "up": True})["up"] = bool(up)
            oldest = connection.scalar(select(now() - func.min(instances.c.received_at))
                                       .where(OPEN))
        return {"states": states, "routes": routes, "destinations": places, "oldest_waiting_s": max(0.0, float(oldest or 0.0))}

    def committed(self, sop_instance_uids: Sequence[str], route: str) -> dict[str, str]:
        """What may be said to a modality that asks for Storage Commitment of the instances it sent on `route` (PS3.4 Annex J).

        Parameters
        ----------
        sop_instance_uids : sequence of str
            Original ones.

        Returns
        -------
        dict
            UID -> ``accepted`` (every destination has it), ``pending``, ``failed`` (quarantined, failed or dropped: a person must act)
            or ``unknown``.
        """
        indexes = {self._sop_index(route, uid): uid for uid in sop_instance_uids}
        found = dict.fromkeys(sop_instance_uids, "unknown")
        keys = list(indexes)
        with self._read() as connection:
            for start in range(0, len(keys), _CHUNK):
                rows = connection.execute(select(instances.c.sop_index, instances.c.state)
                                          .where(instances.c.sop_index.in_(keys[start:start + _CHUNK]), PRIMARY))
                for index, state in rows:
                    found[indexes[bytes(index)]] = _COMMITTED.get(state, "pending")
        return found
