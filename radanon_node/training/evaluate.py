"""The paper's table for a detector, with the retention pass behind it, on labelled or drawn films; pictures of every failure.

Judged is what is left on the film after redaction: ink gone or kept, not the overlap of boxes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.markers.detector import MarkerDetector
from radanon_node.markers.second_look import accepted
from radanon_node.pipeline.types import Box, Detection, Region, Verdict
from radanon_node.training.films import LabelledFilm, read_image
from radanon_node.training.measure import FilmOutcome, ItemOutcome, average_precision, film_outcome, ranked_matches, redacted, whole, wilson
from radanon_node.training.synth.film import Item, synthesize
from radanon_node.training.synth.markers import CLASSES
from radanon_node.training.views import VIEWS, moved

_FLOOR = 0.005
_LETTER_KINDS = ("laterality", "side_letter")
_OTHER_LETTER = "other_letter"
"""Kind of a side letter that is not among those to be retained: to be removed as text is."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A film to judge on: name, image, labels and, for drawn films, exact ink."""

    name: str
    image: NDArray[np.uint8]
    items: tuple[Item, ...]
    kinds: tuple[str, ...]
    ink: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class Report:
    """All figures of one evaluation; `held` films were not let out and are not among `films`."""

    films: tuple[FilmOutcome, ...]
    names: tuple[str, ...]
    held: int = 0

    def items(self, *kinds: str) -> list[ItemOutcome]:
        """Outcomes of items of those kinds; of all without any."""
        return [i for f in self.films for i in f.items if not kinds or i.kind in kinds]

    @property
    def letters(self) -> list[ItemOutcome]:
        """Side letters that are to be retained."""
        return self.items(*_LETTER_KINDS)

    @property
    def others(self) -> list[ItemOutcome]:
        """What is to be removed."""
        return [i for i in self.items() if i.kind not in _LETTER_KINDS]

    @property
    def false_boxes(self) -> int:
        return sum(len(f.false) for f in self.films)

    @property
    def boxes(self) -> int:
        return sum(f.boxes for f in self.films)

    @property
    def ap(self) -> float:
        """Average precision at IoU 0.5, classes together."""
        return average_precision([r for f in self.films for r in f.ranked], len(self.items()))

    def figures(self) -> dict[str, object]:
        """For the description beside the weights: hits, counts and 95% intervals."""
        letters, others = self.letters, self.others
        return {
            "films": len(self.films),
            "held": self.held,
            "markers_found": _share([i.found for i in self.items()]),
            "text_and_symbols_removed": _share([i.gone for i in others]),
            "side_letters_found": _share([i.found for i in letters]),
            "side_letters_retained": _share([i.kept for i in letters]),
            "false_boxes": {"count": self.false_boxes, "boxes": self.boxes, "films": len(self.films)},
            "average_precision": None if math.isnan(self.ap) else round(self.ap, 4),
        }

    def table(self) -> str:
        """A Markdown table of removal, retention and false boxes, per kind, size and contrast."""
        lines = ["| figure | share | count | 95% interval |", "|---|---|---|---|"]

        def row(name: str, hits: Sequence[bool]) -> None:
            if hits:
                low, high = wilson(sum(hits), len(hits))
                lines.append(
                    f"| {name} | {100 * sum(hits) / len(hits):.1f}% | {sum(hits)}/{len(hits)} | {100 * low:.1f}-{100 * high:.1f}% |"
                )

        letters, others = self.letters, self.others
        row("markers found", [i.found for i in self.items()])
        row("text and symbols removed", [i.gone for i in others])
        row("side letters found", [i.found for i in letters])
        row("side letters retained", [i.kept for i in letters])
        for kind in sorted({i.kind for i in self.items()}):
            row(f"found: {kind}", [i.found for i in self.items(kind)])
        for name, low_, high_ in (("under 16", 0, 16), ("16 to 28", 16, 28), ("28 to 48", 28, 48), ("over 48", 48, 9999)):
            row(f"found: {name} px", [i.found for i in self.items() if low_ <= i.size < high_])
        for name, low_, high_ in (("under 25", 0, 25), ("25 to 60", 25, 60), ("over 60", 60, 999)):
            row(f"found: contrast {name}", [i.found for i in self.items() if low_ <= i.contrast < high_])
        if self.boxes:
            low, high = wilson(self.false_boxes, self.boxes)
            share = self.false_boxes / self.boxes
            lines.append(f"| false boxes | {100 * share:.1f}% | {self.false_boxes}/{self.boxes} | {100 * low:.1f}-{100 * high:.1f}% |")
        lines.append(f"| held in quarantine | | {self.held} films | |")
        lines.append(f"| average precision | {self.ap:.3f} | {len(self.films)} films | |")
        return "\n".join(lines)


