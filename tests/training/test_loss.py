"""The loss learns what it should and leaves out what it must."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from radanon_node.markers.yolov5 import YoloV5  # noqa: E402
from radanon_node.training.loss import Gains, assign, ciou, yolo_loss  # noqa: E402


def test_ciou_is_one_for_the_same_box_and_falls_with_distance() -> None:
    box = torch.tensor([[5.0, 5.0, 4.0, 2.0]])
    far = box + torch.tensor([[3.0, 0.0, 0.0, 0.0]])
    farther = box + torch.tensor([[30.0, 0.0, 0.0, 0.0]])
    assert ciou(box, box).item() == pytest.approx(1, abs=1e-5)
    assert 1 > ciou(box, far).item() > ciou(box, farther).item()
    assert ciou(box, farther).item() < 0


@settings(max_examples=60, deadline=None)
@given(st.floats(0.02, 0.98), st.floats(0.02, 0.98), st.floats(0.03, 0.5), st.floats(0.03, 0.5))
def test_cells_that_learn_a_target_are_at_or_beside_its_centre(x: float, y: float, w: float, h: float) -> None:
    anchors = torch.tensor([[1.5, 1.5], [4.0, 4.0]])
    a = assign(torch.tensor([[0.0, 1.0, x, y, w, h]]), anchors, 16, 16, 4.0)
    assert ((a.column - x * 16).abs() <= 1.5).all()
    assert ((a.row - y * 16).abs() <= 1.5).all()
    # What is decoded at most reaches 1.5 cells beyond the cell's corner and half a cell before it.
    assert (a.box[:, :2] >= -0.5001).all()
    assert (a.box[:, :2] <= 1.5001).all()
    ratio = torch.maximum(a.box[:, 2:] / a.prior, a.prior / a.box[:, 2:])
    assert (ratio < 4).all()


def _raw(fill: float = -4.0) -> list[torch.Tensor]:
    return [torch.full((1, 3, n, n, 8), fill, requires_grad=True) for n in (8, 4, 2)]


def test_unknown_regions_count_neither_way() -> None:
    net = YoloV5("n")
    raw = _raw()
    unknown = torch.tensor([[0.0, -1.0, 0.25, 0.25, 0.5, 0.5]])
    loss, _ = yolo_loss(raw, unknown, net.head, Gains())
    loss.backward()
    grad = raw[0].grad
    assert grad is not None
    assert (grad[..., :4, :4, 4] == 0).all()
    assert (grad[..., 4:, 4:, 4] > 0).all()


def test_a_known_item_inside_an_unknown_region_is_still_learnt() -> None:
    net = YoloV5("n")
    raw = _raw(0.0)
    targets = torch.tensor([[0.0, -1.0, 0.5, 0.5, 1.0, 1.0], [0.0, 2.0, 0.3, 0.3, 0.3, 0.3]])
    loss, parts = yolo_loss(raw, targets, net.head, Gains())
    loss.backward()
    assert parts.min() > 0
    assert any((r.grad[..., 4] < 0).any() for r in raw if r.grad is not None)


def test_a_few_steps_on_one_picture_find_its_marker() -> None:
    torch.manual_seed(0)
    net = YoloV5("n").train()
    x = torch.zeros(2, 3, 64, 64)
    x[:, :, 20:44, 24:40] = 1
    targets = torch.tensor([[i, 1.0, 0.5, 0.5, 0.25, 0.375] for i in (0.0, 1.0)])
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.003)
    losses = []
    for _ in range(12):
        loss, _ = yolo_loss(net(x), targets, net.head, Gains())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
