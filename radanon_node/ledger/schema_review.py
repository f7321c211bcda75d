"""Tables of review, sampling and the flow figures, on the ledger's own metadata; no identity stands in them outside sealed columns."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Double, Index, Integer, LargeBinary, Table, Text, text

from radanon_node.ledger.schema import Id, metadata, partial

PENDING = text("samples.state = 'pending'")

# What a reviewer decided. No foreign keys: the record outlives the rows it speaks of.
reviews = Table(
    "reviews", metadata,
    Column("id", Id, primary_key=True),
    Column("at", Double, nullable=False),
    Column("who", Text, nullable=False),
    Column("instance_id", BigInteger, nullable=False),
    Column("source", Text, nullable=False),  # quarantine or sample
    Column("decision", Text, nullable=False),  # release, retry, drop; of a sample: clean, residual
    Column("code", Text, nullable=False, server_default=""),  # why it was held
    Column("note", Text, nullable=False, server_default=""),
    Column("edits", JSON(none_as_null=True)),  # boxes added and removed
    Column("labels", JSON(none_as_null=True)),  # all that is on the picture, as the detector's training takes it
    Column("rule", LargeBinary),  # sealed YAML: the added boxes as a proposed device rule
)
Index("reviews_instance", reviews.c.instance_id)

# Released instances whose original and clean file are kept to be looked at, and reviewed ones kept as training labels.
samples = Table(
    "samples", metadata,
    Column("id", Id, primary_key=True),
    Column("instance_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),  # sample or label
    Column("state", Text, nullable=False),  # pending, clean, residual, displaced; label
    Column("device", Text, nullable=False),  # keyed token of the device
    Column("month", Text, nullable=False),  # YYYY-MM (UTC) of its release
    Column("route", Text, nullable=False),
    Column("priority", Double, nullable=False),  # uniform in [0, 1): the smallest are kept
    Column("taken_at", Double, nullable=False),
    Column("keep_until", Double, nullable=False),
    Column("looked_at", Double),
)
Index("samples_instance", samples.c.instance_id, unique=True)
Index("samples_device", samples.c.month, samples.c.device, samples.c.priority)
Index("samples_pending", samples.c.id, **partial(PENDING))

# Recalls of what had left (`recalls.Recalls`), and what each names: both outlive the rows they speak of.
recalls = Table(
    "recalls", metadata,
    Column("id", Id, primary_key=True),
    Column("at", Double, nullable=False),
    Column("who", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("suspicion", JSON, nullable=False),  # what the instances have in common
    Column("closed_at", Double),
)
recalled = Table(
    "recalled", metadata,
    Column("recall_id", Id, primary_key=True, autoincrement=False),
    Column("instance_id", BigInteger, primary_key=True, autoincrement=False),
    Column("route", Text, nullable=False),
    Column("sop_class_uid", Text, nullable=False),
    Column("sop_instance_uid", Text, nullable=False),  # the new one
    Column("patient", Text, nullable=False),
    Column("study", Text, nullable=False),
    Column("destinations", JSON, nullable=False),  # name -> state of its delivery at the recall
    Column("receipt", JSON(none_as_null=True)),
    Column("outcome", Text, nullable=False, server_default=""),
)

# One row per minute, and per hour for longer: counts as of that time. Bounded by `Flow.record`.
flow = Table(
    "flow", metadata,
    Column("width", Integer, primary_key=True, autoincrement=False),  # 60 or 3600 seconds
    Column("at", BigInteger, primary_key=True, autoincrement=False),  # begin of the interval, seconds since 1970
    Column("data", JSON, nullable=False),
)

# The node processes that live, by their own word.
nodes = Table(
    "nodes", metadata,
    Column("name", Text, primary_key=True),
    Column("at", Double, nullable=False),
    Column("data", JSON, nullable=False),
)
