"""What the ledger promises, on both engines."""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from radanon_node.errors import ConfigError, LedgerUnavailable, Reason, StorageError
from radanon_node.ledger import database
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.types import HeldItem, RetryItem

Hands = Any


def test_an_instance_sent_twice_is_one_instance(hands: Hands) -> None:
    first, again = hands.arrival("1.1"), hands.arrival("1.1")
    (new,) = hands.ledger.admit([first])
    (duplicate,) = hands.ledger.admit([again])
    assert (new.outcome, duplicate.outcome, duplicate.id) == ("new", "duplicate", new.id)
    assert hands.files() == {first.file}


def test_within_one_batch_too(hands: Hands) -> None:
    admissions = hands.ledger.admit([hands.arrival("1.1"), hands.arrival("1.2"), hands.arrival("1.1")])
    assert [admission.outcome for admission in admissions] == ["new", "new", "duplicate"]
    assert len(hands.files()) == 2


def test_other_content_or_syntax_under_the_same_uid_is_quarantined_once_each(hands: Hands) -> None:
    hands.admit("1.1")
    changed = [hands.ledger.admit([hands.arrival("1.1", **change)])[0].outcome
               for change in ({"body": b"other"}, {"syntax": "1.2.840.10008.1.2"}, {"body": b"other"})]
    assert changed == ["conflict", "conflict", "duplicate"]
    assert [entry.reason for entry in hands.ledger.quarantine_list()] == [Reason.UID_CONFLICT] * 2
    assert len(hands.files()) == 3


def test_the_same_uid_on_two_routes_is_two_instances(hands: Hands) -> None:
    admissions = hands.ledger.admit([hands.arrival("1.1", route="A"), hands.arrival("1.1", route="B")])
    assert [admission.outcome for admission in admissions] == ["new", "new"]


def test_sent_at_once_over_many_associations_it_is_one_instance(hands: Hands) -> None:
    together = threading.Barrier(8)

    def send(number: int) -> list[str]:
        arrivals = [hands.arrival(f"1.{k}", body=b"conflicting" if k == 9 and number == 0 else b"same") for k in range(10)]
        together.wait()
        return [admission.outcome for admission in hands.ledger.admit(arrivals)]

    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(outcome for sent in pool.map(send, range(8)) for outcome in sent)
    assert outcomes["new"] == 10
    assert outcomes["conflict"] == 1
    assert len(hands.files()) == 11
    assert hands.states() == {"received": 10, "quarantined": 1}


def test_a_resend_after_purge_is_known_by_its_digest(hands: Hands) -> None:
    hands.release("1.1")
    deliver_all(hands)
    hands.ledger.purge()
    assert hands.files() == set()
    assert hands.ledger.admit([hands.arrival("1.1")])[0].outcome == "duplicate"
    assert hands.ledger.admit([hands.arrival("1.1", body=b"other")])[0].outcome == "conflict"
    assert hands.ledger.claim_deliveries("sender", "archive", 10, 60) == []


def test_a_resend_makes_good_a_lost_file(hands: Hands) -> None:
    first = hands.arrival("1.1")
    (new,) = hands.ledger.admit([first])
    hands.spool.remove(first.file)
    again = hands.arrival("1.1")
    (healed,) = hands.ledger.admit([again])
    assert (healed.id, healed.outcome) == (new.id, "new")
    assert [item.file for item in hands.ledger.claim("worker", 10, 60)] == [again.file]


def test_identities_lie_sealed(sqlite_hands: Hands, tmp_path: Path) -> None:
    sqlite_hands.release("1.2.826.0.1.3680043.77777")
    sqlite_hands.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.sqlite*"))
    assert b"3680043.77777" not in stored.replace(b"2.25.1.2.826.0.1.3680043.77777", b"")  # the test's new UID quotes the old one
    assert b"MODALITY1" not in stored


