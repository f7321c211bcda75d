"""What is no longer needed: files of delivered instances, rows and receipts whose retention is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, select, update

from radanon_node.ledger.faults import point
from radanon_node.ledger.schema import (
    CLOSED,
    HAS_RECEIPT,
    PURGEABLE,
    RELEASE_PURGEABLE,
    instances,
    now,
    releases,
    studies,
)
from radanon_node.ledger.schema_review import samples
from radanon_node.ledger.tally import Tallies, forget_in_tally

_DAY_S = 86400.0
_FREE_PAGES = 2048


class Retention(Tallies):
    """Housekeeping: safe to be killed at any point, and to run in several nodes at once."""

    def purge(self, originals_after: float = 0.0, limit: int = 500) -> int:
        """Remove files that are no longer needed: released ones once every destination has them, originals that long after.

        File first, row second, each harmless twice: killed in between, the next call finds the row and finishes it. The digest that
        recognises a resend is in the row before its original goes.

        Parameters
        ----------
        originals_after : float
            Seconds an original is kept after its last delivery.
        limit : int
            At most so many of each kind; call again while it returns something.

        Returns
        -------
        int
            Files removed.
        """
        with self._read() as connection:
            released = connection.execute(
                select(releases.c.instance_id, releases.c.file)
                .where(RELEASE_PURGEABLE, releases.c.closed_at <= now(), ~_kept(releases.c.instance_id))
                .order_by(releases.c.closed_at).limit(limit)).all()
            originals = connection.execute(
                select(instances.c.id, instances.c.file, instances.c.content, instances.c.transfer_syntax_uid)
                .where(PURGEABLE, instances.c.closed_at <= now() - originals_after, ~_kept(instances.c.id))
                .order_by(instances.c.closed_at, instances.c.id).limit(limit)).all()
        self._store_digests(originals)
        point("purge.before_remove")
        self.spool.remove_all([row.file for row in [*released, *originals]])
        point("purge.after_remove")
        if released or originals:
            with self._write() as connection:
                for table, column, ids in ((releases, releases.c.instance_id, [row.instance_id for row in released]),
                                           (instances, instances.c.id, [row.id for row in originals])):
                    connection.execute(update(table).where(column.in_(ids)).values(file=None))
            point("purge.after_mark")
        self.merge_tally()
        return len(released) + len(originals)

    def _store_digests(self, rows: Sequence[Any]) -> None:
        missing = [row for row in rows if row.content is None and self.spool.exists(row.file)]
        if not missing:
            return
        digests = []
        for row in missing:
            with self.spool.open(row.file) as opened:
                digests.append({"key": row.id, "digest": self.seal.content_digest(opened.data, row.transfer_syntax_uid)})
        with self._write() as connection:
            connection.execute(update(instances).where(instances.c.id == bindparam("key")).values(content=bindparam("digest")), digests)

    def expire(self, rows_after: float | None, receipts_after: float | None, limit: int = 1000) -> int:
        """Forget rows of delivered and dropped instances (a later resend is then a new instance) and receipts, seconds after they closed.

        Parameters
        ----------
        rows_after, receipts_after : float or None
            Seconds; None keeps for ever.
        limit : int
            At most so many of each.

        Returns
        -------
        int
            Rows removed and receipts cleared.
        """
        done = 0
        if rows_after is not None:
            fileless = ~exists().where(releases.c.instance_id == instances.c.id, releases.c.file.isnot(None))
            old = (select(instances.c.id, instances.c.route, instances.c.state)
                   .where(CLOSED, instances.c.file.is_(None), instances.c.closed_at <= now() - rows_after, fileless)
                   .order_by(instances.c.closed_at).limit(limit))
            with self._write() as connection:
                rows = connection.execute(old.with_for_update(skip_locked=True)).all()
                ids = [row.id for row in rows]
                forget_in_tally(connection, ids, rows)
                connection.execute(delete(instances).where(instances.c.id.in_(ids)))
                done += len(ids) + _forget_studies(connection, rows_after, limit)
        if receipts_after is not None:
            spent = (select(releases.c.instance_id).where(HAS_RECEIPT, releases.c.released_at <= now() - receipts_after)
                   .order_by(releases.c.released_at).limit(limit))
            with self._write() as connection:
                done += len(connection.execute(update(releases).where(releases.c.instance_id.in_(spent)).values(receipt=None)
                                               .returning(releases.c.instance_id)).all())
        return done

    def vacuum(self, pages: int = 512) -> int:
        """Give space of removed rows back to the file system, a little at a time; pages given back.

        SQLite alone, and only a ledger that was made with ``auto_vacuum`` (all since version 2): PostgreSQL does it by itself. Some free
        pages are left, as the next rows would ask for them again. The write lock is held for some milliseconds.
        """
        if self.many_nodes:
            return 0
        with self._read() as connection:
            free = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar() or 0)
        if free <= _FREE_PAGES:
            return 0
        with self._write() as connection:
            raw: Any = connection.connection.driver_connection
            for _ in range(min(pages, free - _FREE_PAGES)):
                raw.execute("PRAGMA incremental_vacuum(1)")  # sqlite3 steps a statement without columns once: one page, whatever is asked
            left = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar() or 0)
        return free - left


def _forget_studies(connection: Connection, rows_after: float, limit: int) -> int:
    """Forget studies that nothing came of for as long as rows are kept; how many."""
    columns = studies.c
    connection.execute(update(studies).where(columns.study_key.in_(select(columns.study_key).where(columns.seen_at.is_(None)).limit(limit)))
                       .values(seen_at=now()))
    old = select(columns.study_key).where(columns.seen_at <= now() - rows_after - _DAY_S).order_by(columns.seen_at).limit(limit)
    return len(connection.execute(delete(studies).where(columns.study_key.in_(old)).returning(columns.study_key)).all())


def _kept(instance_id: Any) -> Any:
    """Whether an instance is kept for a reviewer, or as a training label."""
    return exists().where(samples.c.instance_id == instance_id, samples.c.keep_until > now())
