"""Recalls: identity was found in what had left, so all that left the same way is suspect and must come back.

A recall names the instances, their destinations and new UIDs for the archives' managers, takes back what has not been sent yet, and
marks every one of them in the ledger. It is closed when the archives have deleted their copies: until then a resend is recognised and
nothing new leaves under the same UIDs; from then on what is still here is cleaned again under the rules of that day, and the rest is
forgotten, so that its source can send it once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from radanon_node.errors import Reason
from radanon_node.ledger.database import Database, storable
from radanon_node.ledger.schema import deliveries, instances, now, releases
from radanon_node.ledger.schema_review import recalled, recalls
from radanon_node.ledger.tally import DELIVERED_INSTANCES, ROWS, add_to_tally, forget_in_tally, negative
from radanon_node.ledger.types import DeliveryState, State

_PAGE = 500
_COPIED = ("route", "file", "size", "sop_class_uid", "transfer_syntax_uid", "identity", "sop_index", "content", "round", "received_at")
_LEFT = (DeliveryState.DELIVERED, DeliveryState.SENT, DeliveryState.SENDING)


class UnknownRecall(LookupError):
    """There is no recall with this number, or it is closed."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Which released instances are suspect: those named, and those for which all else that is given holds.

    Parameters
    ----------
    instances : tuple of int
        By the ledger's numbers.
    device : str
        Keyed token of the device.
    policy : str
        Hash of the policy, as in the receipts.
    rule : str
        Id of a device region rule that was applied, or the row of the modality table that was followed.
    route : str
        Called AE title.
    since, until : float or None
        Released from then on, and before then; seconds since 1970.
    """

    instances: tuple[int, ...] = ()
    device: str = ""
    policy: str = ""
    rule: str = ""
    route: str = ""
    since: float | None = None
    until: float | None = None

    @property
    def wide(self) -> bool:
        """Whether it says more than single instances."""
        return bool(self.device or self.policy or self.rule or self.route)

    def why(self) -> dict[str, Any]:
        """What was given, for the record."""
        return {name: value for name, value in asdict(self).items() if value not in ((), "", None)}


@dataclass(frozen=True, slots=True)
class Suspect:
    """A released instance, by nothing but pseudonyms; `destinations` says how far its deliveries are."""

    instance_id: int
    state: str
    route: str
    device: str
    sop_class_uid: str
    sop_instance_uid: str
    patient: str
    study: str
    released_at: float
    destinations: dict[str, str]
    receipt: dict[str, Any] = field(repr=False, default_factory=dict)

    @property
    def left(self) -> list[str]:
        """Destinations that have it, or may have it: one to which it was on its way too."""
        return [name for name, state in self.destinations.items() if state in _LEFT]


@dataclass(frozen=True, slots=True)
class RecallEntry:
    """A recall; `closed_at` is None while archives may still have what it names."""

    id: int
    at: float
    who: str
    reason: str
    suspicion: dict[str, Any]
    instances: int
    closed_at: float | None


@dataclass(frozen=True, slots=True)
class RecalledEntry:
    """One instance of a recall; `outcome` is empty until it is closed, then ``cleaned again``, ``forgotten`` or ``dropped``."""

    instance_id: int
    route: str
    sop_class_uid: str
    sop_instance_uid: str
    patient: str
    study: str
    destinations: dict[str, str]
    outcome: str

    @property
    def left(self) -> list[str]:
        """See `Suspect.left`."""
        return [name for name, state in self.destinations.items() if state in _LEFT]


class Recalls(Database):
    """Recalls in the ledger."""

    def suspects(self, suspicion: Suspicion) -> list[Suspect]:
        """Released instances that a recall would name, by number; nothing is changed. Recalled and dropped ones are left out."""
        with self._read() as connection:
            return list(self._suspects(connection, suspicion))

    def suspicion_of(self, instance_id: int) -> Suspicion | None:
        """What a released instance shares with others: its device, policy and route; None if it is not released (any more)."""
        query = (select(releases.c.device, releases.c.receipt, instances.c.route)
                 .join(instances, instances.c.id == releases.c.instance_id).where(releases.c.instance_id == instance_id))
        with self._read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return Suspicion((instance_id,), row.device or "", (row.receipt or {}).get("policy", {}).get("hash", ""), route=row.route)

    def without_device(self, since: float | None = None, until: float | None = None) -> int:
        """How many released instances of that time have no device noted: an earlier release of this program cleaned them."""
        when = _between(Suspicion(since=since, until=until))
        query = select(func.count()).select_from(releases).where(releases.c.device.is_(None), *when)
        with self._read() as connection:
            return int(connection.scalar(query) or 0)

    def recall(self, suspicion: Suspicion, who: str, reason: str) -> int:
        """Recall what `suspects` lists: mark it, take back what waits for delivery, note it all; in one transaction.

        Returns
        -------
        int
            The recall's number.

        Raises
        ------
        ValueError
            No reason was given, or nothing is concerned.
        """
        if not reason.strip():
            raise ValueError("a reason must be given")
        with self._write() as connection:
            concerned = list(self._suspects(connection, suspicion))
            if not concerned:
                raise ValueError("no released instance is concerned")
            number = int(connection.execute(insert(recalls).values(
                at=now(), who=storable(who), reason=storable(reason.strip()), suspicion=suspicion.why())
                .returning(recalls.c.id)).scalar_one())
            for start in range(0, len(concerned), _PAGE):
                self._mark(connection, number, concerned[start:start + _PAGE])
            self._audit(connection, who, "recall", f"recall {number}, {len(concerned)} instances: {reason.strip()}")
        return number

    def _mark(self, connection: Connection, number: int, concerned: Sequence[Suspect]) -> None:
        ids = [one.instance_id for one in concerned]
        connection.execute(insert(recalled), [
            {"recall_id": number, "instance_id": one.instance_id, "route": one.route, "sop_class_uid": one.sop_class_uid,
             "sop_instance_uid": one.sop_instance_uid, "patient": one.patient, "study": one.study, "destinations": one.destinations,
             "receipt": one.receipt or None} for one in concerned])
        columns = deliveries.c
        # A new token fences off a sender that has it in hand: what it reports comes too late, and the instance counts as left.
        connection.execute(update(deliveries).where(columns.instance_id.in_(ids), columns.state != DeliveryState.DELIVERED).values(
            state=DeliveryState.FAILED, due=None, owner=None, token=columns.token + 1, detail=f"recall {number}", changed_at=now()))
        delivered = connection.execute(update(instances).where(instances.c.id.in_(ids), instances.c.state == State.DELIVERED)
                                       .values(state=State.QUARANTINED).returning(instances.c.route)).all()
        add_to_tally(connection, DELIVERED_INSTANCES, negative(Counter(row.route for row in delivered)))
        connection.execute(update(instances).where(instances.c.id.in_(ids)).values(
            state=State.QUARANTINED, reason=Reason.RECALLED, detail=f"recall {number}", due=None, owner=None, closed_at=now()))

    def recalls_list(self, limit: int = 200, opened: bool = False) -> list[RecallEntry]:
        """Recalls, latest first; with `opened` those that are not closed."""
        count = select(func.count()).where(recalled.c.recall_id == recalls.c.id).scalar_subquery()
        query = select(recalls, count.label("instances")).order_by(recalls.c.id.desc()).limit(limit)
        if opened:
            query = query.where(recalls.c.closed_at.is_(None))
        with self._read() as connection:
            return [RecallEntry(row.id, row.at, row.who, row.reason, row.suspicion, row.instances, row.closed_at)
                    for row in connection.execute(query)]

    def recalled_list(self, number: int) -> list[RecalledEntry]:
        """What a recall names, by the instances' numbers; UnknownRecall if there is none."""
        columns = recalled.c
        query = (select(columns.instance_id, columns.route, columns.sop_class_uid, columns.sop_instance_uid, columns.patient, columns.study,
                        columns.destinations, columns.outcome).where(columns.recall_id == number).order_by(columns.instance_id))
        with self._read() as connection:
            rows = [RecalledEntry(*row) for row in connection.execute(query)]
        if not rows:
            raise UnknownRecall(number)
        return rows

    def recall_close(self, number: int, who: str, reason: str) -> dict[str, int]:
        """The archives have deleted what the recall names: clean again what is still here, forget the rest.

        Returns
        -------
        dict
            Outcome -> instances: ``cleaned again`` (under a new number of the ledger), ``forgotten`` (a resend is a new instance),
            ``dropped`` (a person had dropped it meanwhile).

        Raises
        ------
        UnknownRecall
            There is none with this number that is open.
        ValueError
            No reason was given.
        """
        if not reason.strip():
            raise ValueError("a reason must be given")
        outcomes: Counter[str] = Counter()
        files: list[str] = []
        with self._write() as connection:
            closed = connection.execute(update(recalls).where(recalls.c.id == number, recalls.c.closed_at.is_(None))
                                        .values(closed_at=now()).returning(recalls.c.id)).first()
            if closed is None:
                raise UnknownRecall(number)
            ids = list(connection.scalars(select(recalled.c.instance_id).where(recalled.c.recall_id == number)
                                          .order_by(recalled.c.instance_id)))
            for start in range(0, len(ids), _PAGE):
                found, removable = self._again(connection, number, ids[start:start + _PAGE])
                outcomes.update(found)
                files += removable
            self._audit(connection, who, "recall closed", f"recall {number}: {reason.strip()}")
        for name in files:
            self.spool.remove(name)
        return dict(outcomes)

    def _again(self, connection: Connection, number: int, ids: Sequence[int]) -> tuple[dict[str, int], list[str]]:
        """Open the way for these instances once more; outcomes, and files that no row has any more."""
        mine = (instances.c.id.in_(ids), instances.c.state == State.QUARANTINED, instances.c.reason == Reason.RECALLED)
        rows = connection.execute(select(instances).where(*mine).order_by(instances.c.id).with_for_update()).all()
        ours = [row.id for row in rows]
        files = list(connection.scalars(select(releases.c.file).where(releases.c.instance_id.in_(ours), releases.c.file.isnot(None))))
        kept = [row for row in rows if row.file is not None and self.spool.exists(row.file)]
        forget_in_tally(connection, ours, rows)
        # The new row comes before the old one goes: numbers in the receipts' chain are not used twice.
        connection.execute(update(instances).where(instances.c.id.in_([row.id for row in kept])).values(conflict=True, content=None))
        if kept:
            connection.execute(insert(instances).values(state=State.RECEIVED, due=now()),
                               [{name: getattr(row, name) for name in _COPIED} for row in kept])
            add_to_tally(connection, ROWS + DELIVERED_INSTANCES, Counter(row.route for row in kept))
        connection.execute(delete(instances).where(instances.c.id.in_(ours)))
        again = {row.id for row in kept}
        outcomes = {"cleaned again": [one for one in ours if one in again], "forgotten": [one for one in ours if one not in again],
                    "dropped": [one for one in ids if one not in ours]}
        for outcome, those in outcomes.items():
            connection.execute(update(recalled).where(recalled.c.recall_id == number, recalled.c.instance_id.in_(those))
                               .values(outcome=outcome))
        return {outcome: len(those) for outcome, those in outcomes.items() if those}, files

    def _suspects(self, connection: Connection, suspicion: Suspicion) -> Iterator[Suspect]:
        conditions = [_matches(suspicion), instances.c.state.in_([State.RELEASED, State.DELIVERED, State.FAILED])]
        after = 0
        while True:
            rows = connection.execute(
                select(releases, instances.c.state, instances.c.route).join(instances, instances.c.id == releases.c.instance_id)
                .where(*conditions, releases.c.instance_id > after).order_by(releases.c.instance_id).limit(_PAGE)).all()
            wanted = [row for row in rows if row.instance_id in suspicion.instances or _shares(row.receipt or {}, suspicion)]
            states: dict[int, dict[str, str]] = {}
            for instance_id, name, state in connection.execute(
                    select(deliveries.c.instance_id, deliveries.c.destination, deliveries.c.state)
                    .where(deliveries.c.instance_id.in_([row.instance_id for row in wanted])).order_by(deliveries.c.id)):
                states.setdefault(instance_id, {})[name] = state
            for row in wanted:
                yield Suspect(row.instance_id, row.state, row.route, row.device or "", row.sop_class_uid, row.sop_instance_uid,
                              row.patient or "", row.study or "", row.released_at, states.get(row.instance_id, {}), row.receipt or {})
            if len(rows) < _PAGE:
                return
            after = rows[-1].instance_id


def _matches(suspicion: Suspicion) -> Any:
    """What the database can decide: named instances, or device, route and time."""
    named = releases.c.instance_id.in_(suspicion.instances)
    if not suspicion.wide:
        return named
    conditions = _between(suspicion)
    if suspicion.device:
        conditions.append(releases.c.device == suspicion.device)
    if suspicion.route:
        conditions.append(instances.c.route == suspicion.route)
    both = conditions[0]
    for one in conditions[1:]:
        both = both & one
    return named | both


def _between(suspicion: Suspicion) -> list[Any]:
    return [releases.c.released_at >= (suspicion.since or 0.0),
            *([releases.c.released_at < suspicion.until] if suspicion.until is not None else [])]


def _shares(receipt: dict[str, Any], suspicion: Suspicion) -> bool:
    """Whether policy and rule are those of the suspicion."""
    if suspicion.policy and receipt.get("policy", {}).get("hash") != suspicion.policy:
        return False
    rules = {receipt.get("looked", {}).get("rule"), *(box.get("why", "").removeprefix("rule:") for box in receipt.get("boxes", ()))}
    return not suspicion.rule or suspicion.rule in rules
