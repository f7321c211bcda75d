"""Shares of pixels with a step, cell by cell."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radanon_node.markers.text_boxes import step_shares
from radanon_node.pipeline.types import Box


def counted(view: NDArray[np.uint8], step: int, cell: int, known: list[Box], down: bool) -> NDArray[np.float64]:
    """The same, counted pixel by pixel."""
    marked = np.zeros(view.shape, np.bool_)
    levels = view.astype(np.int16)
    if down:
        marked[1:] = np.abs(levels[1:] - levels[:-1]) >= step
    else:
        marked[:, 1:] = np.abs(levels[:, 1:] - levels[:, :-1]) >= step
    for box in known:
        marked[max(box.y0, 0) : max(box.y1, 0), max(box.x0, 0) : max(box.x1, 0)] = False
    rows, columns = (-(-side // cell) * cell for side in view.shape)
    whole = np.zeros((rows, columns))
    whole[: view.shape[0], : view.shape[1]] = marked
    return np.asarray(whole.reshape(rows // cell, cell, columns // cell, cell).mean(axis=(1, 3)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_shares_are_what_counting_gives(data: st.DataObject) -> None:
    rows, columns = data.draw(st.sampled_from([1, 15, 33, 255, 256, 257, 530])), data.draw(st.sampled_from([1, 16, 31, 64, 130]))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    view = rng.integers(0, data.draw(st.sampled_from([12, 60, 256])), (rows, columns)).astype(np.uint8)
    step, cell, down = data.draw(st.sampled_from([1, 20, 40])), data.draw(st.sampled_from([16, 32])), data.draw(st.booleans())
    edge, side = st.integers(-20, 300), st.integers(0, 90)
    known = [Box(x, y, x + w, y + h) for x, y, w, h in data.draw(st.lists(st.tuples(edge, edge, side, side), max_size=3))]
    expected = counted(view, step, cell, known, down)
    found = step_shares(view, step, cell, known, down)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    where = rng.random(expected.shape) < 0.2
    np.testing.assert_allclose(step_shares(view, step, cell, known, down, where)[where], expected[where], atol=1e-6)


def test_nothing_is_worked_out_where_nothing_is_asked_for() -> None:
    view = np.tile(np.array([0, 200], np.uint8), (300, 50))
    where = np.zeros((10, 4), np.bool_)
    where[9, 1] = True
    shares = step_shares(view, 20, 32, where=where)
    assert np.flatnonzero(shares.any(axis=0)).tolist() == [1] and shares[9, 1] > 0.3 and not shares[:8].any()
