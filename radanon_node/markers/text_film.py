"""Printed text on radiographs: searched at full resolution, but only where something crisp stands, and believed only if it can be read.

A film of 2500 x 2048 searched whole costs seconds, and nearly all of it is anatomy, which the plate has blurred over several pixels. Print
has steps of one pixel, many of them: a map of such steps costs milliseconds and leaves a few per cent of the film to the net. What the
net finds there counts if two characters or more are read, or if the marker detector sees something at the same place too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.text import TextDetector
from radanon_node.markers.text_boxes import BLOCK, busy_parts
from radanon_node.pipeline.types import Box, Detection, GrayFrame, Kind

_STEP = 20
"""Gray levels between neighbours that make a step."""
_DENSITY = 0.05
"""Share of a block's pixels with a step: letters have 0.08 to 0.3, a straight collimation edge 0.03."""
_LARGEST_PART = 32  # blocks
_CERTAIN, _LEAST_CHARACTERS = 0.7, 2
_OVERLAP = 0.3  # of a text box under marker boxes that is evidence enough
_REST = 0.5  # heights of a line: what is left of it beside a side letter is not worth a box below that


def crisp_blocks(view: GrayFrame) -> NDArray[np.bool_]:
    """Which 32 x 32 blocks (and their neighbours) may hold print.

    Looked for at full and at half resolution, in both directions: large films are often interpolated, and print on them is then two
    pixels soft.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)

    Returns
    -------
    ndarray of bool, shape (ceil(rows / 32), ceil(columns / 32))
    """
    rows, columns = view.shape
    shape = (-(-rows // BLOCK), -(-columns // BLOCK))
    crisp = _crisp(view, BLOCK, shape)
    if min(rows, columns) >= 2 * BLOCK:
        half = cv2.resize(view, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
        crisp |= _crisp(np.asarray(half, np.uint8), BLOCK // 2, shape)
    return cv2.dilate(crisp.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_)


def _crisp(view: GrayFrame, cell: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    steps = np.zeros((shape[0] * cell, shape[1] * cell), np.uint8)
    rows, columns = min(view.shape[0], steps.shape[0]), min(view.shape[1], steps.shape[1])
    part = view[:rows, :columns]
    across, down = cv2.absdiff(part[:, 1:], part[:, :-1]), cv2.absdiff(part[1:], part[:-1])
    found = []
    for edges, at in ((across, np.s_[:rows, 1:columns]), (down, np.s_[1:rows, :columns])):
        steps[:] = 0
        steps[at] = cv2.threshold(edges, _STEP - 1, 255, cv2.THRESH_BINARY)[1]
        density = cv2.resize(steps, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
        found.append(np.asarray(density) >= _DENSITY * 255)
    # A straight edge has steps in one direction only, characters have both.
    return np.asarray(found[0] & found[1], np.bool_)


def film_text(view: GrayFrame, load: Callable[[], TextDetector], markers: Sequence[Detection]) -> list[Detection]:
    """Printed text of one film.

    Parameters
    ----------
    view : ndarray of uint8, shape (rows, columns)
    load : callable
        Gives the text detector; called only for films on which something crisp stands.
    markers : sequence of Detection
        What the marker detector found on the same view.

    Returns
    -------
    list of Detection
        Kind ``TEXT``, source ``TEXT_MODEL``; lines that run over a side letter of `markers` are cut beside it: letters are the retention
        pass's business.
    """
    rows, columns = view.shape
    parts = busy_parts(crisp_blocks(view), _LARGEST_PART)
    if not parts:
        return []
    detector = load()
    found: list[Detection] = []
    for part in parts:
        window = Box(part.x0 * BLOCK, part.y0 * BLOCK, part.x1 * BLOCK, part.y1 * BLOCK).clipped(rows, columns)
        found += detector.detect_window(view, window)
    seen = [_under(one.box, markers) >= _OVERLAP for one in found]
    doubtful = [one.box for one, sure in zip(found, seen) if not sure]
    readings = iter(detector.read(view, doubtful) if doubtful else ())
    believed = [one for one, sure in zip(found, seen) if sure or _is_text(*next(readings))]
    letters = [one.box for one in markers if one.kind is Kind.SIDE_LETTER]
    return [Detection(box, one.kind, one.confidence, one.source) for one in believed for box in _beside(one.box, letters)]


def _is_text(text: str, confidence: float) -> bool:
    return confidence >= _CERTAIN and sum(mark.isalnum() for mark in text) >= _LEAST_CHARACTERS


def _under(box: Box, markers: Sequence[Detection]) -> float:
    covered = np.zeros((box.height, box.width), np.bool_)
    for one in markers:
        part = one.box.intersection(box)
        if part.width > 0 and part.height > 0:
            covered[part.y0 - box.y0:part.y1 - box.y0, part.x0 - box.x0:part.x1 - box.x0] = True
    return float(covered.mean()) if covered.size else 0.0


def _beside(box: Box, letters: Sequence[Box]) -> list[Box]:
    """What is left of a line where side letters stand in it."""
    parts = [box]
    for letter in letters:
        cut: list[Box] = []
        for part in parts:
            common = part.intersection(letter)
            if min(common.width, common.height) <= 0:
                cut.append(part)
                continue
            left, right = Box(part.x0, part.y0, letter.x0, part.y1), Box(letter.x1, part.y0, part.x1, part.y1)
            cut += [rest for rest in (left, right) if rest.width >= _REST * part.height]
        parts = cut
    return parts
