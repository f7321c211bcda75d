"""SIGHUP under load: routes, profiles and destinations change, nothing is lost, a bad file changes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pydicom
import pytest
import yaml

from tests.integration.harness import NodeProcess, storescu, write_study

pytestmark = pytest.mark.integration


def reload(node: NodeProcess) -> None:
    with node._news:
        node.events[:] = [event for event in node.events if "configuration" not in event["event"] and "renewed" not in event["event"]]
    node.config_path.write_text(yaml.safe_dump(node.config))
    assert node.process is not None
    node.process.send_signal(signal.SIGHUP)


def test_under_load_nothing_is_lost_and_the_new_rules_apply(node: NodeProcess, archive: tuple[Path, int], tmp_path: Path) -> None:
    port = node.start()
    files = write_study(tmp_path / "in", 60, seed=21)
    command = ["storescu", "-aet", "TESTER", "-aec", "IN", "127.0.0.1", str(port), *map(str, files)]
    sender = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env={**os.environ, "TCP_NODELAY": "1"})
    with node.ledger() as ledger:
        arrived = threading.Event()
        while not arrived.is_set() and sender.poll() is None:
            if sum(ledger.status()["states"].values()) >= 5:
                arrived.set()
    folder = tmp_path / "folder"
    node.config["destinations"]["folder"] = {"directory": str(folder)}
    node.config["routes"].append({"ae_title": "SECOND", "profile": "q", "destinations": ["folder"]})
    node.config["profiles"]["q"] = {"pseudonyms": {"prefix": "OTHER"}}
    node.config["listener"]["port"] = port + 1
    reload(node)
    done = node.wait_event("configuration reloaded", 60)
    assert {"routes.SECOND", "destinations.folder", "profiles.q"} <= set(done["changed"])
    assert node.wait_event("keys that need a restart keep their old value")["keys"] == ["listener.port"]
    out, _ = sender.communicate(timeout=120)
    assert sender.returncode == 0, out  # the association that was open has been served to its end
    node.wait_event("all processes renewed", 120)
    storescu(port, write_study(tmp_path / "more", 3, seed=22), called="SECOND")
    node.wait_states(delivered=63)
    assert len(list(archive[0].iterdir())) == 60
    written = [pydicom.dcmread(path) for path in folder.rglob("*.dcm")]
    assert len(written) == 3
    assert {str(ds.PatientID)[:5] for ds in written} == {"OTHER"}
    with node.ledger() as ledger:
        assert [entry.action for entry in ledger.audit_trail()] == ["config reload", "node start"]
        assert "listener.port" in ledger.audit_trail()[0].reason
        assert ledger.verify_audit() == (2, [])


def test_a_bad_file_changes_nothing(node: NodeProcess, tmp_path: Path) -> None:
    port = node.start()
    good = dict(node.config)
    for bad in ({"listener": {"prot": 1}}, {"routes": []},
                {"destinations": {"archive": {**good["destinations"]["archive"], "transfer_syntaxes": ["1.2.3"]}}}):
        node.config = {**good, **bad}
        reload(node)
        refused = node.wait_event("configuration refused: the old one stays")
        assert refused["problems"]
        storescu(port, write_study(tmp_path / "in", 1, seed=23))
    node.wait_states(delivered=1)
    with node.ledger() as ledger:
        assert [entry.action for entry in ledger.audit_trail()] == ["config refused"] * 3 + ["node start"]
    assert not [event for event in node.events if event["event"] == "process died"]


def test_a_removed_route_takes_no_more_associations(node: NodeProcess, tmp_path: Path) -> None:
    port = node.start()
    node.config["routes"][0]["ae_title"] = "ELSEWHERE"
    reload(node)
    node.wait_event("configuration reloaded")
    files = write_study(tmp_path / "in", 1, seed=24)
    assert storescu(port, files, check=False).returncode != 0
    storescu(port, files, called="ELSEWHERE")
    node.wait_states(delivered=1)
