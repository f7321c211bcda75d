"""YOLOv5's training loss: anchor assignment by shape with neighbouring cells, CIoU, objectness against the IoU, class BCE.

Follows utils/loss.py of YOLOv5 v7.0. One addition: targets of class -1 are regions about which nothing is known (an item too
doubtful to label); objectness there counts neither way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from radanon_node.markers.yolov5 import Detect


@dataclass(frozen=True)
class Gains:
    """Weights of the parts (YOLOv5 hyp.scratch-low.yaml, with more on the box: all of a marker must be inside)."""

    box: float = 0.1
    objectness: float = 1.0
    classes: float = 0.15
    anchor_ratio: float = 4.0
    balance: tuple[float, float, float] = (4.0, 1.0, 0.4)
    positive_weight: float = 1.0


def ciou(a: Tensor, b: Tensor) -> Tensor:
    """Complete IoU (Zheng et al., AAAI 2020) of boxes (n, 4) given as centre x, y, width, height; shape (n,)."""
    aw, ah, bw, bh = a[:, 2], a[:, 3], b[:, 2], b[:, 3]
    dx = torch.minimum(a[:, 0] + aw / 2, b[:, 0] + bw / 2) - torch.maximum(a[:, 0] - aw / 2, b[:, 0] - bw / 2)
    dy = torch.minimum(a[:, 1] + ah / 2, b[:, 1] + bh / 2) - torch.maximum(a[:, 1] - ah / 2, b[:, 1] - bh / 2)
    inter = dx.clamp(0) * dy.clamp(0)
    iou = inter / (aw * ah + bw * bh - inter + 1e-7)
    cw = torch.maximum(a[:, 0] + aw / 2, b[:, 0] + bw / 2) - torch.minimum(a[:, 0] - aw / 2, b[:, 0] - bw / 2)
    ch = torch.maximum(a[:, 1] + ah / 2, b[:, 1] + bh / 2) - torch.minimum(a[:, 1] - ah / 2, b[:, 1] - bh / 2)
    rho = (a[:, 0] - b[:, 0]) ** 2 + (a[:, 1] - b[:, 1]) ** 2
    v = (4 / math.pi**2) * (torch.atan(bw / (bh + 1e-7)) - torch.atan(aw / (ah + 1e-7))) ** 2
    with torch.no_grad():
        alpha = v / (v - iou + (1 + 1e-7))
    return iou - (rho / (cw**2 + ch**2 + 1e-7) + v * alpha)


@dataclass(frozen=True)
class Assigned:
    """Targets of one head: indices of image, anchor, row, column; boxes (offset x, y, width, height in cells); anchors; classes."""

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    box: Tensor
    prior: Tensor
    classes: Tensor


def assign(targets: Tensor, anchors: Tensor, rows: int, columns: int, ratio: float) -> Assigned:
    """Which cells and anchors of one head learn which target.

    Parameters
    ----------
    targets : Tensor, shape (n, 6)
        Image index, class (>= 0), centre x, y, width, height as fractions of the input.
    anchors : Tensor, shape (a, 2)
        In cells.
    rows, columns : int
        Of the head.
    ratio : float
        An anchor learns a target if no side differs by more than this factor.
    """
    gain = targets.new_tensor([1, 1, columns, rows, columns, rows])
    na = anchors.shape[0]
    t = (targets * gain)[None].expand(na, -1, -1)
    which = torch.arange(na, device=targets.device)[:, None].expand(-1, targets.shape[0])
    r = t[..., 4:6] / anchors[:, None]
    fits = torch.maximum(r, 1 / r.clamp(min=1e-9)).amax(2) < ratio
    t, which = t[fits], which[fits]
    xy = t[:, 2:4]
    inverse = gain[2:4] - xy
    left, up = ((xy % 1 < 0.5) & (xy > 1)).T
    right, down = ((inverse % 1 < 0.5) & (inverse > 1)).T
    chosen = torch.stack((torch.ones_like(left), left, up, right, down))
    steps = targets.new_tensor([[0, 0], [0.5, 0], [0, 0.5], [-0.5, 0], [0, -0.5]])
    t = t[None].expand(5, -1, -1)[chosen]
    which = which[None].expand(5, -1)[chosen]
    offset = steps[:, None].expand(-1, xy.shape[0], -1)[chosen]
    cell = (t[:, 2:4] - offset).long()
    column, row = cell[:, 0].clamp(0, columns - 1), cell[:, 1].clamp(0, rows - 1)
    box = torch.cat((t[:, 2:4] - torch.stack((column, row), 1), t[:, 4:6]), 1)
    return Assigned(t[:, 0].long(), which, row, column, box, anchors[which], t[:, 1].long())


def yolo_loss(raw: list[Tensor], targets: Tensor, head: Detect, gains: Gains) -> tuple[Tensor, Tensor]:
    """Loss of a batch.

    Parameters
    ----------
    raw : list of Tensor
        What ``YoloV5.forward`` gives.
    targets : Tensor, shape (n, 6)
        Image index, class or -1, centre x, y, width, height as fractions of the input.
    head : Detect
        For its anchors.
    gains : Gains

    Returns
    -------
    loss : Tensor
        Scalar, summed over the batch as in the original.
    parts : Tensor, shape (3,)
        Box, objectness, class, detached.
    """
    device = raw[0].device
    lbox, lobj, lcls = (torch.zeros((), device=device) for _ in range(3))
    known, unknown = targets[targets[:, 1] >= 0], targets[targets[:, 1] < 0]
    weight = torch.tensor(gains.positive_weight, device=device)
    for x, anchors, balance in zip(raw, head.anchors, gains.balance):
        x = x.float()
        batch, _, rows, columns, _ = x.shape
        a = assign(known, anchors, rows, columns, gains.anchor_ratio)
        aim = torch.zeros(x.shape[:4], device=device)
        if a.image.numel():
            p = x[a.image, a.anchor, a.row, a.column]
            box = torch.cat((p[:, :2].sigmoid() * 2 - 0.5, (p[:, 2:4].sigmoid() * 2) ** 2 * a.prior), 1)
            iou = ciou(box, a.box)
            lbox = lbox + (1 - iou).mean()
            order = iou.detach().argsort()
            aim[a.image[order], a.anchor[order], a.row[order], a.column[order]] = iou.detach().clamp(0)[order]
            lcls = lcls + F.binary_cross_entropy_with_logits(p[:, 5:], F.one_hot(a.classes, head.nc).float())
        part = F.binary_cross_entropy_with_logits(x[..., 4], aim, pos_weight=weight, reduction="none")
        counted = _counted(unknown, batch, rows, columns)[:, None].expand(aim.shape).clone()
        counted[a.image, a.anchor, a.row, a.column] = True
        lobj = lobj + (part * counted).mean() * balance
    lbox, lobj, lcls = lbox * gains.box, lobj * gains.objectness, lcls * gains.classes
    return (lbox + lobj + lcls) * raw[0].shape[0], torch.stack((lbox, lobj, lcls)).detach()


def _counted(unknown: Tensor, batch: int, rows: int, columns: int) -> Tensor:
    """True for cells whose centre lies in no unknown region; shape (batch, rows, columns)."""
    out = torch.ones(batch, rows, columns, dtype=torch.bool, device=unknown.device)
    for image, _, x, y, w, h in unknown.tolist():
        x0, x1 = int((x - w / 2) * columns), math.ceil((x + w / 2) * columns)
        y0, y1 = int((y - h / 2) * rows), math.ceil((y + h / 2) * rows)
        out[int(image), max(y0, 0) : y1, max(x0, 0) : x1] = False
    return out
