"""Backups: what a node cannot be made again from is its ledger and its key; with the settings, and if wanted the spool, in one vault.

Made while the node runs. The ledger is copied as of one moment; of the spool, files are held by a second name first, so that what is
delivered and purged meanwhile is still there to be copied. A tar stream goes into the vault; its last member lists every file with its
hash. restoring.py is the way back.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url

import radanon_node
from radanon_node.config import DEFAULT_CONFIG
from radanon_node.errors import ConfigError, StorageError
from radanon_node.ledger.audit import ANCHOR
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.neighbours import neighbours
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.upgrade import backup_sqlite, files_in_copy
from radanon_node.settings import Config
from radanon_node.vault import WriteVault

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Made:
    """What `make` wrote: so many members; `left_out` instance files were delivered and purged before they could be held."""

    files: int
    left_out: int


def make(config: Config, config_path: Path | None, target: Path, ledger: Ledger, spool: Spool | None, passphrase: str,
         recipient: str) -> Made:
    """Write a backup; see the module.

    Parameters
    ----------
    config_path : Path or None
        The settings' file; None = the default one, left out where there is none.
    target : Path
        A new file, made 0600; it appears under its name only when it is whole.
    spool : Spool or None
        None leaves instance files out.
    passphrase, recipient : str
        One of them, see `WriteVault`.

    Raises
    ------
    ConfigError
        A file cannot be read or written, or a PostgreSQL ledger cannot be dumped.
    """
    clear_leftovers(config.spool_dir)
    if target.exists():
        raise ConfigError(f"--out: {target}: exists already")
    whole = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with _staging(config.spool_dir) as folder:
            held = _hold(ledger, spool, folder) if spool is not None else set()
            _copy_ledger(config, folder)
            if spool is not None:
                held |= _hold(ledger, spool, folder, held)
            wanted = files_in_copy(folder / "ledger.sqlite") if spool is not None and (folder / "ledger.sqlite").exists() else held
            members: list[tuple[str, Path]] = [(f"spool/{name}", folder / name) for name in sorted(held & wanted)]
            members += _small_files(config, config_path, folder)
            with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
                vault = WriteVault(out, passphrase, recipient)
                _write_tar(vault, members)
                vault.close()
                os.fsync(out.fileno())
        whole.rename(target)
        return Made(len(members), len(wanted - held))
    except OSError as error:
        raise ConfigError(f"{error.filename or target}: {error.strerror}") from None
    finally:
        whole.unlink(missing_ok=True)


def clear_leftovers(spool_dir: Path) -> None:
    """Remove what killed backups held: originals would outlive their purge there."""
    for folder in spool_dir.glob(".backup-*"):
        with suppress(OSError), (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


@contextmanager
def _staging(spool_dir: Path) -> Iterator[Path]:
    # Beside the spool's folders: second names must be on the same file system.
    folder = spool_dir / f".backup-{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700, parents=True)
    try:
        with (folder / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _hold(ledger: Ledger, spool: Spool, folder: Path, known: set[str] | None = None) -> set[str]:
    held: set[str] = set()
    for name in ledger.kept_files():
        if known is None or name not in known:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with suppress(StorageError):  # purged a moment ago
                spool.hold(name, folder / name)
                held.add(name)
    return held


def _copy_ledger(config: Config, folder: Path) -> None:
    url = make_url(config.ledger_url)
    if url.get_backend_name() == "sqlite":
        backup_sqlite(Path(url.database or ""), folder / "ledger.sqlite")
        return
    program = shutil.which("pg_dump")
    if program is None:
        raise ConfigError("backup: pg_dump is not installed here (Debian: postgresql-client); install it, or use the server's own backups "
                          "and keep the key file apart")
    command = [program, "--format=custom", "--no-owner", f"--file={folder / 'ledger.dump'}", f"--dbname={_libpq(url)}",
               *neighbours(config.ledger_url).pg_dump_options()]
    done = subprocess.run(command, capture_output=True, env={**os.environ, **({"PGPASSWORD": url.password} if url.password else {})})
    if done.returncode:
        raise ConfigError(f"backup: pg_dump failed with exit status {done.returncode}; is it as new as the server?")


def _libpq(url: URL) -> str:
    return url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)


def _small_files(config: Config, config_path: Path | None, folder: Path) -> list[tuple[str, Path]]:
    found = [(path.name, path) for path in folder.glob("ledger.*")]
    found.append(("secret.key", config.node.key_path))
    named = [("audit.anchor", config.node.data_dir / ANCHOR), ("config.yaml", config_path or DEFAULT_CONFIG)]
    for profile in config.profiles.values():
        for path in (*profile.pixels.regions, profile.pseudonyms.table):
            if path is not None:
                unique = hashlib.sha256(str(path).encode()).hexdigest()[:8]
                named.append((f"files/{unique}-{re.sub(r'[^A-Za-z0-9_.-]', '_', path.name)}"[:200], path))
    return found + [(name, path) for name, path in dict(named).items() if path.exists()]


def _write_tar(vault: WriteVault, members: Sequence[tuple[str, Path]]) -> None:
    listed: dict[str, str] = {}
    with tarfile.open(fileobj=vault, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for name, path in members:
            with path.open("rb") as source:
                info = tarfile.TarInfo(name)
                info.size, info.mode = os.fstat(source.fileno()).st_size, 0o600
                reader = Hashing(source)
                tar.addfile(info, reader)
                listed[name] = reader.digest.hexdigest()
        manifest = {"made_at": datetime.now(UTC).isoformat(timespec="seconds"), "program": radanon_node.__version__, "files": listed}
        text = json.dumps(manifest).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(text), 0o600
        tar.addfile(info, io.BytesIO(text))


class Hashing:
    """A file being read, and the hash of what was."""

    def __init__(self, source: Any) -> None:
        self._source, self.digest = source, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._source.read(size)
        self.digest.update(data)
        return data
