"""The re-identification map: only on request, encrypted, audited."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import yaml

from radanon_node import config as configuration
from radanon_node.cli import main
from radanon_node.store import open_store
from tests.integration.harness import originals, write_study


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"node": {"data_dir": str(tmp_path / "var")}, "profiles": {"default": {}}}))
    ledger, _ = open_store(configuration.load(path), create_key=True)
    ledger.close()
    return path


def test_a_map_is_written_encrypted_and_audited(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write_study(tmp_path / "in", 2, seed=3)
    (source, *_) = originals(files)
    (tmp_path / "in" / "notes.txt").write_text("no DICOM")
    out, key = tmp_path / "map.bin", tmp_path / "map.key"
    arguments = ["map", "export", str(tmp_path / "in"), "--out", str(out), "--key-file", str(key), "--config", str(config)]
    assert main([*arguments, "--reason", "recall of patients", "--user", "dpo"]) == 3  # the note was left out, and said so
    assert stat.S_IMODE(out.stat().st_mode) == stat.S_IMODE(key.stat().st_mode) == 0o600
    for word in (str(source.PatientID), str(source.StudyInstanceUID)):
        assert word.encode() not in out.read_bytes()
    capsys.readouterr()
    assert main(["map", "read", str(out), "--key-file", str(key)]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["patient_id"] == source.PatientID
    assert source.StudyInstanceUID in entry["uids"].values()
    ledger, _ = open_store(configuration.load(config))
    (act,) = ledger.audit_trail()
    assert (act.who, act.reason) == ("dpo", "recall of patients")
    assert str(source.PatientID) not in act.action
    ledger.close()
    assert main([*arguments, "--reason", "again"]) == 2  # nothing is overwritten


def test_without_a_reason_there_is_none(config: Path, tmp_path: Path) -> None:
    write_study(tmp_path / "in", 1, seed=3)
    with pytest.raises(SystemExit) as stopped:
        main(["map", "export", str(tmp_path / "in"), "--out", "x", "--key-file", "y", "--config", str(config)])
    assert stopped.value.code == 2


def test_the_wrong_key_reads_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "map").write_bytes(b"x")
    (tmp_path / "key").write_bytes(b"y")
    assert main(["map", "read", str(tmp_path / "map"), "--key-file", str(tmp_path / "key")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
