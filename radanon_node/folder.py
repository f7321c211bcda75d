"""Folder mode: files in, a tree PATIENT/STUDY/SERIES/INSTANCE.dcm of pseudonyms out; the same cleaning core as the node.

Worker processes clean and write to a ``.partial`` folder inside the output; the parent alone moves finished files into the tree,
so that two inputs that claim the same SOP Instance UID can never overwrite each other. A worker that dies (a crash in a codec, the
kernel's memory killer) costs the file it worked on, not the run: its files are tried again one by one in a fresh process.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from radanon_node.errors import HoldInstance, Reason
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
    shown : str
        Its path relative to the input as the report shows it: parts that hold an identifier of the patient are masked.
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


def list_inputs(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Every regular file below `paths`, sorted, each with its path relative to the given one."""
    found: list[tuple[Path, str]] = []
    for path in paths:
        if path.is_dir():
            for folder, names, files in os.walk(path):
                names.sort()
                found += [((Path(folder) / name), str((Path(folder) / name).relative_to(path))) for name in sorted(files)]
        else:
            found.append((path, path.name))
    return found


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
    partial = out / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o700)
    jobs = [Job(number, path, relative) for number, (path, relative) in enumerate(inputs)]
    outcomes: dict[int, FileOutcome] = {}
    placed = Placed()
    try:
        for outcome in _run(jobs, config, policy, partial, processes):
            settled = _place(outcome, out, placed)
            outcomes[settled.number] = settled
            progress(settled)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [outcomes[number] for number in sorted(outcomes)]


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
                yield FileOutcome(job.number, job.source, job.relative, "quarantined", Reason.WORKER_KILLED, "the process cleaning it died")


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
            received.append((job, Received(job.source.read_bytes(), job.relative)))
        except OSError as error:
            detail = f"the file cannot be read: {error.strerror}"
            outcomes[job.number] = FileOutcome(job.number, job.source, job.relative, "quarantined", Reason.NOT_DICOM, detail)
    results = clean_batch([item for _, item in received], _policy, _tools)
    for (job, item), result in zip(received, results, strict=True):
        shown = _mask_path(job.relative, item)
        if isinstance(result, Released):
            path = _partial / f"{job.number}.dcm"
            path.write_bytes(result.encoded)
            target = "/".join((*result.folder, f"{result.sop_instance_uid}.dcm"))
            outcomes[job.number] = FileOutcome(
                job.number, job.source, shown, "released", partial=path, target=target, receipt=result.receipt
            )
        else:
            outcomes[job.number] = FileOutcome(job.number, job.source, shown, "quarantined", result.reason, result.detail)
    return [outcomes[job.number] for job in jobs]


def _mask_path(relative: str, received: Received) -> str:
    """The path with every part masked that holds an identifier of this patient: reports travel with the clean data (law 5)."""
    try:
        identifiers = collect(read_instance(received.data).dataset)
    except HoldInstance:
        return relative
    return "/".join("[identity]" if identifiers.matches(Path(part).stem.replace("_", " ")) else part for part in relative.split("/"))


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
        os.link(outcome.partial, target)  # unlike a rename it never overwrites
    except FileExistsError:
        known = placed.digests.get(outcome.target)
        same = known == digest if known is not None else target.read_bytes() == outcome.partial.read_bytes()
        if not same:
            return _held(outcome, Reason.UID_CONFLICT, "the same SOP Instance UID with other content is in the output already")
        outcome.partial.unlink()
        return replace(outcome, outcome="duplicate", partial=None)
    outcome.partial.unlink()
    placed.digests[outcome.target] = digest
    return replace(outcome, partial=None)


def _held(outcome: FileOutcome, reason: Reason, detail: str) -> FileOutcome:
    if outcome.partial is not None:
        outcome.partial.unlink()
    return replace(outcome, outcome="quarantined", reason=reason, detail=detail, partial=None, target="", receipt=None)
