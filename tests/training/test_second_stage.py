"""Training of the second stage: what candidates are called, and that it learns from them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from radanon_node.markers.checkpoint import read_checkpoint  # noqa: E402
from radanon_node.markers.detector import MarkerDetector  # noqa: E402
from radanon_node.markers.verifier import SIDE, crops_of, moved  # noqa: E402
from radanon_node.markers.verifier_net import TorchVerifier  # noqa: E402
from radanon_node.markers.yolov5 import YoloV5  # noqa: E402
from radanon_node.pipeline.types import Box  # noqa: E402
from radanon_node.training.export import digest, export  # noqa: E402
from radanon_node.training.films import LabelledFilm  # noqa: E402
from radanon_node.training.finetune import finetune  # noqa: E402
from radanon_node.training.samples import Mix, Samples  # noqa: E402
from radanon_node.training.second_stage import _augmented, fit, shares, train_verifier  # noqa: E402
from radanon_node.training.second_stage_data import UNKNOWN, Candidates, from_films, from_samples, shift_to, truth  # noqa: E402
from radanon_node.training.synth.film import Item  # noqa: E402

_ITEMS = [Item(10, 10, 30, 40, 0), Item(100, 100, 200, 120, 1), Item(300, 300, 330, 330, -1)]


@pytest.mark.parametrize(
    ("box", "label"),
    [
        (Box(9, 9, 31, 42), 1),
        (Box(100, 100, 190, 121), 2),
        (Box(60, 60, 80, 80), 0),
        (Box(12, 12, 20, 20), UNKNOWN),
        (Box(295, 295, 325, 325), UNKNOWN),
    ],
)
def test_a_candidate_is_called_after_what_it_covers(box: Box, label: int) -> None:
    assert truth(box, _ITEMS)[0] == label


def test_an_unlearnable_item_leaves_the_overlap_unknown() -> None:
    assert truth(Box(295, 295, 325, 325), _ITEMS)[1] == -1


def test_the_shift_that_is_learnt_brings_a_candidate_to_its_item() -> None:
    assert moved(Box(8, 14, 33, 44), np.array(shift_to(Box(8, 14, 33, 44), _ITEMS), np.float32)) == Box(10, 10, 30, 40)
    assert np.isnan(shift_to(Box(60, 60, 80, 80), _ITEMS)).all()
    assert np.isnan(shift_to(Box(300, 300, 330, 330), _ITEMS)).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_turned_candidate_is_told_the_turned_shift(seed: int) -> None:
    """What the shift points to in the close view is the item's box, however the batch is turned."""
    frame = np.full((200, 200), 20, np.uint8)
    frame[70:110, 80:100] = 250
    box, items = Box(74, 60, 104, 104), [Item(80, 70, 100, 110, 0)]
    crops, sizes = crops_of(frame, [box], 1.0)
    shifts = torch.tensor([shift_to(box, items)])
    turned, _, told = _augmented(torch.from_numpy(crops), torch.from_numpy(sizes), shifts, np.random.default_rng(seed))
    rows, columns = np.nonzero(turned[0, 1].numpy() > 0)
    place = Box(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    there = moved(place, told[0].numpy())
    rows, columns = np.nonzero(turned[0, 0].numpy() > 140)
    seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    np.testing.assert_allclose((there.x0, there.y0, there.x1, there.y1), seen, atol=2)


def _toy(count: int) -> Candidates:
    """Rings are letters, plain noise is nothing."""
    rng = np.random.default_rng(0)
    crops, labels = rng.integers(60, 100, (count, 4, SIDE, SIDE), np.uint8), np.arange(count) % 2
    for number in np.flatnonzero(labels):
        cv2.circle(crops[number, 0], (32, 32), int(rng.integers(10, 25)), 220, 3)
    shifts = np.where(labels[:, None] > 0, np.float32(0.2), np.float32(np.nan)).repeat(4, 1)
    return Candidates(crops, np.zeros((count, 3), np.float32), labels.astype(np.int64), labels.astype(np.float32), shifts)


def test_it_learns_to_tell_rings_from_noise() -> None:
    toy = _toy(64)
    net = train_verifier(toy, passes=640, batch=16, threads=1, seed=2, real=32)
    rows = TorchVerifier(net, torch.device("cpu"))(toy.crops, toy.sizes)
    assert ((rows[:, 0] > 0.5) == (toy.labels == 0)).mean() > 0.9


def test_every_kind_gets_its_share_and_hard_ones_more() -> None:
    toy = _toy(40)
    even = shares(toy, 20)
    assert even.sum() == pytest.approx(1) and even[:20].sum() == pytest.approx(0.4)
    hardness = np.zeros(40, np.float32)
    hardness[0] = 0.8
    hard = shares(toy, 20, hardness)
    assert hard[0] > 5 * hard[2] and hard[:20].sum() == pytest.approx(0.4)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    net = YoloV5("n")
    with torch.no_grad():  # eager to see things, so that there are candidates
        for head in net.head.m:
            head.bias.view(3, -1)[:, 4:] = -2
    torch.save({"state_dict": net.state_dict()}, tmp_path / "w.pt")
    return tmp_path / "w.pt"


def _films(folder: Path, count: int) -> list[LabelledFilm]:
    out = []
    for k in range(count):
        image = np.full((200, 200), 30, np.uint8)
        image[50:90, 60 : 80 + k] = 240
        cv2.imwrite(str(folder / f"f{k}.png"), image)
        letter, decoy = Item(60, 50, 80 + k, 90, 0), Item(120, 120, 150, 150, -2)
        out.append(LabelledFilm(folder / f"f{k}.png", (letter,), ("side_letter",), "train", (decoy,)))
    return out


def test_candidates_come_from_films_and_windows_with_their_labels(checkpoint: Path, tmp_path: Path) -> None:
    onnx = export(checkpoint, tmp_path, thresholds=dict.fromkeys(("side_letter", "text", "symbol"), 0.2), input_size=256, name="d")
    detector = MarkerDetector.load(onnx, digest(onnx), "cpu", 1)
    films = from_films(detector, _films(tmp_path, 2), jitter=3)
    assert set(films.labels.tolist()) >= {0, 1} and len(films.crops) == len(films.sizes) == len(films.overlap) == len(films)
    more = from_films(detector, _films(tmp_path, 2), jitter=3, views=2)
    assert len(more) > len(films) and (more.labels > 0).sum() > (films.labels > 0).sum()
    windows = from_samples(detector, Samples((), 3, 128, Mix(real=0)), 0, 6, most=2)
    assert len(windows) and (windows.labels == 0).sum() <= 12


def test_a_pair_is_trained_exported_and_tuned(checkpoint: Path, tmp_path: Path) -> None:
    from radanon_node.training import second_stage

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(second_stage, "_WINDOW", 128)
        path = fit(checkpoint, _films(tmp_path, 1), tmp_path / "second", windows=3, passes=96, threads=1, long_side=256, drawn_films=1)
        assert read_checkpoint(path).verifier
        again = fit(
            path, _films(tmp_path, 1), tmp_path / "kept", windows=1, passes=96, threads=1, long_side=256, views=1, keep=1.0
        )
        assert all(torch.equal(v.float(), read_checkpoint(again).verifier[k].float()) for k, v in read_checkpoint(path).verifier.items()
                   if v.is_floating_point())
        floors = {"side_letter": 0.11, "text": 0.12, "symbol": 0.13}
        base = export(path, tmp_path / "base", thresholds=floors, input_size=256)
        tuned = finetune(_films(tmp_path, 2), tmp_path / "out", base=base.with_suffix(".pt"), passes=4, workers=0, threads=1)
    old, new = read_checkpoint(base.with_suffix(".pt")), read_checkpoint(tuned.weights.with_suffix(".pt"))
    assert old.verifier.keys() == new.verifier.keys()
    assert any(not torch.equal(old.verifier[key], new.verifier[key]) for key in old.verifier)
    assert tuned.sha256 == hashlib.sha256(tuned.weights.read_bytes()).hexdigest()
    finder = MarkerDetector.load(tuned.weights, tuned.sha256, "cpu", 1)
    assert finder.thresholds == floors and len(finder.detect([np.zeros((90, 120), np.uint8)])) == 1
