"""Pictures for the letter finder: a character with what touches, frames and surrounds it, and which pixels are the character's."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.finder import REACH, SIDE, stretched
from radanon_node.training.finder_groups import AROUND, COMPANY, LETTER, Groups
from radanon_node.training.synth import anatomy, distractors
from radanon_node.training.synth.markers import Marker, lead_text, printed_text, symbol, turned

Sample = tuple[NDArray[np.float32], NDArray[np.float32]]
Corners = tuple[float, float, float, float]

_GROUNDS, _GROUND_SIDE = 60, 512


class Sampler:
    """Draws samples.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._groups = Groups(self._rng)
        self._grounds: list[NDArray[np.uint8]] = []

    def sample(self) -> Sample:
        """Input, shape (2, SIDE, SIDE), and target 0..1, shape (SIDE, SIDE)."""
        rng = self._rng
        kind = rng.random()
        if kind < 0.74:
            groups = self._groups
            make = groups.lead if kind < 0.38 else groups.plate if kind < 0.54 else groups.framed if kind < 0.67 else groups.printed
            marker = make()
            wanted, target = (LETTER, True) if rng.random() < 0.8 else (AROUND, True)
            if kind < 0.38 and len(marker.classes) > COMPANY and rng.random() < 0.2:
                wanted, target = (COMPANY, False) if rng.random() < 0.6 else (-1, True)
            if kind >= 0.38 and kind < 0.67:
                wanted = AROUND
        elif kind < 0.97:
            h = float(rng.uniform(14, 44))
            marker = printed_text(h, rng) if kind < 0.81 else lead_text(h, rng) if kind < 0.91 else symbol(h, rng)
            wanted, target = 0, False
        else:
            return self._bare()
        angle = float(rng.normal(0, 8)) if rng.random() < 0.5 else float(rng.uniform(0, 360))
        if marker.digital and rng.random() < 0.8:
            angle = float(rng.choice([0, 0, 0, 90, 180, 270]))
        scale = float(rng.uniform(0.8, 1.25))
        marker = turned(marker, angle, bool(rng.random() < 0.4), scale)
        box = self._box(marker, wanted)
        return self._bare() if box is None else self._painted(marker, box, target)

    def _box(self, marker: Marker, wanted: int) -> Corners | None:
        parts = [part.mask for part in marker.parts if part.item == wanted or (wanted == -1 and part.item in (LETTER, COMPANY))]
        parts = parts or [part.mask for part in marker.parts if part.item == LETTER]
        ink = np.max(parts, axis=0) > 0.35
        if ink.sum() < 12:
            return None
        ys, xs = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        return self._jittered((float(xs[0]), float(ys[0]), float(xs[-1]) + 1, float(ys[-1]) + 1))

    def _jittered(self, box: Corners) -> Corners:
        rng = self._rng
        width, height = box[2] - box[0], box[3] - box[1]
        # A detector's box is often a little off, now and then far.
        slack, spread = rng.uniform(-0.02, 0.1), 0.04 if rng.random() < 0.75 else 0.1
        x0, y0, x1, y1 = (float(rng.normal(slack, spread)) for _ in range(4))
        return box[0] - x0 * width, box[1] - y0 * height, box[2] + x1 * width, box[3] + y1 * height

    def _painted(self, marker: Marker, box: Corners, target: bool) -> Sample:
        rng = self._rng
        gray = self._ground()
        side = REACH * max(box[2] - box[0], box[3] - box[1])
        left, top = (box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2
        zoom = SIDE / side
        matrix = np.array([[zoom, 0, -left * zoom], [0, zoom, -top * zoom]])
        flags = cv2.INTER_LINEAR if zoom > 0.7 else cv2.INTER_AREA
        corners = ((box[0] - left) / side, (box[1] - top) / side, (box[2] - left) / side, (box[3] - top) / side)
        ground = float(gray[8:-8, 8:-8].mean())
        white, black = (255.0 if rng.random() < 0.6 else float(rng.uniform(150, 255))), float(rng.choice([0, 0, 20, ground * 0.4]))
        level, opacity = self._exposure(ground)
        faint = float(rng.uniform(0.04, 0.3))
        want = np.zeros((SIDE, SIDE), np.float32)
        blur = float(rng.uniform(0.2, 2.0) if rng.random() < 0.8 else rng.uniform(1.5, 3.2))
        for part in marker.parts:
            mask = np.asarray(cv2.warpAffine(part.mask, matrix, (SIDE, SIDE), flags=flags), np.float32)
            if part.item == LETTER and target:
                want = np.maximum(want, mask)
            if part.tone == "cut":  # the hole of a plate: the plate has been painted without it
                continue
            soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), blur), np.float32) if not marker.digital or blur > 1.2 else mask
            aim, much = {"lead": (level, opacity), "faint": (min(ground + 60, 255.0), opacity * faint), "white": (white, 1.0)}.get(
                part.tone, (black, 1.0)
            )
            gray += (aim - gray) * (soft * much)
        return self._finished(gray, corners, want)

    def _exposure(self, ground: float) -> tuple[float, float]:
        rng = self._rng
        level = float(rng.uniform(190, 255)) if rng.random() < 0.5 else min(255.0, ground + float(rng.uniform(12, 160)))
        if level - ground < 14:
            level = min(ground + 30, 255.0) if ground < 232 else ground - float(rng.uniform(20, 90))
        return level, float(rng.uniform(0.6, 1.0))

    def _finished(self, gray: NDArray[np.float32], corners: Corners, want: NDArray[np.float32]) -> Sample:
        """Coarser resolution, film border, collimation, noise; then what the network is given."""
        rng = self._rng
        if rng.random() < 0.4:  # a small letter, enlarged
            side = int(rng.uniform(14, 60))
            gray = np.asarray(cv2.resize(cv2.resize(gray, (side, side), interpolation=cv2.INTER_AREA), (SIDE, SIDE)), np.float32)
        if rng.random() < 0.12:
            gray, want = self._bordered(gray, want)
        gray = gray + rng.standard_normal(gray.shape).astype(np.float32) * np.float32(rng.uniform(0, 5))
        if rng.random() < 0.08:
            gray = 255 - gray
        if rng.random() < 0.3:
            gray = np.asarray(255 * (np.clip(gray, 0, 255) / 255) ** np.float32(rng.uniform(0.5, 2)), np.float32)
        gray = np.round(np.clip(gray, 0, 255)).astype(np.float32)
        return stretched(gray, corners), want

    def _bordered(self, gray: NDArray[np.float32], want: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rng = self._rng
        cut = int(rng.uniform(2, 16))
        turn = int(rng.integers(4))
        gray, want = np.rot90(gray, turn).copy(), np.rot90(want, turn).copy()
        gray[:cut] = float(rng.choice([0, 0, 10]))
        want[:cut] = 0
        return np.rot90(gray, -turn).copy(), np.rot90(want, -turn).copy()

    def _ground(self) -> NDArray[np.float32]:
        rng = self._rng
        if len(self._grounds) < _GROUNDS:
            ground = anatomy.background((_GROUND_SIDE, _GROUND_SIDE), rng)
            film = ground.astype(np.float32)
            distractors.scatter(film, int(rng.integers(0, 4)), rng)
            self._grounds.append(np.asarray(np.clip(film, 0, 255), np.uint8))
        source = self._grounds[int(rng.integers(len(self._grounds)))]
        side = int(min(rng.uniform(40, 160), min(source.shape)))
        y, x = (int(rng.integers(0, extent - side + 1)) for extent in source.shape)
        patch = cv2.resize(source[y : y + side, x : x + side], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        if rng.random() < 0.4:
            patch = patch * float(rng.uniform(0.1, 1.2)) + float(rng.uniform(0, 60))
        if rng.random() < 0.3:  # a shutter's edge or the skin line
            angle = float(rng.uniform(0, 2 * np.pi))
            yy, xx = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
            beyond = np.clip((xx * np.cos(angle) + yy * np.sin(angle) - rng.uniform(-0.6, 0.6)) * rng.uniform(5, 60), 0, 1)
            if rng.random() < 0.7:
                patch = patch * (1 - beyond * rng.uniform(0.3, 1)).astype(np.float32)
            else:  # or bone, or metal, nearly as bright as lead
                patch = patch + ((rng.uniform(120, 250) - patch) * (beyond * rng.uniform(0.4, 1))).astype(np.float32)
        return np.asarray(np.clip(patch, 0, 255), np.float32)

    def _bare(self) -> Sample:
        gray = self._ground()
        half = float(REACH) / 2
        width, height = (float(self._rng.uniform(0.4, 1.0)) for _ in range(2))
        longest = max(width, height)
        width, height = width / longest, height / longest
        corners = tuple(0.5 + sign * extent / (4 * half) for sign, extent in ((-1, width), (-1, height), (1, width), (1, height)))
        return self._finished(gray, (corners[0], corners[1], corners[2], corners[3]), np.zeros((SIDE, SIDE), np.float32))
