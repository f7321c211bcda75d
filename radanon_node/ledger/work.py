"""The worker's side of the ledger: claims with a lease and a fencing token, outcomes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, bindparam, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from radanon_node.errors import Reason, StorageError
from radanon_node.ledger.database import claimed, in_index_order, storable
from radanon_node.ledger.receipts import Receipts
from radanon_node.ledger.sampling import Sampling
from radanon_node.ledger.schema import (
    RECEIVED,
    deliveries,
    instances,
    now,
    releases,
    studies,
    unindexed,
)
from radanon_node.ledger.types import (
    DeliveryItem,
    DeliveryState,
    Finished,
    HeldItem,
    ReleasedItem,
    RetryItem,
    State,
    WorkItem,
)

_DAY_S = 86400.0
_CLOSING: dict[str, Any] = {"due": None, "owner": None, "closed_at": now()}


class Work(Receipts, Sampling):
    """Claims and outcomes of work items."""

    def claim(self, owner: str, limit: int, lease: float) -> list[WorkItem]:
        """Take due instances, those of the lowest rounds first (turns.py).

        Parameters
        ----------
        owner : str
            Who claims: one name per process life.
        limit : int
            At most so many. An instance that was claimed before (its worker crashed or it failed) comes alone, so that it can take no
            other down; one whose attempts are used up was claimed and never finished each time: it kills its worker, and is quarantined.
        lease : float
            Seconds until the claim lapses unless renewed.

        Returns
        -------
        list of WorkItem
            Empty if nothing is due.
        """
        columns = instances.c
        query = select(columns.id, columns.attempts).limit(limit).with_for_update(skip_locked=True)
        oldest = query.where(columns.due <= now()).order_by(columns.due, columns.id)
        next_round = query.where(RECEIVED, unindexed(columns.due) <= now()).order_by(columns.round, columns.id)
        while self._due(select(literal(1)).where(columns.due <= now()).limit(1)):
            with self._write(revocable=True) as connection:
                in_index_order(connection)
                rows = connection.execute(next_round).all() if not self._turns.oldest("work") else []
                if not rows:  # claims that lapsed are found here alone
                    rows = connection.execute(oldest).all()
                spent = [row.id for row in rows if row.attempts >= self.attempts]
                if spent:
                    connection.execute(update(instances).where(columns.id.in_(spent)).values(
                        state=State.QUARANTINED, reason=Reason.WORKER_KILLED,
                        detail="every worker that took it died", **_CLOSING))
                chosen = _fresh_or_alone([row for row in rows if row.attempts < self.attempts])
                claimed = self._take(connection, chosen, owner, lease) if chosen else []
            if claimed or not rows:
                return claimed
        return []

    def _due(self, query: Any) -> bool:
        # Looked at without the write lock, so that idle workers do not hold up the listener.
        with self._read() as connection:
            return connection.scalar(query) is not None

    def _take(self, connection: Connection, ids: Sequence[int], owner: str, lease: float) -> list[WorkItem]:
        columns = instances.c
        rows = connection.execute(
            update(instances).where(columns.id.in_(ids))
            .values(state=State.PROCESSING, owner=owner, token=columns.token + 1, attempts=columns.attempts + 1, due=now() + lease)
            .returning(columns.id, columns.token, columns.route, columns.file, columns.size, columns.sop_class_uid, columns.identity,
                       columns.transfer_syntax_uid, columns.attempts, columns.waived, columns.edits))
        items: dict[int, WorkItem] = {}
        for row in rows.all():
            try:
                identity = json.loads(self.seal.decrypt(row.identity))
            except StorageError:  # somebody altered the row: it must not stop the others
                connection.execute(update(instances).where(columns.id == row.id).values(
                    state=State.QUARANTINED, reason=Reason.INTERNAL_ERROR, detail="its sealed columns were altered", **_CLOSING))
                continue
            items[row.id] = WorkItem(row.id, row.token, row.route, row.file, row.size, row.sop_class_uid, identity["sop_instance_uid"],
                                     row.transfer_syntax_uid, row.attempts - 1, row.waived, row.edits)
        return [items[instance_id] for instance_id in ids if instance_id in items]

    def renew(self, items: Sequence[WorkItem] | Sequence[DeliveryItem], lease: float) -> list[int]:
        """Extend claims by `lease` seconds from now; returns the ids whose claim was lost already."""
        if not items:
            return []
        table, state = (deliveries, DeliveryState.SENDING) if isinstance(items[0], DeliveryItem) else (instances, State.PROCESSING)
        statement = (update(table).where(*claimed(table, items), table.c.state == state)
                     .values(due=now() + lease).returning(table.c.id))
        with self._write() as connection:
            kept = set(connection.scalars(statement))
        return [item.id for item in items if item.id not in kept]

    def give_back(self, owner: str) -> int:
        """The process `owner` is dead: what it had claimed is due at once, its attempts stay counted. Returns how many items."""
        given = 0
        with self._write() as connection:
            # A delivery stays `sending`: by that, the next claim knows that its sender died with it.
            for table, state, then in ((instances, State.PROCESSING, State.RECEIVED),
                                       (deliveries, DeliveryState.SENDING, DeliveryState.SENDING)):
                given += len(connection.execute(
                    update(table).where(table.c.owner == owner, table.c.state == state).values(state=then, due=now(), owner=None)
                    .returning(table.c.id)).all())
        return given

    def owners(self) -> set[str]:
        """Who holds claims at present; a starting node gives back those of its own dead processes (`give_back`)."""
        with self._read() as connection:
            return {str(owner) for table in (instances, deliveries)
                    for owner in connection.scalars(select(table.c.owner).where(table.c.owner.isnot(None)).distinct())}

    def finish(self, outcomes: Sequence[Finished]) -> list[int]:
        """Write what became of work items, in one transaction.

        An outcome whose claim was lost (another worker has the item, or has finished it) is thrown away, and the released file that
        it brought with it.

        Returns
        -------
        list of int
            Ids of the items whose claim was lost.
        """
        if not outcomes:
            return []
        with self._write() as connection:
            held = self._held(connection, outcomes)
            won = [outcome for outcome in outcomes if outcome.id in held]
            released = [outcome for outcome in won if isinstance(outcome, ReleasedItem)]
            mixed = self._mixed_up(connection, released)
            self._finish_released(connection, [outcome for outcome in released if outcome.id not in mixed], held)
            for outcome in won:
                if outcome.id in mixed:
                    connection.execute(update(instances).where(instances.c.id == outcome.id).values(
                        state=State.QUARANTINED, reason=Reason.MIXED_PATIENTS,
                        detail="its study already has instances of another patient", **_CLOSING))
                elif isinstance(outcome, HeldItem):
                    connection.execute(update(instances).where(instances.c.id == outcome.id).values(
                        state=State.QUARANTINED, reason=outcome.reason, detail=storable(outcome.detail),
                        series_number=outcome.series_number, instance_number=outcome.instance_number, **_CLOSING))
                elif isinstance(outcome, RetryItem):
                    connection.execute(update(instances).where(instances.c.id == outcome.id).values(
                        self._retry(outcome, held[outcome.id].attempts)))
        lost = [outcome for outcome in outcomes if outcome.id not in held]
        files = [outcome.release.file for outcome in outcomes
                 if isinstance(outcome, ReleasedItem) and (outcome.id not in held or outcome.id in mixed)]
        if files:
            # After a commit whose answer was lost, the "lost" claim is our own finished one and its file is in use.
            known = self.known_files(files)
            for name in files:
                if name not in known:
                    self.spool.remove(name)
        return [outcome.id for outcome in lost]

    def _mixed_up(self, connection: Connection, outcomes: Sequence[ReleasedItem]) -> set[int]:
        """Ids of the instances whose study belongs to another patient; the first released instance of a study says whose it is."""
        checked = [outcome for outcome in outcomes if outcome.patient_key]
        if not checked:
            return set()
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        whose = {outcome.study_key: outcome.patient_key for outcome in reversed(checked)}
        new = dialect.insert(studies).values(study_key=bindparam("study_key"), patient_key=bindparam("patient_key"), seen_at=now())
        # Once a day is enough for `expire`, and most instances of a study then change nothing.
        seen = new.on_conflict_do_update(index_elements=["study_key"], set_={"seen_at": now()},
                                         where=studies.c.seen_at.is_(None) | (studies.c.seen_at < now() - _DAY_S))
        connection.execute(seen,
                           [{"study_key": study, "patient_key": patient} for study, patient in sorted(whose.items())])
        rows = connection.execute(select(studies).where(studies.c.study_key.in_(list(whose))))
        known = {row.study_key: row.patient_key for row in rows}
        return {outcome.id for outcome in checked if known[outcome.study_key] != outcome.patient_key}

    def _held(self, connection: Connection, outcomes: Sequence[Finished]) -> dict[int, Any]:
        """Id -> attempts and round of the outcomes whose claim still stands, locked in a fixed order."""
        columns = instances.c
        rows = connection.execute(
            select(columns.id, columns.attempts, columns.round)
            .where(*claimed(instances, outcomes), columns.state == State.PROCESSING)
            .order_by(columns.id).with_for_update())
        return {row.id: row for row in rows}

    def _retry(self, outcome: RetryItem, attempts: int) -> dict[str, Any]:
        if outcome.counted and attempts >= self.attempts:
            return {"state": State.FAILED, "detail": storable(outcome.detail), **_CLOSING}
        return {"state": State.RECEIVED, "detail": storable(outcome.detail), "due": now() + outcome.delay, "owner": None,
                "attempts": attempts if outcome.counted else attempts - 1}

    def _finish_released(self, connection: Connection, outcomes: Sequence[ReleasedItem], held: Mapping[int, Any]) -> None:
        if not outcomes:
            return
        connection.execute(
            update(instances).where(instances.c.id == bindparam("key")).values(
                state=State.RELEASED, due=None, owner=None, reason=None, detail=None, content=bindparam("digest")),
            [{"key": outcome.id, "digest": outcome.content or None} for outcome in outcomes])
        connection.execute(insert(releases).values(released_at=now()), [
            {"instance_id": outcome.id, "sop_class_uid": outcome.release.sop_class_uid,
             "sop_instance_uid": outcome.release.sop_instance_uid, "transfer_syntax_uid": outcome.release.transfer_syntax_uid,
             "file": outcome.release.file, "size": outcome.release.size, "digest": outcome.release.digest,
             "seal": outcome.release.seal, "study_key": outcome.study_key, "receipt": outcome.receipt,
             "patient": outcome.patient or None, "study": outcome.study or None, "device": outcome.device or None} for outcome in outcomes])
        connection.execute(insert(deliveries).values(due=now(), changed_at=now()), [
            {"instance_id": outcome.id, "destination": destination, "state": DeliveryState.WAITING, "study_key": outcome.study_key,
             "round": held[outcome.id].round}
            for outcome in outcomes for destination in dict.fromkeys(outcome.destinations)])
        self._chain(connection, outcomes)
        self._sample(connection, outcomes)


def _fresh_or_alone(rows: Sequence[Any]) -> list[int]:
    if rows and rows[0].attempts > 0:
        return [rows[0].id]
    return [row.id for row in takewhile(lambda row: row.attempts == 0, rows)]
