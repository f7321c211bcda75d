"""The worker's side of the ledger: claims with a lease and a fencing token, outcomes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, insert, select, update

from radanon_node.errors import Reason, StorageError
from radanon_node.ledger import work_statements as do
from radanon_node.ledger.database import claimed, in_index_order, storable
from radanon_node.ledger.receipts import Receipts
from radanon_node.ledger.sampling import Sampling
from radanon_node.ledger.schema import (
    deliveries,
    instances,
    now,
    releases,
)
from radanon_node.ledger.tally import DELIVERIES, ROWS, add_to_tally
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
        most = [{"most": limit}]
        while self._due():
            with self._write(revocable=True) as connection:
                in_index_order(connection)
                rows: list[tuple[int, int]] = do.BY_ROUND.rows(connection, most) if not self._turns.oldest("work") else []
                if not rows:  # claims that lapsed are found here alone
                    rows = do.BY_AGE.rows(connection, most)
                spent = [instance_id for instance_id, attempts in rows if attempts >= self.attempts]
                if spent:
                    connection.execute(update(instances).where(instances.c.id.in_(spent)).values(
                        state=State.QUARANTINED, reason=Reason.WORKER_KILLED,
                        detail="every worker that took it died", **_CLOSING))
                chosen = _fresh_or_alone([row for row in rows if row[1] < self.attempts])
                claimed = self._take(connection, chosen, owner, lease) if chosen else []
            if claimed or not rows:
                return claimed
        return []

    def _due(self) -> bool:
        # Looked at without the write lock, so that idle workers do not hold up the listener.
        with self._read() as connection:
            return bool(do.ANY_DUE.rows(connection, [{}]))

    def _take(self, connection: Connection, ids: Sequence[int], owner: str, lease: float) -> list[WorkItem]:
        items: dict[int, WorkItem] = {}
        for (instance_id, token, route, file, size, sop_class, sealed, syntax, attempts, waived,
             edits) in do.TAKE.rows(connection, [{"ids": list(ids), "who": owner, "lease": lease}]):
            try:
                identity = json.loads(self.seal.decrypt(sealed))
            except StorageError:  # somebody altered the row: it must not stop the others
                connection.execute(update(instances).where(instances.c.id == instance_id).values(
                    state=State.QUARANTINED, reason=Reason.INTERNAL_ERROR, detail="its sealed columns were altered", **_CLOSING))
                continue
            items[instance_id] = WorkItem(instance_id, token, route, file, size, sop_class, identity["sop_instance_uid"], syntax,
                                          attempts - 1, waived, json.loads(edits) if isinstance(edits, str) else edits)
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
                        self._retry(outcome, held[outcome.id][0])))
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
        whose = {outcome.study_key: outcome.patient_key for outcome in reversed(checked)}
        do.SEEN.many(connection, [{"study": study, "patient": patient} for study, patient in sorted(whose.items())])
        known: dict[str, str] = dict(do.WHOSE.rows(connection, [{"studies": list(whose)}]))
        return {outcome.id for outcome in checked if known[outcome.study_key] != outcome.patient_key}

    def _held(self, connection: Connection, outcomes: Sequence[Finished]) -> dict[int, tuple[int, int]]:
        """Id -> attempts and round of the outcomes whose claim still stands, locked in a fixed order."""
        tokens = {outcome.id: outcome.token for outcome in outcomes}
        return {instance_id: (attempts, turn) for instance_id, token, attempts, turn in do.HELD.rows(connection, [{"ids": list(tokens)}])
                if tokens[instance_id] == token}

    def _retry(self, outcome: RetryItem, attempts: int) -> dict[str, Any]:
        if outcome.counted and attempts >= self.attempts:
            return {"state": State.FAILED, "detail": storable(outcome.detail), **_CLOSING}
        return {"state": State.RECEIVED, "detail": storable(outcome.detail), "due": now() + outcome.delay, "owner": None,
                "attempts": attempts if outcome.counted else attempts - 1}

    def _finish_released(self, connection: Connection, outcomes: Sequence[ReleasedItem],
                         held: Mapping[int, tuple[int, int]]) -> None:
        if not outcomes:
            return
        do.RELEASE.many(connection, [{"key": outcome.id, "digest": outcome.content or None} for outcome in outcomes])
        connection.execute(insert(releases).values(released_at=now()), [
            {"instance_id": outcome.id, "sop_class_uid": outcome.release.sop_class_uid,
             "sop_instance_uid": outcome.release.sop_instance_uid, "transfer_syntax_uid": outcome.release.transfer_syntax_uid,
             "file": outcome.release.file, "size": outcome.release.size, "digest": outcome.release.digest,
             "seal": outcome.release.seal, "study_key": outcome.study_key, "receipt": outcome.receipt,
             "patient": outcome.patient or None, "study": outcome.study or None, "device": outcome.device or None} for outcome in outcomes])
        do.DELIVER.many(connection, [
            {"of": outcome.id, "to": destination, "study": outcome.study_key, "turn": held[outcome.id][1]}
            for outcome in outcomes for destination in dict.fromkeys(outcome.destinations)])
        add_to_tally(connection, ROWS + DELIVERIES, Counter(
            destination for outcome in outcomes for destination in dict.fromkeys(outcome.destinations)))
        self._chain(connection, outcomes)
        self._sample(connection, outcomes)


def _fresh_or_alone(rows: Sequence[tuple[int, int]]) -> list[int]:
    """Ids out of rows (id, attempts)."""
    if rows and rows[0][1] > 0:
        return [rows[0][0]]
    return [instance_id for instance_id, _ in takewhile(lambda row: row[1] == 0, rows)]
