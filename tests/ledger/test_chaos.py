"""Processes killed at random moments, connections cut: every instance is delivered, under one new SOP Instance UID."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import pytest

from radanon_node.errors import LedgerUnavailable

Hands = Any
_fork = multiprocessing.get_context("fork")
KILLS = 12
INSTANCES = 60


@dataclass
class Role:
    """A process that is started again whenever it was killed."""

    hands: Hands
    act: Callable[[Hands, str], None]
    name: str
    lives: int = 0
    process: ForkProcess = field(init=False)

    @property
    def owner(self) -> str:
        return f"{self.name}/{self.lives}"

    def start(self) -> None:
        self.lives += 1
        self.process = _fork.Process(target=lambda: self.act(self.hands.again(), self.owner))
        self.process.start()

    def killed(self) -> None:
        self.process.kill()
        self.process.join()
        self.hands.ledger.give_back(self.owner)


def work(hands: Hands, owner: str) -> None:
    while items := hands.ledger.claim(owner, 4, 60):
        hands.ledger.finish([hands.released(item) for item in items])


def send(archive: Path) -> Callable[[Hands, str], None]:
    def act(hands: Hands, owner: str) -> None:
        while items := hands.ledger.claim_deliveries(owner, "archive", 4, 60):
            for item in items:
                with hands.spool.open(item.release.file) as opened, (archive / item.release.sop_instance_uid).open("wb") as file:
                    file.write(opened.data)
            hands.ledger.finish_deliveries([(item, "delivered", 0.0, "") for item in items])

    return act


def purge(hands: Hands, owner: str) -> None:
    while hands.ledger.purge(limit=5):
        pass


def test_kills_at_random_lose_and_double_nothing(hands: Hands, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    chance = random.Random(7)
    uids = [f"1.{k}" for k in range(INSTANCES)]
    hands.attempts = hands.ledger.attempts = 10**6  # kills at random are nobody's poison
    ids = hands.admit(*uids)
    roles = [Role(hands, work, "worker 1"), Role(hands, work, "worker 2"), Role(hands, send(archive), "sender"), Role(hands, purge, "node")]
    for role in roles:
        role.start()
    kills = 0
    while hands.states() != {"delivered": len(ids)}:
        role = chance.choice(roles)
        role.process.join(chance.uniform(0.0, 0.3))
        if kills < KILLS and role.process.is_alive():
            role.killed()
            kills += 1
            role.start()
        elif not role.process.is_alive():  # had nothing to do for a moment
            assert role.process.exitcode == 0
            role.start()
    for role in roles:
        role.process.join()
    purge(hands, "node")
    hands.spool.sweep(hands.ledger.known_files)
    assert sorted(path.name for path in archive.iterdir()) == sorted(f"2.25.{uid}" for uid in uids)
    assert all((archive / f"2.25.{uid}").read_bytes() == b"new " + uid.encode() for uid in uids)
    assert hands.files() == set()
    assert hands.sql("SELECT count(*), count(DISTINCT instance_id) FROM releases") == [(len(ids), len(ids))]
    assert hands.ledger.status()["destinations"]["archive"]["delivered"] == len(ids)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_cut_connections_are_said_and_got_over(hands: Hands) -> None:
    hands.admit("1.1")
    hands.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'radanon' AND usename = current_user")
    refused = 0
    while True:
        try:
            (item,) = hands.ledger.claim("worker", 1, 60)
            break
        except LedgerUnavailable:
            refused += 1
            assert refused < 10
    assert refused >= 1
    assert hands.ledger.finish([hands.released(item)]) == []
