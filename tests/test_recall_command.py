"""``radanon recall``: from a UID in the archive to the list of what must be deleted there, and back to a clean copy."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

import pytest
import yaml

from radanon_node import config as configuration
from radanon_node.cli import main
from radanon_node.ledger.types import Arrival, ReleasedItem, ReleaseRecord
from radanon_node.store import open_store

CT = "1.2.840.10008.5.1.4.1.1.2"
LE = "1.2.840.10008.1.2.1"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A node that has released three instances, two of one device."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"node": {"data_dir": str(tmp_path / "var")}, "profiles": {"default": {}}}))
    ledger, spool = open_store(configuration.load(path), create_key=True)
    for number, device in ((1, "scanner"), (2, "scanner"), (3, "other")):
        incoming = spool.begin(b"\0" * 132)
        incoming.seal()
        ledger.admit([Arrival(incoming.name, 132, "IN", "CALLER", CT, f"9.8.7.{number}", LE, 1.0)])
        (item,) = ledger.claim("test", 1, 60)
        record = ReleaseRecord(CT, f"2.25.{number}", LE, spool.store_released(b"new"), 3, "d", "s")
        ledger.finish([ReleasedItem(item.id, item.token, record, ("archive",), {"policy": {"hash": "p"}}, "study", device=device)])
    delivered = [(item, "delivered", 0.0, "") for item in ledger.claim_deliveries("sender", "archive", 2, 60)]
    ledger.finish_deliveries(delivered)
    ledger.close()
    spool.close()
    return path


def run(config: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["recall", *words, "--config", str(config)])
    out, err = capsys.readouterr()
    return status, out, err


def test_from_a_find_to_a_closed_recall(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(config, capsys, "find", "2.25.1", "--same", "device")
    assert status == 0 and "2.25.2" in out and "2.25.3" not in out and "2 instances; 2 at archive" in err
    found = json.loads(run(config, capsys, "find", "--policy", "p", "--from", "2000-01-01", "--json")[1])
    assert [one["sop_instance_uid"] for one in found] == ["2.25.1", "2.25.2", "2.25.3"] and "receipt" not in found[0]
    status, out, _ = run(config, capsys, "order", "2.25.1", "--same", "device", "--reason", "a name")
    assert status == 0 and "recall 1: 2 instances; 2 at archive" in out
    listed = list(csv.DictReader(StringIO(run(config, capsys, "show", "1", "--destination", "archive", "--csv")[1])))
    assert [(row["sop_instance_uid"], row["destination"]) for row in listed] == [("2.25.1", "archive"), ("2.25.2", "archive")]
    assert "9.8.7" not in json.dumps(listed)
    assert "a name" in run(config, capsys, "list")[1]
    assert run(config, capsys, "close", "1", "--reason", "deleted")[1].startswith("recall 1 closed: 2 cleaned again")
    status, _, err = run(config, capsys, "close", "1", "--reason", "again")
    assert status == 2 and "no open recall 1" in err


@pytest.mark.parametrize(("words", "problem"), [
    (("find", "nobody"), "nothing that left is known"), (("find",), "name an instance"),
    (("find", "--same", "device"), "needs an instance"), (("order", "2.25.1", "--reason", " "), "reason must be given"),
    (("order", "--device", "none", "--reason", "x"), "no released instance"), (("show", "7"), "no recall 7")])
def test_mistakes_are_one_line(config: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], problem: str) -> None:
    status, out, err = run(config, capsys, *words)
    assert status == 2 and out == "" and problem in err and err.count("\n") == 1