def test_ledger_and_spool_are_their_owners_alone(sqlite_hands: Hands, tmp_path: Path) -> None:
    sqlite_hands.release("1.1")
    modes = {path.name: path.stat().st_mode & 0o077 for path in [*tmp_path.glob("ledger.sqlite*"), *sqlite_hands.root.rglob("*")]}
    assert set(modes.values()) == {0}
    assert sqlite_hands.root.stat().st_mode & 0o777 == 0o700


def test_claims_come_oldest_first_and_fresh_ones_in_batches(hands: Hands) -> None:
    ids = hands.admit(*(f"1.{k}" for k in range(20)))
    assert [item.id for item in hands.ledger.claim("worker", 16, 60)] == ids[:16]
    assert [item.id for item in hands.ledger.claim("worker", 16, 60)] == ids[16:]
    assert hands.ledger.claim("worker", 16, 60) == []


def test_claimed_before_means_alone(hands: Hands) -> None:
    hands.admit("1.1", "1.2")
    hands.ledger.claim("dead", 16, 60)
    assert hands.ledger.give_back("dead") == 2
    hands.admit("1.3")
    sizes = [len(hands.ledger.claim("worker", 16, 60)) for _ in range(4)]
    assert sizes == [1, 1, 1, 0]


def test_an_instance_that_kills_its_workers_is_quarantined(hands: Hands) -> None:
    (poison,) = hands.admit("1.1")
    for attempt in range(hands.attempts):
        (item,) = hands.ledger.claim(f"worker{attempt}", 16, 60)
        assert item.attempts == attempt
        hands.ledger.give_back(f"worker{attempt}")
    assert hands.ledger.claim("worker", 16, 60) == []
    (entry,) = hands.ledger.quarantine_list()
    assert (entry.id, entry.reason, entry.attempts) == (poison, Reason.WORKER_KILLED, hands.attempts)


def test_a_lapsed_lease_comes_back_and_a_renewed_one_does_not(hands: Hands) -> None:
    hands.admit("1.1", "1.2")
    lapsed, kept = hands.ledger.claim("worker", 2, 0.0)
    assert hands.ledger.renew([kept], 60) == []
    (taken,) = hands.ledger.claim("other", 16, 60)
    assert taken.id == lapsed.id
    assert hands.ledger.renew([lapsed, kept], 60) == [lapsed.id]


def test_a_stale_result_is_thrown_away_and_the_others_are_written(hands: Hands) -> None:
    hands.admit("1.1", "1.2")
    stale, good = hands.ledger.claim("slow", 2, 0.0)
    hands.ledger.renew([good], 60)
    (current,) = hands.ledger.claim("quick", 1, 60)
    late = hands.released(stale)
    assert hands.ledger.finish([late, hands.released(good)]) == [stale.id]
    assert not hands.spool.exists(late.release.file)
    assert hands.ledger.finish([hands.released(current)]) == []
    assert hands.states() == {"released": 2}


def test_finishing_twice_keeps_the_released_file(hands: Hands) -> None:
    """A commit whose answer was lost is written again: the claim is over, but the file is in use."""
    hands.admit("1.1")
    outcome = hands.released(*hands.ledger.claim("worker", 1, 60))
    assert hands.ledger.finish([outcome]) == []
    assert hands.ledger.finish([outcome]) == [outcome.id]
    assert hands.spool.exists(outcome.release.file)


def test_outcomes_are_written_all_or_none(hands: Hands) -> None:
    hands.admit("1.1", "1.2")
    first, second = hands.ledger.claim("worker", 2, 60)
    twice = hands.released(second)
    with pytest.raises(LedgerUnavailable):
        hands.ledger.finish([hands.released(first), twice, twice])
    assert hands.states() == {"processing": 2}


def test_retries_end_as_failed_unless_the_instance_is_not_to_blame(hands: Hands) -> None:
    hands.admit("1.1")
    for _ in range(3 * hands.attempts):
        (item,) = hands.ledger.claim("worker", 1, 60)
        hands.ledger.finish([RetryItem(item.id, item.token, "disk full", counted=False)])
    for _ in range(hands.attempts):
        (item,) = hands.ledger.claim("worker", 1, 60)
        hands.ledger.finish([RetryItem(item.id, item.token, "no luck")])
    assert hands.ledger.claim("worker", 1, 60) == []
    assert hands.states() == {"failed": 1}


