"""The node as its users meet it: storescu pushes, storescp and Orthanc receive, radanon says what happened."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pydicom
import pytest
import yaml

from tests.integration.harness import NodeProcess, assert_clean, film, originals, storescu, write_study
from tests.peers import free_port, orthanc, storescp

pytestmark = pytest.mark.integration


def received(folder: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def test_a_study_arrives_clean_and_nothing_stays_behind(node: NodeProcess, archive: tuple[Path, int], tmp_path: Path) -> None:
    files = write_study(tmp_path / "in", 5, seed=1)
    storescu(node.start(), files)
    node.wait_states(delivered=5)
    assert node.status()["destinations"]["archive"] == {"waiting": 0, "delivered": 5, "failed": 0, "up": True}
    sources, arrived = originals(files), received(archive[0])
    assert len(arrived) == 5
    assert {ds.PixelData for ds in sources} == {ds.PixelData for ds in arrived}
    for path in archive[0].iterdir():
        assert_clean(path.read_bytes(), sources[0])
    assert len({ds.StudyInstanceUID for ds in arrived}) == len({ds.PatientID for ds in arrived}) == 1
    assert len({ds.SOPInstanceUID for ds in arrived}) == 5
    wait_for_empty_spool(node)
    log = "".join(node.lines)
    for word in (*str(sources[0].PatientName).split("^"), str(sources[0].PatientID), str(sources[0].SOPInstanceUID)):
        assert word not in log
    assert node.stop() == 0


def wait_for_empty_spool(node: NodeProcess) -> None:
    """Originals and released files go after delivery; the node says so with the event ``purged``."""
    node.wait_event("purged")
    spool = node.folder / "var" / "spool"

    def empty() -> bool:
        with contextlib.suppress(FileNotFoundError):  # removed between listing and looking: look again
            return not any(path.stat().st_size for path in spool.rglob("*.dcm"))  # it keeps a few empty files ready
        return False

    wait_until(empty)


def test_orthanc_forwards_to_the_node_and_receives_from_it(node: NodeProcess, tmp_path: Path) -> None:
    node.config["listener"]["port"] = free_port()
    modalities = {"radanon": ["IN", "127.0.0.1", node.config["listener"]["port"]]}
    with orthanc(tmp_path / "pacs", modalities) as pacs, orthanc(tmp_path / "research") as research:
        node.config["destinations"]["archive"].update(port=research.port, ae_title="ORTHANC")
        node.start()
        files = write_study(tmp_path / "in", 2, seed=2, make=film)
        for path in files:
            pacs.post("/instances", path.read_bytes())
        pacs.post("/modalities/radanon/store", {"Resources": pacs.instances(), "Synchronous": True})
        node.wait_states(delivered=2)
        assert len(research.instances()) == 2
        for identifier in research.instances():
            assert_clean(research.get_bytes(f"/instances/{identifier}/file"), originals(files)[0])


def test_key_ledger_and_originals_are_the_users_alone(node: NodeProcess, archive: tuple[Path, int], tmp_path: Path) -> None:
    node.config["destinations"]["archive"]["port"] = free_port()  # nobody there: the originals stay
    storescu(node.start(), write_study(tmp_path / "in", 1, seed=3))
    node.wait_states(released=1)
    var = node.folder / "var"
    for path in [var, *var.rglob("*")]:
        assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path


def test_a_restart_keeps_the_pseudonyms(node: NodeProcess, archive: tuple[Path, int], tmp_path: Path) -> None:
    files = write_study(tmp_path / "in", 4, seed=4)
    storescu(node.start(), files[:2])
    node.wait_states(delivered=2)
    assert node.stop() == 0
    storescu(node.start(), files[2:])
    node.wait_states(delivered=4)
    arrived = received(archive[0])
    assert len(arrived) == 4
    assert len({(ds.PatientID, str(ds.PatientName), ds.StudyInstanceUID, ds.StudyDate) for ds in arrived}) == 1


def test_the_same_instance_twice_is_one_and_other_content_is_set_apart(
    node: NodeProcess, archive: tuple[Path, int], tmp_path: Path
) -> None:
    (path,) = write_study(tmp_path / "in", 1, seed=5)
    port = node.start()
    storescu(port, [path, path])
    node.wait_states(delivered=1)
    storescu(port, [path])
    changed = tmp_path / "changed.dcm"
    ds = pydicom.dcmread(path)
    ds.StudyDescription = "other content"
    ds.save_as(changed)
    storescu(port, [changed])
    node.wait_states(delivered=1, quarantined=1)
    (held,) = node.quarantine()
    assert held["reason"] == "uid_conflict"
    assert len(received(archive[0])) == 1
    refused = node.command("quarantine", "release", str(held["id"]), "--reason", "looked at it", check=False)
    assert refused.returncode == 2
    assert "uid_conflict" in refused.stderr
    node.command("quarantine", "drop", str(held["id"]), "--reason", "the source says the first is right")
    assert node.quarantine() == []


def test_what_cannot_be_judged_is_held_and_the_rest_goes_on(node: NodeProcess, archive: tuple[Path, int], tmp_path: Path) -> None:
    good = write_study(tmp_path / "good", 3, seed=6)
    (bad,) = write_study(tmp_path / "bad", 1, seed=7)
    ds = pydicom.dcmread(bad)
    ds.NumberOfFrames = 1_000_000
    ds.save_as(bad)
    storescu(node.start(), [good[0], bad, *good[1:]])
    node.wait_states(delivered=3, quarantined=1)
    (held,) = node.quarantine()
    assert held["reason"] == "pixel_data_mismatch"
    assert len(received(archive[0])) == 3
    shown = json.loads(node.command("quarantine", "show", str(held["id"]), "--json").stdout)
    assert shown["can_be_released"] is False
    node.command("quarantine", "retry", str(held["id"]))
    node.wait_states(delivered=3, quarantined=1)


def test_a_dead_archive_does_not_delay_a_live_one_and_gets_everything_later(node: NodeProcess, tmp_path: Path) -> None:
    port = free_port()
    node.config["destinations"] = {
        "dead": {**node.config["destinations"]["archive"], "port": port},
        "alive": {"directory": str(tmp_path / "alive")},
    }
    node.config["routes"][0]["destinations"] = ["dead", "alive"]
    files = write_study(tmp_path / "in", 4, seed=8)
    storescu(node.start(), files)
    node.wait_states(released=4)
    with node.ledger() as ledger:
        wait_until(lambda: ledger.status()["destinations"]["alive"]["delivered"] == 4)
        wait_until(lambda: ledger.status()["destinations"]["dead"] == {"waiting": 4, "delivered": 0, "failed": 0, "up": False})
    assert len(list((tmp_path / "alive").rglob("*.dcm"))) == 4
    with storescp(tmp_path / "late", port=port) as peer:
        node.wait_states(delivered=4)
        assert len(received(peer.folder)) == 4


def wait_until(condition: Callable[[], bool], timeout: float = 60.0) -> None:
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_sigterm_under_load_loses_nothing(node: NodeProcess, archive: tuple[Path, int], tmp_path: Path) -> None:
    files = write_study(tmp_path / "in", 60, seed=9)
    port = node.start()
    command = ["storescu", "-aec", "IN", "127.0.0.1", str(port), *map(str, files)]
    sender = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "TCP_NODELAY": "1"})
    with node.ledger() as ledger:
        wait_until(lambda: sum(ledger.status()["states"].values()) >= 5)
    assert node.stop() == 0
    sender.wait(60)
    storescu(node.start(), files)  # what a sender does: everything again; what was acknowledged is recognised
    node.wait_states(delivered=60)
    assert len(received(archive[0])) == 60


def test_below_the_disk_floor_nothing_is_taken(node: NodeProcess, tmp_path: Path) -> None:
    node.config["listener"]["min_free_disk"] = "1000TiB"
    done = storescu(node.start(), write_study(tmp_path / "in", 1, seed=10), check=False, options=["-v"])
    assert "OutOfResources" in done.stdout + done.stderr or "Refused" in done.stdout + done.stderr
    assert node.wait_states()["received"] == 0


def test_a_taken_port_is_one_line(node: NodeProcess, tmp_path: Path) -> None:
    node.config["listener"]["port"] = node.start()
    elsewhere = {**node.config["node"], "data_dir": str(tmp_path / "second" / "var")}
    second = NodeProcess(tmp_path / "second", {**node.config, "node": elsewhere})
    second.folder.mkdir()
    second.config_path.write_text(yaml.safe_dump(second.config))
    done = second.command("serve", check=False)
    assert done.returncode == 2
    assert "listener.port" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_config_mistake_is_one_line_and_exit_2(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("listener:\n  prot: 1\n")
    command = [sys.executable, "-m", "radanon_node", "serve", "--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"radanon: {path}: listener.prot: unknown key; did you mean 'port'?")
    assert len(done.stderr.splitlines()) == 1


def test_a_killed_worker_is_replaced_and_its_work_done(node: NodeProcess, archive: tuple[Path, int], tmp_path: Path) -> None:
    port = node.start()
    files = write_study(tmp_path / "in", 20, seed=11)
    storescu(port, files[:10])
    for child in children(node):
        os.kill(child, signal.SIGKILL)
    node.wait_event("process died")
    storescu(port, files[10:])
    node.wait_states(delivered=20)
    assert len(received(archive[0])) == 20


def children(node: NodeProcess) -> list[int]:
    """Process ids of the node's workers and sender."""
    assert node.process is not None
    found = psutil.Process(node.process.pid).children()
    return [child.pid for child in found if "spawn_main" in " ".join(child.cmdline())]


def test_a_killed_node_leaves_no_process(node: NodeProcess) -> None:
    node.start()
    before = [psutil.Process(pid) for pid in children(node)]
    assert before
    node.kill()
    gone, alive = psutil.wait_procs(before, timeout=60)
    assert alive == []
