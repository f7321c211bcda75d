"""Tables of the ledger, for SQLite and PostgreSQL alike, and what keeps them honest.

One column, `due`, is not-before, backoff and lease expiry at once: a row is to be worked on when ``due <= now`` by the database's clock,
so the items of a crashed worker come back by themselves. It is NULL when nothing is to be done, and the claim indexes hold only the rows
where it is not: a claim costs the same beside a million finished rows.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from radanon_node.errors import ConfigError

VERSION = "2"
PREPARE_LOCK = 0x7261646E  # of the advisory lock under which PostgreSQL's nodes make or change the schema, one at a time

# SQLite numbers rows by itself only in a column declared INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")


class now(FunctionElement[float]):
    """The database's clock, seconds since 1970: all nodes of a ledger share it, whatever their own clocks say."""

    type = Double()
    inherit_cache = True


@compiles(now, "sqlite")  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def _now_sqlite(element: now, compiler: SQLCompiler, **options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def _now_postgresql(element: now, compiler: SQLCompiler, **options: Any) -> str:
    # Stable within the statement, unlike clock_timestamp(): a volatile function could not be compared through an index.
    return "CAST(extract(epoch FROM statement_timestamp()) AS double precision)"


class unindexed(FunctionElement[float]):
    """A number's column, in words that no index is found by: where rows are wanted in the order of another one."""

    type = Double()
    inherit_cache = True


@compiles(unindexed)  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
def _unindexed(element: unindexed, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


metadata = MetaData()

# Conditions of partial indexes, in the very words the queries must use: SQLite proves nothing about bound values.
PRIMARY = text("NOT conflict")
CONFLICTING = text("conflict")
OPEN = text("instances.state IN ('received', 'processing', 'released')")
RECEIVED = text("instances.state = 'received'")
WAITING = text("deliveries.state = 'waiting' AND deliveries.due IS NOT NULL")
ASIDE = text("instances.state IN ('quarantined', 'failed')")
PURGEABLE = text("instances.state IN ('delivered', 'dropped') AND instances.file IS NOT NULL")
UNDELIVERED_INSTANCE = text("instances.state <> 'delivered'")
UNDELIVERED = text("deliveries.state <> 'delivered'")
CLOSED = text("instances.state IN ('delivered', 'dropped')")
HAS_RECEIPT = text("releases.receipt IS NOT NULL")
RELEASE_PURGEABLE = text("releases.file IS NOT NULL AND releases.closed_at IS NOT NULL")


def partial(condition: Any) -> dict[str, Any]:
    # In an index's own condition the columns stand without their table's name.
    bare = text(re.sub(r"\b(instances|releases|deliveries)\.", "", condition.text)) if hasattr(condition, "text") else condition
    return {"postgresql_where": bare, "sqlite_where": bare}


instances = Table(
    "instances", metadata,
    Column("id", Id, primary_key=True),
    Column("state", Text, nullable=False),
    Column("due", Double),
    Column("token", BigInteger, nullable=False, server_default="0"),  # counts claims: fences off the results of lost ones
    Column("owner", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("route", Text, nullable=False),
    Column("file", Text),  # NULL once the original is purged
    Column("size", BigInteger, nullable=False),
    Column("sop_class_uid", Text, nullable=False),
    Column("transfer_syntax_uid", Text, nullable=False),
    Column("identity", LargeBinary, nullable=False),  # sealed JSON: original SOP Instance UID, calling AE title
    Column("sop_index", LargeBinary, nullable=False),  # keyed HMAC of route and original SOP Instance UID
    Column("content", LargeBinary),  # keyed digest of the data set; there before the original is purged
    Column("conflict", Boolean, nullable=False, server_default=text("false")),
    Column("reason", Text),
    Column("detail", Text),
    Column("series_number", BigInteger),
    Column("instance_number", BigInteger),
    Column("waived", Text, nullable=False, server_default=""),  # reason codes, separated by spaces
    Column("edits", JSON(none_as_null=True)),  # boxes that a reviewer added and removed
    Column("round", Integer, nullable=False, server_default="0"),  # whose turn it is; see turns.py
    Column("received_at", Double, nullable=False),
    Column("closed_at", Double),
)
Index("instances_due", instances.c.due, instances.c.id, **partial(instances.c.due.isnot(None)))
Index("instances_round", instances.c.round, instances.c.id, **partial(RECEIVED))
# One row per instance and route; a conflicting resend has a row of its own, per content.
Index("instances_one", instances.c.sop_index, unique=True, **partial(PRIMARY))
Index("instances_conflict", instances.c.sop_index, instances.c.content, unique=True, **partial(CONFLICTING))
Index("instances_file", instances.c.file)
Index("instances_owner", instances.c.owner, **partial(instances.c.owner.isnot(None)))
Index("instances_state", instances.c.route, instances.c.state, **partial(UNDELIVERED_INSTANCE))
Index("instances_open", instances.c.received_at, **partial(OPEN))
Index("instances_aside", instances.c.id, **partial(ASIDE))
Index("instances_closed", instances.c.closed_at, **partial(CLOSED))
Index("instances_purge", instances.c.closed_at, instances.c.id, **partial(PURGEABLE))

releases = Table(
    "releases", metadata,
    Column("instance_id", Id, ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("sop_class_uid", Text, nullable=False),
    Column("sop_instance_uid", Text, nullable=False),  # the new one
    Column("transfer_syntax_uid", Text, nullable=False),
    Column("file", Text),  # NULL once purged
    Column("size", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("seal", Text, nullable=False),
    Column("study_key", Text, nullable=False),
    Column("patient", Text),  # the new Patient ID and Study Instance UID, for the search by pseudonym
    Column("study", Text),
    Column("device", Text),  # keyed token; NULL: cleaned before this was noted
    Column("receipt", JSON(none_as_null=True)),  # NULL once its retention is over
    Column("released_at", Double, nullable=False),
    Column("closed_at", Double),  # when the last destination had it
)
Index("releases_file", releases.c.file)
Index("releases_sop", releases.c.sop_instance_uid)
Index("releases_patient", releases.c.patient, **partial(releases.c.patient.isnot(None)))
Index("releases_study", releases.c.study, **partial(releases.c.study.isnot(None)))
Index("releases_device", releases.c.device, releases.c.released_at, **partial(releases.c.device.isnot(None)))
Index("releases_receipt", releases.c.released_at, **partial(HAS_RECEIPT))
Index("releases_purge", releases.c.closed_at, **partial(RELEASE_PURGEABLE))

receipt_chain = Table(
    "receipt_chain", metadata,
    Column("id", Id, primary_key=True),  # the order of the chain
    Column("day", Text, nullable=False),
    Column("instance_id", BigInteger, nullable=False),  # no foreign key: the chain outlives the rows it speaks of
    Column("digest", Text, nullable=False),
    Column("link", Text, nullable=False),
)

studies = Table(
    "studies", metadata,
    Column("study_key", Text, primary_key=True),  # both are keyed tokens, no identities
    Column("patient_key", Text, nullable=False),
    Column("seen_at", Double),  # to the day; NULL: before this was noted
)
Index("studies_seen", studies.c.seen_at)

# What patients are known by (`patients.Patients`): hunted in their later instances.
patients = Table(
    "patients", metadata,
    Column("patient_index", LargeBinary, primary_key=True),  # keyed HMAC of Patient ID and issuer
    Column("version", BigInteger, nullable=False),
    Column("identifiers", LargeBinary, nullable=False),  # sealed JSON
    Column("seen_at", Double, nullable=False),
)
Index("patients_seen", patients.c.seen_at)

# Where the text of each kind of device stands (`layouts.Layouts`); places and counts, no recognised text.
layouts = Table(
    "layouts", metadata,
    Column("device", Text, primary_key=True),  # keyed token of modality, make, model, software, rows, columns
    Column("description", LargeBinary, nullable=False),  # sealed JSON: those attributes, for the rule that may be made of it
    Column("state", Text, nullable=False),
    Column("instances", BigInteger, nullable=False),
    Column("cells", JSON, nullable=False),  # how many instances had text in each cell of a coarse grid
    Column("proposal", JSON(none_as_null=True)),  # boxes, pixels
    Column("alarm", Text, nullable=False, server_default=""),
    Column("alarms", BigInteger, nullable=False, server_default="0"),
    Column("changed_at", Double, nullable=False),
)
Index("layouts_state", layouts.c.state, layouts.c.changed_at)

# Which software each single device ran last: a new version may draw its text elsewhere.
layout_units = Table(
    "layout_units", metadata,
    Column("unit", Text, primary_key=True),  # keyed token of make, model and serial number or station
    Column("software", Text, nullable=False),  # keyed token
    Column("changed_at", Double, nullable=False),
)

# How often burnt-in text was found, as counts; never the text.
finds = Table(
    "finds", metadata,
    Column("day", Text, primary_key=True),  # YYYY-MM-DD, UTC
    Column("route", Text, primary_key=True),
    Column("device", Text, primary_key=True),
    Column("what", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

deliveries = Table(
    "deliveries", metadata,
    Column("id", Id, primary_key=True),
    Column("instance_id", Id, ForeignKey("instances.id", ondelete="CASCADE"), nullable=False),
    Column("destination", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due", Double),
    Column("token", BigInteger, nullable=False, server_default="0"),
    Column("owner", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("crashes", Integer, nullable=False, server_default="0"),  # claims that nobody finished
    Column("study_key", Text, nullable=False),
    Column("round", Integer, nullable=False, server_default="0"),  # that of its instance
    Column("detail", Text, nullable=False, server_default=""),
    Column("changed_at", Double, nullable=False),
)
Index("deliveries_due", deliveries.c.destination, deliveries.c.due, deliveries.c.id, **partial(deliveries.c.due.isnot(None)))
Index("deliveries_study", deliveries.c.destination, deliveries.c.study_key, deliveries.c.due, deliveries.c.id,
      **partial(deliveries.c.due.isnot(None)))
Index("deliveries_round", deliveries.c.destination, deliveries.c.round, deliveries.c.id, **partial(WAITING))
Index("deliveries_one", deliveries.c.instance_id, deliveries.c.destination, unique=True)
Index("deliveries_owner", deliveries.c.owner, **partial(deliveries.c.owner.isnot(None)))
Index("deliveries_state", deliveries.c.destination, deliveries.c.state, **partial(UNDELIVERED))
Index("deliveries_list", deliveries.c.id, **partial(UNDELIVERED))

destinations = Table(
    "destinations", metadata,
    Column("name", Text, primary_key=True),
    Column("up", Boolean, nullable=False),
    Column("changed_at", Double, nullable=False),
    Column("paused", Boolean, nullable=False, server_default=text("false")),  # by a person
    Column("allowance", Double),  # what its rate limit lets through at once, at the time beside it; NULL before the first claim
    Column("allowance_at", Double),
)

# Storage Commitment requests of modalities that are not yet reported on.
commitment_requests = Table(
    "commitment_requests", metadata,
    Column("id", Id, primary_key=True),
    Column("due", Double, nullable=False),  # when to look again; the lease of whoever reports
    Column("expires_at", Double, nullable=False),
    Column("token", BigInteger, nullable=False, server_default="0"),
    Column("request", LargeBinary, nullable=False),  # sealed JSON: transaction, references, modality
)
Index("commitment_requests_due", commitment_requests.c.due)

# How much there is and has been delivered, as differences; see tally.py.
tally = Table(
    "tally", metadata,
    Column("id", Id, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("change", BigInteger, nullable=False),
)

audit = Table(
    "audit", metadata,
    Column("id", Id, primary_key=True),
    Column("at", Double, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("instance_id", BigInteger),  # no foreign keys: the record outlives the rows it speaks of
    Column("delivery_id", BigInteger),
    Column("reason", Text, nullable=False),
)
Index("audit_instance", audit.c.instance_id)

meta = Table(
    "meta", metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

_APPEND_ONLY = {
    "sqlite": [
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_{act} BEFORE {act} ON {table} BEGIN SELECT RAISE(ABORT, 'audit rows are permanent'); END"
        for table in ("audit", "audit_chain") for act in ("update", "delete")
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION audit_permanent() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'audit rows are permanent'; END $$",
        *(f"CREATE OR REPLACE TRIGGER {table}_permanent BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
          "FOR EACH STATEMENT EXECUTE FUNCTION audit_permanent()" for table in ("audit", "audit_chain")),
    ],
}


def prepare(connection: Connection, key_check: str) -> str:
    """Make what is missing and check that version and key fit, in the caller's transaction.

    Parameters
    ----------
    connection : Connection
        Inside a writing transaction.
    key_check : str
        `Seal.check_value` of the node's key; a new ledger keeps it.

    Returns
    -------
    str
        The ledger's own random id.

    Raises
    ------
    ConfigError
        The ledger was made by another version or with another key.
    """
    dialect = connection.dialect.name
    if dialect == "postgresql":
        # Two processes that start at once would both see no table: CREATE IF NOT EXISTS alone races.
        connection.execute(select(func.pg_advisory_xact_lock(PREPARE_LOCK)))
    if not _has_meta(connection, connection.dialect):
        for table in metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                connection.execute(CreateIndex(index, if_not_exists=True))
        for statement in _APPEND_ONLY[dialect]:
            connection.execute(text(statement))
    found: dict[str, str] = {row.name: row.value for row in connection.execute(select(meta.c.name, meta.c.value))}
    if not found:
        found = {"version": VERSION, "key_check": key_check, "id": secrets.token_hex(16)}
        connection.execute(insert(meta), [{"name": name, "value": value} for name, value in found.items()])
    if found["version"] != VERSION:
        if int(found["version"]) > int(VERSION):
            raise ConfigError(newer(found["version"]))
        raise ConfigError(f"ledger.url: the ledger has schema version {found['version']}, this program needs {VERSION}: back it up, stop "
                          "all nodes, then run `radanon ledger upgrade` (with ledger.upgrade: at_start, a starting node does it)")
    if found["key_check"] != key_check:
        raise ConfigError("node.key_file: this is not the key the ledger was made with; restore that key from its backup")
    return found["id"]


def newer(found: str) -> str:
    """What to say about a ledger of a later release."""
    return (f"ledger.url: the ledger has schema version {found}, this program knows versions up to {VERSION}: a newer release has used it; "
            "install that release again, or restore the backup made before its upgrade")


def _has_meta(connection: Connection, dialect: Dialect) -> bool:
    return bool(dialect.has_table(connection, "meta"))
