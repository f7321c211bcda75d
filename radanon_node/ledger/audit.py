"""The audit trail: acts of people and of the node itself, in rows that are never changed; checking it, and reading it page by page."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select, union

from radanon_node.errors import ConfigError
from radanon_node.ledger.audit_chain import AuditChain
from radanon_node.ledger.database import Database
from radanon_node.ledger.schema import audit
from radanon_node.ledger.schema_audit import audit_chain
from radanon_node.ledger.types import AuditEntry

ANCHOR = "audit.anchor"
"""Name of the anchor's file in `node.data_dir`."""

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class BrokenEntry:
    """Where the audit trail does not hold.

    Parameters
    ----------
    id : int
        Of the row.
    what : {"changed", "added", "removed", "cut"}
        ``changed``: the row, its place or one just before it is not what was linked; ``added``: it has no link; ``removed``: a link
        without its row; ``cut``: the anchor names it, the ledger has it no more or with another link.
    """

    id: int
    what: Literal["changed", "added", "removed", "cut"]


@dataclass(frozen=True, slots=True)
class Anchor:
    """The end of the audit trail at one time; kept elsewhere, it shows when rows after it are cut off."""

    id: int
    link: str


class Audit(Database):
    """Reading and checking the audit trail; `Database._audit` appends to it."""

    def audit_head(self) -> Anchor | None:
        """The last row's id and link; None for an empty trail."""
        query = select(audit_chain.c.audit_id, audit_chain.c.link).order_by(audit_chain.c.audit_id.desc()).limit(1)
        with self._read() as connection:
            row = connection.execute(query).first()
        return Anchor(row.audit_id, row.link) if row is not None else None

    def audit_holds(self, anchor: Anchor) -> bool:
        """Whether the trail still has the row that `anchor` names, with the same link."""
        with self._read() as connection:
            link = connection.scalar(select(audit_chain.c.link).where(audit_chain.c.audit_id == anchor.id))
        return bool(link == anchor.link)

    def audit_link(self, number: int) -> str:
        """The link of a row; empty if it has none."""
        with self._read() as connection:
            return str(connection.scalar(select(audit_chain.c.link).where(audit_chain.c.audit_id == number)) or "")

    def audit_rows(self, after: int = 0, since: float | None = None, until: float | None = None) -> Iterator[tuple[int, AuditEntry]]:
        """Rows with their ids, oldest first; `since` and `until` in seconds since 1970, the end not included."""
        query = select(audit).order_by(audit.c.id).limit(_PAGE)
        if since is not None:
            query = query.where(audit.c.at >= since)
        if until is not None:
            query = query.where(audit.c.at < until)
        while True:
            with self._read() as connection:
                rows = connection.execute(query.where(audit.c.id > after)).all()
            for row in rows:
                yield row.id, AuditEntry(row.at, row.who, row.action, row.instance_id, row.delivery_id, row.reason)
            if len(rows) < _PAGE:
                return
            after = rows[-1].id

    def verify_audit(self, anchor: Anchor | None = None) -> tuple[int, list[BrokenEntry]]:
        """Check every row against its link, and the end against an anchor.

        Returns
        -------
        (int, list of BrokenEntry)
            Rows checked, and what does not hold. Rows that a ledger brought from the first release and that nothing was appended to
            since have no links yet, and are not counted as added.
        """
        chain = AuditChain(self.seal.chain_key, self.id)
        before, checked, broken = chain.opening, 0, list[BrokenEntry]()
        begun = self.audit_head() is not None
        for row in self._linked():
            if row.id is None:
                broken.append(BrokenEntry(row.audit_id, "removed"))
                before = row.link
                continue
            checked += 1
            if row.link is None:
                if begun:
                    broken.append(BrokenEntry(row.id, "added"))
                continue
            if chain.link(before, dict(row._mapping)) != row.link:
                broken.append(BrokenEntry(row.id, "changed"))
            before = row.link
        if anchor is not None and not self.audit_holds(anchor):
            broken.append(BrokenEntry(anchor.id, "cut"))
        return checked, broken

    def _linked(self) -> Iterator[Any]:
        """Rows and links by id, either may be missing."""
        after = 0
        while True:
            ids = union(select(audit.c.id.label("n")).where(audit.c.id > after),
                        select(audit_chain.c.audit_id.label("n")).where(audit_chain.c.audit_id > after)).subquery()
            query = (select(ids.c.n, audit, audit_chain.c.audit_id, audit_chain.c.link)
                     .select_from(ids.outerjoin(audit, audit.c.id == ids.c.n).outerjoin(audit_chain, audit_chain.c.audit_id == ids.c.n))
                     .order_by(ids.c.n).limit(_PAGE))
            with self._read() as connection:
                rows = connection.execute(query).all()
            yield from rows
            if len(rows) < _PAGE:
                return
            after = rows[-1].n

    def write_anchor(self, path: Path) -> Anchor | None:
        """Keep the end of the trail in a signed file; returns the new anchor, None where nothing was added since.

        Raises
        ------
        ConfigError
            The file names an end that the trail has not any more: rows were cut off or the ledger is an older one. The file stays.
        """
        known = self.read_anchor(path)
        if known is not None and not self.audit_holds(known):
            raise ConfigError(f"audit trail: it ended with row {known.id} before, which it has not any more; radanon audit verify")
        head = self.audit_head()
        if head is None or head == known:
            return None
        text = json.dumps({"id": head.id, "link": head.link})
        new = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w", encoding="ascii") as file:
            file.write(f"{text}\n{AuditChain(self.seal.chain_key, self.id).mac(text)}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        return head

    def read_anchor(self, path: Path) -> Anchor | None:
        """The anchor of `write_anchor`; None if there is none.

        Raises
        ------
        ConfigError
            The file was changed, or belongs to another ledger or key.
        """
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from None
        if len(lines) != 2 or AuditChain(self.seal.chain_key, self.id).mac(lines[0]) != lines[1]:
            raise ConfigError(f"{path}: was changed, or belongs to another ledger")
        found = json.loads(lines[0])
        return Anchor(int(found["id"]), str(found["link"]))
