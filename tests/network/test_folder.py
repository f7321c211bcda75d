"""Folder destination: where an instance goes, and that nothing but whole files is ever there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.errors import Unreachable
from radanon_node.network.folder import FolderStore, relative_path
from tests.network.sending import part10, picture, released


@settings(max_examples=60, deadline=None)
@given(patient=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"], exclude_characters="\\"), max_size=64))
def test_no_patient_id_leads_out_of_the_folder(patient: str) -> None:
    """Slashes, dots, accents: one harmless folder name of four, whatever the attribute says."""
    ds = picture(1, SpecificCharacterSet="ISO_IR 100", PatientID=patient)
    path = relative_path(released(part10(ds), ds))
    assert len(path.parts) == 4 and not path.is_absolute()
    assert all(part and not part.startswith(".") and part.isascii() for part in path.parts)
    assert path.name == f"{ds.SOPInstanceUID}.dcm"


def test_delivering_again_changes_nothing(tmp_path: Path) -> None:
    ds = picture(1)
    data = part10(ds)
    store = FolderStore(tmp_path / "out")
    store.prepare()
    first, second = (store.store(released(data, ds)) for _ in range(2))
    assert first == second and first.read_bytes() == data
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == [first.name]


def test_left_overs_of_a_killed_sender_go_but_young_ones_stay(tmp_path: Path) -> None:
    staging = tmp_path / ".incoming"
    staging.mkdir()
    for name, age in (("old.part", 7200), ("young.part", 60)):
        (staging / name).write_bytes(b"half")
        then = (staging / name).stat().st_mtime - age
        os.utime(staging / name, (then, then))
    FolderStore(tmp_path).prepare()
    assert [path.name for path in staging.iterdir()] == ["young.part"]


def test_folder_that_vanishes_is_unreachable_and_comes_back(tmp_path: Path) -> None:
    ds = picture(1)
    item = released(part10(ds), ds)
    store = FolderStore(tmp_path / "out")
    store.prepare()
    store.store(item)
    (tmp_path / "out").rename(tmp_path / "gone")
    with pytest.raises(Unreachable, match="No such file"):
        store.store(item)
    store.prepare()
    assert store.store(item).exists()
