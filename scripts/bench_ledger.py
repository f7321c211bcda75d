"""Claims, status and admission beside very many rows: `python scripts/bench_ledger.py [ROWS] [SQLALCHEMY_URL]`.

Half of the rows are delivered, half wait: in 1,000 studies, one of them with a tenth of all. Prints the median and the fastest of 15 runs
each, in milliseconds of wall time, and what SQLite needs of the processor. PostgreSQL's tables are vacuumed first, as its own service does.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import create_engine, text

from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.types import Arrival

_RUNS = 15


def fill(url: str, rows: int) -> None:
    """Insert rows without the ledger's own statements: it is not admission that is measured here."""
    engine = create_engine(url)
    postgres = engine.dialect.name == "postgresql"
    series = "generate_series(1, :rows) AS i" if postgres else "n"
    begin = "" if postgres else "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows) "
    blob = "decode(md5(i::text), 'hex')" if postgres else "CAST(printf('%032d', i) AS BLOB)"
    study = "CASE WHEN i % 10 = 0 THEN 0 ELSE i % 1000 END"
    insert = (f"INSERT INTO instances (id, state, due, round, route, file, size, sop_class_uid, transfer_syntax_uid, identity, sop_index, "
              f"received_at, closed_at) {begin}SELECT i, CASE WHEN i % 2 = 0 THEN 'delivered' ELSE 'received' END, "
              f"CASE WHEN i % 2 = 0 THEN NULL ELSE 1000.0 + i END, i / 16000, 'IN', CASE WHEN i % 2 = 0 THEN NULL ELSE 'in/' || i END, "
              f"500000, '1', '2', {blob}, {blob}, 1000.0 + i, CASE WHEN i % 2 = 0 THEN 1000.0 + i END FROM {series}")
    released = ("INSERT INTO releases (instance_id, sop_class_uid, sop_instance_uid, transfer_syntax_uid, file, size, digest, seal, "
                f"study_key, released_at, closed_at) {begin}SELECT i, '1', '2.25.' || i, '2', NULL, 1, 'd', 's', ({study}) || '', i, i "
                f"FROM {series}")
    delivered = ("INSERT INTO deliveries (instance_id, destination, state, due, round, study_key, changed_at) "
                 f"{begin}SELECT i, 'archive', CASE WHEN i % 2 = 0 THEN 'delivered' ELSE 'waiting' END, "
                 f"CASE WHEN i % 2 = 0 THEN NULL ELSE 1000.0 + i END, i / 16000, ({study}) || '', i FROM {series}")
    with engine.begin() as connection:
        if postgres:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in (insert, released, delivered):
            connection.execute(text(statement), {"rows": rows})
        if postgres:
            connection.execute(text("SELECT setval('instances_id_seq', :rows)"), {"rows": rows})
    if postgres:
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


def halve(url: str, state: str) -> None:
    """Bring every second open instance into quarantine, and its delivery into `state`."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE instances SET state = 'quarantined', due = NULL WHERE state = 'received' AND id % 4 = 1"))
        connection.execute(text("UPDATE deliveries SET state = :state WHERE state <> 'delivered' AND id % 4 = 1"), {"state": state})
    if engine.dialect.name == "postgresql":
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


def measure(name: str, act: Callable[[], object]) -> None:
    walls, used = [], []
    for _ in range(_RUNS):
        began, cpu = time.perf_counter(), time.process_time()
        act()
        walls.append(1000 * (time.perf_counter() - began))
        used.append(1000 * (time.process_time() - cpu))
    print(f"| {name} | {statistics.median(walls):.1f} | {min(walls):.1f} | {statistics.median(used):.1f} |", flush=True)


def main() -> int:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        url = sys.argv[2] if len(sys.argv) > 2 else f"sqlite:///{folder}/ledger.sqlite"
        spool = Spool(Path(folder) / "spool")
        ledger = Ledger(url, bytes(32), spool, attempts=10**6)
        fill(url, rows)
        ledger.recount()
        ledger.seal.decrypt = lambda sealed: '{"sop_instance_uid": "1", "calling_ae": "A"}'  # type: ignore[method-assign]
        print(f"{rows} rows, {url.partition(':')[0]}\n\n| act | ms, median | ms, fastest | own CPU ms |\n|---|---|---|---|")
        measure("claim of 16 instances", lambda: ledger.claim("worker", 16, 600.0))
        measure("claim of 32 deliveries", lambda: ledger.claim_deliveries("sender", "archive", 32, 600.0))
        numbers = iter(range(10**9))
        measure("admission of 8 instances", lambda: ledger.admit([
            Arrival(f"in/x{next(numbers)}", 1, "IN", "A", "1", f"1.2.{next(numbers)}", "2", 0.0, study="s") for _ in range(8)]))
        measure("status", ledger.status)
        for state in ("sent", "failed"):
            halve(url, state)
            measure(f"status, half of what is open received and waiting, half quarantined and {state}", ledger.status)
        ledger.close()
        spool.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
