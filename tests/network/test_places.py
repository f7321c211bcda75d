"""Places of associations over several processes: their limit holds for all together, and the dead hold none."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection

from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.network.places import Places


def take_all(places: Places, limit: int, pipe: Connection) -> None:
    """Take what there is; tell how many, wait, give one back, wait to be killed."""
    taken = 0
    while places.take(limit):
        taken += 1
    pipe.send(taken)
    pipe.recv()
    places.give()
    pipe.send("given")
    pipe.recv()


def test_all_processes_together_take_no_more_than_the_limit() -> None:
    context = multiprocessing.get_context("spawn")
    places, pipes, processes = Places(3), [], []
    for slot in range(3):
        here, there = context.Pipe()
        processes.append(context.Process(target=take_all, args=(places.of(slot), 40, there), daemon=True))
        processes[-1].start()
        pipes.append(here)
    try:
        taken = [pipe.recv() for pipe in pipes]
        assert sum(taken) == places.taken == 40
        owner = taken.index(max(taken))
        pipes[owner].send("give")
        assert pipes[owner].recv() == "given"
        assert places.taken == 39
        processes[owner].kill()
        processes[owner].join()
        places.clear(owner)
        assert places.taken == 40 - taken[owner]
    finally:
        for process in processes:
            process.kill()
            process.join()


@given(st.lists(st.sampled_from(["take", "give", "done"]), max_size=40), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_one_process_counts_like_a_counter(acts: list[str], limit: int) -> None:
    places, taken, done = Places(), 0, 0
    for act in acts:
        if act == "take":
            assert places.take(limit) == (taken < limit)
            taken = min(limit, taken + 1)
        elif act == "give" and taken:
            places.give()
            taken -= 1
        elif act == "done":
            places.done()
            done += 1
        assert (places.taken, places.done_by(0)) == (taken, done)
