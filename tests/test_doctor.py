"""``radanon doctor`` warns of configurations that work and yet surprise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from radanon_node.cli import main


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
