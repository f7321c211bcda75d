"""What reviewers see and decide: held instances and samples, their decisions as rows that stay, labels and rules that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, insert, or_, select, update

from radanon_node.errors import UNSEEABLE, WAIVABLE, Reason
from radanon_node.ledger.database import storable
from radanon_node.ledger.quarantine import Quarantine, UnknownEntry
from radanon_node.ledger.schema import deliveries, destinations, instances, now, releases
from radanon_node.ledger.schema_review import reviews, samples
from radanon_node.ledger.types import State

DECIDABLE = (WAIVABLE - UNSEEABLE) | {Reason.UID_CONFLICT}
"""Reasons that a person who has seen the picture on a page may let pass: not those that say that nobody can see it."""

Decision = Literal["release", "retry", "drop", "clean", "residual"]


@dataclass(frozen=True, slots=True)
class ReviewSource:
    """What a review page is made from. `sop_instance_uid` is the original one: for the cleaning core, never for a page.

    Parameters
    ----------
    source : {"quarantine", "sample"}
    file : str
        Spool name of the original.
    released_file : str
        Spool name of the clean file of a sample; empty for a held instance.
    boxes : list of dict
        Of a sample: as in its receipt.
    edits : dict or None
        What a reviewer drew before.
    """

    id: int
    source: Literal["quarantine", "sample"]
    state: str
    reason: str
    detail: str
    route: str
    received_at: float
    series_number: int | None
    instance_number: int | None
    file: str
    released_file: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sop_instance_uid: str = field(repr=False)
    waived: str = ""
    edits: dict[str, Any] | None = None
    boxes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def can_be_released(self) -> bool:
        """Whether a person may let the verdict pass on a page."""
        return self.source == "quarantine" and self.reason in DECIDABLE


@dataclass(frozen=True, slots=True)
class Review:
    """One decision of a reviewer.

    Parameters
    ----------
    edits : dict or None
        Boxes added and taken back (`reviewed.edits_as_json`).
    labels : list of dict
        ``{"frame", "bbox", "kind"}`` of all that is on the picture, as `finetune` takes it.
    rule : str
        YAML of a proposed device rule; kept sealed.
    keep : float
        Seconds the original is kept as a training label; 0 = not.
    """

    instance_id: int
    who: str
    decision: Decision
    note: str
    edits: dict[str, Any] | None = None
    labels: Sequence[Mapping[str, Any]] = ()
    rule: str = ""
    keep: float = 0.0


@dataclass(frozen=True, slots=True)
class ReviewEntry:
    """A decision as it was recorded; `file` is the original's spool name while it is kept, else empty."""

    id: int
    at: float
    who: str
    instance_id: int
    source: str
    decision: str
    code: str
    note: str
    edits: dict[str, Any] | None
    labels: list[dict[str, Any]]
    rule: str
    file: str


@dataclass(frozen=True, slots=True)
class Found:
    """An instance found by pseudonym."""

    instance_id: int
    state: str
    route: str
    sop_instance_uid: str
    patient: str
    study: str
    destinations: dict[str, str]


