"""How a mark stands out from what is around it: its contrast, and what looks like a mark but is a part or the shadow of one."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.components import Component, Crop, span_of, without_background
from radanon_node.markers.frames import grown
from radanon_node.pipeline.types import Box, GrayFrame

Mask = NDArray[np.bool_]

# A glyph must stand out from the rim around it by this much of the region's range, and by this many gray levels.
_CONTRAST_SHARE, _CONTRAST, _CONTRAST_CLEAR, _HARDLY = 0.2, 4.0, 0.12, 0.1
# Share of the rim that may be as bright as the ink itself: initials touch a lead letter, nothing touches a cut-out one.
_FOREIGN, _FOREIGN_PLATE, _FOREIGN_ENCLOSED, _HOLE, _FOREIGN_SLOPING = 0.3, 0.15, 0.4, 1.6, 0.4
# The rim that is looked at, in sides of the mark.
_RIM_BRIGHT, _RIM_DARK = 0.1, 0.14
# Of the rim of a letter in a plate less than this share is dark beside its brightest tenth: 0.38 at most on 61 real ones, most of 20
# drawn shadows have more.
_ONE_SIDE, _BRIGHTEST = 0.39, 90
# What lies on two grounds stands out from the nearer one, by less: this share of the whole contrast; and how near, in sides.
_STEP, _BESIDE, _FOREIGN_TWO_GROUNDS = 0.25, 0.12, 0.05
# A part of something larger that stands out so many times more is no mark of its own.
_FAR_MORE = 1.5


def contrast_of(crop: Crop, component: Component, sloping: bool = False, plate: bool = False) -> float | None:
    """Gray levels by which the ink stands out from what surrounds it; None if its outline is not that of a mark.

    Lead and print stand out all around; a letter cut out of a plate has the plate all around it, wider than a stroke, so that
    the ground between two strokes is not taken for one.

    Parameters
    ----------
    crop : Crop
    component : Component
    sloping : bool
        What is bright may also stand out once the slowly changing background is taken away: at a shutter's or the skin's edge, whose
        bright side is as bright as the ink across it.
    plate : bool
        What is dark may also be cut out of a plate that lies half on the body and half on air, so that its level changes: it stands out
        from the ink next to it everywhere.
    """
    box, ink, rim = _ink_and_rim(crop, component, _RIM_BRIGHT if component.bright else _RIM_DARK)
    if not rim.any():
        return None
    inside, around, foreign = _against(crop.gray, box, ink, rim, component.bright)
    contrast = (inside - around) if component.bright else (around - inside)
    low, high = span_of(crop.gray)
    # What stands out nearly all around may do so by less: a black corner of the film widens the range.
    if contrast < max(_CONTRAST, (_CONTRAST_SHARE if foreign > _HARDLY else _CONTRAST_CLEAR) * (high - low)):
        return None
    if foreign <= (_FOREIGN if component.bright else _FOREIGN_PLATE):
        return contrast
    if not component.bright:
        # A plate may end near its letter, if it goes all around it.
        if foreign > _FOREIGN_ENCLOSED:
            return None
        on_two_grounds = plate and _like_ink_beside(crop, box, ink, rim, _STEP * contrast) <= _FOREIGN_TWO_GROUNDS
        return contrast if on_two_grounds or _enclosed(crop, component, (2 * inside + around) / 3) else None
    if not sloping or foreign > _FOREIGN_SLOPING:
        return None
    inside, around, foreign = _against(without_background(crop.gray, True), box, ink, rim, True)
    stands_out = inside - around >= max(_CONTRAST, _CONTRAST_SHARE * (high - low))
    return min(contrast, inside - around) if stands_out and foreign <= _FOREIGN_PLATE else None


def step_at(crop: Crop, component: Component) -> float:
    """Gray levels between a mark's ink and what is around it, whatever else is there."""
    box, ink, rim = _ink_and_rim(crop, component, _RIM_BRIGHT)
    if not rim.any():
        return 0.0
    inside, around, _ = _against(crop.gray, box, ink, rim, component.bright)
    return inside - around if component.bright else around - inside


