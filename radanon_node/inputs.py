"""What folder mode is given: every file of a tree, links followed, nothing left out in silence; and how a path is shown in a report."""

from __future__ import annotations

import mmap
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from radanon_node.errors import ConfigError
from radanon_node.pipeline.types import Buffer
from radanon_node.tags.identifiers import Identifiers
from radanon_node.tags.tables import vocabulary
from radanon_node.tags.words import WORD, plain

MAPPED_FROM = 2**26
"""Files from this size on are mapped: one that is no DICOM costs no memory, however large it is."""

HIDDEN = "[identity]"
UNREAD = "[not shown]"
"""Stands for a part of the path of a file that nothing could read: whose name it holds is not known."""

_HARMLESS = frozenset({"dicomdir", "readme", "license", "thumbs", "zip", "txt", "pdf", "store", "desktop", "ini", "dicom", "dcm"})
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}")
_LONG_NUMBER = re.compile(r"\d{5}")


def list_inputs(paths: Sequence[Path], out: Path | None = None) -> list[tuple[Path, str]]:
    """Everything below `paths` that is no folder, sorted, each with its path relative to the given one.

    Links to folders are followed, each folder once. Folders that cannot be opened, pipes and devices are listed too: they fail when
    they are read, and so appear in the report.

    Parameters
    ----------
    paths : sequence of Path
    out : Path, optional
        A folder that must not be reached from them.

    Raises
    ------
    ConfigError
        A link leads to `out`.
    """
    found: list[tuple[Path, str]] = []
    for path in paths:
        if path.is_dir():
            found += sorted(_below(path, path, set(), out.resolve() if out is not None else None), key=lambda item: item[1])
        else:
            found.append((path, path.name))
    return found


def _below(folder: Path, root: Path, seen: set[tuple[int, int]], out: Path | None) -> Iterator[tuple[Path, str]]:
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        try:
            told = folder.stat()
            if (told.st_dev, told.st_ino) in seen:
                continue  # a link to a folder that is listed already, perhaps to one above
            seen.add((told.st_dev, told.st_ino))
            if out is not None and folder.resolve() == out:
                raise ConfigError(f"--out: {out} is reached from the input by the link {folder}; the next run would clean its own output")
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True)
        except OSError:
            yield folder, str(folder.relative_to(root))
            continue
        for entry in entries:
            if _is_folder(entry):
                waiting.append(Path(entry.path))
            else:
                yield Path(entry.path), str(Path(entry.path).relative_to(root))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def read_input(path: Path) -> Buffer:
    """The content of a regular file; a large one is mapped.

    Raises
    ------
    OSError
        It cannot be read, or is no regular file (opening a pipe would wait for ever).
    """
    told = path.stat()
    if stat.S_ISDIR(told.st_mode):
        raise OSError(0, "this folder cannot be opened")
    if not stat.S_ISREG(told.st_mode):
        raise OSError(0, "no regular file")
    if told.st_size < MAPPED_FROM:
        return path.read_bytes()
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def masked(relative: str, identifiers: Identifiers) -> str:
    """The path with every part hidden that holds an identifier of the file's patient: reports travel with the clean data (law 5)."""
    parts = relative.split("/")
    return "/".join(HIDDEN if identifiers.matches(Path(part).stem.replace("_", " ")) else part for part in parts)


def masked_unread(relative: str, shown: dict[str, str]) -> str:
    """The path of a file that nothing could read, so that nobody knows whose name is in it.

    Parameters
    ----------
    relative : str
    shown : dict of str to str
        Folder (relative) -> its last part as readable files below it show it.

    Returns
    -------
    str
        Folders as `shown` has them; other parts only if they hold nothing but words of the trade and short numbers.

    Examples
    --------
    >>> masked_unread("ward/Doe John/scan report.pdf", {"ward": "ward"})
    'ward/[not shown]/scan report.pdf'
    >>> masked_unread("ward/19620417 Doe.pdf", {})
    'ward/[not shown].pdf'
    """
    parts = relative.split("/")
    out = [shown.get("/".join(parts[: depth + 1])) or (part if _neutral(part) else UNREAD) for depth, part in enumerate(parts[:-1])]
    name = parts[-1]
    suffix = Path(name).suffix if _SUFFIX.fullmatch(Path(name).suffix) else ""
    stem = name.removesuffix(suffix)
    return "/".join([*out, (stem if _neutral(stem) else UNREAD) + suffix])


def _neutral(part: str) -> bool:
    words = [plain(word) for word in WORD.findall(part.lower())]
    return not _LONG_NUMBER.search(part) and all(word in vocabulary() or word in _HARMLESS or len(word) < 2 for word in words)


def printable(path: str | Path) -> str:
    """A path on one line: what cannot be printed (line ends, bytes of no character) as escapes."""
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in str(path))
