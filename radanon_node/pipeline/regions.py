"""From judged regions to what is blacked out: margins that never eat a kept letter, and the limit on text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from radanon_node.errors import HoldInstance, Reason
from radanon_node.markers.geometry import covered
from radanon_node.pipeline.types import Box, Kind, Region, Verdict


def with_margins(regions: Sequence[Region], margin: int, rows: int, columns: int) -> list[Region]:
    """Grow every region to be redacted by `margin` pixels, but never into a kept letter.

    Parameters
    ----------
    regions : sequence of Region
        As judged; boxes may reach over the border.
    margin : int
        Pixels per side.
    rows, columns : int
        Of the frame; boxes are clipped to it.

    Returns
    -------
    list of Region
        The kept ones as they were, the redacted ones grown, each with an area.
    """
    kept = [region for region in regions if region.verdict is Verdict.KEEP]
    grown: list[Region] = []
    for region in regions:
        if region.verdict is Verdict.KEEP:
            grown.append(region)
            continue
        box = region.box.grown(0 if region.mask is not None else margin).clipped(rows, columns)
        if box.area == 0:
            continue
        if region.mask is not None:
            x, y = box.x0 - region.box.x0, box.y0 - region.box.y0
            grown.append(replace(region, box=box, mask=region.mask[y : y + box.height, x : x + box.width]))
            continue
        # The ring added around the box yields to kept letters; the box itself, which was judged, never does.
        ring = np.ones((box.height, box.width), bool)
        for letter in kept:
            if letter.frames is not None and region.frames is not None and not set(letter.frames) & set(region.frames):
                continue
            part = letter.box.intersection(box)
            if part.area > 0:
                ring[part.y0 - box.y0 : part.y1 - box.y0, part.x0 - box.x0 : part.x1 - box.x0] = False
        core = region.box.clipped(rows, columns)
        ring[core.y0 - box.y0 : core.y1 - box.y0, core.x0 - box.x0 : core.x1 - box.x0] = True
        grown.append(replace(region, box=box, mask=None if ring.all() else ring))
    return grown


def check_text_share(regions: Sequence[Region], limit: float, rows: int, columns: int) -> None:
    """Hold a picture that is mostly text (scanned paper, a report as secondary capture).

    Raises
    ------
    HoldInstance
        ``too_much_text`` when redacted text covers more than `limit` of the frame.
    """
    written = [region for region in regions if region.verdict is Verdict.REDACT and region.kind in (Kind.TEXT, Kind.BANNER)]
    if not written:
        return
    share = covered(Box(0, 0, columns, rows), (region.box for region in written))
    if share > limit:
        raise HoldInstance(Reason.TOO_MUCH_TEXT, f"text covers {share:.0%} of the picture, the limit is {limit:.0%}")
