"""Several processes that receive on one port: shared fairly, limited together, and one that is killed takes nothing back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from radanon_node.bell import Bell, EchoBell
from radanon_node.child import Wakeups
from radanon_node.children import Children, process_count
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from radanon_node.receiving import Receiver
from radanon_node.settings import Config
from radanon_node.store import open_store
from tests.network.kit import (
    CT,
    RELEASE_RQ,
    ROUTE,
    Peer,
    associate_rq,
    echo_command,
    encoded,
    make_config,
    make_instance,
    pdu,
    sleeps,
    store_command,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@dataclass
class Site:
    """A receiver of several processes under watch, as a node has it."""

    config: Config
    ledger: Ledger
    spool: Spool
    receiver: Receiver
    children: Children
    port: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def pids(self) -> list[int]:
        return [child.process.pid for child in self.children.children if child.process is not None and child.process.pid]

    def watch(self) -> None:
        while not self.over.wait(0.1):
            self.children.watch(self.ledger)

    @contextmanager
    def renewed(self, config: Config) -> Iterator[None]:
        """Under another configuration for a while."""
        for each in (config, self.config):
            self.receiver.renew(each)
            self.children.renew(each)
            for _ in self.pids:  # each process takes what it is sent in order: these come after
                with Peer(self.port) as peer:
                    peer.send(RELEASE_RQ)
                    peer.recv()
            if each is config:
                yield

    def wait_for_all(self) -> None:
        assert self.receiver._acceptors is not None
        self.until(lambda: len(self.pids) == 2)
        assert self.receiver._acceptors.wait_until_up(60)

    def open_by_process(self) -> list[int]:
        assert self.receiver._acceptors is not None
        places = self.receiver._acceptors._places
        return list(places._counts[:places.slots])

    def until(self, condition: Any, seconds: float = 60.0) -> None:
        limit = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < limit, "it does not come about"
            time.sleep(0.01)

    def have_rows(self, uids: set[str]) -> bool:
        return "unknown" not in self.ledger.committed(sorted(uids), ROUTE).values()


@contextmanager
def receiving(folder: Path) -> Iterator[Site]:
    config = make_config(folder, {"processes": 2}, node={"data_dir": str(folder), "drain_timeout": "10s"})
    ledger, spool = open_store(config, create_key=True)
    wake = Wakeups(Bell(), EchoBell(), EchoBell())
    site = Site(config, ledger, spool, Receiver(config, ledger, spool, wake), Children(config, wake))
    site.port = site.receiver.start()
    site.receiver.add_to(site.children)
    site.children.start()
    watching = threading.Thread(target=site.watch)
    watching.start()
    try:
        site.receiver.wait_until_up(site.children)
        yield site
    finally:
        site.over.set()
        watching.join()
        site.children.stop()
        site.receiver.stop(0.0)
        site.children.join(time.monotonic() + config.node.drain_timeout)
        ledger.close()
        spool.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all tests that leave it as it was."""
    with receiving(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def site(shared: Site) -> Site:
    shared.until(lambda: shared.receiver.associations == 0)
    return shared


def test_associations_are_shared_fairly_and_limited_together(site: Site) -> None:
    limited = site.config.listener.model_copy(update={"max_associations": 4})
    with site.renewed(site.config.model_copy(update={"listener": limited})):
        peers = [Peer(site.port) for _ in range(4)]
        for peer in peers:
            peer.associate()
        assert site.open_by_process() == [2, 2]
        with Peer(site.port) as fifth:
            fifth.send(associate_rq())
            assert fifth.recv() == (3, b"\0\2\3\2")  # local limit exceeded, whichever process was asked
        for peer in peers[::2]:
            peer.send(RELEASE_RQ)
            assert peer.recv()[0] == 6
        site.until(lambda: site.receiver.associations == 2)
        again = [Peer(site.port) for _ in range(2)]
        for peer in again:
            peer.associate()
        assert site.open_by_process() == [2, 2]
        for peer in [*peers, *again]:
            peer.sock.close()
        site.until(lambda: site.receiver.associations == 0)


def test_kill_9_of_one_under_load_loses_nothing_and_stops_nobody_else(site: Site) -> None:
    acknowledged: set[str] = set()
    lock, over = threading.Lock(), threading.Event()
    template = encoded(make_instance(60_000, uid="1.2.3.100000"))
    lost = threading.Semaphore(0)

    def send(number: int) -> None:
        """Like a modality: goes on to send, on a new association when the old one breaks."""
        sent = 0
        while not over.is_set():
            try:
                with Peer(site.port) as peer:
                    peer.associate()
                    while not over.is_set():
                        uid = f"1.2.3.{100000 + 10000 * number + sent}"
                        assert peer.store(template.replace(b"1.2.3.100000", uid.encode(), 1), uid) == 0
                        with lock:
                            acknowledged.add(uid)
                        sent += 1
            except (OSError, AssertionError):
                lost.release()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        target = len(acknowledged) + 60
        site.until(lambda target=target: len(acknowledged) >= target)
        busiest = site.open_by_process()
        killed = site.pids[busiest.index(max(busiest))]
        os.kill(killed, signal.SIGKILL)
        lost.acquire()
        target = len(acknowledged) + 20
        site.until(lambda target=target: len(acknowledged) >= target)  # nobody waits until it is replaced
        site.until(lambda killed=killed: killed not in site.pids)
        site.wait_for_all()
    over.set()
    for thread in threads:
        thread.join()
    site.until(lambda: site.receiver.associations == 0)
    site.until(lambda: site.have_rows(acknowledged))  # also those of the killed, from their files, without a restart of the node
    items = {item.sop_instance_uid: item for item in site.ledger.claim("test", 100_000, 60.0)}
    for uid in acknowledged:
        with site.spool.open(items[uid].file) as opened:
            assert bytes(opened.data).endswith(template.replace(b"1.2.3.100000", uid.encode(), 1))


def test_a_new_configuration_reaches_all_and_open_associations_go_on(site: Site) -> None:
    peers = [Peer(site.port) for _ in range(2)]
    for peer in peers:
        peer.associate()
    before = site.pids

    def answers(called: str) -> list[int]:
        kinds = []
        for _ in range(4):
            with Peer(site.port) as peer:
                peer.send(associate_rq(called=called))
                kinds.append(peer.recv()[0])
        return kinds

    route = site.config.routes[0]
    with site.renewed(site.config.model_copy(update={"routes": (route.model_copy(update={"ae_title": "OTHER"}),)})):
        assert answers(ROUTE) == [3] * 4
        assert answers("OTHER") == [2] * 4
        assert site.pids == before
        for peer in peers:
            peer.send(pdu((3, 3, echo_command())))
            assert peer.response().numbers["Status"] == 0
            peer.sock.close()
        os.kill(before[1], signal.SIGKILL)
        site.until(lambda: before[1] not in site.pids)
        site.wait_for_all()
        assert answers(ROUTE) == [3] * 4  # also the one that was started later
    assert answers(ROUTE) == [2] * 4


def test_stop_lets_instances_in_hand_finish_in_every_process(tmp_path: Path) -> None:
    instances = [make_instance(50_000) for _ in range(2)]
    with receiving(tmp_path) as site:
        peers = [Peer(site.port) for _ in range(2)]
        for peer, instance in zip(peers, instances, strict=True):
            peer.associate()
            peer.send(pdu((1, 3, store_command(CT, instance.SOPInstanceUID))) + pdu((1, 0, encoded(instance)[:10_000])))
        site.until(lambda: len([path for path in site.config.spool_dir.glob("in/[0-9a-f]*/?/*") if path.stat().st_size]) == 2)
        site.over.set()
        site.children.stop()
        site.receiver.stop(0.0)
        for peer, instance in zip(peers, instances, strict=True):
            peer.send(pdu((1, 2, encoded(instance)[10_000:])))
            assert peer.response().numbers["Status"] == 0
            assert peer.recv()[0] == 7  # then an A-ABORT
            peer.sock.close()
        for child in site.children.children:
            assert child.process is not None
            child.process.join(60)
            assert child.process.exitcode == 0
        assert site.have_rows({instance.SOPInstanceUID for instance in instances})


def test_one_that_is_stopped_holds_up_nobody_but_its_own(site: Site) -> None:
    stopped, _ = site.pids
    os.kill(stopped, signal.SIGSTOP)
    silent: list[Peer] = []
    peers: list[Peer] = []
    try:
        for _ in range(8):
            peer = Peer(site.port, timeout=0.5)
            peer.send(associate_rq())
            try:
                assert peer.recv()[0] == 2
            except TimeoutError:
                silent.append(peer)
            else:
                peers.append(peer)
        assert len(peers) >= 4
    finally:
        os.kill(stopped, signal.SIGCONT)
    for peer in silent:
        peer.sock.settimeout(30)
        assert peer.recv()[0] == 2  # late, but none was lost
    for peer in [*peers, *silent]:
        peer.sock.close()


def test_idle_processes_do_nothing(site: Site) -> None:
    """With associations open and silent none of their threads is woken."""
    peers = [Peer(site.port) for _ in range(4)]
    for peer in peers:
        peer.associate()
    assert all(sleeps(pid) for pid in site.pids)
    for peer in peers:
        peer.sock.close()


def test_auto_leaves_small_machines_as_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for cores, wanted in ((1, 1), (2, 1), (8, 2), (64, 8)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert process_count(make_config(tmp_path).listener.processes) == wanted
    assert process_count(make_config(tmp_path, {"processes": 3}).listener.processes) == 3
