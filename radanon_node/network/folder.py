"""Folder destination: verified instances as PATIENT/STUDY/SERIES/INSTANCE.dcm below a directory."""

from __future__ import annotations

import mmap
import os
import re
import secrets
import struct
import time
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from radanon_node.errors import DeliveryFailed, Unreachable
from radanon_node.pipeline.released import Released

_STAGING = ".incoming"
_STALE_S = 3600.0
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


class FolderStore:
    """Writes instances below `root`, whole or not at all.

    A file is written and synced under a random name in ``.incoming`` and then renamed into place, so a reader of the folder never meets
    half an instance, and delivering the same instance again changes nothing.

    Parameters
    ----------
    root : Path
        Made if absent.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: set[Path] = set()

    def prepare(self) -> None:
        """Make the folder and clear what a killed sender left half-written; Unreachable if that cannot be done."""
        try:
            staging = self._root / _STAGING
            staging.mkdir(mode=0o750, parents=True, exist_ok=True)
            for path in staging.iterdir():
                # Another sender may be writing a young one.
                with suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _STALE_S:
                        path.unlink()
        except OSError as error:
            raise Unreachable(f"folder: {error.strerror}") from error

    def store(self, released: Released) -> Path:
        """Write one instance durably, mode 0640.

        Returns
        -------
        Path
            Below the root.

        Raises
        ------
        Unreachable
            The folder is gone, full or not writable: no instance is to blame.
        DeliveryFailed
            The instance's own path cannot be made from its attributes.
        """
        target = self._root / relative_path(released)
        try:
            self._make_folder(target.parent)
            staged = self._root / _STAGING / f"{secrets.token_hex(16)}.part"
            fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            try:
                try:
                    with memoryview(released.encoded) as view:
                        done = 0
                        while done < len(view):
                            done += os.write(fd, view[done:])
                    os.fsync(fd)
                finally:
                    os.close(fd)
                staged.rename(target)
            except OSError:
                with suppress(OSError):
                    staged.unlink()
                raise
            _sync(target.parent)
        except OSError as error:
            self._known.clear()
            raise Unreachable(f"folder: {error.strerror}") from error
        return target

    def _make_folder(self, folder: Path) -> None:
        """Make `folder` and sync each parent that got a new entry; remembers what is there."""
        if folder in self._known:
            return
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            with suppress(FileExistsError):
                new.mkdir(mode=0o750)
            _sync(new.parent)
        self._known.update(missing or (folder,))


def relative_path(released: Released) -> Path:
    """PATIENT/STUDY/SERIES/INSTANCE.dcm of its own pseudonyms; only letters, digits, dot, hyphen and underscore."""
    folder = released.folder
    if not all(folder):  # re-opened from the ledger's record
        try:
            tags = ["PatientID", "StudyInstanceUID", "SeriesInstanceUID"]
            # A mapped file is read as it is: a copy of a large one for three elements would be a waste.
            data = released.encoded
            stream = cast(BinaryIO, data) if isinstance(data, mmap.mmap) else BytesIO(data)
            stream.seek(0)
            dataset = dcmread(stream, stop_before_pixels=True, specific_tags=list(tags))
            patient, study, series = (str(dataset.get(tag) or "") for tag in tags)
        except (InvalidDicomError, ValueError, LookupError, AttributeError, TypeError, OSError, struct.error) as error:
            raise DeliveryFailed("the instance cannot be read for its folder name") from error
        folder = (patient, study, series)
    return Path(*(_safe(name) for name in folder), f"{_safe(released.sop_instance_uid)}.dcm")


def _safe(name: str) -> str:
    # No name may begin with a dot: neither "..", nor hidden, nor the staging folder.
    return _UNSAFE.sub("_", name.strip())[:64].lstrip(".") or "UNKNOWN"


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
