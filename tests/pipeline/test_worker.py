"""One bad instance costs itself alone: not its batch, not its worker, and nothing that was acknowledged."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from radanon_node.errors import ConfigError, DiskLow, HoldInstance, LedgerUnavailable, Reason
from radanon_node.ledger import faults
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.seal import Seal, load_key
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.types import Arrival, Finished, ReleaseRecord
from radanon_node.pipeline import closing, loop, watchdog, worker
from radanon_node.pipeline.loop import Worker
from radanon_node.pipeline.released import Released, digest_of
from radanon_node.pipeline.tools import Policy
from radanon_node.pipeline.types import Quarantined, Received
from radanon_node.pipeline.watchdog import EXIT_TIME_LIMIT, Watchdog
from radanon_node.pipeline.worker import run_worker
from radanon_node.settings import Config

SYNTAX = str(ExplicitVRLittleEndian)
KEY = bytes(range(32))
_fork = multiprocessing.get_context("fork")
_uids = count(1)


class Site:
    """A node's stores, and a worker on them whose cleaner does what a file's first word says."""

    def __init__(self, root: Path, **worker_settings: Any) -> None:
        self.root = root
        self.config = Config.model_validate({
            "node": {"data_dir": root}, "profiles": {"films": {}}, "destinations": {"archive": {"directory": root / "out"}},
            "routes": [{"ae_title": "RESEARCH", "profile": "films", "destinations": ["archive"]}],
            "worker": {"attempts": 3, **worker_settings}})
        self.open()
        self.batches: list[list[str]] = []
        self.seen: dict[str, int] = {}

    def open(self) -> None:
        self.spool = Spool(self.config.spool_dir)
        self.ledger = Ledger(self.config.ledger_url, KEY, self.spool, self.config.worker.attempts)
        self.stop, self.wake, self.released = threading.Event(), threading.Event(), threading.Event()

    def close(self) -> None:
        self.ledger.close()
        self.spool.close()

    def admit(self, *bodies: bytes, route: str = "RESEARCH") -> list[int]:
        arrivals = []
        for body in bodies:
            incoming = self.spool.begin(body)
            incoming.seal()
            arrivals.append(Arrival(incoming.name, incoming.size, route, "SCU", ComputedRadiographyImageStorage, f"1.{next(_uids)}",
                                    SYNTAX, 0.0))
        return [admission.id for admission in self.ledger.admit(arrivals)]

    def clean(self, received: Sequence[Received], policy: Policy) -> list[Released | Quarantined]:
        self.batches.append([one.label for one in received])
        assert policy.route == "RESEARCH"
        return [self._clean(one) for one in received]

    def _clean(self, one: Received) -> Released | Quarantined:
        word = bytes(one.data[:]).split(b" ")[0].decode()
        self.seen[one.label] = self.seen.get(one.label, 0) + 1
        if word == "hold":
            return Quarantined(one.label, Reason.TOO_MUCH_TEXT, "half of it")
        if word == "internal" or (word == "flaky" and self.seen[one.label] == 1):
            return Quarantined(one.label, Reason.INTERNAL_ERROR, "KeyError at x.py:1")
        if word == "boom":
            raise ZeroDivisionError("DOE^JOHN")
        if word == "memory":
            raise MemoryError
        if word == "raised":
            raise HoldInstance(Reason.VIDEO, "moving")
        if word == "weights":
            raise ConfigError("worker.weights: x.onnx does not exist")
        if word == "rules":
            raise ConfigError("rules/x.yaml: cannot be read")
        data = b"cleaned " + bytes(one.data[:])
        uid = f"2.25.{one.claimed_sop_instance_uid[2:]}"
        record = ReleaseRecord(one.claimed_sop_class_uid, uid, SYNTAX, "", len(data), digest_of(data), "")
        seal = Seal(KEY)
        return Released.reopen(replace(record, seal=seal.sign(record)), data, seal)

    def worker(self, clean: Any = None) -> Worker:
        return Worker(self.config, self.ledger, self.spool, "worker", clean or self.clean)

    def work(self, clean: Any = None) -> int:
        """All that is due; returns how many claims that took."""
        made = self.worker(clean)
        try:
            claims = 0
            while made.work(self.stop, self.released):
                claims += 1
            return claims
        finally:
            made.close()

    def states(self) -> dict[str, int]:
        return {state: n for state, n in self.ledger.status()["states"].items() if n}

    def reasons(self) -> dict[int, str]:
        return {entry.id: entry.reason or entry.state for entry in self.ledger.quarantine_list()}

    def files(self) -> list[str]:
        self.spool.rest()
        return sorted(path.relative_to(self.config.spool_dir).as_posix() for path in self.config.spool_dir.rglob("*.dcm"))


@pytest.fixture
def events() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
def make_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: list[Any]) -> Iterator[Callable[..., Site]]:
    for module in (loop, closing):
        monkeypatch.setattr(module, "backoff", lambda attempts: 0.0)
    made: list[Site] = []

    def make(**worker_settings: Any) -> Site:
        made.append(Site(tmp_path / str(len(made)), **worker_settings))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()


def test_a_batch_is_cleaned_in_one_call_stored_and_queued(site: Site) -> None:
    ids = site.admit(*(b"good %d" % k for k in range(5)))
    assert site.work() == 1
    assert site.batches == [[str(one) for one in ids]]
    assert site.released.is_set()
    deliveries = site.ledger.claim_deliveries("sender", "archive", 10, 60)
    assert [item.instance_id for item in deliveries] == ids
    for item, one in zip(deliveries, range(5), strict=True):
        with site.spool.open(item.release.file) as opened:
            Released.reopen(item.release, opened.data, site.ledger.seal)
            assert opened.data[:] == b"cleaned good %d" % one


def test_one_that_raises_takes_none_with_it(site: Site) -> None:
    ids = site.admit(b"good 1", b"boom", b"good 2", b"hold")
    site.work()
    assert site.states() == {"released": 2, "quarantined": 2}
    assert site.reasons() == {ids[1]: "internal_error", ids[3]: "too_much_text"}
    assert site.seen[str(ids[1])] == site.config.worker.attempts + 1  # once in the batch
    assert all("DOE" not in entry.detail for entry in site.ledger.quarantine_list())


@given(st.lists(st.sampled_from(["good", "hold", "boom", "internal", "flaky", "memory", "raised", "weights", "rules"]),
                min_size=1, max_size=20))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_each_ends_as_its_own_content_deserves(make_site: Callable[..., Site], words: list[str]) -> None:
    site = make_site(batch_size=6)
    ids = site.admit(*(f"{word} {k}".encode() for k, word in enumerate(words)))
    site.work()
    verdicts = {"hold": "too_much_text", "boom": "internal_error", "internal": "internal_error", "memory": "internal_error",
                "raised": "video", "weights": "model_missing", "rules": "rule_missing"}
    assert site.reasons() == {one: verdicts[word] for one, word in zip(ids, words, strict=True) if word in verdicts}
    good = sum(word in ("good", "flaky") for word in words)
    assert site.states().get("released", 0) == good
    assert sum(name.startswith("out/") for name in site.files()) == good


def test_a_held_instance_names_its_series_and_number(site: Site) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3"
    dataset.SeriesNumber, dataset.InstanceNumber = 4, 12
    stream = BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    site.admit(stream.getvalue())
    site.work(lambda received, policy: [Quarantined(one.label, Reason.VIDEO) for one in received])
    (entry,) = site.ledger.quarantine_list()
    assert (entry.series_number, entry.instance_number) == (4, 12)


def test_a_route_that_is_gone_is_quarantined(site: Site) -> None:
    ids = site.admit(b"good", route="OLD") + site.admit(b"good")
    site.work()
    assert site.reasons() == {ids[0]: "rule_missing"}
    assert site.states() == {"quarantined": 1, "released": 1}


def test_large_files_are_not_cleaned_all_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_BATCH_BYTES", 10)
    site.admit(b"good 1", b"good 2 and large", b"good 3", b"good 4")
    site.work()
    assert [len(batch) for batch in site.batches] == [1, 1, 1, 1]
    assert site.states() == {"released": 4}


def test_a_full_disk_costs_no_attempt(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> list[str]:
        raise DiskLow("spool: write: No space left on device")

    site.admit(b"good")
    made = site.worker()
    with monkeypatch.context() as patch:
        patch.setattr(site.spool, "store_all", full)
        for _ in range(2 * site.config.worker.attempts):
            assert made.work(site.stop, site.released) == 1
    assert not site.released.is_set()
    assert made.work(site.stop, site.released) == 1
    made.close()
    assert site.states() == {"released": 1}


def test_a_lost_file_ends_as_failed(site: Site) -> None:
    site.admit(b"good 1", b"good 2")
    site.spool.remove(site.files()[0])
    site.work()
    assert site.states() == {"released": 1, "failed": 1}
    assert "No such file" in site.ledger.quarantine_list()[0].detail


def test_a_receipt_no_database_takes_is_one_instances_fault(site: Site) -> None:
    def clean(received: Sequence[Received], policy: Policy) -> list[Released | Quarantined]:
        results = site.clean(received, policy)
        for result in results:
            if isinstance(result, Released) and b"nan" in bytes(result.encoded):
                result.receipt["confidence"] = float("nan")
        return results

    ids = site.admit(b"good", b"good nan", b"good")
    site.work(clean)
    assert site.reasons() == {ids[1]: "internal_error"}
    assert site.states() == {"released": 2, "quarantined": 1}


def test_outcomes_are_written_once_the_ledger_is_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    finish, refused = site.ledger.finish, iter([True, True, False])

    def down(outcomes: Sequence[Finished]) -> list[int]:
        if next(refused):
            raise LedgerUnavailable("ledger: OperationalError")
        return finish(outcomes)

    monkeypatch.setattr(site.ledger, "finish", down)
    monkeypatch.setattr(site.stop, "wait", lambda timeout: False)
    site.admit(b"good")
    made = site.worker()
    made.work(site.stop, site.released)
    made.close()
    assert site.states() == {"released": 1}
    assert sum(site.seen.values()) == 1


def test_what_is_claimed_at_shutdown_is_given_back_uncounted(site: Site) -> None:
    site.admit(b"good")
    site.stop.set()
    made = site.worker()
    made.work(site.stop, site.released)
    made.close()
    assert site.states() == {"received": 1}
    (item,) = site.ledger.claim("other", 1, 60)
    assert item.attempts == 0


def test_it_runs_until_told_to_stop_and_wakes_up_for_work(site: Site) -> None:
    made = site.worker()
    thread = threading.Thread(target=made.run, args=(site.stop, site.wake, site.released))
    thread.start()
    site.admit(b"good")
    site.wake.set()
    assert site.released.wait(30)
    site.stop.set()
    site.wake.set()
    thread.join(30)
    made.close()
    assert not thread.is_alive()
    assert site.states() == {"released": 1}


def test_a_long_batch_keeps_its_claim(make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site(lease=0.3)
    renewed, renew = threading.Semaphore(0), site.ledger.renew
    monkeypatch.setattr(site.ledger, "renew", lambda items, lease: (renew(items, lease), renewed.release())[0])

    def slow(received: Sequence[Received], policy: Policy) -> list[Released | Quarantined]:
        for _ in range(4):
            assert renewed.acquire(timeout=30)
        assert site.ledger.claim("thief", 1, 60) == []
        return site.clean(received, policy)

    site.admit(b"good")
    assert site.work(slow) == 1
    assert site.states() == {"released": 1}


@pytest.mark.parametrize(("bodies", "states"), [([b"good"], {"quarantined": 1}), ([b"good 1", b"good 2"], {"received": 2})])
def test_past_the_time_limit_the_process_leaves(site: Site, bodies: list[bytes], states: dict[str, int]) -> None:
    left: list[int] = []
    gone = threading.Event()
    dog = Watchdog(site.ledger, "worker", 60, 0.05, leave=lambda code: (left.append(code), gone.set())[0])
    site.admit(*bodies)
    items = site.ledger.claim("worker", 16, 60)
    dog.hold(items)
    with dog.working(items):
        assert gone.wait(30)
    assert left == [EXIT_TIME_LIMIT]
    assert site.states() == states
    assert set(site.reasons().values()) <= {"time_limit"}


def test_a_codec_that_holds_the_interpreter_is_ended_by_the_kernel(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "_GRACE_S", 0.05)

    def child() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        dog = Watchdog(site.ledger, "worker", 60, 0.05, leave=lambda code: None)
        with dog.working([]):
            signal.pause()

    process = _fork.Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGALRM


@pytest.mark.parametrize("fault", [f"worker.after_{name}:{n}" for name in ("claim", "clean", "store", "finish") for n in (1, 2)])
def test_killed_at_any_transition_nothing_is_lost_or_doubled(make_site: Callable[..., Site], fault: str) -> None:
    site = make_site(batch_size=3)
    ids = site.admit(*(b"good %d" % k for k in range(6)))

    def child(fault: str) -> None:
        faults.arm(fault)
        site.open()
        site.work()

    for armed, code in ((fault, -signal.SIGKILL), ("", 0)):
        process = _fork.Process(target=child, args=(armed,))
        process.start()
        process.join(60)
        assert process.exitcode == code
        site.ledger.give_back("worker")
    assert site.states() == {"released": 6}
    site.spool.sweep(site.ledger.known_files)
    deliveries = site.ledger.claim_deliveries("sender", "archive", 100, 60)
    assert sorted(item.instance_id for item in deliveries) == ids
    assert sum(name.startswith("out/") for name in site.files()) == 6


def test_one_that_kills_its_worker_is_found_and_quarantined(make_site: Callable[..., Site]) -> None:
    site = make_site(batch_size=4)
    ids = site.admit(b"good 1", b"poison", b"good 2", b"good 3")

    def deadly(received: Sequence[Received], policy: Policy) -> list[Released | Quarantined]:
        if any(bytes(one.data[:]) == b"poison" for one in received):
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel's memory killer does
        return site.clean(received, policy)

    def child() -> None:
        site.open()
        site.work(deadly)

    deaths = 0
    while True:
        process = _fork.Process(target=child)
        process.start()
        process.join(60)
        if process.exitcode == 0:
            break
        deaths += 1
        site.ledger.give_back("worker")
    assert deaths == site.config.worker.attempts
    assert site.reasons() == {ids[1]: "worker_killed"}
    assert site.states() == {"released": 3, "quarantined": 1}


def test_memory_is_bounded() -> None:
    def child() -> None:
        worker._limit_memory(2 * 2**30)
        try:
            bytearray(4 * 2**30)
        except MemoryError:
            os._exit(7)

    process = _fork.Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == 7


def test_the_real_entry_point_quarantines_garbage_and_stops(tmp_path: Path) -> None:
    load_key(tmp_path / "secret.key", create=True)
    config = Config.model_validate({
        "node": {"data_dir": tmp_path}, "profiles": {"films": {}}, "destinations": {"archive": {"directory": tmp_path / "out"}},
        "routes": [{"ae_title": "RESEARCH", "profile": "films", "destinations": ["archive"]}]})
    spool = Spool(config.spool_dir)
    ledger = Ledger(config.ledger_url, load_key(config.node.key_path, create=False), spool)
    incoming = spool.begin(b"this is no DICOM file")
    incoming.seal()
    ledger.admit([Arrival(incoming.name, incoming.size, "RESEARCH", "SCU", ComputedRadiographyImageStorage, "1.2.3", SYNTAX, time.time())])
    spawn = multiprocessing.get_context("spawn")
    stop, wake, released = spawn.Event(), spawn.Event(), spawn.Event()
    process = spawn.Process(target=run_worker, args=(config, "worker-1", stop, wake, released))
    process.start()
    until = time.monotonic() + 100
    while not (entries := ledger.quarantine_list()) and process.is_alive() and time.monotonic() < until:
        stop.wait(0.05)
    stop.set()
    wake.set()
    process.join(60)
    assert process.exitcode == 0
    assert [entry.state for entry in entries] == ["quarantined"]
    assert entries[0].reason in (Reason.NOT_DICOM, Reason.UNPARSABLE_DATASET)
    ledger.close()
    spool.close()
