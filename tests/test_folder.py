"""Folder mode: every input is accounted for, in a tree of pseudonyms or in the report with its reason."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pydicom
import pytest
import yaml

from tests.integration.harness import assert_clean, originals, write_study


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    options = ["clean_pixel_data", "retain_longitudinal_modified_dates"]
    path.write_text(yaml.safe_dump({"node": {"data_dir": str(tmp_path / "var")}, "profiles": {"default": {"tags": {"options": options}}}}))
    return path


def anonymize(config: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    command = [sys.executable, "-m", "radanon_node", "anonymize", *arguments, "--config", str(config), "--json", "--jobs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def test_a_clean_study_exits_0_and_the_tree_has_no_identity(config: Path, tmp_path: Path) -> None:
    files = write_study(tmp_path / "in" / "ward", 3, seed=1)
    (source, *_) = originals(files)
    family = str(source.PatientName).split("^")[0]
    (tmp_path / "in" / "ward").rename(tmp_path / "in" / family)
    code, report, errors = anonymize(config, str(tmp_path / "in"), "--out", str(tmp_path / "out"))
    assert code == 0, errors
    assert report["counts"] == {"released": 3}
    produced = sorted((tmp_path / "out").rglob("*.dcm"))
    assert [str(path.relative_to(tmp_path / "out")) for path in produced] == sorted(item["output"] for item in report["files"])
    for path in [*produced, tmp_path / "out" / "report.json"]:
        assert_clean(path.read_bytes(), source)
        assert_clean(str(path.relative_to(tmp_path)).encode(), source)
    assert all(item["path"].startswith("[identity]/") for item in report["files"])
    again, report, _ = anonymize(config, str(tmp_path / "in"), "--out", str(tmp_path / "out"))
    assert (again, report["counts"]) == (0, {"duplicate": 3})


def test_what_is_held_is_listed_and_the_rest_is_done(config: Path, tmp_path: Path) -> None:
    files = write_study(tmp_path / "in", 3, seed=2)
    (tmp_path / "in" / "notes.txt").write_text("not DICOM")
    (tmp_path / "in" / "empty.dcm").touch()
    truncated = tmp_path / "in" / "truncated.dcm"
    truncated.write_bytes(files[0].read_bytes()[:-1000])
    changed = pydicom.dcmread(files[1])
    changed.SeriesNumber = 77
    changed.save_as(tmp_path / "in" / "zz-same-uid.dcm")
    stranger = pydicom.dcmread(files[2])
    stranger.PatientID, stranger.SOPInstanceUID = "SOMEBODYELSE", "1.2.3.4"
    stranger.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    stranger.save_as(tmp_path / "in" / "zz-stranger.dcm")
    code, report, errors = anonymize(config, str(tmp_path / "in"), "--out", str(tmp_path / "out"))
    assert code == 3
    assert report["counts"] == {"quarantined": 5, "released": 3}
    reasons = {item["path"]: item.get("reason") for item in report["files"] if item["outcome"] == "quarantined"}
    assert reasons["notes.txt"] == reasons["empty.dcm"] == "not_dicom"
    assert reasons["truncated.dcm"] in ("pixel_data_mismatch", "unparsable_dataset")
    assert reasons["zz-same-uid.dcm"] == "uid_conflict"
    assert reasons["zz-stranger.dcm"] == "mixed_patients"
    assert "Traceback" not in errors
    assert "notes.txt: not_dicom" in errors
    assert json.loads((tmp_path / "out" / "report.json").read_text())["counts"] == report["counts"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere", "--out", "out"], "no such file or folder"),
        ([".", "--out", "inside"], "lies inside the input"),
        ([".", "--out", "../out", "--route", "NOPE"], "no route with AE title 'NOPE'"),
    ],
)
def test_wrong_usage_exits_2_with_one_line(config: Path, tmp_path: Path, arguments: list[str], expected: str) -> None:
    command = [sys.executable, "-m", "radanon_node", "anonymize", *arguments, "--config", str(config)]
    (tmp_path / "work").mkdir()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path / "work")
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_name_known_from_one_file_is_hunted_in_the_others(tmp_path: Path) -> None:
    """Two processes: what the first learned of the patient the second knows."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"node": {"data_dir": str(tmp_path / "var")},
                                      "profiles": {"default": {"tags": {"options": ["clean_descriptors"]}}}}))
    for number, path in enumerate(write_study(tmp_path / "in", 12, seed=9)):
        dataset = pydicom.dcmread(path)
        dataset.PatientName = "Vandenberghe^Liesbeth" if number == 0 else "Dubois^Liesbeth"
        dataset.StudyComments = "knee of VANDENBERGHE"
        dataset.save_as(tmp_path / "in" / f"{number:02d}.dcm")
        path.unlink()
    code, report, errors = anonymize(config, str(tmp_path / "in"), "--out", str(tmp_path / "out"))
    assert code == 0, errors
    kept = {str(pydicom.dcmread(path).StudyComments) for path in (tmp_path / "out").rglob("*.dcm")}
    assert kept == {"knee of"}