class Reviews(Quarantine):
    """Review of held instances and samples."""

    def review_source(self, instance_id: int) -> ReviewSource:
        """A held instance or a kept sample whose original is still there; UnknownEntry if it is neither."""
        query = (select(instances, releases.c.file.label("released_file"), releases.c.receipt, samples.c.state.label("sampled"))
                 .outerjoin(releases, releases.c.instance_id == instances.c.id)
                 .outerjoin(samples, (samples.c.instance_id == instances.c.id) & (samples.c.keep_until > now()))
                 .where(instances.c.id == instance_id, instances.c.file.isnot(None)))
        with self._read() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise UnknownEntry(instance_id)
        if row.state in (State.QUARANTINED, State.FAILED):
            source: Literal["quarantine", "sample"] = "quarantine"
        elif row.sampled == "pending" and row.released_file is not None:
            source = "sample"
        else:
            raise UnknownEntry(instance_id)
        return ReviewSource(
            row.id, source, row.state, row.reason or "", row.detail or "", row.route, row.received_at, row.series_number,
            row.instance_number, row.file, row.released_file or "", row.sop_class_uid, row.transfer_syntax_uid,
            self.identity(instance_id)["sop_instance_uid"], row.waived, row.edits, (row.receipt or {}).get("boxes", []))

    def original_seen(self, instance_id: int, who: str) -> None:
        """Put into the audit trail that a person is shown the picture of an original; call it before it is shown."""
        with self._write() as connection:
            self._audit(connection, who, "original seen", "review", instance_id)

    def review(self, decision: Review) -> None:
        """Carry out what a reviewer decided about a held instance or a sample, and keep it with who and why.

        A release is worked on again, with the reviewer's boxes, and passes the verifier like anything else.

        Raises
        ------
        UnknownEntry
            It is neither held nor a sample any more.
        ValueError
            The decision is none for it: a reason that nobody may let pass, boxes for what was released already, no note.
        """
        source = self.review_source(decision.instance_id)
        if (decision.decision in ("clean", "residual")) != (source.source == "sample"):
            raise ValueError(f"{decision.decision} is no decision about a {source.source}")
        if not decision.note.strip():
            raise ValueError("a reason must be given")
        if source.source == "sample":
            self._review_sample(decision)
            return
        if decision.edits and source.released_file:
            raise ValueError("it was released already: boxes come too late; retry its deliveries, or drop it")
        if decision.decision == "drop":
            self.quarantine_drop(decision.instance_id, decision.who, decision.note)
            with self._write() as connection:
                self._record(connection, decision, source)
            return
        if decision.decision == "release" and not source.can_be_released:
            raise ValueError(f"{source.reason or source.state} cannot be let pass here; only: {', '.join(sorted(DECIDABLE))}")
        with self._write() as connection:
            self._keep_label(connection, decision)
            self._record(connection, decision, source)
        self._requeue(decision.instance_id, decision.who, f"review {decision.decision}", decision.note,
                      waived=decision.decision == "release", edits=decision.edits)

    def _review_sample(self, decision: Review) -> None:
        with self._write() as connection:
            changed = connection.execute(
                update(samples).where(samples.c.instance_id == decision.instance_id, samples.c.state == "pending")
                .values(state=decision.decision, looked_at=now(), keep_until=now() + decision.keep).returning(samples.c.id)).first()
            if changed is None:
                raise UnknownEntry(decision.instance_id)
            self._record(connection, decision, None)
            self._audit(connection, decision.who, f"sample {decision.decision}", decision.note.strip(), decision.instance_id)

    def _keep_label(self, connection: Connection, decision: Review) -> None:
        if decision.keep <= 0:
            return
        mine = samples.c.instance_id == decision.instance_id
        if connection.execute(update(samples).where(mine).values(keep_until=now() + decision.keep).returning(samples.c.id)).first() is None:
            connection.execute(insert(samples).values(
                instance_id=decision.instance_id, kind="label", state="label", device="", month="", route="", priority=1.0,
                taken_at=now(), keep_until=now() + decision.keep))

    def _record(self, connection: Connection, decision: Review, source: ReviewSource | None) -> None:
        connection.execute(insert(reviews).values(
            at=now(), who=storable(decision.who), instance_id=decision.instance_id, source=source.source if source else "sample",
            decision=decision.decision, code=source.reason if source else "", note=storable(decision.note.strip()), edits=decision.edits,
            labels=[dict(label) for label in decision.labels] or None, rule=self.seal.encrypt(decision.rule) if decision.rule else None))

    def reviews_list(self, limit: int = 200, after: int = 0, instance_id: int | None = None) -> list[ReviewEntry]:
        """Decisions by id, from `after` on; all of them or those about one instance."""
        query = (select(reviews, instances.c.file).outerjoin(instances, instances.c.id == reviews.c.instance_id)
                 .where(reviews.c.id > after).order_by(reviews.c.id).limit(limit))
        if instance_id is not None:
            query = query.where(reviews.c.instance_id == instance_id)
        with self._read() as connection:
            return [self._review_entry(row) for row in connection.execute(query)]

    def _review_entry(self, row: Any) -> ReviewEntry:
        return ReviewEntry(row.id, row.at, row.who, row.instance_id, row.source, row.decision, row.code, row.note, row.edits,
                           row.labels or [], self.seal.decrypt(row.rule) if row.rule else "", row.file or "")

    def labels_exported(self, review_ids: Sequence[int], who: str, reason: str) -> None:
        """Put into the audit trail that pictures of originals are written to a folder; call it before they are."""
        self.record_act(who, "review export", f"{reason} (reviews {', '.join(map(str, review_ids))})")

    def search(self, pseudonym: str, limit: int = 200) -> list[Found]:
        """Instances by a new identifier: Patient ID, Study or SOP Instance UID as they left, or the ledger's own number."""
        wanted = pseudonym.strip()
        columns = releases.c
        match = [columns.sop_instance_uid == wanted, columns.patient == wanted, columns.study == wanted]
        if wanted.isascii() and wanted.isdigit() and len(wanted) < 16:
            match.append(columns.instance_id == int(wanted))
        query = (select(columns.instance_id, columns.sop_instance_uid, columns.patient, columns.study, instances.c.state, instances.c.route)
                 .join(instances, instances.c.id == columns.instance_id).where(or_(*match)).order_by(columns.instance_id).limit(limit))
        with self._read() as connection:
            rows = connection.execute(query).all()
            states: dict[int, dict[str, str]] = {}
            for instance_id, name, state in connection.execute(
                    select(deliveries.c.instance_id, deliveries.c.destination, deliveries.c.state)
                    .where(deliveries.c.instance_id.in_([row.instance_id for row in rows]))):
                states.setdefault(instance_id, {})[name] = state
        return [Found(row.instance_id, row.state, row.route, row.sop_instance_uid, row.patient or "", row.study or "",
                      states.get(row.instance_id, {})) for row in rows]

    def pause_destination(self, name: str, paused: bool, who: str, reason: str) -> None:
        """Stop or resume sending to a destination; what waits for it waits on."""
        if not reason.strip():
            raise ValueError("a reason must be given")
        with self._write() as connection:
            values = {"paused": paused, "changed_at": now()}
            if connection.execute(update(destinations).where(destinations.c.name == name).values(**values)
                                  .returning(destinations.c.name)).first() is None:
                connection.execute(insert(destinations).values(name=name, up=True, **values))
            self._audit(connection, who, "destination paused" if paused else "destination resumed", f"{name}: {reason.strip()}")

    def paused_destinations(self) -> set[str]:
        """Names of the destinations that a person has paused."""
        with self._read() as connection:
            return set(connection.scalars(select(destinations.c.name).where(destinations.c.paused)))
