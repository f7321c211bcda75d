"""Backups: encrypted, whole or refused, and a node that goes on from one."""

from __future__ import annotations

import io
import json
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
import yaml
from sqlalchemy import create_engine, text

from radanon_node import config as configuration
from radanon_node.cli import main
from radanon_node.errors import ConfigError
from radanon_node.store import open_store
from radanon_node.vault import PIECE, ReadVault, WriteVault, new_recipient
from tests.integration.harness import NodeProcess, node_config, originals, storescu, write_study
from tests.ledger.conftest import postgres
from tests.postgres import Postgres

__all__ = ["postgres"]
PHRASE = "correct horse battery"


@pytest.fixture(autouse=True)
def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radanon_node.vault._SCRYPT", {"n": 2**10, "r": 8, "p": 1})


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7])
def test_what_goes_into_a_vault_comes_out(size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    out = io.BytesIO()
    vault = WriteVault(out, PHRASE)
    for start in range(0, size, 100_000):
        vault.write(data[start:start + 100_000])
    vault.close()
    assert size < 40 or data[:40] not in out.getvalue()
    reader = ReadVault(io.BytesIO(out.getvalue()), lambda kind: PHRASE)
    assert b"".join(iter(lambda: reader.read(70_000), b"")) == data


def test_a_recipient_reads_what_the_node_cannot() -> None:
    public, secret = new_recipient()
    out = io.BytesIO()
    vault = WriteVault(out, recipient=public)
    vault.write(b"the key")
    vault.close()
    assert ReadVault(io.BytesIO(out.getvalue()), lambda kind: secret).read() == b"the key"
    with pytest.raises(ConfigError, match="does not open"):
        ReadVault(io.BytesIO(out.getvalue()), lambda kind: new_recipient()[1])
    with pytest.raises(ConfigError, match="radanon-secret-"):
        ReadVault(io.BytesIO(out.getvalue()), lambda kind: public)


def test_changes_and_cuts_show() -> None:
    out = io.BytesIO()
    vault = WriteVault(out, PHRASE)
    vault.write(bytes(3 * PIECE))
    vault.close()
    whole = out.getvalue()
    header = whole.index(b"}") + 2
    piece = PIECE + 16

    def read(data: bytes) -> None:
        reader = ReadVault(io.BytesIO(data), lambda kind: PHRASE)
        while reader.read(PIECE):
            pass

    read(whole)
    swapped = whole[:header] + whole[header + piece:header + 2 * piece] + whole[header:header + piece] + whole[header + 2 * piece:]
    for broken in (whole[:header + piece], whole[:header + 2 * piece], whole[:-1], whole + b"x", swapped, b"x" + whole,
                   whole[:header + 5] + bytes([whole[header + 5] ^ 1]) + whole[header + 6:]):
        with pytest.raises(ConfigError):
            read(broken)


@pytest.fixture
def phrase(tmp_path: Path) -> Path:
    path = tmp_path / "phrase"
    path.write_text(PHRASE + "\n")
    return path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_nothing_is_overwritten_and_mistakes_are_one_line(tmp_path: Path, phrase: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"node": {"data_dir": str(tmp_path / "var")}, "profiles": {"default": {}}}))
    ledger, spool = open_store(configuration.load(path), create_key=True)
    ledger.close()
    spool.close()
    out = tmp_path / "one.backup"
    assert run("backup", "--out", out, "--passphrase-file", phrase, "--config", path) == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert run("backup", "--out", out, "--passphrase-file", phrase, "--config", path) == 2
    assert run("restore", out, "--passphrase-file", phrase, "--config", path) == 2  # a ledger is there
    short = tmp_path / "short"
    short.write_text("short")
    assert run("backup", "--out", tmp_path / "two", "--passphrase-file", short, "--config", path) == 2
    assert run("restore", out, "--passphrase-file", short, "--config", tmp_path / "else.yaml") == 2
    assert run("restore", phrase, "--passphrase-file", phrase, "--config", tmp_path / "else.yaml") == 2
    assert run("restore", tmp_path / "absent", "--passphrase-file", phrase, "--config", path) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6 and all(line.startswith("radanon: ") for line in lines)
    ledger, spool = open_store(configuration.load(path))
    assert [entry.action for entry in ledger.audit_trail()] == ["backup"] * 2
    ledger.close()
    spool.close()
    assert not [item for item in tmp_path.iterdir() if item.name.startswith(".")]
    assert not list((tmp_path / "var" / "spool").glob(".backup-*"))


@contextmanager
def running(node: NodeProcess) -> Iterator[NodeProcess]:
    """Stopped in any case."""
    try:
        yield node
    finally:
        node.stop()


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_a_node_destroyed_with_waiting_work_goes_on(tmp_path: Path, phrase: Path) -> None:
    archive = tmp_path / "archive"
    away = {"host": "127.0.0.1", "port": 9, "ae_title": "ARCHIVE"}  # nobody listens: the work waits
    with running(NodeProcess(tmp_path / "node", node_config(tmp_path / "node", {"archive": away}))) as node:
        destroy_and_restore(node, tmp_path, archive, phrase)