def fragment(crop: Crop, component: Component, contrast: float, components: Sequence[Component]) -> bool:
    """Is it only the brightest part of something larger that stands out far more than the part does?"""
    return any(
        other.whole and other.bright == component.bright and other.mask.sum() >= 1.3 * component.mask.sum()
        and contains(other, component) and (contrast_of(crop, other) or 0.0) > _FAR_MORE * contrast
        for other in components
    )


def contains(other: Component, component: Component) -> bool:
    box = component.box
    if box.x0 < other.box.x0 or box.y0 < other.box.y0 or box.x1 > other.box.x1 or box.y1 > other.box.y1:
        return False
    x, y = box.x0 - other.box.x0, box.y0 - other.box.y0
    return bool(other.mask[y : y + box.height, x : x + box.width][component.mask].mean() >= 0.9)


def shadow(crop: Crop, component: Component) -> bool:
    """Is it the dark outline or drop shadow of bright print: as bright as that on one side only, where a plate goes all around?"""
    if component.bright:
        return False
    box, ink, rim = _ink_and_rim(crop, component, _RIM_DARK)
    part = crop.gray[box.y0 : box.y1, box.x0 : box.x1]
    if not rim.any():
        return True
    brightest = float(np.percentile(part[rim], _BRIGHTEST))
    return float((part[rim] < (float(np.median(part[ink])) + brightest) / 2).mean()) > _ONE_SIDE


def _ink_and_rim(crop: Crop, component: Component, share: float) -> tuple[Box, Mask, Mask]:
    """A component's box grown by that share of its larger side, and in it its ink and what surrounds that."""
    reach = max(3, round(share * max(component.box.width, component.box.height)))
    box = component.box.grown(reach).clipped(*crop.gray.shape)
    ink = np.zeros((box.height, box.width), np.bool_)
    ink[component.box.y0 - box.y0 : component.box.y1 - box.y0, component.box.x0 - box.x0 : component.box.x1 - box.x0] = component.mask
    return box, ink, grown(ink, reach) & ~grown(ink, 2)


def _against(gray: GrayFrame, box: Box, ink: Mask, rim: Mask, bright: bool) -> tuple[float, float, float]:
    """Levels of the ink and of the rim around it, and the share of the rim that is more like the ink."""
    part = gray[box.y0 : box.y1, box.x0 : box.x1]
    inside, around = float(np.median(part[ink])), float(np.median(part[rim]))
    half = (inside + around) / 2
    return inside, around, float(((part > half) if bright else (part < half))[rim].mean())


def _like_ink_beside(crop: Crop, box: Box, ink: Mask, rim: Mask, step: float) -> float:
    """Share of the rim that is less than `step` brighter than the ink next to it, wherever the ground's level changes."""
    gray, side = crop.gray[box.y0 : box.y1, box.x0 : box.x1].astype(np.float32), 2 * max(3, round(_BESIDE * max(ink.shape))) + 1
    weight = cv2.blur(ink.astype(np.float32), (side, side), borderType=cv2.BORDER_CONSTANT)
    beside = cv2.blur(np.where(ink, gray, 0), (side, side), borderType=cv2.BORDER_CONSTANT) / np.maximum(weight, 1e-6)
    return float((gray - beside < step)[rim].mean())


def _enclosed(crop: Crop, component: Component, level: float) -> bool:
    """Is what is darker than `level` there a hole of the component's own size?"""
    _, labels = cv2.connectedComponents((crop.gray <= level).astype(np.uint8), connectivity=8)
    box = component.box
    own = np.unique(labels[box.y0 : box.y1, box.x0 : box.x1][component.mask])
    hole = np.isin(labels, own[own > 0])
    at_the_rim = hole[0].any() or hole[-1].any() or hole[:, 0].any() or hole[:, -1].any()
    return bool(not at_the_rim and hole.sum() <= _HOLE * component.mask.sum())
