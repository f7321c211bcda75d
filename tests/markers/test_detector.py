"""The detector around its network: letterboxing, suppression, tiles, thresholds, weights that are missing or altered."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radanon_node.errors import ConfigError, HoldInstance, Reason
from radanon_node.markers.detector import MarkerDetector
from radanon_node.markers.geometry import adding, letterbox, place, suppress, to_film, unpadded
from radanon_node.markers.tiles import tiles_of
from radanon_node.markers.weights import Weights, find_weights
from radanon_node.pipeline.types import Box, Kind, Source

WEIGHTS = Weights(Path("markers.onnx"), "0" * 64, (Kind.SIDE_LETTER, Kind.TEXT, Kind.SYMBOL), 256, 32, (0.3, 0.2, 0.4), 0, None)


class BrightSpots:
    """Stands in for a network: one row per bright spot, tight, with confidence = brightness / 255 and class by height."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.shapes.append(batch.shape)
        out = np.zeros((len(batch), 32, 8), np.float32)
        for number, picture in enumerate(batch):
            _, _, stats, _ = cv2.connectedComponentsWithStats((picture > 20).astype(np.uint8))
            for row, (x, y, width, height, _) in enumerate(stats[1:33]):
                out[number, row, :5] = x + width / 2, y + height / 2, width, height, picture[y : y + height, x : x + width].max() / 255
                out[number, row, 5 + (0 if height > 10 else 1)] = 1
        return out


def detector() -> tuple[MarkerDetector, BrightSpots]:
    engine = BrightSpots()
    return MarkerDetector(WEIGHTS, engine), engine


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(64, 900), columns=st.integers(64, 900), data=st.data())
def test_a_spot_is_found_where_it_is_whatever_the_films_size(rows: int, columns: int, data: st.DataObject) -> None:
    side = max(max(rows, columns) // 16, 6)
    x, y = data.draw(st.integers(0, columns - side)), data.draw(st.integers(0, rows - side))
    frame = np.zeros((rows, columns), np.uint8)
    frame[y : y + side, x : x + side] = 255
    ((found,),) = detector()[0].detect([frame])
    slack = 1.5 * max(rows, columns) / 256 + 1.5  # soft edges of a reduced film: up to a pixel and a half of the network's input
    assert found.source is Source.MARKER_MODEL
    for measured, true in zip((found.box.x0, found.box.y0, found.box.x1, found.box.y1), (x, y, x + side, y + side)):
        assert abs(measured - true) <= slack
    assert found.box.x0 >= 0 and found.box.y0 >= 0 and found.box.x1 <= columns and found.box.y1 <= rows


@settings(max_examples=80, deadline=None)
@given(rows=st.integers(1, 4000), columns=st.integers(1, 4000), long_side=st.sampled_from([256, 640, 1024]))
def test_letterbox_sides_are_multiples_of_the_stride_and_boxes_come_back(rows: int, columns: int, long_side: int) -> None:
    where = place(Box(0, 0, columns, rows), long_side, 32)
    assert where.rows % 32 == where.columns % 32 == 0
    assert max(where.rows, where.columns) == long_side
    corners = np.array([where.left, where.top, where.left + columns * where.scale, where.top + rows * where.scale], np.float32)
    back = to_film(corners, where)
    assert abs(back.x0) <= 1 and abs(back.y0) <= 1 and abs(back.x1 - columns) <= 1 and abs(back.y1 - rows) <= 1


def test_a_film_of_the_right_size_is_not_resampled() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (256, 224), np.uint8)
    where = place(Box(0, 0, 224, 256), 256, 32)
    assert np.array_equal(letterbox(frame, where, 114), frame)


def test_frames_of_one_shape_share_a_call_and_order_is_kept() -> None:
    finder, engine = detector()
    frames = []
    for number in range(5):
        frame = np.zeros((300, 200) if number % 2 else (200, 300), np.uint8)
        frame[20 + 10 * number : 60 + 10 * number, 30:70] = 200
        frames.append(frame)
    found = finder.detect(frames)
    assert sorted(shape[0] for shape in engine.shapes) == [2, 3]
    assert [round(one.box.y0 / 10) for (one,) in found] == [2, 3, 4, 5, 6]


