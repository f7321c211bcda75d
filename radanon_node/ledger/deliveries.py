"""The sender's side of the ledger: one row per released instance and destination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, exists, insert, literal, select, update

from radanon_node.ledger.database import claimed, count_delivered, in_index_order, storable
from radanon_node.ledger.rates import Rates
from radanon_node.ledger.schema import UNDELIVERED, WAITING, deliveries, destinations, instances, now, releases, unindexed
from radanon_node.ledger.types import DeliveryEntry, DeliveryItem, DeliveryOutcome, DeliveryResult, DeliveryState, ReleaseRecord, State

_CHUNK = 500
_SENDABLE = (DeliveryState.WAITING, DeliveryState.SENDING)


class Deliveries(Rates):
    """Claims and outcomes of deliveries, Storage Commitment, state of the destinations."""

    def claim_deliveries(self, owner: str, destination: str, limit: int, lease: float) -> list[DeliveryItem]:
        """Take due deliveries of one destination: those of the study whose turn it is (turns.py), then others to fill up.

        A delivery whose sender died with it comes alone; one that did so `attempts` times is failed.

        Parameters
        ----------
        owner : str
            Who claims: one name per process life (`give_back`).
        lease : float
            Seconds until the claim lapses unless renewed with `renew`.
        """
        columns = deliveries.c
        due = (columns.destination == destination, columns.due <= now(), columns.state.in_(_SENDABLE))
        query = (select(columns.id, columns.study_key, columns.crashes, columns.state).order_by(columns.due, columns.id)
                 .with_for_update(skip_locked=True))
        by_round = (query.where(WAITING, columns.destination == destination, columns.crashes == 0, unindexed(columns.due) <= now())
                    .order_by(None).order_by(columns.round, columns.id))
        paused = exists().where(destinations.c.name == destination, destinations.c.paused)
        while self._any(select(literal(1)).where(*due, ~paused).limit(1)):
            with self._write(revocable=True) as connection:
                in_index_order(connection)
                first = None if self._turns.oldest(destination) else connection.execute(by_round.limit(1)).first()
                if first is None:  # claims that lapsed are found here alone
                    first = connection.execute(query.where(*due).limit(1)).first()
                if first is None:
                    return []
                # `sending` and due: its lease lapsed or its owner was given back.
                crashes = first.crashes + (first.state == DeliveryState.SENDING)
                if crashes >= self.attempts:
                    self._fail(connection, first.id, "every sender that took it died")
                    continue
                if crashes:
                    return self._take_deliveries(connection, [first.id], owner, lease, DeliveryState.SENDING, crashes)
                clean = (*due, columns.state == DeliveryState.WAITING, columns.crashes == 0)
                ids = list(connection.scalars(query.where(*clean, columns.study_key == first.study_key).limit(limit)
                                              .with_only_columns(columns.id)))
                if len(ids) < limit:
                    ids += connection.scalars(by_round.where(columns.study_key != first.study_key).limit(limit - len(ids))
                                              .with_only_columns(columns.id))
                return self._take_deliveries(connection, ids, owner, lease, DeliveryState.SENDING)
        return []

    def claim_commitments(self, owner: str, destination: str, limit: int, lease: float) -> list[DeliveryItem]:
        """Take ``sent`` deliveries whose Storage Commitment is to be asked for (again); they stay ``sent``."""
        columns = deliveries.c
        due = (columns.destination == destination, columns.due <= now(), columns.state == DeliveryState.SENT)
        if not self._any(select(literal(1)).where(*due).limit(1)):
            return []
        with self._write() as connection:
            ids = list(connection.scalars(select(columns.id).where(*due).order_by(columns.due, columns.id).limit(limit)
                                          .with_for_update(skip_locked=True)))
            return self._take_deliveries(connection, ids, owner, lease, DeliveryState.SENT)

    def _any(self, query: Any) -> bool:
        with self._read() as connection:
            return connection.scalar(query) is not None

    def _take_deliveries(self, connection: Connection, ids: Sequence[int], owner: str, lease: float, state: DeliveryState,
                         crashes: int = 0) -> list[DeliveryItem]:
        columns = deliveries.c
        tokens = {row.id: row.token for row in connection.execute(
            update(deliveries).where(columns.id.in_(ids))
            .values(state=state, owner=owner, token=columns.token + 1, due=now() + lease, crashes=crashes)
            .returning(columns.id, columns.token))}
        rows = connection.execute(
            select(columns.id, columns.instance_id, columns.destination, columns.attempts, columns.study_key, releases.c.sop_class_uid,
                   releases.c.sop_instance_uid, releases.c.transfer_syntax_uid, releases.c.file, releases.c.size, releases.c.digest,
                   releases.c.seal)
            .join(releases, releases.c.instance_id == columns.instance_id).where(columns.id.in_(ids)))
        items = {row.id: DeliveryItem(row.id, tokens[row.id], row.instance_id, row.destination, row.attempts, ReleaseRecord(
            row.sop_class_uid, row.sop_instance_uid, row.transfer_syntax_uid, row.file, row.size, row.digest, row.seal), row.study_key)
            for row in rows}
        return [items[delivery_id] for delivery_id in ids]

    def finish_deliveries(self, results: Sequence[DeliveryResult | tuple[DeliveryItem, DeliveryOutcome, float, str]]) -> list[int]:
        """Write what became of deliveries, in one transaction; an instance all of whose deliveries are done becomes ``delivered``.

        Parameters
        ----------
        results : sequence of DeliveryResult
            Or equal tuples ``(item, outcome, delay, detail)``.

        Returns
        -------
        list of int
            Ids of the deliveries whose claim was lost: nothing is written for them.
        """
        if not results:
            return []
        wanted = [DeliveryResult(*result) for result in results]
        with self._write() as connection:
            # The instances are locked first and in order: of two senders that finish the last two deliveries, one sees both done.
            touched = sorted({result.item.instance_id for result in wanted})
            connection.execute(select(instances.c.id).where(instances.c.id.in_(touched)).order_by(instances.c.id).with_for_update())
            held = set(connection.scalars(select(deliveries.c.id).where(
                *claimed(deliveries, [result.item for result in wanted]),
                deliveries.c.state.in_([DeliveryState.SENDING, DeliveryState.SENT]))))
            alike: dict[tuple[DeliveryOutcome, float, str], list[int]] = {}
            for result in wanted:
                if result.item.id in held:
                    alike.setdefault((result.outcome, result.delay, result.detail), []).append(result.item.id)
            count_delivered(connection, "destination", Counter(
                result.item.destination for result in wanted if result.outcome == "delivered" and result.item.id in held))
            for (outcome, delay, detail), ids in alike.items():
                connection.execute(update(deliveries).where(deliveries.c.id.in_(ids)).values(_outcome(outcome, delay, detail)))
            self._close(connection, touched)
        return [result.item.id for result in wanted if result.item.id not in held]

    def committed_by_archive(self, destination: str, committed: Sequence[str], failed: Sequence[str] = (), delay: float = 60.0) -> int:
        """Record a Storage Commitment result (PS3.4 J.3.3): N-EVENT-REPORT of `destination` about new SOP Instance UIDs.

        Parameters
        ----------
        committed : sequence of str
            The archive has them: their ``sent`` deliveries become ``delivered``.
        failed : sequence of str
            It has not: they are sent again after `delay` seconds, and an attempt is counted.

        Returns
        -------
        int
            Deliveries changed; UIDs that nothing was sent of are ignored.
        """
        changed = 0
        with self._write() as connection:
            for uids, values in (
                (committed, {"state": DeliveryState.DELIVERED, "due": None, "detail": "committed"}),
                (failed, {"state": DeliveryState.WAITING, "due": now() + delay, "detail": "the archive did not commit to it",
                          "attempts": deliveries.c.attempts + 1}),
            ):
                if not uids:
                    continue
                mine = select(releases.c.instance_id).where(releases.c.sop_instance_uid.in_(uids))
                touched = sorted(set(connection.scalars(mine)))
                connection.execute(select(instances.c.id).where(instances.c.id.in_(touched)).order_by(instances.c.id).with_for_update())
                found = len(connection.execute(
                    update(deliveries).where(deliveries.c.destination == destination, deliveries.c.instance_id.in_(touched),
                                             deliveries.c.state == DeliveryState.SENT)
                    .values(owner=None, changed_at=now(), **values).returning(deliveries.c.id)).all())
                if uids is committed:
                    count_delivered(connection, "destination", {destination: found})
                changed += found
                self._close(connection, touched)
        return changed

    def _fail(self, connection: Connection, delivery_id: int, detail: str) -> None:
        instance_id = connection.scalar(update(deliveries).where(deliveries.c.id == delivery_id).values(
            state=DeliveryState.FAILED, due=None, owner=None, detail=detail, changed_at=now()).returning(deliveries.c.instance_id))
        self._close(connection, [int(instance_id or 0)])

    def _close(self, connection: Connection, instance_ids: Sequence[int]) -> None:
        """Give instances with no open delivery left their final state."""
        mine = deliveries.c.instance_id == instances.c.id
        is_open = exists().where(mine, deliveries.c.due.isnot(None))
        has_failed = exists().where(mine, deliveries.c.state == DeliveryState.FAILED)
        done = (instances.c.id.in_(instance_ids), instances.c.state == State.RELEASED, ~is_open)
        connection.execute(update(instances).where(*done, has_failed).values(
            state=State.FAILED, closed_at=now(), detail="a destination did not take it; see deliveries"))
        delivered = connection.execute(update(instances).where(*done).values(
            state=State.DELIVERED, closed_at=now()).returning(instances.c.id, instances.c.route)).all()
        if delivered:
            connection.execute(update(releases).where(releases.c.instance_id.in_([row.id for row in delivered])).values(closed_at=now()))
            count_delivered(connection, "route", Counter(row.route for row in delivered))

    def destination_state(self, name: str, up: bool) -> None:
        """Record whether a destination answers; `status` shows it."""
        with self._write() as connection:
            if connection.execute(update(destinations).where(destinations.c.name == name).values(up=up, changed_at=now())
                                  .returning(destinations.c.name)).first() is None:
                connection.execute(insert(destinations).values(name=name, up=up, changed_at=now()))

    def deliveries_list(self, state: str | None = None, destination: str | None = None, limit: int = 1000,
                        after: int = 0) -> list[DeliveryEntry]:
        """Deliveries by id, from `after` on; without `state` those that are not ``delivered``."""
        columns = deliveries.c
        query = (select(columns.id, columns.instance_id, columns.destination, columns.state, columns.attempts, columns.detail, columns.due,
                        releases.c.sop_instance_uid)
                 .join(releases, releases.c.instance_id == columns.instance_id)
                 .where(columns.id > after).order_by(columns.id).limit(limit))
        if state != DeliveryState.DELIVERED:
            query = query.where(UNDELIVERED)
        if state is not None:
            query = query.where(columns.state == state)
        if destination is not None:
            query = query.where(columns.destination == destination)
        with self._read() as connection:
            return [DeliveryEntry(*row) for row in connection.execute(query)]

    def deliveries_retry(self, who: str, reason: str, ids: Sequence[int] | None = None, destination: str | None = None) -> int:
        """Try failed or waiting deliveries again now, with fresh attempts: the given ones, or all of a destination. Returns how many."""
        columns = deliveries.c
        with self._write() as connection:
            recalled = exists().where(instances.c.id == columns.instance_id, instances.c.state == State.QUARANTINED)
            chosen = (select(columns.id, columns.instance_id)
                      .where(columns.state.in_([DeliveryState.FAILED, DeliveryState.WAITING]), ~recalled).order_by(columns.id))
            if ids is not None:
                chosen = chosen.where(columns.id.in_(ids))
            if destination is not None:
                chosen = chosen.where(columns.destination == destination)
            rows = connection.execute(chosen).all()
            for start in range(0, len(rows), _CHUNK):
                chunk = rows[start:start + _CHUNK]
                connection.execute(update(instances).where(instances.c.id.in_({row.instance_id for row in chunk}),
                                                           instances.c.state == State.FAILED)
                                   .values(state=State.RELEASED, closed_at=None, detail=None))
                connection.execute(update(deliveries).where(columns.id.in_([row.id for row in chunk])).values(
                    state=DeliveryState.WAITING, due=now(), attempts=0, crashes=0, owner=None, detail="", changed_at=now()))
                for row in chunk:
                    self._audit(connection, who, "deliveries retry", reason, row.instance_id, row.id)
        return len(rows)


def _outcome(outcome: DeliveryOutcome, delay: float, detail: str) -> dict[str, Any]:
    values: dict[str, Any] = {"owner": None, "detail": storable(detail), "changed_at": now(), "crashes": 0}
    if outcome in ("delivered", "failed"):
        return values | {"state": outcome, "due": None}
    if outcome == "sent":
        return values | {"state": DeliveryState.SENT, "due": now() + delay}
    return values | {"state": DeliveryState.WAITING, "due": now() + delay, "attempts": deliveries.c.attempts + int(outcome == "rejected")}
