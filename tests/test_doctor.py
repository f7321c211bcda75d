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
