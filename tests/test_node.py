"""Names that claims are signed with, and telling a dead owner from a living one."""

from __future__ import annotations

import os
import subprocess
import sys

from radanon_node import config as configuration
from radanon_node.children import is_dead, owner_name
from radanon_node.node import worker_count


def test_this_process_is_alive() -> None:
    assert not is_dead(owner_name("worker-1", 0))


def test_a_process_that_ended_is_dead() -> None:
    program = "from radanon_node.children import owner_name; print(owner_name('worker-1', 2))"
    owner = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    assert is_dead(owner)


def test_a_reused_process_id_is_not_taken_for_the_old_owner() -> None:
    host, node, child = owner_name("sender", 0).split("/")
    assert is_dead(f"{host}/{node}0/{child}")


def test_owners_on_other_hosts_are_left_to_their_leases() -> None:
    assert not is_dead("elsewhere/1.1/worker-1.0")
    assert not is_dead("something else")


def test_one_worker_per_core_unless_told_otherwise() -> None:
    assert worker_count(configuration.parse({})) == len(os.sched_getaffinity(0))
    assert worker_count(configuration.parse({"worker": {"processes": 3}})) == 3
