"""What a worker asks of the ledger for every batch (work.py, receipts.py), written down once: building it took longer than executing it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from radanon_node.ledger.prepared import Among, Prepared, prepared
from radanon_node.ledger.schema import RECEIVED, deliveries, instances, now, receipt_chain, studies, unindexed
from radanon_node.ledger.types import DeliveryState, State

_DAY_S = 86400.0
_columns = instances.c
_claimable = select(_columns.id, _columns.attempts).limit(bindparam("most")).with_for_update(skip_locked=True)

ANY_DUE = prepared(lambda among: select(literal(1)).where(_columns.due <= now()).limit(1))
"""Whether anything is due."""
BY_ROUND = prepared(lambda among: _claimable.where(RECEIVED, unindexed(_columns.due) <= now()).order_by(_columns.round, _columns.id))
BY_AGE = prepared(lambda among: _claimable.where(_columns.due <= now()).order_by(_columns.due, _columns.id))
"""`most`: rows (id, attempts)."""


def _take(among: Among) -> Any:
    return (update(instances).where(among(_columns.id, "ids"))
            .values(state=State.PROCESSING, owner=bindparam("who"), token=_columns.token + 1, attempts=_columns.attempts + 1,
                    due=now() + bindparam("lease", type_=now.type))
            .returning(_columns.id, _columns.token, _columns.route, _columns.file, _columns.size, _columns.sop_class_uid, _columns.identity,
                       _columns.transfer_syntax_uid, _columns.attempts, _columns.waived, _columns.edits))


TAKE = prepared(_take)
"""`ids`, `who`, `lease`: rows of the columns named there."""

HELD = prepared(lambda among: select(_columns.id, _columns.token, _columns.attempts, _columns.round)
                .where(among(_columns.id, "ids"), _columns.state == State.PROCESSING).order_by(_columns.id).with_for_update())
"""`ids`: rows of claims, locked in a fixed order."""
RELEASE = prepared(lambda among: update(instances).where(_columns.id == bindparam("key")).values(
    state=State.RELEASED, due=None, owner=None, reason=None, detail=None, content=bindparam("digest")))
"""`key`, `digest`."""
DELIVER = prepared(lambda among: insert(deliveries).values(
    due=now(), changed_at=now(), state=DeliveryState.WAITING, instance_id=bindparam("of"), destination=bindparam("to"),
    study_key=bindparam("study"), round=bindparam("turn")))
"""`of`, `to`, `study`, `turn`."""


def _seen(new: Any) -> Any:
    # Once a day is enough for `expire`, and most instances of a study then change nothing.
    return new.values(study_key=bindparam("study"), patient_key=bindparam("patient"), seen_at=now()).on_conflict_do_update(
        index_elements=["study_key"], set_={"seen_at": now()}, where=studies.c.seen_at.is_(None) | (studies.c.seen_at < now() - _DAY_S))


SEEN = Prepared({"sqlite": _seen(sqlite.insert(studies)), "postgresql": _seen(postgresql.insert(studies))})
"""`study`, `patient`: the first patient of a study stays its patient."""
WHOSE = prepared(lambda among: select(studies.c.study_key, studies.c.patient_key).where(among(studies.c.study_key, "studies")))
"""`studies`: rows (study_key, patient_key)."""

CLOCK = prepared(lambda among: select(now()))
LAST_LINK = prepared(lambda among: select(receipt_chain.c.day, receipt_chain.c.link).order_by(receipt_chain.c.id.desc()).limit(1))
"""Row (day, link)."""
LINK = prepared(lambda among: insert(receipt_chain).values(
    day=bindparam("on"), instance_id=bindparam("of"), digest=bindparam("hash"), link=bindparam("chained")))
"""`on`, `of`, `hash`, `chained`."""
