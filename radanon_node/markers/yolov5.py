"""The YOLOv5 network (releases 6.0 to 7.0) in plain torch; `markers.checkpoint` reads its weights.

Module and parameter names are those of the original, so that state dicts pass between the two both ways:
G. Jocher et al., "ultralytics/yolov5", doi:10.5281/zenodo.3908559 (GPL-3.0). Torch is needed to train and for CUDA; the node on a
CPU runs the exported ONNX graph and never imports this module.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

SIZES: dict[str, tuple[float, float]] = {"n": (0.33, 0.25), "s": (0.33, 0.50), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}
"""Depth and width multiple of each published size."""

STRIDES = (8, 16, 32)

COCO_ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
MARKER_ANCHORS = (
    ((11, 13), (17, 28), (34, 20)),
    ((32, 46), (52, 52), (96, 27)),
    ((44, 104), (110, 70), (170, 170)),
)
"""Anchor boxes in pixels per stride, for letters, short words, discs and plates of 8 to 300 pixels."""

Anchors = tuple[tuple[tuple[int, int], ...], ...]

# (from, repeats, kind, arguments), YOLOv5 v6.0: models/yolov5*.yaml; channels before the width multiple.
_LAYOUT: tuple[tuple[tuple[int, ...], int, str, tuple[int, ...]], ...] = (
    ((-1,), 1, "conv", (64, 6, 2, 2)),
    ((-1,), 1, "conv", (128, 3, 2)),
    ((-1,), 3, "c3", (128, 1)),
    ((-1,), 1, "conv", (256, 3, 2)),
    ((-1,), 6, "c3", (256, 1)),
    ((-1,), 1, "conv", (512, 3, 2)),
    ((-1,), 9, "c3", (512, 1)),
    ((-1,), 1, "conv", (1024, 3, 2)),
    ((-1,), 3, "c3", (1024, 1)),
    ((-1,), 1, "sppf", (1024,)),
    ((-1,), 1, "conv", (512, 1, 1)),
    ((-1,), 1, "up", ()),
    ((-1, 6), 1, "concat", ()),
    ((-1,), 3, "c3", (512, 0)),
    ((-1,), 1, "conv", (256, 1, 1)),
    ((-1,), 1, "up", ()),
    ((-1, 4), 1, "concat", ()),
    ((-1,), 3, "c3", (256, 0)),
    ((-1,), 1, "conv", (256, 3, 2)),
    ((-1, 14), 1, "concat", ()),
    ((-1,), 3, "c3", (512, 0)),
    ((-1,), 1, "conv", (512, 3, 2)),
    ((-1, 10), 1, "concat", ()),
    ((-1,), 3, "c3", (1024, 0)),
)
_DETECT_FROM = (17, 20, 23)


class Conv(nn.Module):
    """Convolution, batch normalisation, SiLU."""

    def __init__(self, c1: int, c2: int, k: int = 1, s: int = 1, p: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, k // 2 if p is None else p, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(c2, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.bn(self.conv(x))))


class Bottleneck(nn.Module):
    def __init__(self, c: int, shortcut: bool) -> None:
        super().__init__()
        self.cv1 = Conv(c, c, 1)
        self.cv2 = Conv(c, c, 3)
        self.add = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.add else cast(Tensor, y)


class C3(nn.Module):
    """Cross-stage partial bottleneck with three convolutions."""

    def __init__(self, c1: int, c2: int, n: int, shortcut: bool) -> None:
        super().__init__()
        c = c2 // 2
        self.cv1 = Conv(c1, c, 1)
        self.cv2 = Conv(c1, c, 1)
        self.cv3 = Conv(2 * c, c2, 1)
        self.m = nn.Sequential(*(Bottleneck(c, shortcut) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1)))


class SPPF(nn.Module):
    """Spatial pyramid pooling: three 5 x 5 maxima in a row."""

    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        c = c1 // 2
        self.cv1 = Conv(c1, c, 1)
        self.cv2 = Conv(c * 4, c2, 1)
        self.m = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cv1(x)
        y1 = self.m(x)
        y2 = self.m(y1)
        return cast(Tensor, self.cv2(torch.cat((x, y1, y2, self.m(y2)), 1)))


class Concat(nn.Module):
    def forward(self, xs: list[Tensor]) -> Tensor:
        return torch.cat(xs, 1)


class Detect(nn.Module):
    """The three heads. ``anchors`` are in cells of their stride, shape (3, anchors, 2)."""

    anchors: Tensor

    def __init__(self, nc: int, anchors: Anchors, channels: list[int]) -> None:
        super().__init__()
        self.nc, self.no, self.na = nc, nc + 5, len(anchors[0])
        boxes = torch.tensor(anchors, dtype=torch.float32) / torch.tensor(STRIDES, dtype=torch.float32).view(-1, 1, 1)
        self.register_buffer("anchors", boxes)
        self.m = nn.ModuleList(nn.Conv2d(c, self.no * self.na, 1) for c in channels)
        for head, stride in zip(self.m, STRIDES):
            bias = cast(Tensor, head.bias).detach().view(self.na, -1)
            bias[:, 4] += math.log(8 / (640 / stride) ** 2)
            bias[:, 5:] += math.log(0.6 / (nc - 0.99999))

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        out = []
        for head, x in zip(self.m, xs):
            x = head(x)
            batch, _, rows, columns = x.shape
            out.append(x.view(batch, self.na, self.no, rows, columns).permute(0, 1, 3, 4, 2))
        return out


class YoloV5(nn.Module):
    """YOLOv5 n, s, m, l or x.

    Parameters
    ----------
    size : str
        Key of `SIZES`.
    nc : int
        Number of classes.
    anchors : tuple
        Per stride, per anchor (width, height) in pixels.
    channels : int
        Of the input; published checkpoints have 3.
    """

    def __init__(self, size: str = "n", nc: int = 3, anchors: Anchors = MARKER_ANCHORS, channels: int = 3) -> None:
        super().__init__()
        depth, width = SIZES[size]
        self.size, self.nc, self.channels = size, nc, channels
        outs: list[int] = []
        layers: list[nn.Module] = []
        for sources, repeats, kind, args in _LAYOUT:
            source = [(outs[i] if outs else channels) for i in sources]
            count = max(round(repeats * depth), 1) if repeats > 1 else repeats
            layer: nn.Module
            if kind in ("conv", "c3", "sppf"):
                out = math.ceil(args[0] * width / 8) * 8
                if kind == "conv":
                    layer = Conv(source[0], out, *args[1:])
                elif kind == "c3":
                    layer = C3(source[0], out, count, bool(args[1]))
                else:
                    layer = SPPF(source[0], out)
            elif kind == "up":
                layer, out = nn.Upsample(scale_factor=2, mode="nearest"), source[0]
            else:
                layer, out = Concat(), sum(source)
            layers.append(layer)
            outs.append(out)
        layers.append(Detect(nc, anchors, [outs[i] for i in _DETECT_FROM]))
        self.model = nn.ModuleList(layers)

    @property
    def head(self) -> Detect:
        return cast(Detect, self.model[-1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Raw predictions.

        Parameters
        ----------
        x : Tensor, shape (N, channels, H, W), float
            0..1; H and W multiples of 32.

        Returns
        -------
        list of Tensor, shapes (N, anchors, H / stride, W / stride, 5 + nc)
            Logits, one tensor per stride.
        """
        kept: list[Tensor] = []
        for (sources, _, kind, _), layer in zip(_LAYOUT, self.model):
            if kind == "concat":
                x = layer([x if i == -1 else kept[i] for i in sources])
            else:
                x = layer(x)
            kept.append(x)
        return cast("list[Tensor]", self.head([kept[i] for i in _DETECT_FROM]))

    def decode(self, raw: list[Tensor]) -> Tensor:
        """Boxes in input pixels, as the original's inference output and its exported graphs give them.

        Returns
        -------
        Tensor, shape (N, boxes, 5 + nc)
            Centre x, centre y, width, height, objectness, class probabilities.
        """
        out = []
        for i, (x, stride) in enumerate(zip(raw, STRIDES)):
            batch, na, rows, columns, no = x.shape
            y, xg = torch.meshgrid(torch.arange(rows, device=x.device), torch.arange(columns, device=x.device), indexing="ij")
            grid = torch.stack((xg, y), 2).to(x.dtype) - 0.5
            p = x.sigmoid()
            xy = (p[..., :2] * 2 + grid) * stride
            wh = (p[..., 2:4] * 2) ** 2 * (self.head.anchors[i] * stride).view(1, na, 1, 1, 2).to(x.dtype)
            out.append(torch.cat((xy, wh, p[..., 4:]), 4).reshape(batch, na * rows * columns, no))
        return torch.cat(out, 1)

    def fuse(self) -> YoloV5:
        """Fold batch normalisation into the convolutions, in place (inference only)."""
        for module in self.modules():
            if isinstance(module, Conv) and isinstance(module.bn, nn.BatchNorm2d):
                bn = module.bn
                scale = bn.weight / torch.sqrt(cast(Tensor, bn.running_var) + bn.eps)
                conv = module.conv
                fused = nn.Conv2d(
                    conv.in_channels,
                    conv.out_channels,
                    cast(int, conv.kernel_size),
                    cast(int, conv.stride),
                    cast(int, conv.padding),
                    bias=True,
                ).to(conv.weight)
                with torch.no_grad():
                    fused.weight.copy_(conv.weight * scale.view(-1, 1, 1, 1))
                    cast(Tensor, fused.bias).copy_(bn.bias - cast(Tensor, bn.running_mean) * scale)
                module.conv = fused.requires_grad_(False)
                module.bn = nn.Identity()
        return self
