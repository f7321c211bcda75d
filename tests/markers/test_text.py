"""Printed text: found at any size that can be read, nothing found where there is none, every frame of a loop looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom.dataset import Dataset

from radanon_node.errors import ConfigError, HoldInstance
from radanon_node.markers import text_net
from radanon_node.markers.text import TextDetector, judge_text
from radanon_node.markers.text_boxes import whole_lines
from radanon_node.markers.text_net import DETECTION, TextNets, model_file
from radanon_node.pipeline.types import Box, GrayFrame, Kind, Region, Source, Verdict
from radanon_node.settings_profile import PixelSettings
from radanon_node.training.screen_grounds import ground
from radanon_node.training.screen_scores import uncovered
from radanon_node.training.screens import Screen, ScreenText, _Canvas, draw_text, make_loop

SHARED = Path(__file__).parents[2].parent / "shared" / "radiographs"


class NoPatient:
    def matches(self, text: str) -> bool:
        return False

    def certain(self, text: str) -> bool:
        return self.matches(text)


@pytest.fixture(scope="module")
def detector() -> TextDetector:
    return TextDetector.load(1)


def drawn(picture: GrayFrame, *texts: tuple[str, int, float]) -> Screen:
    canvas = _Canvas(picture.copy())
    rng = np.random.default_rng(5)
    for text, size, tilt in texts:
        assert draw_text(canvas, text, True, size, 150.0, tilt, rng)
    return Screen("US", canvas.pixels, tuple(canvas.texts))


def redacted(regions: Sequence[Region], frame: int = 0) -> list[Box]:
    return [r.box for r in regions if r.verdict is Verdict.REDACT and (r.frames is None or frame in r.frames)]


def test_text_of_eight_to_forty_pixels_level_and_turned_is_covered(detector: TextDetector) -> None:
    screen = drawn(np.full((512, 640), 30, np.uint8), ("NOVAK^JAN 12.03.1957", 8, 0), ("MRN: 4471 Kim", 12, 0), ("Petrauskas", 20, 0),
                   ("ID 775", 40, 0), ("SMITH, JOHN 1950", 18, 90), ("GARCIA MARIA 1961", 18, 25))
    found = detector.detect([screen.pixels])[0]
    assert {(one.kind, one.source) for one in found} == {(Kind.TEXT, Source.TEXT_MODEL)}
    for text in screen.texts:
        assert uncovered(text, [one.box for one in found]) < 0.05, (text.size, text.tilt)


def test_a_turned_line_does_not_black_out_a_corner_of_the_picture(detector: TextDetector) -> None:
    screen = drawn(np.zeros((512, 512), np.uint8), ("A LONG LINE OF TEXT THAT IS TURNED", 16, 45))
    covered = np.zeros((512, 512), bool)
    for one in detector.detect([screen.pixels])[0]:
        covered[one.box.y0:one.box.y1, one.box.x0:one.box.x1] = True
    assert covered.sum() < 0.5 * screen.texts[0].box.area


@pytest.mark.parametrize("modality", ["US", "CT", "ES"])
def test_pictures_without_text_stay_without_boxes(detector: TextDetector, modality: str) -> None:
    for seed in range(2):
        picture = ground(modality, np.random.default_rng(seed), (384, 512))
        assert detector.detect([picture])[0] == []


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (40, 9), (33, 65), (600, 200)])
@pytest.mark.parametrize("level", [0, 255])
def test_pictures_of_any_shape_and_flat_ones(detector: TextDetector, shape: tuple[int, int], level: int) -> None:
    assert detector.detect([np.full(shape, level, np.uint8)])[0] == []


def test_boxes_lie_inside_the_frame_and_do_not_depend_on_the_batch(detector: TextDetector) -> None:
    one = drawn(np.zeros((200, 300), np.uint8), ("AT THE EDGE", 24, 0)).pixels
    one = np.ascontiguousarray(one[:, 20:])
    other = drawn(np.full((120, 260), 200, np.uint8), ("other 12345", 14, 0)).pixels
    together = detector.detect([one, other])
    assert together == [detector.detect([one])[0], detector.detect([other])[0]]
    for frame, found in zip((one, other), together):
        assert found and all(box.clipped(*frame.shape) == box and box.area > 0 for box in (d.box for d in found))


def test_reading_returns_what_is_written(detector: TextDetector) -> None:
    screen = drawn(np.zeros((160, 400), np.uint8), ("Gain 45%", 18, 0), ("12.5 cm", 16, 0))
    boxes = [text.box.grown(3) for text in screen.texts]
    assert [text for text, sure in detector.read(screen.pixels, boxes) if sure > 0.8] == ["Gain 45%", "12.5 cm"]
    assert detector.read(screen.pixels, [Box(900, 900, 910, 910)]) == [("", 0.0)]


def test_words_of_the_allow_list_stay_and_names_go(detector: TextDetector) -> None:
    screen = drawn(np.zeros((300, 500), np.uint8), ("TIs 0.6", 16, 0), ("NOVAK EVA", 16, 0), ("12.5 cm", 20, 0), ("12.03.1957", 20, 0))
    dataset = Dataset()
    dataset.Modality = "US"
    gone = redacted(judge_text(dataset, [(0, screen.pixels)], detector, NoPatient(), PixelSettings()))
    assert [uncovered(text, gone, 0) < 0.05 for text in screen.texts] == [False, True, False, True]
    assert len(redacted(judge_text(dataset, [(0, screen.pixels)], detector, None, PixelSettings()))) == 4


def test_every_frame_of_a_loop_is_clean_static_moving_and_changing_text(detector: TextDetector) -> None:
    frames, screen = make_loop("US", np.random.default_rng(3), 16, static=3)
    frames = [frame[150:650, 100:].copy() for frame in frames]
    dataset = Dataset()
    dataset.Modality = "US"
    regions = judge_text(dataset, enumerate(frames), detector, NoPatient(), PixelSettings())
    height, width = frames[0].shape
    checked = 0
    for text in screen.texts:
        box = Box(text.box.x0 - 100, text.box.y0 - 150, text.box.x1 - 100, text.box.y1 - 150)
        if box.clipped(height, width) != box:
            continue
        moved = ScreenText(text.text, box, text.ink, True, text.size, text.contrast, 0.0)
        for frame in range(len(frames)) if text.frames is None else text.frames:
            checked += 1
            assert uncovered(moved, redacted(regions, frame)) < 0.05, (text.text, frame)
    assert checked >= 12
    assert any(region.frames is None for region in regions) and any(region.frames is not None for region in regions)


def test_pages_are_judged_one_by_one(detector: TextDetector) -> None:
    pages = [drawn(np.zeros((128, 256), np.uint8), (word, 20, 0)).pixels for word in ("PAGE ONE", "SECOND 2")]
    regions = judge_text(Dataset(), [(0, pages[0]), (1, pages[1])], detector, NoPatient(), PixelSettings())
    assert {region.frames for region in regions} == {(0,), (1,)}


def test_real_films_rarely_get_a_box_away_from_their_markers(detector: TextDetector) -> None:
    if not SHARED.is_dir():
        pytest.skip("the shared films are not here")
    import json

    import cv2

    lines = (SHARED / "labels.jsonl").read_text("utf-8").splitlines()[::40]
    stray = 0
    for line in lines:
        film = json.loads(line)
        picture = cv2.imread(str(SHARED / film["image"]), cv2.IMREAD_GRAYSCALE)
        items = [Box(*(int(edge) for edge in item["bbox"])).grown(20) for item in film["items"]]
        stray += any(all(min((part := one.box.intersection(item)).width, part.height) <= 0 for item in items)
                     for one in detector.detect([np.asarray(picture, np.uint8)])[0])
    assert stray <= 1


def test_a_model_file_that_is_not_the_tested_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="SHA-256"):
        model_file(DETECTION[0], "0" * 64)
    with pytest.raises(ConfigError, match="without"):
        model_file("absent.onnx", "0" * 64)
    monkeypatch.setattr(text_net.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="not installed"):
        model_file(*DETECTION)


def test_a_net_that_does_not_find_its_own_reference_line_is_not_believed() -> None:
    class Blind:
        def run(self, names: object, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [np.zeros((1, 1, *inputs["x"].shape[2:]), np.float32)]

    with pytest.raises(HoldInstance):
        TextNets(Blind(), None, (), "").text_probability(np.zeros((64, 64), np.uint8))


def test_loading_the_text_pass_does_not_import_the_package_that_could_download() -> None:
    import subprocess
    import sys

    check = ("import sys, radanon_node.markers.text as t; t.TextDetector.load(1); "
             "print([m for m in sys.modules if 'rapidocr' in m])")
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert ran.stdout.strip() == "[]"


def test_a_line_cut_by_the_edge_of_a_window_is_one_line_again() -> None:
    left, right, other = Box(10, 100, 300, 130), Box(220, 101, 380, 131), Box(10, 300, 50, 320)
    found = whole_lines([(left, 0.7), (other, 0.8), (right, 0.9)], [0, 0, 1])
    assert sorted(found, key=lambda one: one[0].y0) == [(Box(10, 100, 380, 131), 0.9), (other, 0.8)]
    assert len(whole_lines([(left, 0.7), (right, 0.9)], [0, 0])) == 2  # neighbours in one window stay apart
    assert whole_lines([(left, 0.7), (Box(20, 105, 40, 120), 0.9)], [0, 0]) == [(left, 0.9)]  # what a box holds is no box of its own


def test_a_number_over_the_seam_of_two_windows_is_found_whole(detector: TextDetector) -> None:
    for x in range(380, 560, 45):
        picture = np.zeros((400, 1200), np.uint8)
        cv2.putText(picture, "Acc 15603", (x, 200), cv2.FONT_HERSHEY_TRIPLEX, 1.3, 220, 2, cv2.LINE_AA)
        picture[5:395:24, 5:1195:24] = 90  # something everywhere: the picture is searched as a whole, in two windows
        found = [one.box for one in detector.detect([picture])[0]]
        assert any(box.x0 <= x + 6 and box.x1 >= x + 190 for box in found), (x, found)


@pytest.mark.parametrize("quarter", [1, -1])
def test_an_upright_line_is_followed_to_its_ends(detector: TextDetector, quarter: int) -> None:
    rng = np.random.default_rng([3104, 0, sum(map(ord, "CT"))])
    picture = ground("CT", rng)
    word = np.zeros((30, 330), np.uint8)
    cv2.putText(word, "DOB 5.1.1931 KOWAL", (4, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 230, 2, cv2.LINE_AA)
    ink = np.rot90(word, quarter)
    picture[60:60 + ink.shape[0], 40:40 + ink.shape[1]] = np.maximum(picture[60:60 + ink.shape[0], 40:40 + ink.shape[1]], ink)
    rows, columns = np.nonzero(ink > 80)
    covered = np.zeros(picture.shape, np.bool_)
    for one in detector.detect([picture])[0]:
        covered[one.box.y0 - 3:one.box.y1 + 3, one.box.x0 - 3:one.box.x1 + 3] = True
    assert covered[rows + 60, columns + 40].mean() > 0.95
