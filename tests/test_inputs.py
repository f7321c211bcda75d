"""What folder mode is given: nothing is left out in silence, and no path in a report names a patient."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from radanon_node import inputs
from radanon_node.errors import ConfigError
from radanon_node.inputs import UNREAD, list_inputs, masked, masked_unread, printable, read_input
from radanon_node.tags.identifiers import collect


def listed(*paths: Path) -> list[str]:
    return [relative for _, relative in list_inputs(paths)]


def test_links_to_folders_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for path in ("in/a/1", "elsewhere/2", "file"):
        (tmp_path / path).touch()
    (tmp_path / "in" / "b").symlink_to("../elsewhere")
    (tmp_path / "in" / "c").symlink_to("../elsewhere")
    (tmp_path / "in" / "a" / "up").symlink_to("..")
    (tmp_path / "in" / "d").symlink_to("../file")
    (tmp_path / "in" / "e").symlink_to("nowhere")
    assert listed(tmp_path / "in") == ["a/1", "b/2", "d", "e"]


def test_a_folder_that_cannot_be_opened_is_listed_and_fails_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "open").touch()
    scandir = os.scandir

    def refused(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert listed(tmp_path) == ["closed", "open"]
    with pytest.raises(OSError, match="folder cannot be opened"):
        read_input(tmp_path / "closed")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        read_input(tmp_path / "pipe")


def test_a_large_file_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAPPED_FROM", 3)
    for name, content in (("small", b"12"), ("empty", b""), ("large", b"1234")):
        (tmp_path / name).write_bytes(content)
        found = read_input(tmp_path / name)
        assert bytes(found) == content and isinstance(found, mmap.mmap) == (name == "large")


def test_an_output_that_a_link_leads_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    with pytest.raises(ConfigError, match="reached from the input by the link"):
        list_inputs([tmp_path / "in"], tmp_path / "out")


def test_a_path_hides_the_parts_that_name_its_patient() -> None:
    dataset = Dataset()
    dataset.PatientName, dataset.PatientID = "Oyelaran^Temitope", "PID-48151"
    known = collect(dataset)
    assert masked("ward/OYELARAN_T/PID48151 ct/1.dcm", known) == "ward/[identity]/[identity]/1.dcm"
    assert masked("oyelarantemitope/x.dcm", known) == "[identity]/x.dcm"


@pytest.mark.parametrize(("relative", "shown"), [
    ("DICOMDIR", "DICOMDIR"), ("notes.txt", "notes.txt"), ("chest scan 2.pdf", "chest scan 2.pdf"), ("img0012.dcm", "img0012.dcm"),
    ("Doe.pdf", f"{UNREAD}.pdf"), ("report 19620417.pdf", f"{UNREAD}.pdf"), ("Doe/notes.txt", f"{UNREAD}/notes.txt"),
    ("ward7/notes.txt", "shown as it is/notes.txt"), ("x.Oyelaran", UNREAD), ("a.b/Müller scan", f"a.b/{UNREAD}"),
])  # fmt: skip
def test_a_file_that_nothing_could_read_shows_no_name(relative: str, shown: str) -> None:
    assert masked_unread(relative, {"ward7": "shown as it is"}) == shown


def test_a_path_is_one_line_of_characters() -> None:
    path = printable("a\nb/" + os.fsdecode(b"\xff") + "ü 李")
    assert path == "a\\nb/\\udcffü 李"
    path.encode(sys.getdefaultencoding())
