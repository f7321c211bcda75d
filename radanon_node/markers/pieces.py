"""Joined ink cut apart, and what the bridges of a stencil parted put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.components import Component, Crop, labelled
from radanon_node.pipeline.types import Box

Mask = NDArray[np.bool_]

# A neck is at most this share of the thickest stroke: initials touch a letter at a point, one letter has strokes of one width.
_NECKS = (0.35, 0.5)
# Straight cuts, as shares of the component's extent.
_CUTS = (0.78, 0.73, 0.68, 0.63, 0.58, 0.52)
_CORNERS = (0.72, 0.58, 0.44)
# Pieces of a stencil lie abreast by this share of their extent, with a gap of at most that one.
_ABREAST, _BRIDGE = 0.65, 0.4


def joined_pieces(components: Sequence[Component]) -> Iterator[Component]:
    """Pairs of pieces that a bridge of a stencil parts, as one component each, to be read with the gap closed.

    Parameters
    ----------
    components : sequence of Component
        Of one crop; those of the same polarity and level of ink are tried against each other.
    """
    for number, first in enumerate(components):
        for second in components[number + 1 :]:
            one, other = first.box, second.box
            if first.bright != second.bright or not (first.whole and second.whole):
                continue
            across = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
            for axis, (along, extents) in enumerate(((across[0], (one.width, other.width)), (across[1], (one.height, other.height)))):
                gap = -across[1 - axis]
                if along >= _ABREAST * max(extents) and 0 < gap <= _BRIDGE * max(extents):
                    yield _united(first, second, axis)


def _united(first: Component, second: Component, axis: int) -> Component:
    """Both in one component; `axis` 0 where one is above the other, 1 where they are side by side."""
    one, other = first.box, second.box
    box = Box(min(one.x0, other.x0), min(one.y0, other.y0), max(one.x1, other.x1), max(one.y1, other.y1))
    mask = np.zeros((box.height, box.width), np.bool_)
    for part in (first, second):
        mask[part.box.y0 - box.y0 : part.box.y1 - box.y0, part.box.x0 - box.x0 : part.box.x1 - box.x0] |= part.mask
    # Pushed together: what the bridge took away is missing, but a filled bridge would fill the letter's own counters too.
    return Component(box, mask, first.bright, closed=mask[mask.any(1)] if axis == 0 else mask[:, mask.any(0)])


def cut_apart(component: Component, crop: Crop) -> Iterator[Component]:
    """The parts of a component that narrow necks join: eroded until it falls apart, each part grown back inside it.

    A letter with initials touching it becomes two parts; the neck goes to the nearer one.
    """
    joined = np.pad(component.mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(joined, cv2.DIST_L2, 3)
    thickest = float(depth.max())
    for share in _NECKS:
        cores = (depth > share * thickest).astype(np.uint8)
        count, labels = cv2.connectedComponents(cores, connectivity=8)
        if count < 3:
            continue
        nearest = _nearest_label(np.asarray(labels, np.int32))
        for label in range(1, count):
            part = ((nearest == label) & (joined > 0))[1:-1, 1:-1]
            yield from labelled(part.astype(np.uint8), crop, component.bright, True, None, component.box)


def cut_straight(component: Component, crop: Crop, tilt: float) -> Iterator[Component]:
    """What is left of a component on either side of straight cuts along and across its strokes, and without one of its corners.

    Parameters
    ----------
    component : Component
        A letter with initials that touch it so broadly that no neck shows.
    crop : Crop
    tilt : float
        Direction of its strokes in degrees clockwise.

    Yields
    ------
    Component
        The pieces on one side of a cut, larger ones first on each side.
    """
    rows, columns = np.mgrid[: component.mask.shape[0], : component.mask.shape[1]].astype(np.float32)
    cos, sin = np.float32(np.cos(np.deg2rad(tilt))), np.float32(np.sin(np.deg2rad(tilt)))
    axes = []
    for place in (columns * cos + rows * sin, rows * cos - columns * sin):
        low, high = float(place[component.mask].min()), float(place[component.mask].max())
        axes.append((place - low) / max(high - low, 1))
    sides = [side for axis in axes for side in (axis, 1 - axis)]
    for side in sides:
        for share in _CUTS:
            yield from _piece(component, crop, side < share)
    for first in sides[:2]:
        for second in sides[2:]:
            for share in _CORNERS:
                for other in _CORNERS:
                    yield from _piece(component, crop, (first < share) | (second < other))


def _piece(component: Component, crop: Crop, stays: Mask) -> Iterator[Component]:
    """The largest connected part of what stays, looked for in the component's own box."""
    parts = labelled((component.mask & stays).astype(np.uint8), crop, component.bright, True, None, component.box)
    largest = max(parts, key=lambda part: int(part.mask.sum()), default=None)
    if largest is not None:
        yield largest


def _nearest_label(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    _, index = cv2.distanceTransformWithLabels((labels == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros(int(index.max()) + 1, np.int32)
    table[index[labels > 0]] = labels[labels > 0]
    nearest: NDArray[np.int32] = table[index]
    return nearest
