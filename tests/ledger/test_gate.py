"""Writers take turns, whoever dies or hangs."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from radanon_node.errors import ConfigError
from radanon_node.ledger.gate import Gate


def _hold(path: Path, told: object, seconds: float) -> None:
    with Gate(path, 10.0).turn():
        told.set()  # type: ignore[attr-defined]
        time.sleep(seconds)


def test_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    gate, inside, most = Gate(tmp_path / "turn", 30.0), [0], [0]

    def write() -> None:
        for _ in range(50):
            with gate.turn():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_another_process_is_waited_for_and_its_death_frees_the_turn(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    told = context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "turn", told, 600.0), daemon=True)
    other.start()
    try:
        assert told.wait(60)
        gate = Gate(tmp_path / "turn", 0.05)
        begun = time.monotonic()
        with gate.turn():  # its time is over: it goes on without a turn, and SQLite decides
            assert time.monotonic() - begun >= 0.05
        assert other.pid is not None
        os.kill(other.pid, signal.SIGKILL)
        other.join()
        patient = Gate(tmp_path / "turn", 60.0)
        with patient.turn():
            pass
        assert time.monotonic() - begun < 60
    finally:
        other.kill()
        other.join()


def test_a_thread_that_does_not_get_its_turn_goes_on(tmp_path: Path) -> None:
    gate = Gate(tmp_path / "turn", 0.02)
    passed = threading.Event()

    def write() -> None:
        with gate.turn():
            passed.set()

    with gate.turn():
        thread = threading.Thread(target=write)
        thread.start()
        assert passed.wait(30)
    thread.join()


def test_an_error_inside_gives_the_turn_back(tmp_path: Path) -> None:
    gate = Gate(tmp_path / "turn", 30.0)
    with pytest.raises(ValueError, match="inside"), gate.turn():
        raise ValueError("inside")
    with Gate(tmp_path / "turn", 30.0).turn():
        pass


def test_closed_it_lets_everybody_through(tmp_path: Path) -> None:
    gate = Gate(tmp_path / "turn", 30.0)
    gate.close()
    with gate.turn():
        pass


def test_a_file_that_cannot_be_made_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ledger\.url"):
        Gate(tmp_path / "absent" / "turn", 1.0)


def _write_on(path: Path, started: object, stop: object) -> None:
    gate = Gate(path, 30.0)
    started.release()  # type: ignore[attr-defined]
    while not stop.is_set():  # type: ignore[attr-defined]
        with gate.turn():
            time.sleep(0.02)


def test_an_urgent_writer_waits_for_one_other_at_most(tmp_path: Path) -> None:
    """It gets its turn while the queue of the others is held up altogether."""
    context = multiprocessing.get_context("spawn")
    started, stop = context.Semaphore(0), context.Event()
    others = [context.Process(target=_write_on, args=(tmp_path / "turn", started, stop), daemon=True) for _ in range(3)]
    for other in others:
        other.start()
    try:
        for _ in others:
            assert started.acquire(timeout=60)
        gate = Gate(tmp_path / "turn", 60.0)
        queue = os.open(tmp_path / "turn-queue", os.O_RDWR)
        fcntl.flock(queue, fcntl.LOCK_EX)  # whoever stood in the queue is inside or gone: nobody else can come before us
        with gate.turn(urgent=True):
            pass
        os.close(queue)
        with gate.turn():
            pass  # and without urgency in its turn
    finally:
        stop.set()
        for other in others:
            other.join(60)
            assert other.exitcode == 0
