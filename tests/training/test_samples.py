"""Training samples are functions of seed and number, and boxes follow the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.training.films import LabelledFilm
from radanon_node.training.samples import Mix, Samples
from radanon_node.training.synth.film import Item
from radanon_node.training.views import moved, placing


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledFilm]:
    path = tmp_path_factory.mktemp("films") / "a.png"
    image = np.full((300, 240), 40, np.uint8)
    image[100:140, 50:80] = 250
    cv2.imwrite(str(path), image)
    return [LabelledFilm(path, (Item(50, 100, 80, 140, 0),))]


def test_a_sample_is_the_same_in_any_order(films: list[LabelledFilm]) -> None:
    one, other = Samples(films, 3, 96, long_side=300), Samples(films, 3, 96, long_side=300)
    forward = [one.sample(k) for k in range(6)]
    for k in reversed(range(6)):
        image, targets = other.sample(k)
        assert np.array_equal(image, forward[k][0])
        assert np.array_equal(targets, forward[k][1])


def test_samples_need_no_film() -> None:
    samples = Samples([], 1, 128)
    counts = [len(samples.sample(k)[1]) for k in range(24)]
    assert sum(counts) > 6
    image, targets = samples.sample(0)
    assert image.shape == (128, 128)
    assert targets.shape[1] == 5


def test_targets_are_fractions_inside_the_sample(films: list[LabelledFilm]) -> None:
    samples = Samples(films, 4, 96, long_side=300)
    for k in range(30):
        _, targets = samples.sample(k)
        assert (targets[:, 1:3] - targets[:, 3:] / 2 >= -1e-5).all()
        assert (targets[:, 1:3] + targets[:, 3:] / 2 <= 1 + 1e-5).all()
        assert set(np.unique(targets[:, 0])) <= {-1, 0, 1, 2}


def test_boxes_of_a_real_film_stay_on_its_marker(films: list[LabelledFilm]) -> None:
    """On windows without anything drawn the labelled box covers the bright rectangle and little else."""
    samples = Samples(films, 5, 160, Mix(real=1, extra=0, mosaic=0), long_side=300)
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(40):
        image, items = samples._real(160, 160, rng)
        for i in items:
            if i.label >= 0:
                inner = image[round(i.y0) : round(i.y1), round(i.x0) : round(i.x1)]
                assert np.median(inner) > 200
                seen += 1
    assert seen > 10


@settings(max_examples=60, deadline=None)
@given(st.floats(0.4, 2.5), st.sampled_from([0.0, 90.0, 180.0, 270.0]), st.booleans(), st.floats(-60, 60), st.floats(-60, 60))
def test_moved_boxes_have_the_scaled_area_or_are_cut(scale: float, angle: float, flip: bool, dx: float, dy: float) -> None:
    item = Item(80, 90, 120, 110, 1)
    matrix = placing(100 + dx, 100 + dy, 200, 200, scale, angle, flip)
    for i in moved([item], matrix, 200, 200):
        area = (i.x1 - i.x0) * (i.y1 - i.y0)
        assert area <= 800 * scale**2 + 1e-6
        assert (i.label == 1) == (area >= 0.3 * 800 * scale**2)
