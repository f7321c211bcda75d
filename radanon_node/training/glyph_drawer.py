"""Shapes the glyph net learns from: letters in every font, and everything that is no single capital."""

from __future__ import annotations

import string
import subprocess
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from radanon_node.markers.glyphs import CLASSES, normalise
from radanon_node.markers.orientation import tight

_CANVAS = 96
# Shapes most like the usual side letters once turned and mirrored.
_HARD = "J7VTrFKAPBH8NEU14YXDZ"
_SAME_AS_CAPITAL = "cosuvwxzkp"

Mask = NDArray[np.bool_]


def font_files() -> list[str]:
    """Fonts of this machine, sorted; Latin capitals are drawn in each."""
    listed = subprocess.run(["fc-list", ":lang=en", "file"], capture_output=True, text=True, check=True).stdout
    return sorted(line.rstrip(": \n") for line in listed.splitlines() if line.rstrip(": ").endswith((".ttf", ".otf", ".pfb")))


class Drawer:
    """Draws random shapes with their class.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._drawn: dict[tuple[int, str], Mask] = {}
        self._fonts = [ImageFont.truetype(name, 64) for name in font_files()]

    def sample(self) -> tuple[NDArray[np.uint8], int]:
        """One normalised glyph picture, shape (SIDE, SIDE), and its index in ``CLASSES``."""
        while True:
            mask, label = self._shape()
            mask, clean = self._worn(mask)
            if label == len(CLASSES) - 1:
                whole = mask.sum()
                mask = self._largest(mask)
                if mask.sum() < 0.9 * whole:
                    continue
            elif self._rng.random() < 0.1:  # a piece of a letter is no letter; an L stays one however short its foot is cut
                mask = self._largest(self._cut(mask))
                if label == CLASSES.index("L"):
                    continue
                label = len(CLASSES) - 1
            else:
                mask = self._largest(mask)
                if not 0.6 < mask.sum() / max(clean.sum(), 1) < 1.8:
                    continue
            if mask.sum() > 60:
                return normalise(mask), label

    def _shape(self) -> tuple[Mask, int]:
        kind = self._rng.random()
        if kind < 0.17:
            return self._lead_l() if self._rng.random() < 0.6 else self._char("L"), CLASSES.index("L")
        if kind < 0.33:
            return self._char("R"), CLASSES.index("R")
        if kind < 0.52:
            return self._labelled(str(self._rng.choice(list(string.ascii_uppercase))))
        if kind < 0.68:
            return self._labelled(str(self._rng.choice(list(_HARD))))
        if kind < 0.74:
            return self._labelled(str(self._rng.choice(list(string.ascii_lowercase + string.digits + "<>^/()[]+-#%&?"))))
        if kind < 0.85:
            joined = self._pair if kind < 0.80 else self._row
            mask = joined()
            while self._largest(mask).sum() < 0.97 * mask.sum():  # side by side without touching they would be two letters
                mask = joined()
            return mask, len(CLASSES) - 1
        if kind < 0.88:
            return self._ground(), len(CLASSES) - 1
        return self._junk(), len(CLASSES) - 1

    def _labelled(self, character: str) -> tuple[Mask, int]:
        capital = character.upper() if character in _SAME_AS_CAPITAL else character
        return self._char(character), CLASSES.index(capital) if capital in CLASSES else len(CLASSES) - 1

    def _char(self, character: str) -> Mask:
        font = int(self._rng.integers(len(self._fonts)))
        if (font, character) not in self._drawn:
            picture = Image.new("L", (_CANVAS, _CANVAS))
            ImageDraw.Draw(picture).text((_CANVAS / 2, _CANVAS / 2), character, 255, self._fonts[font], anchor="mm")
            self._drawn[font, character] = np.asarray(picture) > 127
        return self._drawn[font, character]

    def upright(self, letter: str) -> Iterator[Mask]:
        """`letter` in every font, tight."""
        for font in self._fonts:
            picture = Image.new("L", (_CANVAS, _CANVAS))
            ImageDraw.Draw(picture).text((_CANVAS / 2, _CANVAS / 2), letter, 255, font, anchor="mm")
            yield tight(np.asarray(picture) > 127)
        for stem in (8, 14, 20, 26) if letter == "L" else ():  # cast in lead, from slim to fat
            for foot in (6, 10, 16, 22):
                lead = np.zeros((60, 40), np.bool_)
                lead[:, :stem] = lead[-foot:] = True
                yield lead

    def _lead_l(self) -> Mask:
        rng = self._rng
        height = rng.uniform(40, 64)
        width = height * rng.uniform(0.42, 0.9)
        thick = width * rng.uniform(0.14, 0.62)
        lean = rng.uniform(-0.06, 0.06)
        x, y = (_CANVAS - width) / 2, (_CANVAS - height) / 2
        foot = thick * rng.uniform(0.75, 1.25)
        out = np.zeros((_CANVAS, _CANVAS), np.uint8)
        right, base, top_of_foot = x + width, y + height, y + height - foot
        corners = [(x, y), (x + thick, y), (x + thick, top_of_foot), (right, top_of_foot), (right, base), (x, base)]
        points = np.array([(px + lean * (base - py), py) for px, py in corners])
        cv2.fillPoly(out, [np.round(points * 16).astype(np.int32)], 255, shift=4)
        if rng.random() < 0.5:  # rounded ends, as cast in lead
            size = int(min(thick, foot) * 0.8) | 1
            return np.asarray(cv2.morphologyEx(out, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))) > 0
        return out > 0

    def _pair(self) -> Mask:
        rng = self._rng
        first = self._largest(self._char(str(rng.choice(list("LRLR" + string.ascii_uppercase)))))
        second = self._largest(self._char(str(rng.choice(list(string.ascii_uppercase + string.digits)))))
        scale = rng.uniform(0.4, 1.0)
        second = cv2.resize(second.astype(np.uint8), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST) > 0
        ys, xs = np.nonzero(first)
        sy, sx = np.nonzero(second)
        out = np.zeros((2 * _CANVAS, 2 * _CANVAS), bool)
        out[ys - ys.min() + 48, xs - xs.min() + 48] = True
        height, width, down, across = (int(np.ptp(axis)) for axis in (sy, sx, ys, xs))
        if rng.random() < 0.5:
            dy, dx = down - int(rng.integers(0, 5)), int(rng.integers(-width // 2 - 1, across))
        else:
            dy, dx = int(rng.integers(-height // 2 - 1, down)), across - int(rng.integers(0, 5))
        out[np.clip(sy - sy.min() + 48 + dy, 0, 191), np.clip(sx - sx.min() + 48 + dx, 0, 191)] = True
        return cv2.resize(out.astype(np.uint8), (_CANVAS, _CANVAS), interpolation=cv2.INTER_AREA) > 0

    def _row(self) -> Mask:
        """Two or three characters of one size, side by side or one above the other, touching."""
        rng = self._rng
        characters = rng.choice(list(string.ascii_uppercase + string.digits), int(rng.choice([2, 2, 3])))
        parts = [tight(self._char(str(character))) for character in characters]
        stacked = rng.random() < 0.3
        parts = [part.T for part in parts] if stacked else parts
        height, overlap = max(len(part) for part in parts), int(rng.integers(0, 6))
        out = np.zeros((height, sum(part.shape[1] for part in parts)), np.bool_)
        x = 0
        for part in parts:
            y = int(rng.integers(0, height - len(part) + 1))
            out[y : y + len(part), x : x + part.shape[1]] |= part
            x += max(part.shape[1] - overlap, 1)
        out = np.pad(tight(out.T if stacked else out), 2)
        scale = min(80 / max(out.shape), 1)
        small = cv2.resize(out.astype(np.uint8) * 255, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) > 100
        top, left = (_CANVAS - small.shape[0]) // 2, (_CANVAS - small.shape[1]) // 2
        return np.pad(small, ((top, _CANVAS - top - small.shape[0]), (left, _CANVAS - left - small.shape[1])))

    def _ground(self) -> Mask:
        """What lies between strokes: a piece of the background inside a character's or a row's outline."""
        ink = self._row() if self._rng.random() < 0.7 else self._char(str(self._rng.choice(list(string.ascii_uppercase))))
        ys, xs = np.nonzero(ink)
        ground = np.zeros_like(ink)
        ground[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = True
        ground &= ~ink
        count, labels = cv2.connectedComponents(ground.astype(np.uint8), connectivity=4)
        return labels == self._rng.integers(1, count) if count > 1 else ground

    def _junk(self) -> Mask:
        rng = self._rng
        out = np.zeros((_CANVAS, _CANVAS), np.uint8)
        kind = rng.integers(8)
        if kind == 0:  # chevrons and arrow heads: no right angle, or arms of one length
            angle = rng.choice([rng.uniform(35, 76), rng.uniform(106, 160), 90.0])
            first = rng.uniform(25, 40)
            second = first * (rng.uniform(0.94, 1.0) if angle == 90 else rng.uniform(0.5, 1.0))
            a = np.deg2rad(angle)
            tips = np.array([[first, 0], [0, 0], [second * np.cos(a), second * np.sin(a)]]) + 40
            cv2.polylines(out, [tips.astype(np.int32)], False, 255, int(rng.integers(3, 12)))
        elif kind == 1:  # arrow
            shaft, head = int(rng.integers(3, 10)), int(rng.integers(10, 22))
            cv2.line(out, (48, 20 + head), (48, 78), 255, shaft)
            cv2.fillPoly(out, [np.array([(48, 15), (48 - head, 18 + head), (48 + head, 18 + head)])], 255)
        elif kind == 2:  # disc, ring, ring with a ball
            axes = rng.integers(12, 36, 2)
            arc, thick = rng.choice([360, 360, 180, 250]), int(rng.choice([-1, 3, 6, 9]))
            cv2.ellipse(out, (48, 48), (int(axes[0]), int(axes[1])), 0, 0, arc, 255, thick)
            if rng.random() < 0.5:
                cv2.circle(out, (48 + int(axes[0]) - 6, 48), int(rng.integers(3, 8)), 255, -1)
        elif kind == 3:  # bars, plates
            w, h = rng.integers(3, 40, 2)
            cv2.rectangle(out, (48 - int(w), 48 - int(h)), (48 + int(w), 48 + int(h)), 255, int(rng.choice([-1, 2, 5])))
        elif kind == 4:  # T, plus and angle profiles with three or four arms
            for arm in rng.choice(4, int(rng.integers(2, 5)), replace=False):
                end = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)][arm]) * rng.integers(15, 38) + 48
                cv2.line(out, (48, 48), (int(end[0]), int(end[1])), 255, int(rng.integers(3, 12)))
            if rng.random() < 0.5:
                cv2.circle(out, (48, 48), int(rng.integers(8, 20)), 255, -1)
            else:
                cv2.line(out, (30, 48), (66, 48), 255, 7)
        elif kind == 5:  # wires and catheters
            points = np.cumsum(rng.normal(0, 14, (6, 2)), 0) + 48
            cv2.polylines(out, [np.clip(points, 4, 92).astype(np.int32)], bool(rng.random() < 0.2), 255, int(rng.integers(2, 9)))
        elif kind == 6:  # texture: bone, gas
            noise = cv2.GaussianBlur(rng.normal(0, 1, (_CANVAS, _CANVAS)), (0, 0), float(rng.uniform(3, 10)))
            out[noise > np.quantile(noise, rng.uniform(0.5, 0.9))] = 255
        else:  # triangles, quadrangles, crescents
            cv2.fillPoly(out, [rng.integers(15, 81, (int(rng.integers(3, 6)), 2)).astype(np.int32)], 255)
        return out > 0

    def _worn(self, mask: Mask) -> tuple[Mask, Mask]:
        """Turned any way, mirrored or not, squeezed, thinned or fattened, blurred as films show them; and the same before blur."""
        rng = self._rng
        angle, mirror = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
        # Lead letters are slimmer than most fonts.
        squeeze = np.diag(np.exp([rng.normal(-0.08, 0.22), rng.normal(0, 0.1)])) @ np.array([[mirror, rng.normal(0, 0.07)], [0, 1]])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ squeeze * rng.uniform(0.35, 0.8)
        centre = np.full(2, _CANVAS / 2)
        matrix = np.hstack([turn, (centre - turn @ centre)[:, None]])
        sharp = cv2.warpAffine(mask.astype(np.float32), matrix, (_CANVAS, _CANVAS), flags=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(sharp, (0, 0), float(rng.uniform(0.4, 2.0)))
        soft = cv2.add(soft, cv2.GaussianBlur(rng.normal(0, float(rng.uniform(0, 0.25)), mask.shape).astype(np.float32), (0, 0), 1.5))
        return np.asarray(soft) > rng.uniform(0.25, 0.7), np.asarray(sharp) > 0.5

    def _cut(self, mask: Mask) -> Mask:
        """Without 15 to 50 hundredths of its ink, from one side."""
        ys, xs = np.nonzero(mask)
        axis = (xs, ys, -xs, -ys)[self._rng.integers(4)]
        gone = axis < np.quantile(axis, self._rng.uniform(0.15, 0.5)) if len(axis) else np.zeros(0, bool)
        out = mask.copy()
        out[ys[gone], xs[gone]] = False
        return out

    @staticmethod
    def _largest(mask: Mask) -> Mask:
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        if len(stats) < 2:
            return np.zeros_like(mask)
        largest: Mask = labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
        return largest
