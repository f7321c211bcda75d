"""The process that opens pictures: every frame in all its depth, edits applied as a worker would, crashes and hangs without harm."""

from __future__ import annotations

import gzip
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from radanon_node import config as configuration
from radanon_node.ledger.reviews import ReviewSource
from radanon_node.ledger.seal import load_key
from radanon_node.ledger.spool import Spool
from radanon_node.pipeline.tools import Tools
from radanon_node.training.films_dicom import encoded, invent
from radanon_node.web.viewer import CannotShow, Opener, Outcome, Viewer
from tests.integration.harness import ct

CONFIG: dict[str, Any] = {
    "routes": [{"ae_title": "IN", "profile": "p", "destinations": ["a"]}],
    "profiles": {"p": {"pixels": {"sop_classes": {"CT": "none"}}}},
    "destinations": {"a": {"directory": "/nowhere"}},
}


class Place:
    """A spool with files that no ledger knows, and the work of the process done here."""

    def __init__(self, folder: Path) -> None:
        self.config = configuration.parse({**CONFIG, "node": {"data_dir": str(folder)}})
        self.spool = Spool(self.config.spool_dir)
        self.opener = Opener(self.config, self.spool, Tools.load(self.config, load_key(self.config.node.key_path, create=True)))

    def source(self, data: bytes, reason: str = "policy_hold") -> ReviewSource:
        incoming = self.spool.begin(b"")
        os.write(incoming.fd, data)
        incoming.seal()
        found = pydicom.dcmread(self.spool._path(incoming.name))
        return ReviewSource(1, "quarantine", "quarantined", reason, "", "IN", 0.0, 1, 1, incoming.name, "", found.SOPClassUID,
                            found.file_meta.TransferSyntaxUID, found.SOPInstanceUID)  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def person() -> Any:
    return invent(np.random.default_rng(5))


def levels(answer: tuple[dict[str, str], bytes]) -> np.ndarray[Any, Any]:
    head, data = answer
    shape = int(head["X-Rows"]), int(head["X-Columns"])
    found = np.frombuffer(gzip.decompress(data), f"<u{int(head['X-Bits']) // 8}")
    return found.reshape((*shape, 3) if head["X-Samples"] == "3" else shape)


@pytest.mark.parametrize("compressed", [False, True])
def test_levels_are_the_stored_values(place: Place, compressed: bool) -> None:
    (folder := place.config.node.data_dir / "in").mkdir()
    (path := folder / "a.dcm").write_bytes(ct(person(), 1))
    ds = pydicom.dcmread(path)
    stored = ds.pixel_array
    if compressed:
        ds.compress(RLELossless)
        ds.save_as(path)
    source = place.source(path.read_bytes())
    assert place.opener.size(source) == (64, 64, 1)
    head, _ = answer = place.opener.picture(source, False, 0, None, False)
    assert np.array_equal(levels(answer), stored) and head["X-Scale"] == "1"
    assert place.opener.picture(source, False, 0, None, True)[1].startswith(b"\x89PNG")
    with pytest.raises(CannotShow, match="no such frame"):
        place.opener.picture(source, False, 1, None, False)


def test_frames_and_colours(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(ct(person(), 1))
    ds = pydicom.dcmread(path)
    frames = np.random.default_rng(1).integers(0, 255, (3, 20, 30, 3), dtype=np.uint8)
    ds.NumberOfFrames, ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PlanarConfiguration = 3, 20, 30, 3, 0
    ds.PhotometricInterpretation, ds.BitsAllocated, ds.BitsStored, ds.HighBit = "RGB", 8, 8, 7
    ds.PixelData = frames.tobytes()
    ds["PixelData"].VR = "OB"
    source = place.source(encoded(ds))
    assert place.opener.size(source) == (20, 30, 3)
    for index in range(3):
        assert np.array_equal(levels(place.opener.picture(source, False, index, None, False)), frames[index])


def test_the_result_is_with_the_reviewers_boxes_and_nothing_else(place: Place, tmp_path: Path) -> None:
    data = ct(person(), 1)
    source = place.source(data)
    edits = {"added": [{"box": [10, 20, 30, 40], "frames": "all", "kind": "text"}], "removed": []}
    outcome = place.opener.outcome(source, edits)
    assert (outcome.reason, outcome.rows, outcome.frames) == ("", 64, 1)
    assert [(box["source"], box["why"]) for box in outcome.boxes] == [("reviewer", "reviewer_added")]
    before, after = (levels(place.opener.picture(source, side, 0, edits, False)) for side in (False, True))
    inside = np.zeros((64, 64), bool)
    inside[20:40, 10:30] = True
    assert np.array_equal(before[~inside], after[~inside]) and len(np.unique(after[inside])) == 1
    assert place.opener.outcome(source, None) == Outcome([], "", "", 64, 64, 1)


def test_a_rule_is_for_the_device_and_the_size(place: Place) -> None:
    from radanon_node.markers.rules import load_rules

    source = place.source(ct(person(), 1))
    text = place.opener.rule(source, {"added": [{"box": [-5, 0, 30, 10], "frames": "all", "kind": "text"}], "removed": []}, "review-1")
    (path := place.config.node.data_dir / "r.yaml").write_text(text)
    (rule,) = load_rules([path]).rules
    assert rule.as_yaml()["when"] == {"Modality": "CT", "Manufacturer": "SYNTHETIC SCANNERS"}
    assert rule.size == (64, 64) and rule.boxes is not None and (rule.boxes[0].x0, rule.boxes[0].x1) == (0, 30)
    with pytest.raises(CannotShow):
        place.opener.rule(source, {"added": [], "removed": []}, "review-1")


def test_what_is_held_says_why_and_has_no_picture_after(place: Place) -> None:
    source = place.source(ct(person(), 1))
    wrong = ReviewSource(*[getattr(source, name) for name in list(source.__dataclass_fields__)[:13]], sop_instance_uid="1.2.3")
    assert place.opener.outcome(wrong, None).reason == "uid_mismatch"
    with pytest.raises(CannotShow, match="uid_mismatch"):
        place.opener.picture(wrong, True, 0, None, False)
    assert place.opener.picture(wrong, False, 0, None, True)[1]


def test_a_process_that_dies_is_an_error_once_and_replaced(place: Place) -> None:
    source = place.source(ct(person(), 1))
    viewer = Viewer(place.config)
    try:
        assert viewer.size(source) == (64, 64, 1)
        os.kill(viewer._process.pid, signal.SIGKILL)
        viewer._process.join()
        assert viewer.size(source) == (64, 64, 1)  # seen to be dead: a new one
        os.kill(viewer._process.pid, signal.SIGSTOP)  # hangs
        viewer.timeout = 0.2
        with pytest.raises(CannotShow, match="too long"):
            viewer.size(source)
        viewer.timeout = 180.0
        assert viewer.size(source) == (64, 64, 1)
    finally:
        viewer.close()
