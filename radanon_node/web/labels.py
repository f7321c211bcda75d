"""From a reviewed picture to training labels, and boxes typed by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from radanon_node.pipeline.reviewed import ADDED, TAKEN_BACK, edits_from, reviewed
from radanon_node.pipeline.types import Box, Kind, Region, Source, Verdict

_NAMES = {Kind.SIDE_LETTER: "side_letter", Kind.TEXT: "text", Kind.SYMBOL: "symbol", Kind.BANNER: "text"}
_SIDE = 2**30
_MOST_FRAMES = 100_000


def labels_of(boxes: Sequence[dict[str, Any]], edits: dict[str, Any] | None, margin: int) -> list[dict[str, Any]]:
    """All that is on a picture, as `finetune` takes it.

    Parameters
    ----------
    boxes : sequence of dict
        Of a receipt, without the reviewer's corrections.
    edits : dict or None
        The corrections.
    margin : int
        Pixels that redacted boxes were grown by.

    Returns
    -------
    list of dict
        ``{"frame", "bbox": [left, top, right, bottom], "kind"}``; what the reviewer took back is ``not_a_marker``. Device rules are
        no labels. A box on all frames is one on the first.

    Examples
    --------
    >>> box = {"box": [7, 7, 23, 33], "frames": "all", "kind": "text", "verdict": "redact", "confidence": 0.9, "source": "marker_model"}
    >>> labels_of([box], None, 3)
    [{'frame': 0, 'bbox': [10, 10, 20, 30], 'kind': 'text'}]
    """
    found = [_region(box) for box in boxes if box["source"] != Source.DEVICE_RULE]
    regions = reviewed(found, edits_from(edits), _SIDE, _SIDE, _SIDE)
    labels = []
    for region in regions:
        tight = region.box
        grown = region.why == TAKEN_BACK or (region.verdict is Verdict.REDACT and region.why != ADDED)
        if grown and min(tight.width, tight.height) > 3 * margin:
            tight = tight.grown(-margin)
        kind = "not_a_marker" if region.why == TAKEN_BACK else _NAMES[region.kind]
        for frame in region.frames or (0,):
            labels.append({"frame": frame, "bbox": [tight.x0, tight.y0, tight.x1, tight.y1], "kind": kind})
    return labels


def _region(box: dict[str, Any]) -> Region:
    frames = None if box["frames"] == "all" else tuple(box["frames"])
    return Region(Box(*box["box"]), Verdict(box["verdict"]), Kind(box["kind"]), float(box["confidence"]), Source(box["source"]),
                  str(box.get("why", "")), frames)


def boxes_of_text(text: str) -> list[dict[str, Any]]:
    """Boxes typed one a line: left, top, right, bottom and, if wanted, what is in it and on which frames (numbered from 1).

    Raises
    ------
    ValueError
        A line that is none.

    Examples
    --------
    >>> boxes_of_text("10 20 200 60")
    [{'box': [10, 20, 200, 60], 'frames': 'all', 'kind': 'text'}]
    >>> boxes_of_text("10 20 200 60 banner 3-4")
    [{'box': [10, 20, 200, 60], 'frames': [2, 3], 'kind': 'banner'}]
    """
    boxes = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        words = line.replace(",", " ").split()
        if not 4 <= len(words) <= 6 or not all(word.isascii() and word.isdigit() for word in words[:4]):
            raise ValueError("a box is four whole numbers: left, top, right, bottom")
        frames = [_frames(word) for word in words[4:] if word[0].isdigit()]
        kinds = [word for word in words[4:] if not word[0].isdigit()]
        if len(frames) > 1 or len(kinds) > 1:
            raise ValueError("a box has one kind and one range of frames")
        boxes.append({"box": [int(word) for word in words[:4]], "frames": frames[0] if frames else "all",
                      "kind": kinds[0] if kinds else "text"})
    return boxes


def _frames(text: str) -> list[int]:
    ends = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", text, re.ASCII)
    first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (0, 0)
    if not 1 <= first <= last <= first + _MOST_FRAMES:
        raise ValueError("frames are a number or a range, such as 3 or 3-7")
    return list(range(first - 1, last))
