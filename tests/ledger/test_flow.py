"""Totals by the minute become charts, and stay bounded."""

from __future__ import annotations

from typing import Any

from radanon_node.ledger import flow
from radanon_node.ledger.flow import HOUR, MINUTE

Hands = Any


def status(hands: Hands) -> dict[str, Any]:
    return {**hands.ledger.status(), "disk": {"free": 7, "min_free": 1}}


def at(hands: Hands, minute: int) -> None:
    """Put the row of the present minute back in time."""
    hands.sql("UPDATE flow SET at = at - :s", s=60 * minute)


def test_what_moved_is_the_difference_of_totals(hands: Hands) -> None:
    hands.ledger.record_flow(status(hands))
    assert hands.ledger.flow_points() == []
    at(hands, 5)
    hands.release("1.1", "1.2")
    items = hands.ledger.claim_deliveries("sender", "archive", 16, 60)
    hands.ledger.finish_deliveries([(items[0], "delivered", 0.0, "")])
    assert hands.ledger.record_flow(status(hands))
    (point,) = hands.ledger.flow_points()
    assert (point.received, point.delivered, point.waiting, point.free) == ({"RESEARCH": 2}, {"archive": 1}, {"archive": 1}, 7)
    assert not hands.ledger.record_flow(status(hands))  # the same minute


def test_what_retention_forgets_still_counts(hands: Hands) -> None:
    hands.release("1.1")
    hands.ledger.finish_deliveries([(item, "delivered", 0.0, "") for item in hands.ledger.claim_deliveries("s", "archive", 16, 60)])
    hands.ledger.record_flow(status(hands))
    at(hands, 5)
    hands.ledger.purge()
    assert hands.ledger.expire(0.0, None) == 1
    hands.release("1.2")
    hands.ledger.record_flow(status(hands))
    (point,) = hands.ledger.flow_points()
    assert (point.received, point.delivered) == ({"RESEARCH": 1}, {"archive": 0})


def test_old_rows_go(hands: Hands) -> None:
    hands.ledger.record_flow(status(hands))
    at(hands, flow._KEPT[MINUTE] + 10)
    hands.ledger.record_flow(status(hands))
    assert [row[0] for row in hands.sql("SELECT width FROM flow ORDER BY width, at")] == [MINUTE, HOUR, HOUR]


def test_nodes_say_that_they_live(hands: Hands) -> None:
    hands.ledger.node_alive("host/1", {"associations": 2})
    hands.ledger.node_alive("host/1", {"associations": 3})
    hands.ledger.node_alive("host/2", {})
    hands.sql("UPDATE nodes SET at = at - 7200 WHERE name = 'host/2'")
    assert [row.name for row in hands.ledger.nodes_list()] == ["host/1", "host/2"]
    hands.ledger.node_alive("host/1", {"associations": 4})
    (row,) = hands.ledger.nodes_list()
    assert row.data == {"associations": 4} and row.age < 60
    hands.ledger.node_gone("host/1")
    assert hands.ledger.nodes_list() == []
