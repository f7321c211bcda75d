"""The second stage: what it is shown, that both engines and every batch give one answer, and how it changes what the detector says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from radanon_node.errors import ConfigError
from radanon_node.markers.detector import MarkerDetector
from radanon_node.markers.second_look import _JUDGED, accepted
from radanon_node.markers.verifier import BATCH, SIDE, crops_of
from radanon_node.markers.weights import Weights, find_weights, verifier_of
from radanon_node.pipeline.types import Box, Detection, Kind, Source

WEIGHTS = Weights(Path("markers.onnx"), "0" * 64, (Kind.SIDE_LETTER, Kind.TEXT, Kind.SYMBOL), 256, 32, (0.3, 0.3, 0.3), 0, None)


def test_the_close_view_holds_the_box_and_its_mask_lies_on_it() -> None:
    frame = np.zeros((400, 300), np.uint8)
    frame[100:150, 200:230] = 200
    crops, sizes = crops_of(frame, [Box(200, 100, 230, 150)], 1.0)
    assert crops.shape == (1, 4, SIDE, SIDE)
    for channel in (0, 2):
        picture, mask = crops[0, channel] > 100, crops[0, channel + 1] > 0
        assert (picture & mask).sum() > 0.8 * mask.sum() and (picture & ~mask).sum() < 0.25 * mask.sum()
    assert (crops[0, 1] > 0).sum() > 4 * (crops[0, 3] > 0).sum() > 0
    np.testing.assert_allclose(sizes[0], np.log2([30 / 32, 50 / 32, 30 / 50]), rtol=1e-5)


def test_outside_the_film_is_black_and_a_box_on_the_rim_is_no_error() -> None:
    frame = np.full((100, 100), 255, np.uint8)
    crops, _ = crops_of(frame, [Box(0, 0, 10, 10), Box(95, 95, 100, 100), Box(0, 0, 100, 100)], 1.0)
    assert (crops[0, 2] == 0).mean() > 0.4 and (crops[:, 0] == 255).any((1, 2)).all()


def test_a_reduced_film_shows_large_items_as_the_film_itself_does() -> None:
    rows, columns = np.mgrid[0:2000, 0:2000]
    frame = (127 + 60 * np.sin(rows / 90) + 60 * np.cos(columns / 130)).astype(np.uint8)
    small = frame[::2, ::2].copy()
    box = [Box(400, 500, 800, 900)]
    one, _ = crops_of(frame, box, 2.0)
    other, _ = crops_of(frame, box, 2.0, (small, 0.5))
    assert np.abs(one.astype(int) - other).mean() < 3


class Says:
    """A second stage that finds nothing in dark close views."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, crops: NDArray[np.uint8], sizes: NDArray[np.float32]) -> NDArray[np.float32]:
        self.seen += len(crops)
        out = np.zeros((len(crops), 5), np.float32)
        out[:, 0] = np.where(crops[:, 0].max((1, 2)) > 150, 0.0, 0.99)
        return out


class Spots:
    """A detector that reports the given rows (x, y, width, height, confidence) as letters on every picture."""

    def __init__(self, rows: list[tuple[float, float, float, float, float]]) -> None:
        self._rows = rows

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        out = np.zeros((len(batch), max(len(self._rows), 1), 8), np.float32)
        for number, row in enumerate(self._rows):
            out[:, number, :5], out[:, number, 5] = row, 1
        return out


def film() -> NDArray[np.uint8]:
    frame = np.full((256, 256), 40, np.uint8)
    frame[20:40, 20:40] = 240
    return frame


def test_doubt_of_the_second_stage_drops_a_box_and_its_belief_saves_a_faint_one() -> None:
    spots = Spots([(30, 30, 20, 20, 0.15), (150, 150, 20, 20, 0.6)])
    alone = MarkerDetector(WEIGHTS, spots).detect([film()])[0]
    assert [d.box.x0 > 100 for d in alone] == [True]
    (found,) = MarkerDetector(WEIGHTS, spots, Says()).detect([film()])[0]
    assert found.box.x0 < 100 and found.confidence == pytest.approx(0.15**0.3, rel=1e-4)


