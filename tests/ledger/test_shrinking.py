"""What is over shrinks: studies are forgotten with their rows, and the file gives space back, while others work on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Hands = Any


def deliver(hands: Hands) -> None:
    items = hands.ledger.claim_deliveries("sender", "archive", 1000, 60)
    hands.ledger.finish_deliveries([(item, "delivered", 0.0, "") for item in items])
    while hands.ledger.purge():
        pass


def keyed(hands: Hands, study: str, uid: str) -> None:
    """Release an instance of `study` of a patient."""
    from dataclasses import replace

    hands.admit(uid)
    item, = hands.ledger.claim("worker", 1, 60)
    assert hands.ledger.finish([replace(hands.released(item, study=study), patient_key=f"patient of {study}")]) == []


def test_a_study_is_forgotten_once_its_rows_are(hands: Hands) -> None:
    keyed(hands, "old", "1.1")
    keyed(hands, "new", "1.2")
    deliver(hands)
    hands.ledger.expire(3600.0, None)
    assert hands.sql("SELECT count(*) FROM studies") == [(2,)]
    hands.sql("UPDATE studies SET seen_at = seen_at - 400000 WHERE study_key = 'old'")
    hands.sql("UPDATE instances SET closed_at = closed_at - 400000")
    assert hands.ledger.expire(3600.0, None) == 3  # two rows and a study
    assert hands.sql("SELECT study_key FROM studies") == [("new",)]


def test_a_study_that_is_seen_again_stays(hands: Hands) -> None:
    keyed(hands, "s", "1.1")
    hands.sql("UPDATE studies SET seen_at = seen_at - 400000")
    keyed(hands, "s", "1.2")
    hands.ledger.expire(3600.0, None)
    assert hands.sql("SELECT study_key FROM studies") == [("s",)]
    hands.sql("UPDATE studies SET seen_at = NULL")  # of a ledger from before this was noted
    hands.ledger.expire(3600.0, None)
    assert hands.sql("SELECT count(*) FROM studies WHERE seen_at IS NOT NULL") == [(1,)]


def test_the_file_shrinks_while_a_worker_claims(sqlite_hands: Hands, tmp_path: Path) -> None:
    hands = sqlite_hands
    hands.sql("CREATE TABLE ballast (a BLOB)")
    hands.sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO ballast "
              "SELECT randomblob(4000) FROM n")
    hands.sql("DROP TABLE ballast")
    hands.admit(*(f"1.{number}" for number in range(20)))
    given = 0
    for _ in range(40):
        given += hands.ledger.vacuum(200)
        hands.ledger.claim("worker", 1, 60)
    assert given > 2000
    assert hands.ledger.vacuum() == 0
    assert hands.sql("PRAGMA integrity_check") == [("ok",)]
    hands.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    assert (tmp_path / "ledger.sqlite").stat().st_size < 13_000_000
