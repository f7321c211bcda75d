"""`radanon rules`: importing, checking and deciding, as a person at a terminal does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from radanon_node.cli import main
from radanon_node.config import load
from radanon_node.ledger.seal import load_key
from radanon_node.markers.layouts import LEAST, Device, Sighting
from radanon_node.markers.rules import load_rules
from radanon_node.store import open_store

CTP = 'Maker A\n{ Modality.equals("US") * Manufacturer.containsIgnoreCase("maker a") } (0,0,640,40)\n'
DEID = "%filter graylist\nLABEL B\n contains Modality CT\n ctpcoordinates 5,6,70,8\n"
DEVICE = Device("US", "Acme", "Sono 3", "7.1", 768, 1024)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"node": {"data_dir": str(tmp_path / "var")}, "profiles": {"default": {}}}))
    return path


@pytest.fixture
def token(config: Path) -> str:
    """A device with a proposed rule."""
    settings = load(config)
    load_key(settings.node.key_path, create=True)
    ledger, _ = open_store(settings)
    (proposed,) = ledger.layout_sightings([Sighting(DEVICE, frozenset({0, 1, 64, 65}))] * LEAST)
    ledger.add_finds({("2026-11-21", "IN", proposed, "with_text"): 4})
    ledger.close()
    return proposed


@pytest.mark.parametrize(("kind", "text"), [("ctp", CTP), ("deid", DEID)])
def test_an_imported_file_is_one_that_the_node_reads(kind: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "theirs", tmp_path / "ours.yaml"
    source.write_text(text)
    assert main(["rules", "import", kind, str(source), "--out", str(out)]) == 0
    assert [rule.id for rule in load_rules([out]).rules] == [f"{kind}-001"]
    assert main(["rules", "check", str(out)]) == 0 and "1 rules" in capsys.readouterr().out
    assert main(["rules", "import", kind, str(source), "--out", str(out)]) == 2  # never overwritten
    assert main(["rules", "import", kind, str(source), "--prefix", "mine"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["rules"][0]["id"] == "mine-001"


def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "theirs"
    source.write_text("{ Modality.sounds(\"US\") } (0,0,1,1)")
    assert main(["rules", "import", "ctp", str(source)]) == 2
    assert main(["rules", "import", "ctp", str(tmp_path / "absent")]) == 2
    (tmp_path / "bad.yaml").write_text("rules: [{id: a}]")
    assert main(["rules", "check", str(tmp_path / "bad.yaml")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3 and all(line.startswith("radanon: ") for line in errors)


def test_a_proposal_is_shown_accepted_and_then_gone(config: Path, token: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def out(*arguments: str) -> str:
        assert main(["rules", *arguments, "--config", str(config)]) == 0
        return capsys.readouterr().out

    (listed,) = json.loads(out("devices", "--json"))
    assert (listed["device"], listed["state"], listed["model"], listed["size"]) == (token, "proposed", "Sono 3", "768x1024")
    shown = yaml.safe_load(out("proposals"))
    assert shown["rules"][0]["id"] == f"learned-{token}" and shown["rules"][0]["boxes"] == [[0, 0, 32, 32]]
    assert json.loads(out("finds", "--json")) == {"IN": {token: {"with_text": 4}}}
    assert main(["status", "--json", "--config", str(config)]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["layouts"]["proposed"] == 1 and status["finds"] == {"IN": {"with_text": 4}}
    assert main(["rules", "accept", token, "--reason", "looked at ten", "--user", "anna", "--config", str(config)]) == 0
    captured = capsys.readouterr()
    path = tmp_path / "var" / "rules" / "learned.yaml"
    assert str(path) in captured.out and "no profile names" in captured.err
    assert [rule.id for rule in load_rules([path]).rules] == [f"learned-{token}"]
    assert out("proposals") == "no open proposals\n"
    assert main(["rules", "reject", token, "--reason", "after all", "--config", str(config)]) == 2
    assert main(["rules", "acknowledge", "0123", "--reason", "x", "--config", str(config)]) == 2
    out("acknowledge", token, "--reason", "software 8 from today")
    assert json.loads(out("devices", "--json"))[0]["pictures"] == 0
