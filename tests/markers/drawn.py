"""Drawn films for the retention tests: a soft background with noise, lead letters, plates, rings and initials put where they are asked."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.pipeline.types import Box, Detection, GrayFrame, Kind, Source

FONT, SIDE = cv2.FONT_HERSHEY_SIMPLEX, 200


def stencil(text: str, height: int = 48, thickness: int = 6) -> NDArray[np.bool_]:
    """Upright characters as a mask, `height` pixels high; L is a lead L of two bars."""
    if text == "L":
        mask = np.zeros((height, round(height * 0.62)), bool)
        mask[:, : thickness + 2] = True
        mask[-thickness - 2 :] = True
        return mask
    canvas = np.zeros((3 * height, 2 * height * len(text) + 40), np.uint8)
    cv2.putText(canvas, text, (20, 2 * height), FONT, height / 22, 255, thickness, cv2.LINE_AA)
    ink = cv2.boundingRect((canvas > 127).astype(np.uint8))
    tight = canvas[ink[1] : ink[1] + ink[3], ink[0] : ink[0] + ink[2]]
    return cv2.resize(tight, (max(round(ink[2] * height / ink[3]), 1), height), interpolation=cv2.INTER_AREA) > 127


def turned(mask: NDArray[np.bool_], degrees: float, mirrored: bool) -> NDArray[np.bool_]:
    """The mask mirrored and then turned clockwise, tight."""
    source = mask[:, ::-1] if mirrored else mask
    side = int(np.hypot(*source.shape)) + 6
    matrix = cv2.getRotationMatrix2D((source.shape[1] / 2, source.shape[0] / 2), -degrees, 1)
    matrix[:, 2] += side / 2 - np.array([source.shape[1] / 2, source.shape[0] / 2])
    out = cv2.warpAffine(np.ascontiguousarray(source).astype(np.uint8) * 255, matrix, (side, side), flags=cv2.INTER_LINEAR) > 127
    rows, columns = np.flatnonzero(out.any(1)), np.flatnonzero(out.any(0))
    return out[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@dataclass
class Film:
    """A film being drawn; `ink` says what each mark's pixels are."""

    seed: int = 0
    ground: int = 60
    picture: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
        rng = np.random.default_rng(self.seed)
        self.picture = self.ground + 0.1 * x + 0.05 * y + rng.normal(0, 1.5, (SIDE, SIDE)).astype(np.float32)

    def add(self, mask: NDArray[np.bool_], x: int, y: int, level: float) -> Box:
        """Exposure added (or taken away, negative) where the mask is, with an edge of a pixel or two."""
        soft = cv2.GaussianBlur(np.pad(mask, 4).astype(np.float32), (0, 0), 0.9)
        rows, columns = soft.shape
        self.picture[y - 4 : y - 4 + rows, x - 4 : x - 4 + columns] += level * soft
        return Box(x, y, x + mask.shape[1], y + mask.shape[0])

    def view(self) -> GrayFrame:
        return np.clip(self.picture, 0, 255).astype(np.uint8)


def seen(box: Box, kind: Kind = Kind.SIDE_LETTER, slack: int = 2) -> Detection:
    return Detection(box.grown(slack).clipped(SIDE, SIDE), kind, 0.9, Source.MARKER_MODEL)