def destroy_and_restore(node: NodeProcess, tmp_path: Path, archive: Path, phrase: Path) -> None:
    first = write_study(tmp_path / "in", 4, seed=31)
    storescu(node.start(), first[:3])
    with node.ledger() as ledger:
        until = time.monotonic() + 150
        while ledger.status()["states"]["released"] < 3:
            assert time.monotonic() < until, node.lines[-20:]
            time.sleep(0.1)
    out = tmp_path / "daily.backup"
    made = json.loads(node.command("backup", "--out", str(out), "--passphrase-file", str(phrase), "--spool", "--json").stdout)
    assert made["files"] == 6 + 4  # originals and released, ledger, key, settings, the trail's end
    node.kill()
    shutil.rmtree(tmp_path / "node" / "var")
    assert run("restore", out, "--passphrase-file", phrase, "--config", node.config_path) == 0
    node.config["destinations"]["archive"] = {"directory": str(archive)}
    storescu(node.start(), first[2:])  # one that the backup knows, one that it does not
    node.wait_states(timeout=400, delivered=4)
    arrived = [pydicom.dcmread(path) for path in archive.rglob("*.dcm")]
    assert len(arrived) == 4
    assert len({ds.PatientID for ds in arrived}) == len({ds.StudyInstanceUID for ds in arrived}) == 1
    assert len({ds.SOPInstanceUID for ds in arrived}) == 4
    assert str(originals(first)[0].PatientID) not in {str(ds.PatientID) for ds in arrived}
    with node.ledger() as ledger:
        assert "restore" in [entry.action for entry in ledger.audit_trail()]
        assert ledger.verify_audit()[1] == []


def test_originals_that_came_after_the_backup_are_kept(tmp_path: Path, phrase: Path) -> None:
    from tests.ledger.conftest import Hands

    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"node": {"data_dir": str(tmp_path / "var")}, "profiles": {"default": {}}}))
    config = configuration.load(path)
    ledger, spool = open_store(config, create_key=True)
    hands = Hands.__new__(Hands)
    hands.ledger, hands.spool = ledger, spool
    hands.admit("1.1")
    out = tmp_path / "one.backup"
    assert run("backup", "--out", out, "--passphrase-file", phrase, "--config", path) == 0
    hands.admit("1.2")  # acknowledged after the backup
    ledger.close()
    spool.close()
    for left in (tmp_path / "var").glob("ledger.sqlite*"):
        left.unlink()
    assert run("restore", out, "--passphrase-file", phrase, "--config", path) == 0
    (aside,) = (tmp_path / "var").glob("unknown-*")
    assert len(list(aside.iterdir())) == 1


@pytest.mark.skipif(shutil.which("pg_dump") is None, reason="PostgreSQL's clients are not installed")
def test_a_postgresql_ledger_is_dumped_and_loaded(postgres: Postgres, tmp_path: Path, phrase: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    url = postgres.url
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in ("before", "after"):
            connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    paths = []
    for name in ("before", "after"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"node": {"data_dir": str(tmp_path / name)}, "profiles": {"default": {}},
                                        "ledger": {"url": url.replace("/postgres?", f"/{name}?")}}))
        paths.append(path)
    ledger, spool = open_store(configuration.load(paths[0]), create_key=True)
    ledger.record_act("anna", "something", "why")
    ledger.close()
    spool.close()
    beside = create_engine(configuration.load(paths[0]).ledger_url, isolation_level="AUTOCOMMIT")
    with beside.connect() as connection:  # the database is shared with another program
        for statement in ('CREATE TABLE "Odd name" (secret text)', "CREATE VIEW glimpse AS SELECT 1 AS one", "CREATE SCHEMA billing",
                          "CREATE TABLE billing.bills (secret text)"):
            connection.execute(text(statement))
    beside.dispose()
    out = tmp_path / "one.backup"
    assert run("backup", "--out", out, "--passphrase-file", phrase, "--config", paths[0]) == 0
    capsys.readouterr()
    assert run("restore", out, "--passphrase-file", phrase, "--config", paths[1], "--json") == 0
    dump = json.loads(capsys.readouterr().out)["dump"]
    listed = subprocess.run(["pg_restore", "--list", dump], check=True, capture_output=True, text=True).stdout
    assert "TABLE public audit " in listed and not [name for name in ("Odd name", "glimpse", "billing") if name in listed]
    target = configuration.load(paths[1]).ledger_url.replace("postgresql+psycopg:", "postgresql:")
    subprocess.run(["pg_restore", "--no-owner", "-d", target, dump], check=True, capture_output=True)
    ledger, spool = open_store(configuration.load(paths[1]))
    assert [entry.action for entry in ledger.audit_trail()] == ["backup", "something"]
    assert ledger.verify_audit() == (2, [])
    ledger.close()
    spool.close()