class Moves(Says):
    """A second stage that sees every item half a width further right and twice as high."""

    def __call__(self, crops: NDArray[np.uint8], sizes: NDArray[np.float32]) -> NDArray[np.float32]:
        shift = np.array([0.5, 0, 0, np.log(2)], np.float32)
        return np.hstack((super().__call__(crops, sizes), np.broadcast_to(shift, (len(crops), 4))))


def test_a_box_goes_where_the_second_stage_sees_the_item_and_never_beyond_the_film() -> None:
    spots = Spots([(30, 30, 20, 20, 0.6), (30, 250, 20, 12, 0.5)])
    frame = film()
    frame[244:256, 20:40] = 240
    found = MarkerDetector(WEIGHTS, spots, Moves()).detect([frame])[0]
    assert [d.box for d in found] == [Box(30, 10, 50, 50), Box(30, 238, 50, 256)]
    # Without shifts a network's boxes stay where the detector put them.
    assert MarkerDetector(WEIGHTS, spots, Says()).detect([frame])[0][0].box == Box(20, 20, 40, 40)


def test_what_is_beyond_the_most_that_are_judged_keeps_the_detectors_confidence() -> None:
    rows = [(8.0 + 12 * (k % 20), 60.0 + 12 * (k // 20), 8.0, 8.0, 0.9 - k * 0.001) for k in range(_JUDGED + 10)]
    says = Says()
    found = MarkerDetector(WEIGHTS, Spots(rows), says).detect([film()])[0]
    assert says.seen == _JUDGED and len(found) == 10


def test_beside_a_sure_box_less_is_enough() -> None:
    def box(x: int, confidence: float) -> Detection:
        return Detection(Box(x, 0, x + 20, 20), Kind.TEXT, confidence, Source.MARKER_MODEL)

    sure, piece, far, faint = box(0, 0.6), box(12, 0.2), box(60, 0.2), box(12, 0.1)
    assert accepted([sure, piece, far, faint], {"text": 0.3}) == [sure, piece]
    assert accepted([box(0, 0.4), piece], {"text": 0.3}) == [box(0, 0.4)]


def test_a_side_letter_has_one_box_print_keeps_its_second() -> None:
    rows = [(30, 30, 20, 20, 0.6), (34, 33, 20, 24, 0.5)]
    (letter,) = MarkerDetector(WEIGHTS, Spots(rows), Says()).detect([film()])[0]
    assert letter.box == Box(20, 20, 40, 40)
    assert len(MarkerDetector(as_text(), Spots(rows), Says()).detect([film()])[0]) == 2


def as_text() -> Weights:
    return Weights(WEIGHTS.path, WEIGHTS.sha256, (Kind.TEXT, *WEIGHTS.kinds[1:]), 256, 32, WEIGHTS.thresholds, 0, None)


def test_a_candidate_that_sure_boxes_of_its_kind_hold_is_not_judged() -> None:
    # Four fill the first call; the fifth lies in the first of them, the sixth half beside it, the seventh in what is nothing.
    apart = [(30.0, 30.0, 20.0, 20.0, 0.9), *((90.0 + 50 * k, 200.0, 20.0, 20.0, 0.8) for k in range(3))]
    late = [(32.0, 31.0, 12.0, 14.0, 0.5), (42.0, 30.0, 20.0, 20.0, 0.45), (91.0, 200.0, 12.0, 12.0, 0.4)]
    says = Says()
    found = MarkerDetector(as_text(), Spots([*apart, *late]), says).detect([film()])[0]
    assert says.seen == 6 and [d.box for d in found] == [Box(20, 20, 40, 40), Box(32, 20, 52, 40)]
    unsure = Says()
    doubtful = [(30.0, 30.0, 20.0, 20.0, 0.09), *apart[1:], (32.0, 31.0, 12.0, 14.0, 0.05)]
    assert MarkerDetector(as_text(), Spots(doubtful), unsure).detect([film()])[0] and unsure.seen == 5


def test_films_without_candidates_and_no_films_at_all_are_no_error() -> None:
    finder = MarkerDetector(WEIGHTS, Spots([]), Says())
    assert finder.detect([film()]) == [[]] and finder.detect([]) == []


torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights with a second stage, exported."""
    from radanon_node.markers.verifier_net import VerifierNet
    from radanon_node.markers.yolov5 import YoloV5
    from radanon_node.training.export import export

    torch.manual_seed(2)
    net = VerifierNet(3)
    for _ in range(3):
        net(torch.randint(0, 255, (16, 4, SIDE, SIDE), dtype=torch.uint8), torch.randn(16, 3))
    folder = tmp_path_factory.mktemp("pair")
    torch.save({"state_dict": YoloV5("n").state_dict(), "verifier": net.state_dict()}, folder / "best.pt")
    return export(folder / "best.pt", folder, thresholds=dict.fromkeys(("side_letter", "text", "symbol"), 0.2), input_size=256)


def load(path: Path) -> MarkerDetector:
    return MarkerDetector.load(path, hashlib.sha256(path.read_bytes()).hexdigest(), "cpu", 2)


def test_both_engines_judge_alike_and_no_candidate_depends_on_its_neighbours(pair: Path) -> None:
    rng = np.random.default_rng(4)
    crops = rng.integers(0, 256, (2 * BATCH + 3, 4, SIDE, SIDE), np.uint8)
    sizes = rng.normal(0, 1, (len(crops), 3)).astype(np.float32)
    by_onnx, by_torch = load(pair)._verifier, load(pair.with_suffix(".pt"))._verifier
    assert by_onnx is not None and by_torch is not None
    rows = by_onnx(crops, sizes)
    np.testing.assert_allclose(rows, by_torch(crops, sizes), atol=2e-4)
    np.testing.assert_allclose(rows[:, :4].sum(1), 1, atol=1e-5)
    for number in (0, 5, BATCH, 2 * BATCH + 2):
        assert np.array_equal(by_onnx(crops[number : number + 1], sizes[number : number + 1])[0], rows[number])
    order = rng.permutation(len(crops))
    assert np.array_equal(by_onnx(crops[order], sizes[order]), rows[order])
    assert by_onnx(crops[:0], sizes[:0]).shape == (0, 9)


def test_the_weights_hash_vouches_for_the_second_stage(pair: Path, tmp_path: Path) -> None:
    for file in pair.parent.glob("markers.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    copy = tmp_path / pair.name
    second, card = verifier_of(copy), json.loads(copy.with_suffix(".json").read_text())
    assert set(card["sha256"]) == {"markers.onnx", "markers.pt", "markers.verifier.onnx"}
    # One that somebody put there, with its hash in the description: the weights themselves name another.
    other = second.read_bytes().replace(b"torch", b"t0rch")
    assert other != second.read_bytes()
    second.write_bytes(other)
    with pytest.raises(ConfigError, match=r"markers\.verifier\.onnx has another hash"):
        load(copy)
    card["sha256"][second.name] = hashlib.sha256(other).hexdigest()
    copy.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ConfigError, match=r"not the one that belongs to markers\.onnx"):
        load(copy)
    del card["sha256"][second.name]
    copy.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ConfigError, match="missing or not the one"):
        load(copy)


def test_a_missing_second_stage_is_found_when_the_weights_are(pair: Path, tmp_path: Path) -> None:
    for file in pair.parent.glob("markers.*"):
        if "verifier" not in file.name:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    copy = tmp_path / pair.name
    with pytest.raises(ConfigError, match=r"markers\.verifier\.onnx, which belongs to markers\.onnx"):
        find_weights(copy, hashlib.sha256(copy.read_bytes()).hexdigest())