def overview(reports: Mapping[str, Report]) -> str:
    """A Markdown table with one line per report."""
    lines = ["| films | found | text and symbols removed | side letters retained | false boxes | AP |", "|---|---|---|---|---|---|"]
    for name, r in reports.items():
        counts = ([i.found for i in r.items()], [i.gone for i in r.others], [i.kept for i in r.letters])
        figures = " | ".join(f"{sum(hits)}/{len(hits)}" for hits in counts)
        lines.append(f"| {name} | {figures} | {r.false_boxes}/{r.boxes} | {r.ap:.3f} |")
    return "\n".join(lines)


def _share(hits: Sequence[bool]) -> dict[str, object]:
    low, high = wilson(sum(hits), len(hits))
    return {"hits": int(sum(hits)), "count": len(hits), "low": round(low, 4), "high": round(high, 4)}


def real_subjects(films: Iterable[LabelledFilm]) -> Iterable[Subject]:
    """Labelled films, read one by one."""
    for f in films:
        yield Subject(f.path.name, read_image(f.path), f.items, f.kinds)


def seen(subjects: Iterable[Subject], view: str) -> Iterable[Subject]:
    """Films without exact ink, in one of the other `views.VIEWS`; items that are mostly out of it are judged neither way."""
    for s in subjects:
        image, placed = VIEWS[view](s.image)
        found = [(j, kind) for i, kind in zip(s.items, s.kinds) for j in moved([i], placed, *image.shape)]
        yield Subject(s.name, image, tuple(i for i, _ in found), tuple(kind for _, kind in found))


def drawn_subjects(
    count: int, seed: int, sizes: Sequence[tuple[int, int]] = ((1024, 1024), (1280, 1024), (900, 720), (2048, 1680))
) -> Iterable[Subject]:
    """Drawn films of several sizes: other hospitals, pelvis, limbs, spine."""
    for k in range(count):
        rng = np.random.default_rng((seed, 7, k))
        film = synthesize(sizes[k % len(sizes)], rng)
        kinds = tuple(CLASSES[i.label] if i.label >= 0 else "unknown" for i in film.items)
        yield Subject(f"drawn-{seed}-{k}", film.image, film.items, kinds, film.ink)


def evaluate(
    detector: MarkerDetector,
    subjects: Iterable[Subject],
    *,
    retain: Sequence[str] | None = ("L", "R"),
    thresholds: dict[str, float] | None = None,
    core: Callable[[NDArray[np.uint8]], NDArray[np.bool_] | None] | None = None,
    on_film: Callable[[Subject, Sequence[Detection], Sequence[Region], FilmOutcome], None] | None = None,
) -> Report:
    """Run detector and retention over films.

    Parameters
    ----------
    detector : MarkerDetector
    subjects : iterable of Subject
    retain : sequence of str or None
        Letters that may stay; None leaves the retention pass out (every detection is black).
    thresholds : dict of str to float or None
        Instead of the weights' own.
    core : callable or None
        Gives the pixels that the whole node blacks out (`through_node.CleaningCore.blackened`); what is gone and kept is then
        judged on that instead of on detector and retention alone. None from it: the film was held, nothing of it left.
    on_film : callable or None
        Given every film with its detections, regions and outcome, for pictures.
    """
    films, names, held = [], [], 0
    floors = thresholds or detector.thresholds
    for number, subject in enumerate(subjects):
        low = detector.detect([subject.image], _FLOOR)[0]
        detections = accepted(low, floors)
        regions = _judged(subject.image, detections, retain)
        gone: NDArray[np.bool_] | None = redacted((subject.image.shape[0], subject.image.shape[1]), regions)
        if core is not None:
            gone = core(subject.image)
            if gone is None:
                held += 1
                continue
        assert gone is not None
        matches = ranked_matches(low, subject.items)
        outcome = film_outcome(
            number,
            subject.image,
            subject.items,
            _kinds(subject, retain),
            detections,
            gone,
            matches,
            subject.ink,
            [r.box for r in regions if r.verdict is Verdict.KEEP],
        )
        films.append(outcome)
        names.append(subject.name)
        if on_film is not None:
            on_film(subject, detections, regions, outcome)
    return Report(tuple(films), tuple(names), held)


def _kinds(subject: Subject, retain: Sequence[str] | None) -> list[str]:
    """The kinds of a film's items, as far as what is to stay decides them."""
    if retain is None:
        return list(subject.kinds)
    goes = [bool(item.letter) and item.letter not in retain for item in subject.items]
    return [_OTHER_LETTER if out and kind in _LETTER_KINDS else kind for kind, out in zip(subject.kinds, goes)]


