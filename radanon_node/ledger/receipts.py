"""Receipts in the ledger: kept with the release, chained by the day so that a changed or missing one shows (law 6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from blake3 import blake3
from sqlalchemy import Connection, func, select

from radanon_node.ledger import work_statements as do
from radanon_node.ledger.database import Database
from radanon_node.ledger.schema import receipt_chain, releases
from radanon_node.ledger.types import ReleasedItem
from radanon_node.pipeline.chain import ReceiptChain, canonical

_LOCK = 0x72656370  # of the advisory lock under which PostgreSQL's writers take turns at the end of the chain
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class BrokenReceipt:
    """Where the chain does not hold.

    Parameters
    ----------
    day : str
        ISO 8601 date (UTC).
    instance_id : int
        Row of the instance whose entry is the first that does not fit.
    what : {"link", "receipt"}
        ``link``: an entry was changed, removed or put in; ``receipt``: the receipt is not the one that was chained.
    """

    day: str
    instance_id: int
    what: str


class Receipts(Database):
    """The chain and its check."""

    def receipt(self, instance_id: int) -> dict[str, Any] | None:
        """The receipt of a released instance, or None."""
        with self._read() as connection:
            found: dict[str, Any] | None = connection.scalar(select(releases.c.receipt).where(releases.c.instance_id == instance_id))
        return found

    def _chain(self, connection: Connection, outcomes: Sequence[ReleasedItem]) -> None:
        """Append the receipts of `outcomes`, in the caller's transaction."""
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        ((clock,),) = do.CLOCK.rows(connection, [{}])
        day = datetime.fromtimestamp(clock, UTC).date().isoformat()
        chain = ReceiptChain(self.seal.chain_key)
        last_day, link = next(iter(do.LAST_LINK.rows(connection, [{}])), (None, ""))
        if last_day is None:
            before = chain.opening(day)
        elif last_day < day:
            before = chain.opening(day, link)
        else:
            day, before = last_day, link  # also after the clock was set back: the chain only goes forward
        rows = []
        for outcome in outcomes:
            digest = _digest(outcome.receipt)
            before = chain.link(before, _entry(outcome.id, digest))
            rows.append({"on": day, "of": outcome.id, "hash": digest, "chained": before})
        do.LINK.many(connection, rows)

    def verify_receipts(self) -> tuple[int, list[BrokenReceipt]]:
        """Check the whole chain against the receipts.

        Returns
        -------
        (int, list of BrokenReceipt)
            Entries checked, and what does not hold: the first broken link of each day, and every receipt that is another than the
            one chained. Receipts cleared by `retention.receipts` are checked by their digests.
        """
        chain, checked, broken = ReceiptChain(self.seal.chain_key), 0, list[BrokenReceipt]()
        day, before, holds = "", "", True
        others: dict[int, BrokenReceipt] = {}
        for row in self._entries():
            if row.day != day:
                day, before, holds = row.day, chain.opening(row.day, before), True
            link = chain.link(before, _entry(row.instance_id, row.digest))
            if holds and link != row.link:
                broken.append(BrokenReceipt(row.day, row.instance_id, "link"))
                holds = False
            if row.receipt is not None and _digest(row.receipt) != row.digest:
                others[row.instance_id] = BrokenReceipt(row.day, row.instance_id, "receipt")
            else:  # a number that was forgotten and given anew: its last entry counts
                others.pop(row.instance_id, None)
            before = row.link
            checked += 1
        return checked, broken + list(others.values())

    def _entries(self) -> Iterator[Any]:
        after = 0
        columns = receipt_chain.c
        while True:
            with self._read() as connection:
                rows = connection.execute(
                    select(columns.id, columns.day, columns.instance_id, columns.digest, columns.link, releases.c.receipt)
                    .select_from(receipt_chain.outerjoin(releases, releases.c.instance_id == columns.instance_id))
                    .where(columns.id > after).order_by(columns.id).limit(_PAGE)).all()
            yield from rows
            if len(rows) < _PAGE:
                return
            after = rows[-1].id


def _digest(receipt: dict[str, Any]) -> str:
    return blake3(canonical(receipt)).hexdigest()


def _entry(instance_id: int, digest: str) -> dict[str, Any]:
    return {"instance": instance_id, "receipt": digest}
