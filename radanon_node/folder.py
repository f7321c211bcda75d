"""Folder mode: files in, a tree PATIENT/STUDY/SERIES/INSTANCE.dcm of pseudonyms out; the same cleaning core as the node.

Worker processes clean and write to a ``.partial`` folder inside the output; the parent alone moves finished files into the tree,
so that two inputs that claim the same SOP Instance UID can never overwrite each other. A worker that dies (a crash in a codec, the
kernel's memory killer) costs the file it worked on, not the run: its files are tried again one by one in a fresh process.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from radanon_node.errors import ConfigError, HoldInstance, Reason, StorageError
from radanon_node.inputs import HIDDEN, masked, masked_unread, printable, read_input
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.seal import load_key
from radanon_node.ledger.spool import Spool
from radanon_node.pipeline.clean import clean_batch
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.tools import Policy, Tools
from radanon_node.pipeline.types import Received
from radanon_node.pixels.instance import read_instance
from radanon_node.settings import Config
from radanon_node.tags.identifiers import collect

BATCH = 8


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one input file.

    Parameters
    ----------
    number : int
        Position in the sorted list of inputs.
    source : Path
        The input file.
    relative : str
        Its path relative to the input.
    shown : str
        The same as the report shows it: parts that hold an identifier of the patient are masked. Empty while nobody knows.
    outcome : str
        ``released``, ``duplicate`` (same content as another input) or ``quarantined``.
    reason, detail : str
        For the quarantined ones.
    partial : Path or None
        Where the worker left the clean file.
    target : str
        Its path below the output folder.
    receipt : dict or None
    """

    number: int
    source: Path
    relative: str
    shown: str
    outcome: str
    reason: str = ""
    detail: str = ""
    partial: Path | None = None
    target: str = ""
    receipt: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    number: int
    source: Path
    relative: str


_tools: Tools
_policy: Policy
_partial: Path


@dataclass(slots=True)
class Placed:
    """What the tree has taken in this run: digest of the input per target, patient per study."""

    digests: dict[str, str] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)


def anonymize(
    inputs: Sequence[tuple[Path, str]],
    out: Path,
    config: Config,
    policy: Policy,
    processes: int,
    progress: Callable[[FileOutcome], None],
) -> list[FileOutcome]:
    """Clean `inputs` into `out`.

    Parameters
    ----------
    inputs : sequence of (path, relative path)
    out : Path
        Made if absent.
    config : Config
    policy : Policy
    processes : int
        Worker processes.
    progress : callable
        Called with each outcome as it becomes known.

    Returns
    -------
    list of FileOutcome
        One per input, in order: nothing is skipped.
    """
    load_key(config.node.key_path, create=True)
    jobs = [Job(number, path, relative) for number, (path, relative) in enumerate(inputs)]
    outcomes: dict[int, FileOutcome] = {}
    placed = Placed()
    with _alone_in(out) as partial:
        for outcome in _run(jobs, config, policy, partial, processes):
            settled = _place(outcome, out, placed)
            outcomes[settled.number] = settled
            progress(settled)
    return _with_paths([outcomes[number] for number in sorted(outcomes)])


@contextmanager
def _alone_in(out: Path) -> Iterator[Path]:
    """Holds the output folder for this run, and gives an empty folder in it for what is not done yet, which goes with the run.

    A second run at the same time would take away what the first is about to move.

    Raises
    ------
    ConfigError
        Another run is writing there.
    """
    out.mkdir(parents=True, exist_ok=True)
    folder, partial = os.open(out, os.O_RDONLY | os.O_DIRECTORY), out / ".partial"
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"--out: another run is writing to {out}") from None
        except OSError:
            pass  # a file system without locks
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, mode=0o700)
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    finally:
        os.close(folder)


def _with_paths(outcomes: Sequence[FileOutcome]) -> list[FileOutcome]:
    """Outcomes with the paths of the report: a folder that one file's patient is hidden in is hidden for all, also for files that nothing
    could read.
    """
    folders: dict[str, str] = {}
    for outcome in outcomes:
        for folder, shown in zip(_folders(outcome.relative), outcome.shown.split("/") if outcome.shown else [], strict=False):
            if folders.get(folder) != HIDDEN:
                folders[folder] = shown
    found = []
    for outcome in outcomes:
        if outcome.shown:
            shown = "/".join([*map(folders.__getitem__, _folders(outcome.relative)), outcome.shown.rsplit("/", 1)[-1]])
        else:
            shown = masked_unread(outcome.relative, folders)
        found.append(replace(outcome, shown=printable(shown)))
    return found


