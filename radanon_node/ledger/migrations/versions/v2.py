"""Version 2: audit chain and outbox, reviews, samples, known patients, learned layouts, fair turns, commitment requests, flow, shadow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """New tables, and new columns that every old row has a value for. The tables here are those of this version, whatever comes later."""
    op.create_table(
        "activity",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "audit_chain",
        sa.Column("audit_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("audit_id"),
    )
    op.create_table(
        "collectors",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("audit_id", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("due", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "commitment_requests",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("commitment_requests_due", "commitment_requests", ["due"], unique=False)
    op.create_table(
        "finds",
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "route", "device", "what"),
    )
    op.create_table(
        "flow",
        sa.Column("width", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("width", "at"),
    )
    op.create_table(
        "layout_units",
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("software", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("unit"),
    )
    op.create_table(
        "layouts",
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("description", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("instances", sa.BigInteger(), nullable=False),
        sa.Column("cells", sa.JSON(), nullable=False),
        sa.Column("proposal", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("alarm", sa.Text(), server_default="", nullable=False),
        sa.Column("alarms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("device"),
    )
    op.create_index("layouts_state", "layouts", ["state", "changed_at"], unique=False)
    op.create_table(
        "nodes",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "patients",
        sa.Column("patient_index", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("identifiers", sa.LargeBinary(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("patient_index"),
    )
    op.create_index("patients_seen", "patients", ["seen_at"], unique=False)
    op.create_table(
        "recalled",
        sa.Column("recall_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("instance_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("patient", sa.Text(), nullable=False),
        sa.Column("study", sa.Text(), nullable=False),
        sa.Column("destinations", sa.JSON(), nullable=False),
        sa.Column("receipt", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("recall_id", "instance_id"),
    )
    op.create_table(
        "recalls",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("suspicion", sa.JSON(), nullable=False),
        sa.Column("closed_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "reviews",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("instance_id", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), server_default="", nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("edits", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("labels", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("rule", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("reviews_instance", "reviews", ["instance_id"], unique=False)
    op.create_table(
        "samples",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("instance_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("priority", sa.Double(), nullable=False),
        sa.Column("taken_at", sa.Double(), nullable=False),
        sa.Column("keep_until", sa.Double(), nullable=False),
        sa.Column("looked_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("samples_device", "samples", ["month", "device", "priority"], unique=False)
    op.create_index("samples_instance", "samples", ["instance_id"], unique=True)
    op.create_index(
        "samples_pending",
        "samples",
        ["id"],
        unique=False,
        postgresql_where=sa.text("samples.state = 'pending'"),
        sqlite_where=sa.text("samples.state = 'pending'"),
    )
    op.create_table(
        "shadow",
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("policies", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "route", "policies", "kind", "name"),
    )
    op.create_index("shadow_day", "shadow", ["day"], unique=False)
    op.add_column("deliveries", sa.Column("round", sa.Integer(), server_default="0", nullable=False))
    op.create_index(
        "deliveries_round",
        "deliveries",
        ["destination", "round", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting' AND due IS NOT NULL"),
        sqlite_where=sa.text("state = 'waiting' AND due IS NOT NULL"),
    )
    op.add_column("destinations", sa.Column("paused", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("destinations", sa.Column("allowance", sa.Double(), nullable=True))
    op.add_column("destinations", sa.Column("allowance_at", sa.Double(), nullable=True))
    op.add_column("instances", sa.Column("edits", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("instances", sa.Column("round", sa.Integer(), server_default="0", nullable=False))
    op.create_index(
        "instances_round",
        "instances",
        ["round", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'received'"),
        sqlite_where=sa.text("state = 'received'"),
    )
    op.add_column("releases", sa.Column("patient", sa.Text(), nullable=True))
    op.add_column("releases", sa.Column("study", sa.Text(), nullable=True))
    op.create_index(
        "releases_patient",
        "releases",
        ["patient"],
        unique=False,
        postgresql_where=sa.text("patient IS NOT NULL"),
        sqlite_where=sa.text("patient IS NOT NULL"),
    )
    op.create_index(
        "releases_study",
        "releases",
        ["study"],
        unique=False,
        postgresql_where=sa.text("study IS NOT NULL"),
        sqlite_where=sa.text("study IS NOT NULL"),
    )
    op.add_column("releases", sa.Column("device", sa.Text(), nullable=True))
    op.create_index(
        "releases_device",
        "releases",
        ["device", "released_at"],
        unique=False,
        postgresql_where=sa.text("device IS NOT NULL"),
        sqlite_where=sa.text("device IS NOT NULL"),
    )
    op.add_column("studies", sa.Column("seen_at", sa.Double(), nullable=True))
    op.create_index("studies_seen", "studies", ["seen_at"], unique=False)
    for name, table in (("route", "instances"), ("destination", "deliveries")):
        op.execute(f"INSERT INTO tally (kind, name, change) SELECT 'rows {name}', {name}, count(*) FROM {table} GROUP BY {name}")
    for statement in _PERMANENT[op.get_bind().dialect.name]:
        op.execute(statement)


_PERMANENT = {
    "sqlite": [
        f"CREATE TRIGGER audit_chain_no_{act} BEFORE {act} ON audit_chain BEGIN SELECT RAISE(ABORT, 'audit rows are permanent'); END"
        for act in ("update", "delete")
    ],
    "postgresql": [
        "CREATE TRIGGER audit_chain_permanent BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_chain "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_permanent()",
    ],
}
