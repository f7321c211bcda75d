"""A reviewer's corrections: boxes added to what the detectors found, boxes of theirs taken back, and how the ledger writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from radanon_node.pipeline.types import Box, Edit, Edits, Kind, Region, Source, Verdict

ADDED, TAKEN_BACK = "reviewer_added", "reviewer_took_back"
_MOST = 500
_ALIKE = 0.5
"""Intersection over union from which a box is the one that the reviewer saw: the same models may place it a few pixels off elsewhere."""
_DETECTORS = frozenset({Source.MARKER_MODEL, Source.TEXT_MODEL})


def reviewed(regions: Sequence[Region], edits: Edits, rows: int, columns: int, frames: int) -> list[Region]:
    """Apply a reviewer's corrections to judged regions.

    Parameters
    ----------
    regions : sequence of Region
        With their margins, as the reviewer saw them.
    edits : Edits
    rows, columns, frames : int
        Of the picture; added boxes are clipped to it and are blacked out as drawn, without a margin.

    Returns
    -------
    list of Region
        A box of a detector that the reviewer took back has the verdict ``KEEP``. Device rules are the site's policy: what they black
        out, no reviewer takes back.
    """
    if not edits:
        return list(regions)
    out = [_taken_back(region) if _is_removed(region, edits) else region for region in regions]
    for edit in edits.added:
        box = edit.box.clipped(rows, columns)
        shown = None if edit.frames is None or frames == 1 else tuple(frame for frame in edit.frames if 0 <= frame < frames)
        if box.width > 0 and box.height > 0 and shown != ():
            out.append(Region(box, Verdict.REDACT, edit.kind, 1.0, Source.REVIEWER, ADDED, shown))
    return out


def _taken_back(region: Region) -> Region:
    return replace(region, verdict=Verdict.KEEP, source=Source.REVIEWER, why=TAKEN_BACK)


def _is_removed(region: Region, edits: Edits) -> bool:
    return (region.verdict is Verdict.REDACT and region.source in _DETECTORS
            and any(_alike(region.box, edit.box) and _shared(region.frames, edit.frames) for edit in edits.removed))


def _alike(one: Box, other: Box) -> bool:
    common = one.intersection(other).area
    return common > 0 and common >= _ALIKE * (one.area + other.area - common)


def _shared(one: tuple[int, ...] | None, other: tuple[int, ...] | None) -> bool:
    # A box that stands on all frames is taken back only by an edit that says so.
    return other is None or (one is not None and set(one) <= set(other))


def edits_from(raw: object) -> Edits:
    """Corrections as a page or the ledger gives them; see `edits_as_json`.

    Raises
    ------
    ValueError
        It is not what `edits_as_json` writes, a box has no area, or there are more than 500.
    """
    if raw is None:
        return Edits()
    if not isinstance(raw, Mapping) or not set(raw) <= {"added", "removed"}:
        raise ValueError("corrections: must hold `added` and `removed`, nothing else")
    parts = []
    for name in ("added", "removed"):
        listed = raw.get(name, [])
        if not isinstance(listed, list) or len(listed) > _MOST:
            raise ValueError(f"corrections: {name}: must be a list of at most {_MOST} boxes")
        parts.append(tuple(_edit(one, f"corrections: {name}[{index}]") for index, one in enumerate(listed)))
    return Edits(*parts)


def _edit(raw: object, where: str) -> Edit:
    if not isinstance(raw, Mapping):
        raise ValueError(f"{where}: must be a mapping")
    box, frames = raw.get("box"), raw.get("frames", "all")
    if not (isinstance(box, list) and len(box) == 4 and all(isinstance(side, int) and abs(side) < 2**31 for side in box)
            and box[0] < box[2] and box[1] < box[3]):
        raise ValueError(f"{where}: box must be [left, top, right, bottom] in whole pixels")
    if frames != "all" and not (isinstance(frames, list) and frames and all(isinstance(frame, int) for frame in frames)):
        raise ValueError(f"{where}: frames must be `all` or a list of numbers")
    try:
        kind = Kind(raw.get("kind", Kind.TEXT))
    except ValueError:
        raise ValueError(f"{where}: kind must be one of {', '.join(Kind)}") from None
    return Edit(Box(*box), None if frames == "all" else tuple(frames), kind)


def edits_as_json(edits: Edits) -> dict[str, Any] | None:
    """Corrections as the ledger keeps them; None where there are none.

    Examples
    --------
    >>> edits_as_json(Edits((Edit(Box(1, 2, 30, 40)),)))
    {'added': [{'box': [1, 2, 30, 40], 'frames': 'all', 'kind': 'text'}], 'removed': []}
    """
    if not edits:
        return None
    return {name: [{"box": [edit.box.x0, edit.box.y0, edit.box.x1, edit.box.y1],
                    "frames": "all" if edit.frames is None else list(edit.frames), "kind": str(edit.kind)} for edit in listed]
            for name, listed in (("added", edits.added), ("removed", edits.removed))}