def test_thresholds_are_the_calibrated_ones_of_each_kind_unless_one_is_given() -> None:
    finder, _ = detector()
    frame = np.zeros((256, 256), np.uint8)
    frame[10:40, 10:40] = 70  # a letter by its height: 0.27 < 0.3
    frame[100:106, 10:60] = 70  # print by its height: 0.27 > 0.2
    (found,) = finder.detect([frame])
    assert [item.kind for item in found] == [Kind.TEXT]
    (found,) = finder.detect([frame], min_confidence=0.1)
    assert {item.kind for item in found} == {Kind.TEXT, Kind.SIDE_LETTER}
    assert finder.thresholds == {"side_letter": 0.3, "text": 0.2, "symbol": 0.4}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_suppression_keeps_the_best_and_leaves_no_two_that_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 80, (30, 2)).astype(np.float32)
    corners = np.concatenate([low, low + rng.uniform(5, 40, (30, 2)).astype(np.float32)], 1)
    kept = suppress(corners, 0.5)
    assert kept[0] == 0

    def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
        sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
        shared = float(np.prod(np.maximum(sides, 0)))
        return shared / (float(np.prod(one[2:] - one[:2])) + float(np.prod(other[2:] - other[:2])) - shared)

    for position, index in enumerate(kept):
        assert all(overlap(corners[index], corners[better]) <= 0.5 + 1e-5 for better in kept[:position])
    for index in set(range(30)) - set(kept.tolist()):
        assert any(overlap(corners[index], corners[better]) > 0.5 - 1e-5 for better in kept if better < index)


def test_a_box_is_dropped_only_where_better_ones_have_it_all() -> None:
    boxes = [Box(0, 0, 20, 20), Box(10, 0, 30, 20), Box(2, 2, 28, 18), Box(0, 0, 20, 25), Box(0, 0, 20, 21), Box(40, 40, 40, 50)]
    assert adding(boxes, 0.9) == [0, 1, 3, 5]
    assert adding([], 0.9) == []


