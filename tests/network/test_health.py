"""Backoff, and when a destination counts as down."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from radanon_node.network.health import TROUBLES, Health, backoff
from radanon_node.settings import DestinationSettings


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def destination(**values: object) -> DestinationSettings:
    return DestinationSettings.model_validate({"host": "h", "port": 1, "ae_title": "A", "retry_initial": 10, "retry_max": 900, **values})


def health() -> tuple[Health, Clock, list[bool]]:
    clock, changes = Clock(), list[bool]()
    return Health(destination(), lambda up, why: changes.append(up), clock), clock, changes


def elsewhere(act: Callable[[], object]) -> object:
    """What another thread gets."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(act()))
    thread.start()
    thread.join()
    return found[0]


@given(failures=st.integers(0, 10_000))
def test_backoff_doubles_within_its_limits(failures: int) -> None:
    expected = min(10 * 2 ** min(max(failures - 1, 0), 30), 900)
    assert 0.75 * expected <= backoff(destination(), failures) <= min(1.25 * expected, 900)


def test_one_tries_first_then_all() -> None:
    state, _, changes = health()
    assert state.permit(32) == 32
    assert elsewhere(lambda: state.permit(32)) == 0
    state.good()
    assert state.permit(32) == elsewhere(lambda: state.permit(32)) == 32
    assert changes == [True]


def test_unreachable_is_down_at_once_and_probed_by_one_when_due() -> None:
    state, clock, changes = health()
    state.good()
    assert state.trouble("no connection", whole=True)
    assert changes == [True, False] and state.permit(32) == 0
    clock.now += 12.6
    assert state.permit(32) == 1 and elsewhere(lambda: state.permit(32)) == 0
    state.trouble("no connection", whole=True)
    assert state.wait() >= 15
    clock.now += 1000
    assert state.permit(32) == 1
    state.nothing()
    assert state.permit(32) == 1
    state.good()
    assert changes == [True, False, True]


def test_single_refusals_do_not_take_it_down_but_a_row_of_them_does() -> None:
    """An instance that an archive always chokes on must not stop the others; an archive that chokes on all is left alone."""
    state, _, changes = health()
    state.good()
    for _ in range(10):
        assert not state.trouble("aborted", whole=False)
        state.good()
    assert [state.trouble("out of resources", whole=False) for _ in range(TROUBLES)] == [False] * (TROUBLES - 1) + [True]
    assert changes == [True, False]


def test_each_instance_waits_longer_each_time() -> None:
    state, _, _ = health()
    assert state.instance_delay(1) <= 12.5
    assert 15 <= state.instance_delay(1) <= 25
    assert state.instance_delay(2) <= 12.5
    state.forget(1)
    assert state.instance_delay(1) <= 12.5


def test_lane_without_association_beside_a_delivering_one_is_left_out() -> None:
    state, clock, changes = health()
    state.good()
    assert not state.surplus()
    with state.delivering():
        assert elsewhere(lambda: (state.surplus(), state.permit(32))) == (True, 0)
        assert state.permit(32) == 32
    assert changes == [True]
    clock.now += 61
    assert elsewhere(lambda: state.permit(32)) == 32


def test_idle_lane_sees_that_another_waits() -> None:
    state, clock, _ = health()
    with state.connecting():
        assert not state.crowded()
        clock.now += 1
        assert state.crowded()
    assert not state.crowded()
