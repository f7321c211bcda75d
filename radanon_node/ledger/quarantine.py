"""What a person does with instances set aside: list, show, retry, release, drop; every act with who and why, in rows that stay."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, select, update

from radanon_node.errors import WAIVABLE, Reason, StorageError
from radanon_node.ledger.database import Database
from radanon_node.ledger.schema import ASIDE, audit, deliveries, instances, now, releases
from radanon_node.ledger.types import AuditEntry, DeliveryState, QuarantineEntry, State

_ENTRY = (instances.c.id, instances.c.state, instances.c.reason, instances.c.detail, instances.c.route, instances.c.received_at,
          instances.c.series_number, instances.c.instance_number, instances.c.attempts)
_WAIVABLE = WAIVABLE | {Reason.UID_CONFLICT}


class UnknownEntry(LookupError):
    """No instance with this id is in quarantine or failed."""


class Quarantine(Database):
    """Operations on instances in ``quarantined`` and ``failed``."""

    def quarantine_list(self, route: str | None = None, reason: str | None = None, limit: int = 1000,
                        after: int = 0) -> list[QuarantineEntry]:
        """Instances set aside, by id, from `after` on; no identity in them."""
        query = select(*_ENTRY).where(ASIDE, instances.c.id > after).order_by(instances.c.id).limit(limit)
        if route is not None:
            query = query.where(instances.c.route == route)
        if reason is not None:
            query = query.where(instances.c.reason == reason)
        with self._read() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def quarantine_show(self, instance_id: int) -> tuple[QuarantineEntry, list[AuditEntry]]:
        """One entry and what was done about it; UnknownEntry if there is none."""
        with self._read() as connection:
            row = connection.execute(select(*_ENTRY).where(instances.c.id == instance_id, ASIDE)).first()
            if row is None:
                raise UnknownEntry(instance_id)
            return _entry(row), self._acts(connection, instance_id)

    def quarantine_file(self, instance_id: int) -> str:
        """Spool name of a set-aside original, for the reviewer's page; UnknownEntry if there is none."""
        query = select(instances.c.file).where(instances.c.id == instance_id, ASIDE, instances.c.file.isnot(None))
        with self._read() as connection:
            name = connection.scalar(query)
        if name is None:
            raise UnknownEntry(instance_id)
        return str(name)

    def identity(self, instance_id: int) -> dict[str, str]:
        """``{"sop_instance_uid", "calling_ae"}`` as received: for people with the right to see it, never for logs."""
        with self._read() as connection:
            sealed = connection.scalar(select(instances.c.identity).where(instances.c.id == instance_id))
        if sealed is None:
            raise UnknownEntry(instance_id)
        opened: dict[str, str] = json.loads(self.seal.decrypt(sealed))
        return opened

    def quarantine_retry(self, instance_id: int, who: str, reason: str = "") -> None:
        """Work on it again with fresh attempts, under the rules of today. Where a destination failed, its deliveries are tried again.

        ValueError for a ``uid_conflict``: no rule makes it right, a person releases or drops it.
        """
        self._requeue(instance_id, who, "quarantine retry", reason, waived=False)

    def quarantine_release(self, instance_id: int, who: str, reason: str) -> None:
        """Let the verdict pass: it is worked on again with its reason code waived (`WorkItem.waived`).

        The verifier stands in any case: nothing unverified can be sent. A released ``uid_conflict`` is delivered beside the instance
        that came first, under the same new SOP Instance UID: the archive decides which it keeps. ValueError for a reason code that no
        person may waive (`errors.WAIVABLE`).
        """
        self._requeue(instance_id, who, "quarantine release", _needed(reason), waived=True)

    def quarantine_drop(self, instance_id: int, who: str, reason: str) -> None:
        """Remove the files; the row stays as ``dropped`` and recognises resends."""
        with self._write() as connection:
            row = self._aside(connection, instance_id)
            if row.file is not None and row.content is None:
                try:
                    with self.spool.open(row.file) as opened:
                        content = self.seal.content_digest(opened.data, row.transfer_syntax_uid)
                except StorageError:
                    content = None  # the file is lost: there is nothing to recognise
            else:
                content = row.content
            released = connection.scalar(update(releases).where(releases.c.instance_id == instance_id).values(closed_at=now())
                                         .returning(releases.c.file))
            connection.execute(update(instances).where(instances.c.id == instance_id).values(
                state=State.DROPPED, due=None, content=content, closed_at=now()))
            connection.execute(update(deliveries).where(deliveries.c.instance_id == instance_id).values(due=None, owner=None))
            self._audit(connection, who, "quarantine drop", _needed(reason), instance_id)
        # Killed here, the files stay until the next purge, which looks for closed rows that still name one.
        for name in (row.file, released):
            if name is not None:
                self.spool.remove(name)
        with self._write() as connection:
            connection.execute(update(instances).where(instances.c.id == instance_id).values(file=None))
            connection.execute(update(releases).where(releases.c.instance_id == instance_id).values(file=None))

    def record_act(self, who: str, action: str, reason: str) -> None:
        """Put an act that concerns no single instance into the audit trail; a reason must be given."""
        with self._write() as connection:
            self._audit(connection, who, action, _needed(reason))

    def audit_trail(self, limit: int = 1000, before: int | None = None) -> list[AuditEntry]:
        """Acts of people, latest first."""
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.id < before)
        with self._read() as connection:
            return [_act(row) for row in connection.execute(query)]

    def _acts(self, connection: Connection, instance_id: int) -> list[AuditEntry]:
        return [_act(row) for row in connection.execute(select(audit).where(audit.c.instance_id == instance_id).order_by(audit.c.id))]

    def _aside(self, connection: Connection, instance_id: int) -> Any:
        row = connection.execute(select(instances).where(instances.c.id == instance_id, ASIDE)
                                 .with_for_update()).first()
        if row is None:
            raise UnknownEntry(instance_id)
        return row

    def _requeue(self, instance_id: int, who: str, action: str, reason: str, waived: bool, edits: dict[str, Any] | None = None) -> None:
        with self._write() as connection:
            row = self._aside(connection, instance_id)
            if waived and row.reason not in _WAIVABLE:
                raise ValueError(f"{row.reason or row.state} cannot be waived; only: {', '.join(sorted(_WAIVABLE))}")
            if row.reason == Reason.RECALLED:
                raise ValueError(f"{Reason.RECALLED}: it is cleaned again once its recall is closed (radanon recall close), or dropped")
            if not waived and row.reason == Reason.UID_CONFLICT:
                raise ValueError(f"{Reason.UID_CONFLICT}: release it with a reason, or drop it")
            mine = deliveries.c.instance_id == instance_id
            if connection.execute(select(deliveries.c.id).where(mine).limit(1)).first() is not None:
                connection.execute(update(deliveries).where(mine, deliveries.c.state == DeliveryState.FAILED).values(
                    state=DeliveryState.WAITING, due=now(), attempts=0, crashes=0, owner=None, detail="", changed_at=now()))
                state, due = State.RELEASED, None
            else:
                state, due = State.RECEIVED, now()
            connection.execute(update(instances).where(instances.c.id == instance_id).values(
                state=state, due=due, attempts=0, owner=None, reason=None, detail=None, closed_at=None,
                waived=_joined(row.waived, row.reason) if waived else "", edits=edits))
            self._audit(connection, who, action, reason, instance_id)


def _needed(reason: str) -> str:
    if not reason.strip():
        raise ValueError("a reason must be given")
    return reason.strip()


def _joined(waived: str, reason: str | None) -> str:
    """The codes that were let pass before and now: an instance may be held for one thing after another."""
    return " ".join(dict.fromkeys([*waived.split(), *([reason] if reason else [])]))


def _entry(row: Any) -> QuarantineEntry:
    return QuarantineEntry(row.id, row.state, row.reason or "", row.detail or "", row.route, row.received_at, row.series_number,
                           row.instance_number, row.attempts)


def _act(row: Any) -> AuditEntry:
    return AuditEntry(row.at, row.who, row.action, row.instance_id, row.delivery_id, row.reason)