def test_a_film_scaled_to_less_than_half_is_halved_first_and_looks_the_same() -> None:
    rows, columns = np.mgrid[0:2501, 0:2047]
    frame = (120 + 50 * np.sin(rows / 40) + 50 * np.cos(columns / 55)).astype(np.uint8)
    where = place(Box(0, 0, 2047, 2501), 1024, 32)
    inner = unpadded(letterbox(frame, where, 0), where)
    plain = cv2.resize(frame, inner.shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(inner.astype(int) - plain).max() <= 4


def test_tiles_are_no_larger_than_the_print_and_hold_all_of_it() -> None:
    film = np.full((2500, 2051), 60, np.uint8)
    places = ((30, 40), (1500, 40), (1900, 1200), (900, 2480))
    for x, y in places:
        cv2.putText(film, "DOE JANE 1971", (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 250, 1)
    tiles = [tile.window for tile in tiles_of(film, 1024, 32)]
    assert sum(window.area for window in tiles) < 0.6 * 512 * 512
    for x, y in places:
        assert any(w.x0 <= x and w.x1 >= min(x + 118, 2051) and w.y0 <= y - 11 and w.y1 >= y + 3 for w in tiles)
    noise = np.random.default_rng(1).integers(0, 256, (2500, 2048), np.uint8)
    most = [tile.window for tile in tiles_of(noise, 1024, 32)]
    assert most and sum(window.area for window in most) <= 6 * 512 * 512


def test_small_print_on_a_large_film_gets_a_second_look_and_a_plain_film_does_not() -> None:
    ramp = np.tile(np.linspace(20, 200, 2048).astype(np.uint8), (2500, 1))
    assert tiles_of(ramp, 1024, 32) == []
    cv2.putText(ramp, "DOE JANE 1971", (1500, 2300), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 250, 1)
    tiles = tiles_of(ramp, 1024, 32)
    assert len(tiles) == 1
    window = tiles[0].window
    assert window.x0 <= 1500 and window.y0 <= 2285 and window.x1 >= 1610 and window.y1 >= 2305
    assert tiles_of(ramp[:1200, :1000], 1024, 32) == []


def test_print_that_the_whole_film_look_is_sure_of_gets_no_second_look_but_what_its_box_leaves_out_does() -> None:
    film = np.full((2500, 2048), 60, np.uint8)
    for x, y in ((300, 400), (1400, 2200)):
        cv2.putText(film, "DOE JANE 1971", (x, y), cv2.FONT_HERSHEY_SIMPLEX, 1, 250, 2)
    line = Box(290, 370, 540, 415)
    (tile,) = tiles_of(film, 1024, 32, [line])
    assert tile.window.intersection(line).height <= 0 and tile.window.y0 < 2170 and tile.window.y1 > 2200
    half = Box(290, 370, 400, 415)
    assert any(tile.window.x0 <= 400 and tile.window.x1 >= 530 and tile.window.y0 <= 380 for tile in tiles_of(film, 1024, 32, [half]))


def test_a_tile_finds_what_the_whole_film_view_loses() -> None:
    frame = np.zeros((2048, 2048), np.uint8)
    for column in range(500, 620, 6):
        frame[700:714, column : column + 2] = 255  # strokes of two pixels fade to nothing at an eighth of the size
    (found,) = detector()[0].detect([frame], min_confidence=0.9)
    assert found and all(690 < item.box.y0 < 705 for item in found)


@pytest.mark.parametrize("frame", [np.zeros((10, 10, 3), np.uint8), np.zeros((10, 10), np.uint16), np.zeros((0, 10), np.uint8)])
def test_what_is_no_gray_frame_is_held(frame: NDArray[np.uint8]) -> None:
    with pytest.raises(HoldInstance) as held:
        detector()[0].detect([frame])
    assert held.value.reason is Reason.UNSUPPORTED_PIXELS


def test_without_weights_every_instance_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radanon_node.markers.weights._PACKAGED", (Path("nowhere.onnx"),))
    finder = MarkerDetector.load(device="cpu")
    assert finder.model_hash == "" and finder.thresholds == {}
    with pytest.raises(HoldInstance) as held:
        finder.detect([np.zeros((64, 64), np.uint8)])
    assert held.value.reason is Reason.MODEL_MISSING


CARD = {
    "classes": ["side_letter", "text", "symbol"], "input_size": 640, "stride": 32,
    "thresholds": {"side_letter": 0.2, "text": 0.1, "symbol": 0.3},
}


def written(folder: Path, card: object, content: bytes = b"weights") -> tuple[Path, str]:
    path = folder / "local.onnx"
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps(card))
    return path, hashlib.sha256(content).hexdigest()


def test_named_weights_are_taken_only_with_the_hash_the_configuration_names(tmp_path: Path) -> None:
    path, digest = written(tmp_path, CARD)
    found = find_weights(path, digest)
    assert found is not None and found.input_size == 640 and found.thresholds == (0.2, 0.1, 0.3) and found.kinds[0] is Kind.SIDE_LETTER
    with pytest.raises(ConfigError, match="another hash"):
        find_weights(path, "0" * 64)
    with pytest.raises(ConfigError, match="weights_sha256"):
        find_weights(path, None)
    with pytest.raises(ConfigError, match="cannot be read"):
        find_weights(tmp_path / "absent.onnx", digest)


@pytest.mark.parametrize(
    "change",
    [{"classes": ["cat"]}, {"classes": []}, {"thresholds": 1.5}, {"thresholds": [0.1]}, {"stride": 0}, {"pad": 300}, {"input_size": "big"}],
)
def test_a_description_that_makes_no_sense_is_a_clear_error(tmp_path: Path, change: dict[str, object]) -> None:
    path, digest = written(tmp_path, CARD | change)
    with pytest.raises(ConfigError, match="worker.weights"):
        find_weights(path, digest)


def test_a_file_that_is_no_network_is_a_clear_error(tmp_path: Path) -> None:
    path, digest = written(tmp_path, CARD, b"no onnx at all")
    with pytest.raises(ConfigError, match=r"local\.onnx cannot be loaded"):
        MarkerDetector.load(path, digest, "cpu", 1)
    path.with_suffix(".json").unlink()
    with pytest.raises(ConfigError, match="missing or no JSON"):
        find_weights(path, digest)
