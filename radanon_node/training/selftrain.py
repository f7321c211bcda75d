"""Self-training: a trained detector labels films nobody has labelled; what it is unsure of is left out of the loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from radanon_node.markers.detector import MarkerDetector
from radanon_node.training.films import LabelledFilm, read_image
from radanon_node.training.synth.film import Item
from radanon_node.training.synth.markers import CLASSES

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm")


def patient_of(path: Path) -> str:
    """The part of a film's name before the first underscore: films of one patient share it."""
    return path.stem.split("_")[0]


def unlabelled_films(folder: Path, labelled: Iterable[LabelledFilm]) -> list[Path]:
    """Films of a folder, without those of patients that are kept for validation."""
    kept = {patient_of(f.path) for f in labelled if f.split == "val"}
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in _PICTURES and patient_of(p) not in kept)


def label_films(detector: MarkerDetector, paths: Sequence[Path], sure: float = 0.5, doubtful: float = 0.05) -> list[LabelledFilm]:
    """Films with the detector's own labels.

    Parameters
    ----------
    detector : MarkerDetector
        The teacher.
    paths : sequence of Path
    sure : float
        From this confidence on a detection is a label.
    doubtful : float
        From this confidence up to `sure` the region is unknown: learnt neither as a marker nor as background.
    """
    out = []
    for path in paths:
        found = detector.detect([read_image(path)], doubtful)[0]
        labels = [CLASSES.index(str(d.kind)) if d.confidence >= sure else -1 for d in found]
        items = tuple(Item(d.box.x0, d.box.y0, d.box.x1, d.box.y1, label) for d, label in zip(found, labels))
        kinds = tuple(CLASSES[label] if label >= 0 else "unknown" for label in labels)
        out.append(LabelledFilm(path, items, kinds))
    return out
