"""The bell wakes across processes and does not care who has died."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.context import SpawnContext

import pytest

from radanon_node.bell import Bell

SPAWN: SpawnContext = multiprocessing.get_context("spawn")


def test_it_rings_until_cleared() -> None:
    bell = Bell()
    assert not bell.is_set()
    bell.set()
    bell.set()
    assert bell.wait()
    assert bell.wait(0.0)
    bell.clear()
    bell.clear()
    assert not bell.wait(0.001)


def test_all_threads_that_wait_go_on() -> None:
    bell = Bell()
    woken = threading.Semaphore(0)
    threads = [threading.Thread(target=lambda: bell.wait(60) and woken.release()) for _ in range(4)]
    for thread in threads:
        thread.start()
    bell.set()
    for thread in threads:
        thread.join(60)
        assert woken.acquire(timeout=60)


@pytest.mark.timeout(120)
def test_it_rings_in_a_spawned_process_and_outlives_one_killed_while_waiting() -> None:
    bell, answer = Bell(), Bell()
    # The child is `answer.set` run as a process of its own; then one that waits for what never comes is killed.
    ringing = SPAWN.Process(target=answer.set)
    ringing.start()
    assert answer.wait(60)
    ringing.join(60)
    waiting = SPAWN.Process(target=bell.wait)
    waiting.start()
    pid = waiting.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    waiting.join(60)
    bell.set()
    assert bell.is_set()
    late = SPAWN.Process(target=bell.wait)
    late.start()
    late.join(60)
    assert late.exitcode == 0
