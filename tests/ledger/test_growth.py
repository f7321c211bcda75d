"""Claims and lists go through their indexes, however many finished rows lie beside the open ones."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine

from radanon_node.ledger.prepared import Prepared

Hands = Any
ROWS = {"sqlite": 200_000, "postgresql": 50_000}


@pytest.fixture
def grown(hands: Hands) -> Hands:
    """Very many finished instances with their deliveries, and a few open ones."""
    engine = create_engine(hands.url)
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows) "
    postgres, rows = engine.dialect.name == "postgresql", ROWS[engine.dialect.name]
    blob = "decode(md5(i::text), 'hex')" if postgres else "CAST(printf('%032d', i) AS BLOB)"
    with engine.begin() as connection:
        if postgres:
            connection.execute(text("SET LOCAL session_replication_role = replica"))  # spares a check of each foreign key
        connection.execute(text(
            numbers + "INSERT INTO instances (id, state, route, size, sop_class_uid, transfer_syntax_uid, identity, sop_index, received_at,"
            f" closed_at) SELECT i, 'delivered', 'RESEARCH', 1, '1', '2', {blob}, {blob}, i, i FROM n"
            if not postgres else
            "INSERT INTO instances (id, state, route, size, sop_class_uid, transfer_syntax_uid, identity, sop_index, received_at,"
            f" closed_at) SELECT i, 'delivered', 'RESEARCH', 1, '1', '2', {blob}, {blob}, i, i FROM generate_series(1, :rows) AS i"),
            {"rows": rows})
        connection.execute(text(
            "INSERT INTO releases (instance_id, sop_class_uid, sop_instance_uid, transfer_syntax_uid, size, digest, seal, study_key,"
            " released_at, closed_at) SELECT id, '1', '2.25.' || id, '2', 1, 'd', 's', 'study', id, id FROM instances"))
        connection.execute(text(
            "INSERT INTO deliveries (instance_id, destination, state, study_key, changed_at) SELECT id, 'archive', 'delivered', 's', id"
            " FROM instances"))
        if postgres:
            connection.execute(text("SELECT setval('instances_id_seq', :rows), setval('deliveries_id_seq', :rows)"), {"rows": rows})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    engine.dispose()
    hands.release("1.1", "1.2")
    hands.admit("1.3", "1.4")
    return hands


def plans(engine: Engine, act: Any) -> dict[str, str]:
    """What the database says about each statement that `act` runs."""
    statements: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.split()[0] in ("SELECT", "UPDATE", "DELETE") and not many:
            statements.append((statement, parameters))

    bound = Prepared._bound

    def noted(self: Prepared, connection: Any, parameters: Any) -> tuple[str, list[Any]]:
        statement, values = bound(self, connection, parameters)
        if statement.split()[0] in ("SELECT", "UPDATE", "DELETE") and values:
            statements.append((statement, tuple(values[0]) if isinstance(values[0], list) else values[0]))
        return statement, values

    event.listen(engine, "before_cursor_execute", note)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Prepared, "_bound", noted)
            act()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    explain = "EXPLAIN " if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_sort = off")
        return {statement: "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + statement, parameters))
                for statement, parameters in statements}


def test_no_statement_of_the_daily_work_reads_a_whole_table(grown: Hands) -> None:
    ledger, spool = grown.ledger, grown.spool

    def day() -> None:
        items = ledger.claim("worker", 16, 60)
        assert len(items) == 2
        ledger.renew(items, 60)
        ledger.finish([grown.released(item) for item in items])
        ledger.give_back("worker")
        sent = ledger.claim_deliveries("sender", "archive", 10, 60)
        assert len(sent) == 4
        ledger.finish_deliveries([(item, "sent", 0.0, "") for item in sent])
        ledger.claim_commitments("sender", "archive", 10, 60)
        ledger.committed_by_archive("archive", [sent[0].release.sop_instance_uid])
        ledger.admit([grown.arrival("1.1")])
        ledger.committed(["1.1"], "RESEARCH")
        ledger.quarantine_list()
        ledger.known_files(["in/x"])
        ledger.purge()
        spool.sweep(ledger.known_files)

    found = plans(ledger._engine, day)
    assert len(found) > 15
    whole = [f"{sign} {table}" for sign in ("SCAN", "Seq Scan on") for table in ("instances", "deliveries", "releases")]
    scans = {statement: plan for statement, plan in found.items()
             if any(sign in line and "INDEX" not in line for sign in whole for line in plan.splitlines())}
    assert scans == {}
    claims = {statement: plan for statement, plan in found.items() if "instances.due <=" in statement}
    assert any("ORDER BY instances.round" in statement for statement in claims)
    assert all("instances_round" in plan if "round" in statement else "instances_due" in plan for statement, plan in claims.items())
    rounds = [plan for statement, plan in found.items() if "ORDER BY deliveries.round" in statement]
    assert rounds
    assert all("deliveries_round" in plan for plan in rounds)
