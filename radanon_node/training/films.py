"""Labelled films from disk: our jsonl, LabelMe JSON, YOLO txt and COCO, read into one shape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import ConfigError
from radanon_node.training.synth.film import Item
from radanon_node.training.synth.markers import CLASSES, SIDE_LETTER, SYMBOL, TEXT

DECOY = -2
_KINDS = {
    "laterality": SIDE_LETTER,
    "side_letter": SIDE_LETTER,
    "letter": SIDE_LETTER,
    "l": SIDE_LETTER,
    "r": SIDE_LETTER,
    "text": TEXT,
    "word_laterality": TEXT,
    "word": TEXT,
    "initials": TEXT,
    "symbol": SYMBOL,
    "arrow": SYMBOL,
    "disc": SYMBOL,
    "unknown": -1,
    "ignore": -1,
    "not_a_marker": DECOY,
}
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".dcm", "")


@dataclass(frozen=True)
class LabelledFilm:
    """A film's file and what is known to be on it.

    Parameters
    ----------
    path : Path
    items : tuple of Item
        Boxes in the film's own pixels.
    kinds : tuple of str
        The labels as the file names them, one per item.
    split : str
        ``train``, ``val`` or empty.
    decoys : tuple of Item
        What was taken for a marker and is none (``not_a_marker``): background that training looks at more often.
    """

    path: Path
    items: tuple[Item, ...]
    kinds: tuple[str, ...] = ()
    split: str = ""
    decoys: tuple[Item, ...] = ()


def class_of(name: str) -> int:
    """The class a label's name means; -1 means present but not to be learnt either way.

    Raises
    ------
    ConfigError
        An unknown name.
    """
    found = _KINDS.get(name.strip().lower())
    if found is None:
        raise ConfigError(f"label `{name}`: must be one of {', '.join(sorted(_KINDS))}")
    return found


def read_image(path: Path) -> NDArray[np.uint8]:
    """A film as 8-bit gray, shape (rows, columns), 0 = black. DICOM files go through the node's own view.

    Raises
    ------
    ConfigError
        The file cannot be read as an image.
    """
    if path.suffix.lower() in (".dcm", ""):
        from radanon_node.training.dicom import first_view

        return first_view(path)
    data = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if data is None:
        raise ConfigError(f"film {path.name}: cannot be read as an image")
    return np.asarray(data, np.uint8)


def _item(box: Iterable[float], label: int) -> Item:
    x0, y0, x1, y1 = (float(v) for v in box)
    return Item(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1), label)


def _labelled(path: Path, items: Sequence[Item], kinds: Sequence[str], split: str = "") -> LabelledFilm:
    real = [(i, k) for i, k in zip(items, kinds) if i.label != DECOY]
    decoys = tuple(i for i in items if i.label == DECOY)
    return LabelledFilm(path, tuple(i for i, _ in real), tuple(k for _, k in real), split, decoys)


def _ours(path: Path, films: Path) -> list[LabelledFilm]:
    out = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        row = json.loads(line)
        if "image" not in row or "items" not in row:
            raise ConfigError(f"{path.name} line {number}: needs `image` and `items`")
        kinds = tuple(str(i["kind"]) for i in row["items"])
        items = tuple(_item(i["bbox"], class_of(kind)) for i, kind in zip(row["items"], kinds))
        out.append(_labelled(films / row["image"], items, kinds, str(row.get("split", ""))))
    return out


def _labelme(path: Path, films: Path) -> LabelledFilm:
    held = json.loads(path.read_text())
    items, kinds = [], []
    for shape in held["shapes"]:
        xs, ys = [p[0] for p in shape["points"]], [p[1] for p in shape["points"]]
        if shape.get("shape_type") == "circle":  # LabelMe: centre and a point on the circle
            r = float(np.hypot(xs[1] - xs[0], ys[1] - ys[0]))
            xs, ys = [xs[0] - r, xs[0] + r], [ys[0] - r, ys[0] + r]
        items.append(_item((min(xs), min(ys), max(xs), max(ys)), class_of(shape["label"])))
        kinds.append(str(shape["label"]))
    name = Path(str(held.get("imagePath") or path.stem).replace("\\", "/")).name
    return _labelled(_film(films, Path(name).stem, name), tuple(items), tuple(kinds))


def _film(films: Path, stem: str, name: str = "") -> Path:
    if name and (films / name).is_file():
        return films / name
    for suffix in _SUFFIXES:
        if (films / f"{stem}{suffix}").is_file():
            return films / f"{stem}{suffix}"
    raise ConfigError(f"film `{name or stem}`: no image of that name in {films.name}")


def _coco(path: Path, held: dict[str, Any], films: Path) -> list[LabelledFilm]:
    names = {c["id"]: str(c["name"]) for c in held["categories"]}
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for note in held["annotations"]:
        by_image.setdefault(note["image_id"], []).append(note)
    out = []
    for image in held["images"]:
        notes = by_image.get(image["id"], [])
        kinds = tuple(names[n["category_id"]] for n in notes)
        boxes = ((n["bbox"][0], n["bbox"][1], n["bbox"][0] + n["bbox"][2], n["bbox"][1] + n["bbox"][3]) for n in notes)
        items = tuple(_item(b, class_of(k)) for b, k in zip(boxes, kinds))
        name = Path(image["file_name"]).name
        out.append(_labelled(_film(films, Path(name).stem, name), items, kinds))
    return out


def _yolo(folder: Path, films: Path) -> list[LabelledFilm]:
    listed = folder / "classes.txt"
    names = [n.strip() for n in listed.read_text().split("\n") if n.strip()] if listed.is_file() else list(CLASSES)
    out = []
    for path in sorted(folder.glob("*.txt")):
        if path.name == "classes.txt":
            continue
        film = _film(films, path.stem)
        rows, columns = read_image(film).shape
        items, kinds = [], []
        for number, line in enumerate(path.read_text().splitlines(), 1):
            fields = line.split()
            if not fields:
                continue
            if len(fields) < 5 or int(fields[0]) >= len(names):
                raise ConfigError(f"{path.name} line {number}: must be `class x y width height` with class below {len(names)}")
            x, y, w, h = (float(v) for v in fields[1:5])
            kinds.append(names[int(fields[0])])
            items.append(_item(((x - w / 2) * columns, (y - h / 2) * rows, (x + w / 2) * columns, (y + h / 2) * rows), class_of(kinds[-1])))
        out.append(_labelled(film, tuple(items), tuple(kinds)))
    return out


def read_labels(labels: Path, films: Path | None = None) -> list[LabelledFilm]:
    """Labels of any of the four formats.

    Parameters
    ----------
    labels : Path
        A .jsonl (ours), a .json (COCO, or one LabelMe file), a folder of LabelMe .json or of YOLO .txt files.
    films : Path or None
        Folder of the images; None: beside the labels.

    Raises
    ------
    ConfigError
        Unknown format, a label of unknown name, a film that is not there.
    """
    base = films or (labels if labels.is_dir() else labels.parent)
    try:
        if labels.is_dir():
            found = sorted(labels.glob("*.json"))
            out = [_labelme(p, base) for p in found] if found else _yolo(labels, base)
        elif labels.suffix == ".jsonl":
            out = _ours(labels, base)
        else:
            held = json.loads(labels.read_text())
            out = _coco(labels, held, base) if "annotations" in held else [_labelme(labels, base)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"labels {labels.name}: cannot be read ({type(error).__name__}: {error})") from error
    if not out:
        raise ConfigError(
            f"labels {labels.name}: no labelled film found (.jsonl, COCO or LabelMe .json, folder of LabelMe .json or YOLO .txt)"
        )
    missing = [f.path.name for f in out if not f.path.is_file()]
    if missing:
        raise ConfigError(f"labels {labels.name}: {len(missing)} films are not there, the first is {missing[0]}")
    return out
