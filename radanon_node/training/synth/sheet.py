"""What a marker is made of: toned coverage masks on one canvas, some of them labelled items."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from radanon_node.training.synth.glyphs import Mask

SIDE_LETTER, TEXT, SYMBOL = 0, 1, 2
CLASSES = ("side_letter", "text", "symbol")


@dataclass(frozen=True, eq=False)
class Part:
    """One coverage mask of a marker.

    Parameters
    ----------
    mask : ndarray of float32, shape of the marker's canvas
        0..1.
    tone : str
        ``lead`` (brighter than what is behind, see-through), ``faint`` (a trace of it), ``white``, ``black`` (opaque, digital).
    item : int
        Index into the marker's classes; -1 for what is painted but not labelled (acrylic carriers, paper).
    """

    mask: Mask
    tone: str
    item: int


@dataclass(frozen=True, eq=False)
class Marker:
    """Parts on one canvas, painted in order, and the class of each labelled item; of side letters the letter too, else empty."""

    parts: tuple[Part, ...]
    classes: tuple[int, ...]
    digital: bool
    letters: tuple[str, ...] = ()


class Sheet:
    """Collects parts at free positions and cuts them to one canvas."""

    def __init__(self, digital: bool = False) -> None:
        self._placed: list[tuple[Mask, float, float, str, int]] = []
        self._classes: list[int] = []
        self._letters: list[str] = []
        self._digital = digital

    def item(self, label: int, letter: str = "") -> int:
        self._classes.append(label)
        self._letters.append(letter)
        return len(self._classes) - 1

    def put(self, mask: Mask, x: float, y: float, tone: str, item: int) -> None:
        """With its upper left corner at (x, y)."""
        self._placed.append((mask, x, y, tone, item))

    def centre(self, mask: Mask, x: float, y: float, tone: str, item: int) -> None:
        self.put(mask, x - mask.shape[1] / 2, y - mask.shape[0] / 2, tone, item)

    def marker(self) -> Marker:
        left, top = min(p[1] for p in self._placed), min(p[2] for p in self._placed)
        right = max(p[1] + p[0].shape[1] for p in self._placed)
        bottom = max(p[2] + p[0].shape[0] for p in self._placed)
        shape = (int(np.ceil(bottom - top)) + 3, int(np.ceil(right - left)) + 3)
        parts = []
        for mask, x, y, tone, item in self._placed:
            canvas = np.zeros(shape, np.float32)
            r, c = round(y - top) + 1, round(x - left) + 1
            piece = mask[: shape[0] - r, : shape[1] - c]
            canvas[r : r + piece.shape[0], c : c + piece.shape[1]] = piece
            parts.append(Part(canvas, tone, item))
        return Marker(tuple(parts), tuple(self._classes), self._digital, tuple(self._letters))


def turned(marker: Marker, angle: float, mirrored: bool, scale: float = 1.0) -> Marker:
    """Rotated clockwise by `angle` degrees after mirroring, on a canvas that holds it all."""
    height, width = marker.parts[0].mask.shape
    a = np.deg2rad(angle)
    linear = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) * scale
    if mirrored:
        linear = linear @ np.array([[-1, 0], [0, 1.0]])
    extent = np.abs(linear) @ np.array([width, height])
    size = (int(np.ceil(extent[0])) + 4, int(np.ceil(extent[1])) + 4)
    shift = np.array(size) / 2 - linear @ np.array([width / 2, height / 2])
    matrix = np.hstack((linear, shift[:, None]))
    flags = cv2.INTER_LINEAR if scale > 0.75 else cv2.INTER_AREA
    parts = tuple(replace(p, mask=np.asarray(cv2.warpAffine(p.mask, matrix, size, flags=flags), np.float32)) for p in marker.parts)
    return replace(marker, parts=parts)