def test_a_delay_is_kept(hands: Hands) -> None:
    hands.admit("1.1")
    (item,) = hands.ledger.claim("worker", 1, 60)
    hands.ledger.finish([RetryItem(item.id, item.token, delay=60)])
    assert hands.ledger.claim("worker", 1, 60) == []


def test_concurrent_claimers_share_without_overlap(hands: Hands) -> None:
    ids = hands.admit(*(f"1.{k}" for k in range(120)))

    def work(number: int) -> list[int]:
        mine: list[int] = []
        while items := hands.ledger.claim(f"worker{number}", 7, 60):
            mine += [item.id for item in items]
            assert hands.ledger.finish([hands.released(item) for item in items]) == []
        return mine

    with ThreadPoolExecutor(5) as pool:
        done = [one for mine in pool.map(work, range(5)) for one in mine]
    assert sorted(done) == ids
    assert hands.states() == {"released": 120}


def test_the_clock_is_the_databases(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    hands.admit("1.1")
    hands.ledger.claim("worker", 1, 60)
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert hands.ledger.claim("other", 1, 60) == []
    hands.admit("1.2")
    assert len(hands.ledger.claim("other", 2, 60)) == 1


def test_status_counts_by_state_route_and_destination(hands: Hands) -> None:
    hands.release("1.1", "1.2", destinations=("archive", "copy"))
    (first, _) = hands.ledger.claim_deliveries("sender", "archive", 2, 60)
    hands.ledger.finish_deliveries([(first, "delivered", 0, "")])
    hands.admit("1.3")
    hands.ledger.destination_state("copy", False)
    hands.ledger.destination_state("idle", True)
    status = hands.ledger.status()
    assert status["states"] == {"received": 1, "processing": 0, "released": 2, "delivered": 0, "quarantined": 0, "failed": 0, "dropped": 0}
    assert status["routes"]["RESEARCH"] == status["states"]
    assert status["destinations"] == {
        "archive": {"waiting": 1, "delivered": 1, "failed": 0, "up": True},
        "copy": {"waiting": 2, "delivered": 0, "failed": 0, "up": False},
        "idle": {"waiting": 0, "delivered": 0, "failed": 0, "up": True},
    }
    assert 0 <= status["oldest_waiting_s"] < 60
    json.dumps(status)


def test_committed_says_what_the_archives_have(hands: Hands) -> None:
    hands.release("1.1", destinations=("archive", "copy"))
    hands.admit("1.2", "1.3")
    (item, _) = hands.ledger.claim("worker", 2, 60)
    hands.ledger.finish([HeldItem(item.id, item.token, Reason.VIDEO)])
    asked = ["1.1", "1.2", "1.3", "1.4"]
    assert hands.ledger.committed(asked, "RESEARCH") == {"1.1": "pending", "1.2": "failed", "1.3": "pending", "1.4": "unknown"}
    deliver_all(hands, "archive")
    assert hands.ledger.committed(["1.1"], "RESEARCH") == {"1.1": "pending"}
    deliver_all(hands, "copy")
    assert hands.ledger.committed(["1.1"], "RESEARCH") == {"1.1": "accepted"}
    assert hands.ledger.committed(["1.1"], "OTHER") == {"1.1": "unknown"}


def test_purge_keeps_originals_as_long_as_told(hands: Hands) -> None:
    ids = hands.release("1.1", "1.2", destinations=("archive",))
    assert hands.ledger.purge() == 0
    deliver_all(hands)
    assert hands.ledger.purge(originals_after=3600) == 2
    assert {name.partition("/")[0] for name in hands.files()} == {"in"}
    assert hands.ledger.purge() == 2
    assert hands.files() == set()
    assert [hands.state(one) for one in ids] == ["delivered", "delivered"]


def test_rows_and_receipts_are_forgotten_in_time(hands: Hands) -> None:
    (one,) = hands.release("1.1")
    deliver_all(hands)
    assert hands.ledger.expire(0.0, None) == 0  # its files are still there
    assert hands.ledger.receipt(one) == {"receipt_version": 1}
    assert hands.ledger.expire(None, 0.0) == 1
    assert hands.ledger.receipt(one) is None
    hands.ledger.purge()
    assert hands.ledger.expire(None, None) == 0
    assert hands.ledger.expire(0.0, 0.0) == 1
    assert hands.states() == {}
    assert hands.ledger.admit([hands.arrival("1.1")])[0].outcome == "new"


def test_another_key_or_another_ledger_is_refused(hands: Hands, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not the key"):
        Ledger(hands.url, bytes(32), hands.spool)
    with pytest.raises(ConfigError, match="another ledger"):
        Ledger(f"sqlite:///{tmp_path / 'new.sqlite'}", bytes(32), hands.spool)


def test_a_ledger_of_another_version_is_refused(hands: Hands) -> None:
    hands.sql("UPDATE meta SET value = '99' WHERE name = 'version'")
    with pytest.raises(ConfigError, match="version 99"):
        hands.again()


@pytest.mark.parametrize("url", ["", "mysql://x", "sqlite://", "sqlite:///:memory:", "nonsense"])
def test_a_useless_url_is_one_clear_line(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^ledger\.url: "):
        Ledger(url, bytes(32), Spool(tmp_path / "spool"))


def test_many_processes_may_open_a_new_ledger_at_once(hands: Hands) -> None:
    hands.sql("DROP TABLE audit")
    for table in ("deliveries", "releases", "instances", "destinations", "meta"):
        hands.sql(f"DROP TABLE {table}")
    (hands.root / "ledger").unlink()
    with ThreadPoolExecutor(6) as pool:
        opened = list(pool.map(lambda _: hands.again(), range(6)))
    assert len({one.ledger.id for one in opened}) == 1
    for one in opened:
        one.close()


def test_a_database_that_is_down_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_hands: Hands) -> None:
    monkeypatch.setattr(database, "_BUSY_S", 0.05)
    impatient = sqlite_hands.again()
    held = sqlite_hands.ledger._engine.connect()
    with held.begin(), pytest.raises(LedgerUnavailable, match="SQLITE_BUSY"):
        impatient.admit("1.1")
    held.close()
    assert impatient.admit("1.1")
    impatient.close()
    with pytest.raises(LedgerUnavailable) as caught:
        Ledger(f"postgresql+psycopg://nobody@/none?host={tmp_path}", bytes(32), sqlite_hands.spool)
    assert isinstance(caught.value, StorageError)


def test_an_altered_sealed_column_stops_nobody_else(hands: Hands) -> None:
    altered, good = hands.admit("1.1", "1.2")
    hands.sql("UPDATE instances SET identity = (SELECT sop_index FROM instances WHERE id = :id) WHERE id = :id", id=altered)
    assert [item.id for item in hands.ledger.claim("worker", 16, 60)] == [good]
    assert hands.state(altered) == "quarantined"


def test_texts_no_engine_takes_are_made_storable(hands: Hands) -> None:
    hands.admit("1.1\0")
    (item,) = hands.ledger.claim("worker", 1, 60)
    assert item.sop_instance_uid == "1.1\0"
    hands.ledger.finish([HeldItem(item.id, item.token, Reason.VIDEO, "bad\0\udcff")])
    assert hands.ledger.quarantine_list()[0].detail == "bad?"


def deliver_all(hands: Hands, destination: str = "archive") -> None:
    items = hands.ledger.claim_deliveries("sender", destination, 1000, 60)
    assert hands.ledger.finish_deliveries([(item, "delivered", 0.0, "") for item in items]) == []


def test_claims_alone_are_not_synced(sqlite_hands: Hands) -> None:
    """Whichever way a pooled connection was used before."""
    ledger = sqlite_hands.ledger
    for revocable, level in ((False, 2), (True, 1), (False, 2), (True, 1), (True, 1), (False, 2)):
        with ledger._write(revocable=revocable) as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == level
        with ledger._read() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
