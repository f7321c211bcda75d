"""Tables beside the audit trail, on the ledger's own metadata: its chain, what is still to be reported to a collector, shadow counts."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Double, Index, Table, Text

from radanon_node.ledger.schema import Id, metadata

# One link per row of the audit trail; see audit_chain.py. No foreign key: a link whose row was removed must stay and say so.
audit_chain = Table(
    "audit_chain", metadata,
    Column("audit_id", Id, primary_key=True, autoincrement=False),
    Column("link", Text, nullable=False),
)

# Transfers of instances that a collector is still to be told of: removed once it has been.
activity = Table(
    "activity", metadata,
    Column("id", Id, primary_key=True),
    Column("at", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("facts", JSON, nullable=False),  # AE titles, addresses, counts, new UIDs; no identities
)

# How far each collector of audit messages has been told, and which process tells it.
collectors = Table(
    "collectors", metadata,
    Column("name", Text, primary_key=True),
    Column("audit_id", BigInteger, nullable=False),  # the last row of the audit trail it has
    Column("owner", Text),
    Column("due", Double, nullable=False),  # the lease of its owner
)

# What a shadow policy did otherwise than the one in force, as counts: codes and attribute keywords, no values.
shadow = Table(
    "shadow", metadata,
    Column("day", Text, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("policies", Text, primary_key=True),  # names and hashes of both
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
)
Index("shadow_day", shadow.c.day)
