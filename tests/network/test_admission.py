"""Group commit: everybody gets the answer to their own instance, one transaction serves all who wait, and a failure is nobody's success."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.errors import LedgerUnavailable, StorageError
from radanon_node.ledger.types import Admission, Arrival
from radanon_node.network.admission import Admitter


def arrival(number: int) -> Arrival:
    return Arrival(f"in/{number}", number, "RADANON", "CT01", "1.2", f"1.2.{number}", "1.2.840.10008.1.2", 0.0)


class SlowLedger:
    """Admits; the first transaction waits until everybody else has queued up behind it."""

    def __init__(self, gate: threading.Event | None = None, fail: set[int] | None = None,
                 error: type[Exception] = LedgerUnavailable) -> None:
        self.batches: list[list[int]] = []
        self.known: set[str] = set()
        self._gate, self._fail, self._error = gate, fail or set(), error
        self._busy = threading.Lock()

    def admit(self, arrivals: Sequence[Arrival]) -> list[Admission]:
        assert self._busy.acquire(blocking=False), "two transactions at once"
        try:
            self.batches.append([item.size for item in arrivals])
            if self._gate is not None:
                assert self._gate.wait(10)
            if self._fail & set(self.batches[-1]):
                raise self._error("down")
            return [Admission(item.size, "new" if item.size % 3 else "duplicate") for item in arrivals]
        finally:
            self._busy.release()


    def known_files(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name in self.known]


class NoFiles:
    """Notes what is removed."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def remove(self, name: str) -> None:
        self.removed.append(name)


def admit_all(admitter: Admitter, numbers: Sequence[int]) -> dict[int, int | type[BaseException]]:
    results: dict[int, int | type[BaseException]] = {}

    def one(number: int) -> None:
        try:
            results[number] = admitter.admit(arrival(number)).id
        except Exception as error:  # noqa: BLE001 - the test looks at its type
            results[number] = type(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return results


def test_those_who_come_during_a_commit_share_the_next_one() -> None:
    gate, counted = threading.Event(), []
    ledger = SlowLedger(gate)
    admitter = Admitter(ledger, NoFiles(), counted.append)
    results: dict[int, int | type[BaseException]] = {}
    worker = threading.Thread(target=lambda: results.update(admit_all(admitter, range(12))))
    worker.start()
    while len(admitter._waiting) + sum(map(len, ledger.batches)) < 12:
        threading.Event().wait(0.001)
    gate.set()
    worker.join(20)
    assert results == {number: number for number in range(12)}
    assert len(ledger.batches) == 2
    assert sum(counted) == sum(1 for number in range(12) if number % 3)


@given(st.sets(st.integers(0, 200), min_size=1, max_size=16), st.sets(st.integers(0, 200), max_size=3))
@settings(max_examples=25, deadline=None)
def test_each_gets_its_own_answer_or_an_error(numbers: set[int], fail: set[int]) -> None:
    ledger = SlowLedger(fail=fail)
    results = admit_all(Admitter(ledger, NoFiles(), lambda _: None), sorted(numbers))
    assert sorted(item for batch in ledger.batches for item in batch) == sorted(numbers)
    for batch in ledger.batches:
        for number in batch:
            assert results[number] == (LedgerUnavailable if fail & set(batch) else number)


def test_a_bug_in_the_ledger_is_an_error_for_all_who_waited() -> None:
    gate = threading.Event()
    ledger = SlowLedger(gate, {0}, RuntimeError)
    admitter = Admitter(ledger, NoFiles(), lambda _: None)
    results: dict[int, int | type[BaseException]] = {}
    worker = threading.Thread(target=lambda: results.update(admit_all(admitter, [0, 1, 2])))
    worker.start()
    while not ledger.batches:
        threading.Event().wait(0.001)
    gate.set()
    worker.join(20)
    assert set(results) == {0, 1, 2}
    assert RuntimeError in results.values()
    assert all(result in (1, 2, RuntimeError, LedgerUnavailable) for result in results.values())


def test_a_ledger_that_was_down_is_not_asked_for_a_while() -> None:
    admitter = Admitter(SlowLedger(fail={1}), NoFiles(), lambda _: None)
    admitter.check()
    with pytest.raises(LedgerUnavailable):
        admitter.admit(arrival(1))
    with pytest.raises(LedgerUnavailable):
        admitter.check()


def test_a_storage_error_of_one_batch_says_nothing_about_the_ledger() -> None:
    admitter = Admitter(SlowLedger(fail={1}, error=StorageError), NoFiles(), lambda _: None)
    with pytest.raises(StorageError):
        admitter.admit(arrival(1))
    admitter.check()
    assert admitter.admit(arrival(2)).id == 2


def test_files_of_refused_instances_go_only_when_no_row_can_have_them_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, spool = SlowLedger(fail={1, 2}), NoFiles()
    admitter = Admitter(ledger, spool, lambda _: None)
    for number in (1, 2):
        with pytest.raises(LedgerUnavailable):
            admitter.admit(arrival(number))
    ledger.known = {"in/2"}  # its commit had happened after all
    admitter.admit(arrival(3))
    assert spool.removed == []
    monkeypatch.setattr("radanon_node.network.admission._IN_DOUBT_S", -1.0)
    admitter.admit(arrival(4))
    admitter.admit(arrival(5))
    assert spool.removed == ["in/1"]
