"""What a sender asks of the ledger for every batch (deliveries.py), written down once: building it took longer than executing it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, bindparam, exists, literal, or_, select, text, update

from radanon_node.ledger.prepared import Among, prepared
from radanon_node.ledger.schema import WAITING, deliveries, destinations, instances, now, releases, unindexed
from radanon_node.ledger.types import DeliveryState, State

_SENDABLE = text("deliveries.state IN ('waiting', 'sending')")
_CLAIMED = text("deliveries.state IN ('sending', 'sent')")

_columns = deliveries.c
_mine = _columns.destination == bindparam("to")
_due = (_mine, _columns.due <= now(), _SENDABLE)
_claimable = (select(_columns.id, _columns.study_key, _columns.crashes, _columns.state).limit(bindparam("most"))
              .with_for_update(skip_locked=True))
_by_round = (_claimable.where(WAITING, _mine, _columns.crashes == 0, unindexed(_columns.due) <= now())
             .order_by(_columns.round, _columns.id))
_by_age = _claimable.where(*_due).order_by(_columns.due, _columns.id)

ANY_DUE = prepared(lambda among: select(literal(1)).where(
    *_due, ~exists().where(destinations.c.name == bindparam("to"), destinations.c.paused)).limit(1))
"""`to`: whether anything is due there, and the destination is not paused."""
FIRST_BY_ROUND = prepared(lambda among: _by_round)
FIRST_BY_AGE = prepared(lambda among: _by_age)
"""`to`, `most`: rows (id, study_key, crashes, state)."""
OF_STUDY = prepared(lambda among: _by_age.where(
    _columns.state == DeliveryState.WAITING, _columns.crashes == 0, _columns.study_key == bindparam("study")))
OF_OTHERS = prepared(lambda among: _by_round.where(_columns.study_key != bindparam("study")))
"""`to`, `study`, `most`: the same rows, of this study and of all others."""


def _take(among: Among) -> Any:
    return (update(deliveries).where(among(_columns.id, "ids"))
            .values(state=bindparam("as"), owner=bindparam("who"), token=_columns.token + 1, due=now() + bindparam("lease", type_=now.type),
                    crashes=bindparam("deaths"))
            .returning(_columns.id, _columns.token))


TAKE = prepared(_take)
"""`ids`, `as`, `who`, `lease`, `deaths`: rows (id, token)."""
ITEMS = prepared(lambda among: select(
    _columns.id, _columns.instance_id, _columns.destination, _columns.attempts, _columns.study_key, releases.c.sop_class_uid,
    releases.c.sop_instance_uid, releases.c.transfer_syntax_uid, releases.c.file, releases.c.size, releases.c.digest, releases.c.seal,
).join(releases, releases.c.instance_id == _columns.instance_id).where(among(_columns.id, "ids")))
"""`ids`: what a `DeliveryItem` is made of."""

LOCK_INSTANCES = prepared(lambda among: select(instances.c.id).where(among(instances.c.id, "ids"))
                          .order_by(instances.c.id).with_for_update())
"""`ids`, of instances."""
HELD = prepared(lambda among: select(_columns.id, _columns.token).where(
    among(_columns.id, "ids"), _CLAIMED))
"""`ids`: rows (id, token) of claims."""
DELIVERED = prepared(lambda among: update(deliveries).where(among(_columns.id, "ids")).values(
    state=DeliveryState.DELIVERED, owner=None, detail=bindparam("note"), changed_at=now(), crashes=0, due=None))
"""`ids`, `note`."""

_open, _failed = _columns.due.isnot(None), _columns.state == DeliveryState.FAILED


def _closing(among: Among, unless: ColumnElement[bool]) -> Any:
    return update(instances).where(among(instances.c.id, "ids"), instances.c.state == State.RELEASED, ~_has(unless))


def _has(condition: ColumnElement[bool]) -> Any:
    return exists().where(_columns.instance_id == instances.c.id, condition)


CLOSE_DELIVERED = prepared(lambda among: _closing(among, or_(_open, _failed)).values(state=State.DELIVERED, closed_at=now())
                           .returning(instances.c.id, instances.c.route))
CLOSE_FAILED = prepared(lambda among: _closing(among, _open).where(_has(_failed)).values(
    state=State.FAILED, closed_at=now(), detail="a destination did not take it; see deliveries"))
CLOSE_RELEASES = prepared(lambda among: update(releases).where(among(releases.c.instance_id, "ids")).values(closed_at=now()))
"""`ids`, of instances; the first gives rows (id, route), the second is for those that the first left."""
