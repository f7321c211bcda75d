"""Send windows by the calendar of the node's zone, and rate limits that no clock can trick."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.ledger.rates import BURST_S
from radanon_node.network.schedule import Limit, Schedule, Window, describe
from radanon_node.settings import DestinationSettings
from tests.ledger.conftest import Hands, postgres, url  # noqa: F401  fixtures
from tests.network.sending import bench, picture

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


@pytest.mark.parametrize(("spans", "when", "hours"), [
    ("19:00-06:00", "2026-01-10T18:59", 1 / 60), ("19:00-06:00", "2026-01-10T19:00", 0), ("19:00-06:00", "2026-01-11T05:59", 0),
    ("19:00-06:00", "2026-01-11T06:00", 13), ("08:00-09:00,12:00-13:00", "2026-01-10T09:30", 2.5), ("00:00-00:00", "2026-01-10T12:00", 0),
    ("22:00-22:00", "2026-01-10T12:00", 0),
    # Spring: 02:00 becomes 03:00 on 29 March 2026, the night is an hour shorter.
    ("19:00-06:00", "2026-03-29T01:59", 0), ("07:00-08:00", "2026-03-29T01:00", 5), ("02:30-02:45", "2026-03-29T01:30", 1),
    # Autumn: 03:00 becomes 02:00 on 25 October 2026.
    ("07:00-08:00", "2026-10-25T01:00", 7), ("19:00-06:00", "2026-10-25T06:00", 13)])
def test_windows(spans: str, when: str, hours: float) -> None:
    assert Window(spans, BERLIN).opening(at(when)) == pytest.approx(3600 * hours)


def test_the_hour_that_comes_twice_opens_once() -> None:
    window = Window("02:30-02:45", BERLIN)
    assert window.opening(at("2026-10-25T02:40", fold=0)) == 0
    assert window.opening(at("2026-10-25T02:40", fold=1)) > 3600


@given(begin=st.times(), length=st.integers(1, 23 * 60), now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1)),
       zone=st.sampled_from([BERLIN, "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC", None]))
@settings(max_examples=150, deadline=None)
def test_it_opens_when_it_says_and_within_a_day(begin: Any, length: int, now: datetime, zone: str | None) -> None:
    begin = begin.replace(second=0, microsecond=0)
    end = (datetime.combine(now.date(), begin) + timedelta(minutes=length)).time()
    window = Window(f"{begin:%H:%M}-{end:%H:%M}", zone)
    stamp = now.replace(tzinfo=UTC).timestamp()
    opening = window.opening(stamp)
    assert 0.0 <= opening <= 25 * 3600
    assert window.opening(stamp + opening) == 0.0
    if opening > 1:
        assert window.opening(stamp + opening - 1) > 0.0


def test_without_a_window_it_is_always_open() -> None:
    assert Window(None, None).opening(0.0) == 0.0


@pytest.fixture
def hands(url: str, tmp_path: Path) -> Any:  # noqa: F811
    made = Hands(url, tmp_path / "spool")
    yield made
    made.close()


def test_credit_is_shared_by_nodes_and_comes_back_with_time(hands: Any) -> None:
    other = hands.again()
    try:
        assert hands.ledger.credit("archive") == BURST_S
        hands.ledger.spend("archive", 100.0)
        assert -98.1 < other.ledger.credit("archive") < 0.0
        hands.sql("UPDATE destinations SET allowance_at = allowance_at - 50")
        assert other.ledger.credit("archive") == pytest.approx(-48.0, abs=15.0)
        hands.sql("UPDATE destinations SET allowance_at = allowance_at - 5000")  # the clock was set forward
        assert other.ledger.credit("archive") == BURST_S
        hands.ledger.spend("archive", 1.0)
        hands.sql("UPDATE destinations SET allowance_at = allowance_at + 5000")  # the clock was set back
        assert hands.ledger.credit("archive") == pytest.approx(BURST_S - 1.0, abs=0.5)
        hands.sql("UPDATE destinations SET allowance_at = allowance_at - 1")  # and time goes on from there
        assert hands.ledger.credit("archive") == pytest.approx(BURST_S, abs=0.5)
    finally:
        other.close()


class Purse:
    """Credits in memory."""

    def __init__(self) -> None:
        self.left = BURST_S

    def credit(self, destination: str) -> float:
        return self.left

    def spend(self, destination: str, seconds: float) -> None:
        self.left -= seconds


def folder(**values: object) -> DestinationSettings:
    return DestinationSettings.model_validate({"directory": "/x", **values})


def test_a_limit_by_count_and_one_by_size() -> None:
    purse = Purse()
    schedule = Schedule("a", folder(max_instances_per_minute=120), None, purse)
    assert schedule.permit(32) == 4  # two seconds' worth
    purse.left = 0.1
    assert schedule.permit(32) == 1
    purse.left = 0.0
    assert schedule.permit(32) == 0
    assert Limit(None, 80.0).cost(10_000_000) == 1.0
    assert Limit(30.0, 80.0).cost(10_000_000) == 2.0
    purse.left = 2.0
    assert Schedule("a", folder(max_mbit_per_second=80), None, purse).permit(32) == 1
    assert Schedule("a", folder(), None, purse).permit(32) == 32


def test_a_closed_window_permits_nothing_and_is_shown() -> None:
    noon = at("2026-01-10T12:00")
    night = folder(send_window="19:00-06:00", max_instances_per_minute=90)
    assert Schedule("a", night, BERLIN, Purse(), lambda: noon).permit(32) == 0
    assert Schedule("a", night, BERLIN, Purse(), lambda: at("2026-01-10T20:00")).permit(32) == 3
    assert describe(night, BERLIN, noon) == {"send_window": "19:00-06:00", "opens_at": "2026-01-10T18:00:00+00:00",
                                             "max_instances_per_minute": 90.0}
    assert describe(folder(), None, noon) == {}


def test_the_sender_waits_outside_of_the_window_and_keeps_the_limit(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    closed = f"{now + timedelta(hours=3):%H:%M}-{now + timedelta(hours=4):%H:%M}"
    opened = f"{now - timedelta(hours=3):%H:%M}-{now + timedelta(hours=3):%H:%M}"
    places = {"day": {"directory": str(tmp_path / "day"), "send_window": opened, "max_instances_per_minute": 6000},
              "night": {"directory": str(tmp_path / "night"), "send_window": closed}}
    with bench(tmp_path / "node", places, time_zone="UTC") as node:
        node.put([picture(number) for number in range(20)])
        with node.sending():
            node.wait_delivered("day", 20, 60)
            assert node.counts("night")["waiting"] == 20
            assert node.counts("night")["delivered"] == 0
