"""The sender's side of the ledger: one row per released instance and destination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, exists, insert, literal, select, update

from radanon_node.ledger import delivery_statements as do
from radanon_node.ledger.database import in_index_order, storable
from radanon_node.ledger.rates import Rates
from radanon_node.ledger.schema import UNDELIVERED, deliveries, destinations, instances, now, releases
from radanon_node.ledger.tally import DELIVERED_INSTANCES, DELIVERIES, add_to_tally
from radanon_node.ledger.types import DeliveryEntry, DeliveryItem, DeliveryOutcome, DeliveryResult, DeliveryState, ReleaseRecord, State

_CHUNK = 500


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
        here = {"to": destination}
        while self._is_due(here):
            with self._write(revocable=True) as connection:
                in_index_order(connection)
                first = []
                if not self._turns.oldest(destination):
                    first = do.FIRST_BY_ROUND.rows(connection, [{**here, "most": 1}])
                if not first:  # claims that lapsed are found here alone
                    first = do.FIRST_BY_AGE.rows(connection, [{**here, "most": 1}])
                if not first:
                    return []
                ((delivery_id, study, crashes, state),) = first
                # `sending` and due: its lease lapsed or its owner was given back.
                crashes += state == DeliveryState.SENDING
                if crashes >= self.attempts:
                    self._fail(connection, delivery_id, "every sender that took it died")
                    continue
                if crashes:
                    return self._take_deliveries(connection, [delivery_id], owner, lease, DeliveryState.SENDING, crashes)
                ids = [row[0] for row in do.OF_STUDY.rows(connection, [{**here, "study": study, "most": limit}])]
                if len(ids) < limit:
                    ids += [row[0] for row in do.OF_OTHERS.rows(connection, [{**here, "study": study, "most": limit - len(ids)}])]
                return self._take_deliveries(connection, ids, owner, lease, DeliveryState.SENDING)
        return []

    def _is_due(self, here: Mapping[str, str]) -> bool:
        with self._read() as connection:
            return bool(do.ANY_DUE.rows(connection, [here]))

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
        taken = do.TAKE.rows(connection, [{"ids": list(ids), "as": state.value, "who": owner, "lease": lease, "deaths": crashes}])
        tokens: dict[int, int] = dict(taken)
        items: dict[int, DeliveryItem] = {}
        for number, instance, destination, attempts, study, *released in do.ITEMS.rows(connection, [{"ids": list(ids)}]):
            items[number] = DeliveryItem(number, tokens[number], instance, destination, attempts, ReleaseRecord(*released), study)
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
            do.LOCK_INSTANCES.rows(connection, [{"ids": touched}])
            tokens = dict(do.HELD.rows(connection, [{"ids": [result.item.id for result in wanted]}]))
            held = {result.item.id for result in wanted if tokens.get(result.item.id) == result.item.token}
            alike: dict[tuple[DeliveryOutcome, float, str], list[int]] = {}
            for result in wanted:
                if result.item.id in held:
                    alike.setdefault((result.outcome, result.delay, result.detail), []).append(result.item.id)
            add_to_tally(connection, DELIVERIES, Counter(
                result.item.destination for result in wanted if result.outcome == "delivered" and result.item.id in held))
            for (outcome, delay, detail), ids in alike.items():
                if outcome == "delivered":
                    do.DELIVERED.rows(connection, [{"ids": ids, "note": storable(detail)}])
                    continue
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
                    add_to_tally(connection, DELIVERIES, {destination: found})
                changed += found
                self._close(connection, touched)
        return changed

    def _fail(self, connection: Connection, delivery_id: int, detail: str) -> None:
        instance_id = connection.scalar(update(deliveries).where(deliveries.c.id == delivery_id).values(
            state=DeliveryState.FAILED, due=None, owner=None, detail=detail, changed_at=now()).returning(deliveries.c.instance_id))
        self._close(connection, [int(instance_id or 0)])

    def _close(self, connection: Connection, instance_ids: Sequence[int]) -> None:
        """Give instances with no open delivery left their final state."""
        these = [{"ids": list(instance_ids)}]
        delivered = do.CLOSE_DELIVERED.rows(connection, these)
        if len(delivered) < len(instance_ids):
            do.CLOSE_FAILED.rows(connection, these)
        if delivered:
            do.CLOSE_RELEASES.rows(connection, [{"ids": [row[0] for row in delivered]}])
            add_to_tally(connection, DELIVERED_INSTANCES, Counter(row[1] for row in delivered))

    def destination_state(self, name: str, up: bool) -> None:
        """Record whether a destination answers; `status` shows it. A power cut may take it back: the next start finds out anew."""
        with self._write(revocable=True) as connection:
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
