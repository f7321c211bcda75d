"""Seconds per stage of an instance's way, as histograms: each process counts its own and writes them to a small file now and then.

The web process adds up what the processes of its host have written. A file outlives its process, so that the sums do not go back while
the node runs; a starting node removes those of dead ones, which Prometheus takes as a counter's reset.
"""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)
"""Upper limits of the buckets in seconds; one more takes the rest."""
_WRITE_S = 5.0


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations of one stage.

    Parameters
    ----------
    counts : tuple of int
        Per bucket of `BOUNDS`, and of what is longer.
    seconds : float
        Their sum.
    """

    counts: tuple[int, ...]
    seconds: float

    @property
    def count(self) -> int:
        return sum(self.counts)

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(tuple(map(sum, zip(self.counts, other.counts, strict=True))), self.seconds + other.seconds)


class Stages:
    """The histograms of this process. Safe for threads.

    Parameters
    ----------
    file : Path, optional
        Where they are written, at most every five seconds; without it they stay in memory.

    Examples
    --------
    >>> stages = Stages()
    >>> stages.observe("sync", 0.003)
    >>> stages.read()["sync"].count
    1
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._found: dict[str, tuple[list[int], list[float]]] = {}
        self._written = time.monotonic()
        self._changed = False

    def observe(self, stage: str, seconds: float) -> None:
        """Count one passage."""
        self.observe_all(((stage, seconds),))

    def observe_all(self, passages: Iterable[tuple[str, float]]) -> None:
        """Count one passage each of several stages, given with their seconds."""
        with self._lock:
            for stage, seconds in passages:
                found = self._found.get(stage)
                if found is None:
                    found = self._found[stage] = ([0] * (len(BOUNDS) + 1), [0.0])
                found[0][bisect_left(BOUNDS, seconds)] += 1
                found[1][0] += seconds
            self._changed = True
        if time.monotonic() - self._written >= _WRITE_S:
            self.write()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of a ``with`` block that ends without an error."""
        begun = time.perf_counter()
        yield
        self.observe(name, time.perf_counter() - begun)

    def read(self) -> dict[str, Histogram]:
        """All by name."""
        with self._lock:
            return {name: Histogram(tuple(counts), total[0]) for name, (counts, total) in self._found.items()}

    def write(self) -> None:
        """Write the file now if there is anything new; a disk that does not take it costs the figures alone."""
        with self._lock:
            self._written = time.monotonic()
            changed, self._changed = self._changed, False
        if self._file is None or not changed:
            return
        text = json.dumps({name: [*histogram.counts, histogram.seconds] for name, histogram in self.read().items()})
        private = self._file.with_name(f".{self._file.name}.{threading.get_ident()}")
        with suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            private.touch(mode=0o600)  # all of data_dir is for the node's user alone
            private.write_text(text, encoding="ascii")
            private.replace(self._file)


def stage_file(data_dir: Path, owner: str) -> Path:
    """Where the process that signs its claims with `owner` writes."""
    return data_dir / "stages" / f"{owner.replace('/', '+')}.json"


def read_stages(data_dir: Path) -> dict[str, Histogram]:
    """The sums over all files, by stage."""
    merged: dict[str, Histogram] = {}
    for path in _files(data_dir):
        with suppress(OSError, ValueError):  # one that is being replaced, or half a file after a power cut
            for name, numbers in json.loads(path.read_text(encoding="ascii")).items():
                found = Histogram(tuple(map(int, numbers[:-1])), float(numbers[-1]))
                if len(found.counts) == len(BOUNDS) + 1:
                    merged[str(name)] = merged[str(name)] + found if name in merged else found
    return merged


def forget_dead(data_dir: Path, is_dead: Callable[[str], bool]) -> None:
    """Remove the files of owners that live no more."""
    for path in _files(data_dir):
        if is_dead(path.stem.replace("+", "/")):
            path.unlink(missing_ok=True)


def _files(data_dir: Path) -> Iterable[Path]:
    return sorted((data_dir / "stages").glob("*.json"))
