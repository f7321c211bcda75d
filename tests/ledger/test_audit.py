"""The audit trail: what was changed, removed, added, moved or cut off shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from radanon_node.errors import ConfigError
from radanon_node.ledger.audit import Anchor, BrokenEntry
from tests.ledger.conftest import Hands


def act(hands: Hands, *actions: str) -> None:
    for action in actions:
        hands.ledger.record_act("anna", action, "because")


def without_guards(hands: Hands, statement: str, **values: object) -> None:
    """What somebody does who may do anything in the database, but has no key."""
    if hands.url.startswith("sqlite"):
        for table in ("audit", "audit_chain"):
            for kind in ("update", "delete"):
                hands.sql(f"DROP TRIGGER IF EXISTS {table}_no_{kind}")
    else:
        for table in ("audit", "audit_chain"):
            hands.sql(f"DROP TRIGGER IF EXISTS {table}_permanent ON {table}")
    hands.sql(statement, **values)


def test_an_untouched_trail_holds(hands: Hands) -> None:
    assert hands.ledger.verify_audit() == (0, [])
    act(hands, "one", "two", "three")
    assert hands.ledger.verify_audit() == (3, [])
    (one, *_) = hands.admit("1.1", "1.2")
    hands.ledger.claim("w", 2, 60)
    assert [entry.action for _, entry in hands.ledger.audit_rows(after=1)] == ["two", "three"]
    again = hands.again()
    act(again, "four")
    assert hands.ledger.verify_audit() == (4, [])
    again.close()


@pytest.mark.parametrize(("deed", "found"), [
    ("UPDATE audit SET reason = 'other' WHERE id = 2", [(2, "changed")]),
    ("UPDATE audit SET at = at + 1 WHERE id = 2", [(2, "changed")]),
    ("DELETE FROM audit WHERE id = 2", [(2, "removed")]),
    ("INSERT INTO audit (id, at, who, action, reason) VALUES (9, 1.0, 'eve', 'x', 'y')", [(9, "added")]),
    ("UPDATE audit_chain SET link = 'abc' WHERE audit_id = 2", [(2, "changed"), (3, "changed")]),
])
def test_what_was_done_to_it_shows(hands: Hands, deed: str, found: list[tuple[int, str]]) -> None:
    act(hands, "one", "two", "three")
    without_guards(hands, deed)
    _, broken = hands.ledger.verify_audit()
    assert [(entry.id, entry.what) for entry in broken] == found


def test_a_row_taken_out_with_its_link_shows_at_the_next(hands: Hands) -> None:
    act(hands, "one", "two", "three")
    without_guards(hands, "DELETE FROM audit WHERE id = 2")
    hands.sql("DELETE FROM audit_chain WHERE audit_id = 2")
    assert hands.ledger.verify_audit() == (2, [BrokenEntry(3, "changed")])


def test_two_rows_that_changed_places_show(hands: Hands) -> None:
    act(hands, "one", "two", "three")
    without_guards(hands, "UPDATE audit SET id = 20 WHERE id = 2")
    hands.sql("UPDATE audit SET id = 2 WHERE id = 3")
    hands.sql("UPDATE audit SET id = 3 WHERE id = 20")
    assert [entry.id for entry in hands.ledger.verify_audit()[1]] == [2, 3]


def test_a_trail_cut_off_at_the_end_shows_against_the_anchor(hands: Hands, tmp_path: Path) -> None:
    anchor = tmp_path / "anchor"
    assert hands.ledger.write_anchor(anchor) is None  # nothing to keep yet
    act(hands, "one", "two", "three")
    kept = hands.ledger.write_anchor(anchor)
    assert kept is not None and kept.id == 3
    assert hands.ledger.write_anchor(anchor) is None
    without_guards(hands, "DELETE FROM audit WHERE id = 3")
    hands.sql("DELETE FROM audit_chain WHERE audit_id = 3")
    assert hands.ledger.verify_audit() == (2, [])  # by itself it looks whole
    assert hands.ledger.verify_audit(hands.ledger.read_anchor(anchor)) == (2, [BrokenEntry(3, "cut")])
    act(hands, "four")
    with pytest.raises(ConfigError, match="ended with row 3"):
        hands.ledger.write_anchor(anchor)  # and the anchor is not moved on
    assert hands.ledger.read_anchor(anchor) == kept


def test_a_chain_made_anew_does_not_fit_the_anchor(hands: Hands, tmp_path: Path) -> None:
    act(hands, "one", "two")
    kept = hands.ledger.audit_head()
    without_guards(hands, "DELETE FROM audit_chain WHERE audit_id > 0")
    hands.sql("UPDATE audit SET reason = 'other' WHERE id = 2")
    act(hands, "three")  # rows without any link are taken for those of an old release
    assert hands.ledger.verify_audit()[1] == []
    assert hands.ledger.verify_audit(kept)[1] == [BrokenEntry(2, "cut")]


def test_a_changed_anchor_is_refused(sqlite_hands: Hands, tmp_path: Path) -> None:
    anchor = tmp_path / "anchor"
    act(sqlite_hands, "one", "two")
    sqlite_hands.ledger.write_anchor(anchor)
    text = anchor.read_text()
    anchor.write_text(text.replace('"id": 2', '"id": 1'))
    with pytest.raises(ConfigError, match="was changed"):
        sqlite_hands.ledger.read_anchor(anchor)
    anchor.write_text("")
    with pytest.raises(ConfigError, match="was changed"):
        sqlite_hands.ledger.read_anchor(anchor)


def test_rows_of_an_old_release_are_linked_with_the_next(hands: Hands) -> None:
    for number in (1, 2):
        hands.sql("INSERT INTO audit (id, at, who, action, reason) VALUES (:id, 1.5, 'anna', 'old', 'why')", id=number)
    if not hands.url.startswith("sqlite"):
        hands.sql("SELECT setval('audit_id_seq', 2)")
    assert hands.ledger.verify_audit() == (2, [])
    act(hands, "new")
    assert hands.ledger.verify_audit() == (3, [])
    without_guards(hands, "UPDATE audit SET who = 'eve' WHERE id = 1")
    assert hands.ledger.verify_audit()[1] == [BrokenEntry(1, "changed")]


@pytest.mark.parametrize("statement", ["UPDATE audit_chain SET link = 'x'", "DELETE FROM audit_chain"])
def test_links_are_permanent(hands: Hands, statement: str) -> None:
    act(hands, "one")
    with pytest.raises(Exception, match="permanent"):
        hands.sql(statement)


def test_many_writers_at_once_make_one_chain(hands: Hands) -> None:
    in_threads([lambda name=name: [act(hands, f"{name}.{n}") for n in range(5)] for name in range(4)])  # type: ignore[misc]
    assert hands.ledger.verify_audit() == (20, [])


def in_threads(jobs: list[Callable[[], object]]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(jobs)) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()


def test_another_ledgers_end_does_not_fit(sqlite_hands: Hands, tmp_path: Path) -> None:
    act(sqlite_hands, "one")
    other = Hands(f"sqlite:///{tmp_path / 'other.sqlite'}", tmp_path / "other")
    act(other, "one")
    head = other.ledger.audit_head()
    assert isinstance(head, Anchor) and not sqlite_hands.ledger.audit_holds(head)
    other.close()
