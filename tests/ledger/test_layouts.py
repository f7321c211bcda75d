"""What is learned of devices, kept on both engines: sums over processes, proposals, alarms, decisions, counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from radanon_node import rulebook
from radanon_node.errors import ConfigError
from radanon_node.ledger.layouts import UnknownLayout
from radanon_node.markers.layouts import LEAST, Device, LayoutState, Sighting
from radanon_node.markers.rules import load_rules
from tests.ledger.conftest import Hands

DEVICE = Device("US", "Acme", "Sono 3", "7.1", 768, 1024, "SN-123456")
CELLS = frozenset({0, 1, 2, 64, 65})


def learn(hands: Hands, pictures: int = LEAST, device: Device = DEVICE) -> list[str]:
    return hands.ledger.layout_sightings([Sighting(device, CELLS)] * pictures)


def test_pictures_of_all_processes_add_up_to_a_proposal(hands: Hands) -> None:
    other = hands.again()
    assert learn(hands, LEAST - 1) == [] and not hands.ledger.layout_list("proposed")
    token = hands.ledger.device_token(DEVICE)
    assert learn(other, 1) == [token] and learn(hands, 3) == []
    (entry,) = hands.ledger.layout_list("proposed")
    assert (entry.token, entry.state, entry.instances) == (token, "proposed", LEAST + 3)
    assert entry.device == replace(DEVICE, unit="") and [(box.x0, box.y0) for box in entry.boxes] == [(0, 0), (0, 16)]
    assert other.ledger.layout(DEVICE).learned
    other.close()


def test_counting_at_the_same_time_loses_nothing(hands: Hands) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: learn(hands, 2), range(12)))
    assert hands.ledger.layout(DEVICE).instances == 24


def test_the_single_unit_stands_nowhere_and_the_device_only_sealed(hands: Hands) -> None:
    learn(hands, 1)
    hands.ledger.layout_unit(DEVICE)
    for table in ("layouts", "layout_units"):
        shown = str(hands.sql(f"SELECT * FROM {table}"))
        assert "SN-123456" not in shown and "Sono" not in shown and "Acme" not in shown


def test_changed_pictures_raise_an_alarm_and_are_not_learned_from(hands: Hands) -> None:
    learn(hands)
    hands.ledger.layout_sightings([Sighting(DEVICE, frozenset({3000}), changed=True)] * 3)
    (entry,) = hands.ledger.layout_list(alarmed=True)
    assert (entry.alarm, entry.alarms, entry.instances) == ("layout_changed", 3, LEAST)
    assert hands.ledger.layout_counts() == {"learning": 0, "proposed": 1, "accepted": 0, "rejected": 0, "alarms": 1}
    hands.ledger.layout_decide(entry.token, "acknowledged", "anna", "new software")
    assert hands.ledger.layout(DEVICE).instances == 0 and hands.ledger.layout_list(alarmed=True) == []


def test_new_software_on_the_same_unit_is_an_alarm_once(hands: Hands) -> None:
    newer = replace(DEVICE, software="8.0")
    assert not hands.ledger.layout_unit(DEVICE) and not hands.ledger.layout_unit(DEVICE)
    assert not hands.ledger.layout_unit(replace(newer, unit="another"))  # another unit of the model may run what it likes
    assert hands.ledger.layout_unit(newer) and not hands.ledger.layout_unit(newer)
    assert [(entry.device.software, entry.alarm) for entry in hands.ledger.layout_list(alarmed=True)] == [("8.0", "software_changed")]
    assert hands.ledger.layout(newer).alarm == "software_changed"


def test_accepting_writes_the_rule_then_closes_the_proposal_and_says_who(hands: Hands, tmp_path: Path) -> None:
    learn(hands)
    token, path = hands.ledger.device_token(DEVICE), tmp_path / "rules" / "learned.yaml"
    with pytest.raises(ValueError, match="reason"):
        rulebook.accept(hands.ledger, path, token, "anna", " ")
    assert not path.exists()
    rule = rulebook.accept(hands.ledger, path, token, "anna", "looked at ten pictures")
    assert load_rules([path]).rules == (rule,) and path.stat().st_mode & 0o77 == 0
    assert hands.ledger.layout(DEVICE).state is LayoutState.ACCEPTED
    assert hands.sql("SELECT who, action FROM audit") == [("anna", "layout accepted")]
    with pytest.raises(ValueError, match="no open proposal"):
        rulebook.accept(hands.ledger, path, token, "anna", "again")
    second = replace(DEVICE, model="Sono 4")
    learn(hands, device=second)
    rulebook.accept(hands.ledger, path, hands.ledger.device_token(second), "anna", "fine")
    assert len(load_rules([path]).rules) == 2 and list(path.parent.iterdir()) == [path]


def test_a_hand_written_file_is_never_rewritten(hands: Hands, tmp_path: Path) -> None:
    learn(hands)
    path = tmp_path / "own.yaml"
    path.write_text("rules: []  # mine\n")
    with pytest.raises(ConfigError, match="another file"):
        rulebook.accept(hands.ledger, path, hands.ledger.device_token(DEVICE), "anna", "fine")
    assert path.read_text() == "rules: []  # mine\n" and hands.ledger.layout(DEVICE).state is LayoutState.PROPOSED


def test_an_unknown_device_and_an_unknown_decision_are_errors(hands: Hands) -> None:
    with pytest.raises(UnknownLayout):
        hands.ledger.layout_show("0123")
    with pytest.raises(UnknownLayout):
        hands.ledger.layout_decide("0123", "rejected", "anna", "why not")
    with pytest.raises(ValueError, match="no decision"):
        hands.ledger.layout_decide("0123", "maybe", "anna", "why not")


def test_finds_add_up_by_day_route_and_device(hands: Hands) -> None:
    hands.ledger.add_finds({("2026-11-20", "IN", "d1", "looked"): 2, ("2026-11-21", "IN", "d1", "looked"): 3})
    hands.ledger.add_finds({("2026-11-21", "IN", "d1", "looked"): 4, ("2026-11-21", "US", "d2", "with_text"): 1})
    assert hands.ledger.finds() == {"IN": {"d1": {"looked": 9}}, "US": {"d2": {"with_text": 1}}}
    assert hands.ledger.finds("2026-11-21", "2026-11-21")["IN"] == {"d1": {"looked": 7}}
    assert hands.ledger.forget_finds("2026-11-21") == 1 and hands.ledger.finds()["IN"] == {"d1": {"looked": 7}}
