"""Before and after, side by side with the boxes drawn: for ``explain --picture``, the review page and the documents."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from radanon_node.pipeline.types import GrayFrame, Region, Verdict

# OpenCV's order is blue, green, red.
_COLOURS = {Verdict.REDACT: (60, 60, 255), Verdict.KEEP: (90, 200, 90)}
_GAP = 8


def before_after_png(before: GrayFrame, after: GrayFrame, regions: Sequence[Region], max_side: int = 1600) -> bytes:
    """Draw both frames beside each other.

    Parameters
    ----------
    before, after : ndarray of uint8, shape (rows, columns)
        As ``views`` gives them.
    regions : sequence of Region
        Drawn on both: red where redacted, green where kept.
    max_side : int
        Longest side of one half, in pixels; larger frames are reduced by averaging.

    Returns
    -------
    bytes
        A PNG without any text chunk.

    Raises
    ------
    ValueError
        If the frames differ in shape.
    """
    if before.shape != after.shape:
        raise ValueError("the two frames have different shapes")
    rows, columns = before.shape
    scale = min(1.0, max_side / max(rows, columns))
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    halves = []
    for frame in (before, after):
        half = cv2.cvtColor(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2BGR)
        for region in regions:
            corner = round(region.box.x0 * scale) - 1, round(region.box.y0 * scale) - 1
            opposite = round(region.box.x1 * scale), round(region.box.y1 * scale)
            cv2.rectangle(half, corner, opposite, _COLOURS[region.verdict], 1 if max(size) < 600 else 2)
        halves.append(half)
    gap = np.full((size[1], _GAP, 3), 128, np.uint8)
    done, encoded = cv2.imencode(".png", np.hstack([halves[0], gap, halves[1]]))
    if not done:
        raise ValueError("the PNG encoder refused the picture")
    return bytes(encoded)
