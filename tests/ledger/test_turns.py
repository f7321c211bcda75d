"""Small studies are not starved by large ones, at the workers and at the destinations, and nothing waits for ever."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from radanon_node.ledger.turns import ROUND, Rounds

Hands = Any


def admit(hands: Hands, study: str, count: int, priority: str = "normal") -> None:
    arrivals = [replace(hands.arrival(f"{study}.{number}"), study=study, priority=priority) for number in range(count)]
    assert {admission.outcome for admission in hands.ledger.admit(arrivals)} == {"new"}


def work(hands: Hands, batch: int = ROUND, destinations: tuple[str, ...] = ("archive",)) -> list[str]:
    """Claim and finish one batch; the studies of its instances."""
    items = hands.ledger.claim("worker", batch, 60)
    hands.ledger.finish([hands.released(item, destinations, item.sop_instance_uid.rpartition(".")[0]) for item in items])
    return [item.sop_instance_uid.rpartition(".")[0] for item in items]


def deliver(hands: Hands, batch: int = 32) -> list[str]:
    items = hands.ledger.claim_deliveries("sender", "archive", batch, 60)
    hands.ledger.finish_deliveries([(item, "delivered", 0.0, "") for item in items])
    return [item.study_key for item in items]


def test_two_urgent_films_pass_a_large_study(hands: Hands) -> None:
    admit(hands, "large", 40 * ROUND)
    for _ in range(3):
        work(hands)
    admit(hands, "urgent", 2)
    done = [study for _ in range(3) for study in work(hands)]
    assert done.count("urgent") == 2


def test_they_pass_it_on_the_way_to_the_archive_too(hands: Hands) -> None:
    admit(hands, "large", 12 * ROUND)
    while work(hands, 64):
        pass
    assert set(deliver(hands)) == {"large"}
    admit(hands, "urgent", 2)
    assert work(hands, 64) == ["urgent", "urgent"]
    done = [study for _ in range(2) for study in deliver(hands)]
    assert done.count("urgent") == 2


def test_studies_that_come_together_advance_together(hands: Hands) -> None:
    for number in range(10):
        admit(hands, f"s{number}", 3 * ROUND)
    done = Counter(study for _ in range(16) for study in work(hands))
    assert sum(done.values()) == 16 * ROUND
    # 12 claims of 16 go by rounds, 4 by age: nobody is more than a few rounds ahead, and all have begun.
    assert len(done) == 10


def test_a_stream_of_small_studies_does_not_starve_the_large_one(hands: Hands) -> None:
    admit(hands, "large", 20 * ROUND)
    large = 0
    for number in range(16):
        admit(hands, f"small{number}", ROUND)
        large += work(hands).count("large")
    assert large >= 16 // 4 * ROUND


def test_a_route_of_high_priority_goes_first_and_one_of_low_priority_last(hands: Hands) -> None:
    admit(hands, "low", ROUND, "low")
    admit(hands, "normal", ROUND)
    admit(hands, "high", ROUND, "high")
    assert [set(work(hands)) for _ in range(3)] == [{"high"}, {"normal"}, {"low"}]


def test_a_claim_that_lapsed_is_found_among_very_many_that_wait(hands: Hands) -> None:
    admit(hands, "first", 1)
    assert len(hands.ledger.claim("dead", 1, 0.0)) == 1
    admit(hands, "others", 10 * ROUND)
    claims = [hands.ledger.claim("worker", ROUND, 60) for _ in range(4)]
    assert [item.attempts for items in claims for item in items if item.attempts] == [1]


def test_of_very_many_studies_the_silent_ones_are_forgotten() -> None:
    rounds = Rounds()
    for number in range(30_000):
        rounds.next(str(number))
    for _ in range(ROUND):
        rounds.next("29999")
    assert rounds.next("29999") == 1
    assert len(rounds._seen) <= 20_000


def test_two_hundred_small_studies_are_through_long_before_a_study_of_ten_thousand_slices(hands: Hands) -> None:
    admit(hands, "large", 1)
    columns = "state, route, size, sop_class_uid, transfer_syntax_uid, identity"
    postgres = hands.url.startswith("postgresql")
    numbers = ("generate_series(1, 9999) AS i" if postgres else "n")
    begin = "" if postgres else "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) "
    blob = "decode(md5(i::text), 'hex')" if postgres else "CAST(i AS BLOB)"
    hands.sql(f"INSERT INTO instances ({columns}, file, sop_index, due, round, received_at) {begin}SELECT {columns}, 'in/' || i, "
              f"{blob}, 1.0, i / 16, 1.0 FROM instances, {numbers}")
    for number in range(200):
        admit(hands, f"s{number}", 4)
    batches = [[item.size for item in hands.ledger.claim("worker", ROUND, 600)] for _ in range(4)]
    assert all(len(batch) == ROUND for batch in batches)
    small = hands.sql("SELECT count(*) FROM instances WHERE state = 'received' AND round = 0 AND due > 2.0")
    claims = 0
    while small != [(0,)]:
        hands.ledger.claim("worker", 100, 600)
        claims += 1
        small = hands.sql("SELECT count(*) FROM instances WHERE state = 'received' AND round = 0 AND due > 2.0")
    assert claims <= 12  # 8 of 100 for them, and every fourth for the oldest
    assert hands.sql("SELECT count(*) FROM instances WHERE state = 'received' AND round > 0")[0][0] > 9000
