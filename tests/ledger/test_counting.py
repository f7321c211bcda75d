"""Counts of a backlog: the same as grouping gives, whatever is large."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from radanon_node.ledger import counting
from radanon_node.ledger.counting import pair_counts
from radanon_node.ledger.schema import UNDELIVERED_INSTANCE, instances
from tests.ledger.conftest import Hands

STATES = ["received", "quarantined", "delivered", "failed"]
ROWS = st.lists(st.tuples(st.sampled_from(["A", "B", "\u00c4"]), st.sampled_from(STATES)), max_size=30)


def counted(hands: Hands, totals: Counter[str], together: Collection[str]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    with hands.ledger._snapshot() as connection:
        for route, state, count in pair_counts(connection, instances.c.route, instances.c.state, UNDELIVERED_INSTANCE, totals, together):
            assert count > 0
            found[route, "any" if state in together else state] += count
    return found


@given(ROWS, st.integers(0, 6), st.sampled_from([0, -3, None]), st.sampled_from([(), ("received", "failed"), ("failed", "quarantined")]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pairs_are_counted_as_grouping_would(hands: Hands, rows: list[tuple[str, str]], few: int, wrong: int | None,
                                             together: Collection[str]) -> None:
    """Also where a total cannot be right, or is not known, or where only a sum is wanted of some."""
    with hands.ledger._write() as connection:
        connection.execute(delete(instances))
        if rows:
            connection.execute(insert(instances), [
                {"route": route, "state": state, "size": 1, "sop_class_uid": "1.2", "transfer_syntax_uid": "1.2", "identity": b"",
                 "sop_index": b"%d" % number, "received_at": 0.0} for number, (route, state) in enumerate(rows)])
    totals = Counter(route for route, state in rows if state != "delivered")
    if wrong is not None:
        totals = Counter(dict.fromkeys(totals, wrong))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "FEW", few)
        wanted = Counter((route, "any" if state in together else state) for route, state in rows if state != "delivered")
        assert counted(hands, totals, together) == wanted


def test_a_snapshot_shows_one_moment(hands: Hands) -> None:
    hands.admit("1.1")
    with hands.ledger._snapshot() as connection:
        before = pair_counts(connection, instances.c.route, instances.c.state, UNDELIVERED_INSTANCE, {})
        hands.again().admit("1.2")
        assert pair_counts(connection, instances.c.route, instances.c.state, UNDELIVERED_INSTANCE, {}) == before
    assert hands.states() == {"received": 2}