def test_odd_trees_are_cleaned_to_the_end_and_their_report_names_nobody(config: Path, tmp_path: Path) -> None:
    """Links, pipes, names that are no text, a file larger than memory, files that are no DICOM in a folder named after somebody."""
    (source, *_) = originals(write_study(tmp_path / "elsewhere", 1, seed=11))
    tree = tmp_path / "in"
    family = str(source.PatientName).split("^")[0]
    (tree / family).mkdir(parents=True)
    (tree / family / f"{family}.txt").write_text("a letter")
    (tree / "link").symlink_to(tmp_path / "elsewhere")
    (tree / "loop").symlink_to(".")
    os.mkfifo(tree / "pipe")
    with (tree / "huge.zip").open("wb") as file:
        file.truncate(2**40)
    (odd,) = write_study(tmp_path / "odd", 1, seed=12)
    odd.rename(os.fsdecode(os.fsencode(tree) + b"/line\nend \xff.dcm"))
    (bare,) = write_study(tmp_path / "bare", 1, seed=13)
    (tree / "bare.dcm").write_bytes(bare.read_bytes()[132:])
    code, report, errors = anonymize(config, str(tree), "--out", str(tmp_path / "out"))
    assert code == 3 and "Traceback" not in errors
    assert report["counts"] == {"quarantined": 3, "released": 3}
    assert {item["path"] for item in report["files"]} == {
        "[not shown]/[not shown].txt", "bare.dcm", "[not shown].zip", "line\\nend \\udcff.dcm", "link/11-1.dcm", "pipe"}
    assert family.encode() not in (tmp_path / "out" / "report.json").read_bytes()
    assert len(errors.splitlines()) == 3


def test_a_second_run_on_the_same_output_is_refused_while_the_first_goes_on(config: Path, tmp_path: Path) -> None:
    write_study(tmp_path / "in", 1, seed=14)
    (tmp_path / "out").mkdir()
    folder = os.open(tmp_path / "out", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        code, _, errors = anonymize(config, str(tmp_path / "in"), "--out", str(tmp_path / "out"))
        assert (code, len(errors.splitlines())) == (2, 1) and "another run is writing" in errors
    finally:
        os.close(folder)
    assert anonymize(config, str(tmp_path / "in"), "--out", str(tmp_path / "out"))[0] == 0


def test_an_output_that_is_no_folder_is_told_in_one_line(config: Path, tmp_path: Path) -> None:
    write_study(tmp_path / "in", 1, seed=15)
    (tmp_path / "out").write_text("a file")
    code, _, errors = anonymize(config, str(tmp_path / "in"), "--out", str(tmp_path / "out"))
    assert code != 0 and len(errors.splitlines()) == 1 and "out" in errors
