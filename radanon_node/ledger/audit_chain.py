"""The audit trail's chain: each row's link is a keyed BLAKE3 over the link before it and the row itself.

Without the node's key no link can be made: a row changed, removed, put in or moved shows at its link. Rows cut off at the end show
against the anchor, the last link kept elsewhere (`audit.Audit.anchor`). A ledger of the first release has rows without links; they are
linked when the first row is appended after its upgrade.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blake3 import blake3
from sqlalchemy import Connection, func, insert, select

from radanon_node.ledger.schema import audit, now
from radanon_node.ledger.schema_audit import audit_chain
from radanon_node.pipeline.chain import canonical, keyed_link

_LOCK = 0x61756474  # of the advisory lock under which PostgreSQL's writers take turns at the end of the chain
_PURPOSE = "radanon_node 2026 audit chain"
_FIELDS = ("id", "at", "who", "action", "instance_id", "delivery_id", "reason")


class AuditChain:
    """Makes links.

    Parameters
    ----------
    key : bytes
        `Seal.chain_key`.
    ledger_id : str
        The first link comes from it: rows of another ledger do not fit.
    """

    def __init__(self, key: bytes, ledger_id: str) -> None:
        self._key = blake3(key, derive_key_context=_PURPOSE).digest()
        self.opening = self._link(b"ledger", ledger_id.encode())

    def link(self, before: str, row: Mapping[str, Any]) -> str:
        """The link of a row of the table ``audit``, given the one before it: 64 hexadecimal digits."""
        return self._link(before.encode(), canonical({name: row[name] for name in _FIELDS}))

    def mac(self, text: str) -> str:
        """A signature for what is kept outside the ledger."""
        return self._link(b"anchor", text.encode())

    def _link(self, *parts: bytes) -> str:
        return keyed_link(self._key, *parts)


def append(connection: Connection, chain: AuditChain, values: Mapping[str, Any]) -> int:
    """Add a row to the audit trail and its chain, in the caller's writing transaction; returns the row's id."""
    if connection.dialect.name == "postgresql":
        # Held to the transaction's end, so that ids, links and commits are in one order.
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    before = connection.scalar(select(audit_chain.c.link).order_by(audit_chain.c.audit_id.desc()).limit(1))
    if before is None:
        before = _adopt(connection, chain)
    row = connection.execute(insert(audit).values(at=now(), **values).returning(audit)).one()._mapping
    connection.execute(insert(audit_chain).values(audit_id=row["id"], link=chain.link(before, dict(row))))
    return int(row["id"])


def _adopt(connection: Connection, chain: AuditChain) -> str:
    """Link the rows of a ledger that had no chain."""
    before = chain.opening
    links = []
    for row in connection.execute(select(audit).order_by(audit.c.id)):
        before = chain.link(before, dict(row._mapping))
        links.append({"audit_id": row.id, "link": before})
    if links:
        connection.execute(insert(audit_chain), links)
    return before
