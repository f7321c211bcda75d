"""What the ledger can say about a period: for the de-identification report and the daily digest. Counts, codes and hashes, no identities.

Rows and receipts that retention has removed are not in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select

from radanon_node.ledger.database import Database
from radanon_node.ledger.schema import audit, deliveries, instances, releases
from radanon_node.ledger.schema_review import recalled, recalls

_PAGE = 500


@dataclass(slots=True)
class PolicyUse:
    """Instances released under one policy by one version of the program."""

    profile: str
    hash: str
    options: tuple[str, ...]
    program: str
    released: int = 0
    models: Counter[str] = field(default_factory=Counter)
    boxes: Counter[str] = field(default_factory=Counter)  # "redact text", "keep side_letter" ...
    methods: Counter[str] = field(default_factory=Counter)  # how pixels were written
    unseen: int = 0  # passed though nothing had looked at them, by site policy


@dataclass(frozen=True, slots=True)
class Period:
    """See `Reporting.period`.

    Parameters
    ----------
    received : dict
        State -> instances received in the period that are in it now.
    reasons : dict
        Reason code -> those of them in quarantine.
    deliveries : dict
        Destination -> state -> deliveries of instances released in the period.
    policies : list of PolicyUse
        From the receipts of the instances released in the period.
    acts : dict
        Action -> acts in the audit trail; map exports and the like without their details.
    studies, patients : int
        Distinct ones among the releases.
    recalls : list of (int, int, bool)
        Ordered in the period: number, instances of this route or all, whether it is closed.
    """

    received: dict[str, int]
    reasons: dict[str, int]
    deliveries: dict[str, dict[str, int]]
    policies: list[PolicyUse]
    acts: dict[str, int]
    studies: int
    patients: int
    recalls: list[tuple[int, int, bool]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.received.values())

    @property
    def released(self) -> int:
        return sum(use.released for use in self.policies)


class Reporting(Database):
    """Counts over periods."""

    def period(self, since: float, until: float, route: str | None = None) -> Period:
        """Everything between `since` and `until` (seconds since 1970, the end not included), of one route or all."""
        columns = instances.c
        came = [columns.received_at >= since, columns.received_at < until]
        left = [releases.c.released_at >= since, releases.c.released_at < until]
        if route is not None:
            came.append(columns.route == route)
            left.append(columns.route == route)
        acts: Counter[str] = Counter()
        with self._read() as connection:
            received = {row[0]: row[1] for row in connection.execute(
                select(columns.state, func.count()).where(*came).group_by(columns.state))}
            reasons = {row[0]: row[1] for row in connection.execute(
                select(columns.reason, func.count()).where(*came, columns.state == "quarantined").group_by(columns.reason)
                .order_by(func.count().desc()))}
            delivered: dict[str, dict[str, int]] = {}
            joined = deliveries.join(releases, releases.c.instance_id == deliveries.c.instance_id).join(
                instances, columns.id == deliveries.c.instance_id)
            for name, state, count in connection.execute(
                    select(deliveries.c.destination, deliveries.c.state, func.count()).select_from(joined).where(*left)
                    .group_by(deliveries.c.destination, deliveries.c.state)):
                delivered.setdefault(name, {})[state] = count
            studies, patients = connection.execute(
                select(func.count(releases.c.study_key.distinct()), func.count(releases.c.patient.distinct()))
                .select_from(releases.join(instances, columns.id == releases.c.instance_id)).where(*left)).one()
            for action, count in connection.execute(
                    select(audit.c.action, func.count()).where(audit.c.at >= since, audit.c.at < until).group_by(audit.c.action)):
                acts[action.partition(":")[0]] += count
            mine = [recalls.c.at >= since, recalls.c.at < until, *([recalled.c.route == route] if route is not None else [])]
            ordered = [(int(number), int(count), closed is not None) for number, closed, count in connection.execute(
                select(recalls.c.id, recalls.c.closed_at, func.count()).join(recalled, recalled.c.recall_id == recalls.c.id)
                .where(*mine).group_by(recalls.c.id, recalls.c.closed_at).order_by(recalls.c.id))]
        return Period(received, reasons, delivered, self._policies(left), dict(acts), int(studies), int(patients), ordered)

    def _policies(self, conditions: list[Any]) -> list[PolicyUse]:
        uses: dict[tuple[Any, ...], PolicyUse] = {}
        for receipt in self._receipts(conditions):
            policy = receipt.get("policy", {})
            key = (policy.get("profile", ""), policy.get("hash", ""), tuple(policy.get("options", ())), receipt.get("program_version", ""))
            use = uses.setdefault(key, PolicyUse(*key))
            use.released += 1
            looked = receipt.get("looked", {})
            use.unseen += "passed_unseen" in looked
            use.models.update(str(looked[name]) for name in looked if name.endswith("_model") and isinstance(looked[name], str))
            use.boxes.update(f"{box.get('verdict', '')} {box.get('kind', '')}" for box in receipt.get("boxes", ()))
            if "pixels" in receipt:
                use.methods[str(receipt["pixels"].get("method", ""))] += 1
        return sorted(uses.values(), key=lambda use: (-use.released, use.profile, use.hash))

    def _receipts(self, conditions: list[Any]) -> Iterator[dict[str, Any]]:
        after = 0
        while True:
            with self._read() as connection:
                rows = connection.execute(
                    select(releases.c.instance_id, releases.c.receipt)
                    .join(instances, instances.c.id == releases.c.instance_id)
                    .where(*conditions, releases.c.instance_id > after, releases.c.receipt.isnot(None))
                    .order_by(releases.c.instance_id).limit(_PAGE)).all()
            for row in rows:
                yield row.receipt
            if len(rows) < _PAGE:
                return
            after = rows[-1].instance_id
