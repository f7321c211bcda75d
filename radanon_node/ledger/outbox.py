"""What collectors of audit messages are still to be told: rows of the audit trail beyond their mark, and transfers, kept until then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from radanon_node.ledger.database import Database
from radanon_node.ledger.schema import audit, instances, now, releases
from radanon_node.ledger.schema_audit import activity, audit_chain, collectors
from radanon_node.ledger.types import AuditEntry, DeliveryResult


@dataclass(frozen=True, slots=True)
class Act:
    """A row of the audit trail with its link."""

    id: int
    entry: AuditEntry
    link: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """Something received or sent; `facts` are AE titles, addresses, counts and pseudonyms."""

    id: int
    at: float
    kind: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outbox:
    """A batch for a collector; both empty where there is nothing, or another process tells it."""

    acts: Sequence[Act] = ()
    transfers: Sequence[Transfer] = ()


class Outboxes(Database):
    """The queue of audit messages."""

    def record_transfer(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Note a transfer for the collector; to be called only where one is configured, as nothing else removes the note."""
        with self._write() as connection:
            connection.execute(insert(activity).values(at=now(), kind=kind, facts=dict(facts)))

    def record_sent(self, results: Sequence[DeliveryResult], facts: Mapping[str, Any]) -> None:
        """Note what a destination took or refused for good, one note per study.

        Parameters
        ----------
        results : sequence of DeliveryResult
            Of one destination.
        facts : mapping
            Of the destination: name, AE titles, address.
        """
        final = [result for result in results if result.outcome in ("delivered", "sent", "failed")]
        if not final:
            return
        ids = [result.item.instance_id for result in final]
        query = (select(releases.c.instance_id, releases.c.patient, releases.c.study, instances.c.route)
                 .join(instances, instances.c.id == releases.c.instance_id).where(releases.c.instance_id.in_(ids)))
        with self._write() as connection:
            known = {row.instance_id: (row.patient, row.study, row.route) for row in connection.execute(query)}
            groups: dict[tuple[Any, ...], list[DeliveryResult]] = {}
            for result in final:
                groups.setdefault(known.get(result.item.instance_id, (None, None, "")), []).append(result)
            connection.execute(insert(activity).values(at=now()), [
                {"kind": "sent", "facts": {
                    **facts, "patient": patient, "study": study, "route": route,
                    "instances": sum(result.outcome != "failed" for result in group),
                    "failed": sum(result.outcome == "failed" for result in group),
                    "sop_classes": Counter(result.item.release.sop_class_uid for result in group)}}
                for (patient, study, route), group in groups.items()])

    def outbox(self, collector: str, owner: str, limit: int, lease: float) -> Outbox:
        """What `collector` is to be told next, where `owner` has or gets the lease on it.

        A collector seen for the first time is told from now on, not the whole past: its mark is set to the trail's end.
        """
        columns = collectors.c
        with self._read() as connection:
            row = connection.execute(select(collectors, now().label("now")).where(columns.name == collector)).first()
            waiting = connection.scalar(select(func.max(audit.c.id))) or 0
            noted = connection.scalar(select(func.max(activity.c.id))) or 0
        if row is not None and ((row.owner != owner and row.due > row.now) or (row.audit_id >= waiting and not noted)):
            return Outbox()
        with self._write() as connection:
            if row is None:
                dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
                last = _before_start(connection.execute(select(audit.c.id, audit.c.action).order_by(audit.c.id.desc()).limit(50)).all())
                connection.execute(dialect.insert(collectors).values(name=collector, audit_id=last, due=0.0).on_conflict_do_nothing())
            mark = connection.scalar(
                update(collectors).where(columns.name == collector, or_(columns.owner == owner, columns.due <= now()))
                .values(owner=owner, due=now() + lease).returning(columns.audit_id))
            if mark is None:
                return Outbox()
            acts = connection.execute(select(audit, audit_chain.c.link).outerjoin(audit_chain, audit_chain.c.audit_id == audit.c.id)
                                      .where(audit.c.id > mark).order_by(audit.c.id).limit(limit)).all()
            transfers = connection.execute(select(activity).order_by(activity.c.id).limit(limit - len(acts))).all()
        return Outbox(
            [Act(row.id, AuditEntry(row.at, row.who, row.action, row.instance_id, row.delivery_id, row.reason), row.link or "")
             for row in acts],
            [Transfer(row.id, row.at, row.kind, row.facts) for row in transfers])

    def told(self, collector: str, owner: str, batch: Outbox) -> None:
        """The collector has this batch. With the lease lost meanwhile the mark stays, and another process tells it again."""
        with self._write() as connection:
            mine = (collectors.c.name == collector, collectors.c.owner == owner)
            if connection.execute(select(collectors.c.name).where(*mine).with_for_update()).first() is None:
                return
            if batch.acts:
                connection.execute(update(collectors).where(*mine).values(audit_id=batch.acts[-1].id))
            if batch.transfers:
                connection.execute(delete(activity).where(activity.c.id.in_([item.id for item in batch.transfers])))

    def untold(self, collector: str | None = None) -> int:
        """How many messages wait (for the named collector, or the one furthest behind)."""
        query = select(func.min(collectors.c.audit_id))
        if collector is not None:
            query = query.where(collectors.c.name == collector)
        with self._read() as connection:
            mark = connection.scalar(query)
            if mark is None:
                return 0
            acts = connection.scalar(select(func.count()).where(audit.c.id > mark)) or 0
            return int(acts) + int(connection.scalar(select(func.count()).select_from(activity)) or 0)


def _before_start(latest: Sequence[Any]) -> int:
    """The row before the newest ``node start``, so that the start that brought the collector is told."""
    start = next((row.id for row in latest if row.action == "node start"), None)
    return int(start) - 1 if start is not None else int(latest[0].id) if latest else 0
