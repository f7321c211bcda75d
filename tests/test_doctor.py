"""``radanon doctor`` warns of configurations that work and yet surprise."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from radanon_node.cli import main
from radanon_node.config import load
from radanon_node.ledger.types import Arrival
from radanon_node.store import open_store


def routes_found(tmp_path: Path, capsys: pytest.CaptureFixture[str], scope: str, second: dict[str, object]) -> list[str]:
    """Checks with a warning about two routes, the second with its own profile."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({
        "node": {"data_dir": str(tmp_path / "var")},
        "destinations": {name: {"directory": str(tmp_path / name)} for name in ("one", "two")},
        "profiles": {"a": {"pseudonyms": {"scope": "study"}}, "b": {"pixels": {"retain": []}, "pseudonyms": {"scope": scope}}},
        "routes": [{"ae_title": "A", "profile": "a", "destinations": ["one"]}, {"ae_title": "B", **second}],
    }))
    main(["doctor", "--json", "--config", str(path)])
    return [f["check"] for f in json.loads(capsys.readouterr().out) if f["result"] == "warning" and f["check"].startswith("routes")]


def test_two_profiles_of_one_scope_must_not_meet_at_one_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert routes_found(tmp_path, capsys, "study", {"profile": "b", "destinations": ["one"]}) == ["routes A and B"]


@pytest.mark.parametrize(("scope", "second"), [
    ("other", {"profile": "b", "destinations": ["one"]}),
    ("study", {"profile": "b", "destinations": ["two"]}),
    ("study", {"profile": "a", "destinations": ["one"]}),
])
def test_nothing_to_warn_of(scope: str, second: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert routes_found(tmp_path, capsys, scope, second) == []


def test_counts_that_do_not_fit_the_rows_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({
        "node": {"data_dir": str(tmp_path / "var")}, "destinations": {"one": {"directory": str(tmp_path / "one")}},
        "profiles": {"a": {}}, "routes": [{"ae_title": "A", "profile": "a", "destinations": ["one"]}]}))
    ledger, spool = open_store(load(path), create_key=True)
    ledger.admit([Arrival("in/x", 1, "A", "CT1", "1.2", "1.2.3", "1.2", 0.0)])
    ledger.close()
    spool.close()

    def warned() -> list[str]:
        main(["doctor", "--json", "--config", str(path)])
        return [f["detail"] for f in json.loads(capsys.readouterr().out) if f["check"] == "counts of the ledger"]

    assert warned() == []
    with closing(sqlite3.connect(tmp_path / "var" / "ledger.sqlite")) as connection:
        connection.execute("DELETE FROM instances")
        connection.commit()
    assert "route A -1" in warned()[0]


@pytest.mark.parametrize(("profile", "said"), [
    ({"tags": {"retain": ["PatientNam"]}}, "profiles.a.tags.retain: 'PatientNam' is no keyword"),
    ({"tags": {"replace": {"Rows": "x"}}}, "profiles.a.tags.replace: Rows (US) cannot be given a text"),
    ({"tags": {"private_keep": ["0029,10"]}}, "profiles.a.tags.private_keep: "),
    ({"pixels": {"regions": ["missing.yaml"]}}, "missing.yaml"),
    ({"pseudonyms": {"table": "missing.csv"}}, "profiles.a.pseudonyms.table: "),
])  # fmt: skip
def test_a_rule_that_cannot_be_used_is_told_by_doctor_and_stops_a_start(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], profile: dict[str, object], said: str) -> None:
    """A node that started with it would take studies in and quarantine every one."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({
        "node": {"data_dir": str(tmp_path / "var")}, "destinations": {"one": {"directory": str(tmp_path / "one")}},
        "profiles": {"a": profile}, "routes": [{"ae_title": "A", "profile": "a", "destinations": ["one"]}]}))
    assert main(["doctor", "--json", "--config", str(path)]) == 1
    (found,) = [line for line in json.loads(capsys.readouterr().out) if line["result"] == "failed" and line["check"].startswith("profile")]
    assert said in found["detail"]
    assert main(["serve", "--config", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "var").exists()


def test_a_database_that_does_not_answer_is_told_before_the_first_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({
        "node": {"data_dir": str(tmp_path / "var")}, "destinations": {"one": {"directory": str(tmp_path / "one")}},
        "ledger": {"url": "postgresql+psycopg://radanon:hunter2@127.0.0.1:1/radanon"},
        "profiles": {"a": {}}, "routes": [{"ae_title": "A", "profile": "a", "destinations": ["one"]}]}))
    assert main(["doctor", "--config", str(path)]) == 1
    printed = capsys.readouterr().out
    assert "no connection to the database server" in printed and "hunter2" not in printed


def test_certificates_that_cannot_be_used_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({
        "node": {"data_dir": str(tmp_path / "var")}, "destinations": {"one": {"directory": str(tmp_path / "one")}},
        "listener": {"tls": {"certificate": "no.crt", "private_key": "no.key"}},
        "profiles": {"a": {}}, "routes": [{"ae_title": "A", "profile": "a", "destinations": ["one"]}]}))
    assert main(["doctor", "--json", "--config", str(path)]) == 1
    assert [line["check"] for line in json.loads(capsys.readouterr().out) if line["result"] == "failed"] == ["listener.tls"]