def _folders(relative: str) -> list[str]:
    """The folders a file lies in, the outermost first, each as a path."""
    parts = relative.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _run(jobs: Sequence[Job], config: Config, policy: Policy, partial: Path, processes: int) -> Iterator[FileOutcome]:
    """Outcomes as they come; batches of a broken pool are retried one file at a time."""
    batches = [list(jobs[start : start + BATCH]) for start in range(0, len(jobs), BATCH)]
    while batches:
        retry: list[list[Job]] = []
        with _pool(config, policy, partial, min(processes, len(batches)), threads=max(1, (os.cpu_count() or 1) // processes)) as pool:
            waiting: dict[Future[list[FileOutcome]], list[Job]] = {}
            broken = False
            while batches or waiting:
                while batches and len(waiting) < 2 * processes and not broken:
                    batch = batches.pop(0)
                    try:
                        waiting[pool.submit(_clean_files, batch)] = batch
                    except BrokenProcessPool:
                        broken = True
                        batches.insert(0, batch)
                if not waiting:
                    break
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    batch = waiting.pop(future)
                    try:
                        yield from future.result()
                    except BrokenProcessPool:
                        broken = True
                        retry.append(batch)
        for batch in retry:
            yield from _alone(batch, config, policy, partial)


def _alone(batch: Sequence[Job], config: Config, policy: Policy, partial: Path) -> Iterator[FileOutcome]:
    """Each file in a process of its own: the one that kills it is held, the others are cleaned."""
    for job in batch:
        with _pool(config, policy, partial, 1, threads=1) as pool:
            try:
                yield from pool.submit(_clean_files, [job]).result()
            except BrokenProcessPool:
                yield _unread(job, Reason.WORKER_KILLED, "the process cleaning it died")


def _unread(job: Job, reason: Reason, detail: str) -> FileOutcome:
    return FileOutcome(job.number, job.source, job.relative, "", "quarantined", reason, detail)


def _pool(config: Config, policy: Policy, partial: Path, processes: int, threads: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        max_workers=max(1, processes),
        mp_context=get_context("spawn"),
        initializer=_initialise,
        initargs=(config, policy, partial, threads),
    )


def _initialise(config: Config, policy: Policy, partial: Path, threads: int) -> None:
    global _tools, _policy, _partial
    key = load_key(config.node.key_path, create=False)
    _tools = Tools.load(config, key, threads)
    if policy.profile.pseudonyms.remember_identifiers:
        # A ledger for this run alone, in the folder that goes with it: what one process learns of a patient the others know.
        _tools.memory = Ledger(f"sqlite:///{partial / 'known.sqlite'}", key, Spool(partial / "spool"))
    _policy, _partial = policy, partial


def _clean_files(jobs: Sequence[Job]) -> list[FileOutcome]:
    """Runs in a worker: read, clean, write the released ones to the partial folder."""
    outcomes: dict[int, FileOutcome] = {}
    received: list[tuple[Job, Received]] = []
    for job in jobs:
        try:
            received.append((job, Received(read_input(job.source), job.relative)))
        except OSError as error:
            outcomes[job.number] = _unread(job, Reason.NOT_DICOM, f"the file cannot be read: {error.strerror}")
        except MemoryError:
            outcomes[job.number] = _unread(job, Reason.PIXEL_LIMIT, "not enough memory for this file")
    results = clean_batch([item for _, item in received], _policy, _tools)
    for (job, item), result in zip(received, results, strict=True):
        outcome = FileOutcome(job.number, job.source, job.relative, _shown(job.relative, item), "quarantined")
        if isinstance(result, Released):
            path = _partial / f"{job.number}.dcm"
            try:
                path.write_bytes(result.encoded)
            except OSError as error:
                raise StorageError(f"the output folder cannot be written: {error.strerror}") from error
            target = "/".join((*result.folder, f"{result.sop_instance_uid}.dcm"))
            outcomes[job.number] = replace(outcome, outcome="released", partial=path, target=target, receipt=result.receipt)
        else:
            outcomes[job.number] = replace(outcome, reason=result.reason, detail=result.detail)
    return [outcomes[job.number] for job in jobs]


def _shown(relative: str, received: Received) -> str:
    """The path without this patient's identifiers; empty if the file does not say whose it is."""
    try:
        return masked(relative, collect(read_instance(received.data).dataset))
    except HoldInstance:
        return ""


def _place(outcome: FileOutcome, out: Path, placed: Placed) -> FileOutcome:
    """Move a clean file into the tree; equal content under the same name is one instance, other content is held, mixed studies too."""
    if outcome.partial is None:
        return outcome
    patient, study, _, _ = outcome.target.split("/")
    if placed.patients.setdefault(study, patient) != patient:
        return _held(outcome, Reason.MIXED_PATIENTS, "its study already has instances of another patient")
    target = out / outcome.target
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = outcome.receipt["input"]["digest"] if outcome.receipt else ""
    try:
        if target.exists():
            raise FileExistsError
        outcome.partial.rename(target)  # nobody else moves files here: `_alone_in`
    except FileExistsError:
        known = placed.digests.get(outcome.target)
        same = known == digest if known is not None else target.read_bytes() == outcome.partial.read_bytes()
        if not same:
            return _held(outcome, Reason.UID_CONFLICT, "the same SOP Instance UID with other content is in the output already")
        outcome.partial.unlink()
        return replace(outcome, outcome="duplicate", partial=None)
    placed.digests[outcome.target] = digest
    return replace(outcome, partial=None)


def _held(outcome: FileOutcome, reason: Reason, detail: str) -> FileOutcome:
    if outcome.partial is not None:
        outcome.partial.unlink()
    return replace(outcome, outcome="quarantined", reason=reason, detail=detail, partial=None, target="", receipt=None)