def _judged(image: NDArray[np.uint8], detections: Sequence[Detection], retain: Sequence[str] | None) -> list[Region]:
    if retain is None:
        return [Region(d.box, Verdict.REDACT, d.kind, d.confidence, d.source) for d in detections]
    from radanon_node.markers.retention import judge

    return judge(image, detections, retain, None)


class Montage:
    """Collects crops of every failure and writes them as one PNG per sort of failure."""

    def __init__(self, folder: Path, side: int = 200) -> None:
        self._folder, self._side = folder, side
        self._crops: dict[str, list[NDArray[np.uint8]]] = {}

    def __call__(self, subject: Subject, detections: Sequence[Detection], regions: Sequence[Region], outcome: FilmOutcome) -> None:
        for i in outcome.items:
            letter = i.kind in _LETTER_KINDS
            if not i.found:
                self._add(f"missed-{i.kind}", subject, whole(i.item), detections, regions)
            elif letter and not i.kept:
                self._add("letter-not-kept", subject, whole(i.item), detections, regions)
            elif not letter and not i.gone:
                self._add(f"left-{i.kind}", subject, whole(i.item), detections, regions)
        for box in outcome.false:
            self._add("false", subject, box, detections, regions)

    def _add(self, sort: str, subject: Subject, box: Box, detections: Sequence[Detection], regions: Sequence[Region]) -> None:
        reach = max(box.width, box.height, 60)
        cut = box.grown(reach // 2).clipped(*subject.image.shape)
        colour = np.asarray(cv2.cvtColor(subject.image[cut.y0 : cut.y1, cut.x0 : cut.x1], cv2.COLOR_GRAY2BGR), np.uint8)
        scale = self._side / max(colour.shape[:2])
        colour = np.asarray(
            cv2.resize(colour, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8
        )
        shapes = (
            [(d.box, (0, 255, 255)) for d in detections]
            + [(r.box, (0, 255, 0)) for r in regions if r.verdict is Verdict.KEEP]
            + [(box, (0, 0, 255))]
        )
        for b, rgb in shapes:
            corner = (int((b.x0 - cut.x0) * scale), int((b.y0 - cut.y0) * scale))
            cv2.rectangle(colour, corner, (int((b.x1 - cut.x0) * scale), int((b.y1 - cut.y0) * scale)), rgb, 1)
        tile = np.zeros((self._side, self._side, 3), np.uint8)
        tile[: colour.shape[0], : colour.shape[1]] = colour[: self._side, : self._side]
        self._crops.setdefault(sort, []).append(tile)

    def write(self) -> list[Path]:
        """One picture per sort of failure: red the item or box in question, yellow detections, green what was kept."""
        self._folder.mkdir(parents=True, exist_ok=True)
        out = []
        for sort, crops in sorted(self._crops.items()):
            wide = min(8, len(crops))
            crops = crops + [np.zeros_like(crops[0])] * (-len(crops) % wide)
            sheet = np.vstack([np.hstack(crops[k : k + wide]) for k in range(0, len(crops), wide)])
            out.append(self._folder / f"{sort}.png")
            cv2.imwrite(str(out[-1]), sheet)
        return out


def calibrate(detector: MarkerDetector, subjects: Sequence[Subject], miss: float = 5.0) -> tuple[float, list[tuple[float, int, int]]]:
    """The confidence floor at which misses and false boxes cost least.

    Parameters
    ----------
    detector : MarkerDetector
    subjects : sequence of Subject
        Labelled films that were not trained on.
    miss : float
        False boxes that one missed item is worth.

    Returns
    -------
    floor : float
        The middle of the cheapest range.
    curve : list of (floor, items missed, false boxes)
    """
    floors = np.round(np.concatenate((np.arange(0.02, 0.2, 0.02), np.arange(0.2, 0.65, 0.05))), 3)
    curve = {float(f): [0, 0] for f in floors}
    for number, subject in enumerate(subjects):
        low = detector.detect([subject.image], float(floors[0]))[0]
        nothing = np.zeros(subject.image.shape, np.bool_)
        for floor, sums in curve.items():
            chosen = [d for d in low if d.confidence >= floor]
            outcome = film_outcome(number, subject.image, subject.items, subject.kinds, chosen, nothing, (), subject.ink)
            sums[0] += sum(not i.found for i in outcome.items)
            sums[1] += len(outcome.false)
    costs = {f: miss * missed + false for f, (missed, false) in curve.items()}
    least = min(costs.values())
    cheapest = [f for f, c in costs.items() if c <= least]
    return cheapest[len(cheapest) // 2], [(f, m, n) for f, (m, n) in curve.items()]
