"""Report and digest: the figures of a period, no identity, fit to be printed; shell completion knows every command."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from radanon_node import config as configuration
from radanon_node.cli import COMMANDS, main
from radanon_node.store import open_store
from tests.ledger.conftest import Hands

TODAY = datetime.now(UTC).date()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A ledger with one delivered, one waiting and one quarantined instance."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({
        "node": {"data_dir": str(tmp_path / "var")}, "profiles": {"default": {}}, "destinations": {"archive": {"directory": "out"}},
        "routes": [{"ae_title": "RESEARCH", "profile": "default", "destinations": ["archive"]}]}))
    ledger, spool = open_store(configuration.load(path), create_key=True)
    hands = Hands.__new__(Hands)
    hands.ledger, hands.spool = ledger, spool
    from dataclasses import replace

    from radanon_node.errors import Reason
    from radanon_node.ledger.types import HeldItem

    hands.admit("1.1", "1.2", "1.3")
    items = ledger.claim("w", 3, 60)
    receipt = {"policy": {"profile": "default", "hash": "ab" * 32, "options": ["clean_pixel_data"]}, "program_version": "9.9",
               "looked": {"markers": True, "marker_model": "cd" * 32}, "pixels": {"method": "in_place"},
               "boxes": [{"verdict": "redact", "kind": "text"}, {"verdict": "keep", "kind": "side_letter"}]}
    released = [replace(hands.released(item), receipt=receipt) for item in items[:2]]
    ledger.finish([*released, HeldItem(items[2].id, items[2].token, Reason.VIDEO, "a film")])
    delivery = ledger.claim_deliveries("s", "archive", 1, 60)
    ledger.finish_deliveries([(delivery[0], "delivered", 0.0, "")])
    ledger.record_act("anna", "map export: 3 patients, scope <b>", "DOE^JANE asked")
    ledger.close()
    spool.close()
    return path


class Checker(HTMLParser):
    """Every element that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_has_the_figures_and_no_identity(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.html"
    arguments = ["report", "--from", str(TODAY - timedelta(days=1)), "--to", str(TODAY + timedelta(days=1)), "--out", str(out),
                 "--config", str(site)]
    assert main(arguments) == 0
    text = out.read_text()
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    for wanted in ("3 received", "2 released", "ab" * 32, "cd" * 32, "113100", "113101", "video", "2 in the chain", "1 rows, all hold",
                   "clean_pixel_data", "2 redact text", "map export"):
        assert wanted in text, wanted
    assert "113107" not in text
    assert "DOE" not in text and "<b>" not in text
    assert not re.search(r"https?://|src=|<script", text)  # complete by itself
    assert main(arguments) == 2  # nothing is overwritten
    assert main([*arguments[:-4], "--out", str(tmp_path / "x"), "--route", "NONE", "--config", str(site)]) == 2
    assert "no route with AE title" in capsys.readouterr().err


def test_another_period_and_route_have_nothing(site: Path, tmp_path: Path) -> None:
    out = tmp_path / "old.html"
    days = ["report", "--from", "2001-01-01", "--to", "2001-01-31"]
    assert main([*days, "--out", str(out), "--route", "RESEARCH", "--config", str(site)]) == 0
    assert "0 received" in out.read_text() and "Nothing was released" in out.read_text()
    assert main(["report", "--from", "2001-02-01", "--to", "2001-01-31", "--out", str(tmp_path / "x"), "--config", str(site)]) == 2


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.slow
def test_it_prints_to_pdf(site: Path, tmp_path: Path) -> None:
    out, pdf = tmp_path / "report.html", tmp_path / "report.pdf"
    main(["report", "--from", str(TODAY), "--to", str(TODAY), "--out", str(out), "--config", str(site)])
    subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
                    f"--print-to-pdf={pdf}", out.as_uri()], check=True, capture_output=True, timeout=170)
    assert pdf.read_bytes().startswith(b"%PDF")


def test_the_digest_says_what_needs_a_person(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site.parent / "var" / "spool").mkdir(exist_ok=True)
    assert main(["digest", "--day", str(TODAY), "--json", "--config", str(site)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["released"], found["held"], found["now"]["quarantined"]) == (2, {"video": 1}, 1)
    assert found["acts"] == {"map export": 1}
    assert main(["digest", "--day", str(TODAY), "--config", str(site)]) == 0
    text = capsys.readouterr().out
    assert "1 instances are in quarantine" in text and "Received: 3; released: 2" in text and "DOE" not in text
    assert main(["digest", "--config", str(site)]) == 0
    assert "Received: 0" in capsys.readouterr().out


def test_the_audit_trail_is_exported(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("csv", "json", "dicom"):
        out = tmp_path / kind
        assert main(["audit", "export", "--format", kind, "--out", str(out), "--user", "dpo", "--config", str(site)]) == 0
        assert "map export" in out.read_text()
    assert len((tmp_path / "dicom").read_text().splitlines()) == 4  # the exports are in it themselves
    assert "110106" in (tmp_path / "dicom").read_text() and "DOE" not in (tmp_path / "dicom").read_text()
    capsys.readouterr()
    assert main(["audit", "verify", "--json", "--config", str(site)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["checked"] == 4 and found["broken"] == []
    head = f"{found['head']['id']}:{found['head']['link']}"
    assert main(["audit", "verify", "--head", head, "--config", str(site)]) == 0
    assert main(["audit", "verify", "--head", f"9:{'0' * 64}", "--config", str(site)]) == 1
    assert "row 9: cut" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for command in COMMANDS:
        assert command in script
    assert "--passphrase-file" in script
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True).returncode == 0
