"""Putting a backup back: decrypted and checked as a whole first; what is there already is never overwritten."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from radanon_node.backup import MANIFEST, Hashing
from radanon_node.errors import ConfigError
from radanon_node.ledger.audit import ANCHOR
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.places import open_spool
from radanon_node.ledger.seal import load_key
from radanon_node.ledger.upgrade import ledger_version, upgrade
from radanon_node.settings import Config
from radanon_node.vault import ReadVault

_NAMES = re.compile(r"config\.yaml|secret\.key|ledger\.(sqlite|dump)|audit\.anchor|files/[\w.-]{1,200}|"
                    r"spool/(in|out)/[0-9a-f]{16}/[0-9a-f]/[0-9a-f]{32}\.dcm")


@dataclass(frozen=True, slots=True)
class Restored:
    """What `Found.restore` did.

    Parameters
    ----------
    made_at : str
        When the backup was made.
    files : int
        Instance files put back.
    aside : Path or None
        Where originals went that were in the spool and that the restored ledger does not know.
    dump : str
        The PostgreSQL dump to be loaded; empty for SQLite.
    """

    made_at: str
    files: int
    aside: Path | None
    dump: str


@dataclass(slots=True)
class Found:
    """A backup that was opened, checked and unpacked into a private folder."""

    folder: Path
    manifest: dict[str, Any] = field(default_factory=dict)

    def write_config(self, path: Path) -> None:
        """Write the settings of the backup to a new file."""
        source = self.folder / "config.yaml"
        if not source.exists():
            raise ConfigError("--config: does not exist, and the backup holds no settings; write them first")
        path.parent.mkdir(parents=True, exist_ok=True)
        _place(source, path)

    def restore(self, config: Config) -> Restored:
        """Put ledger, key and files where `config` says.

        Raises
        ------
        ConfigError
            Something is there already. Nothing was changed then.
        """
        sqlite = (self.folder / "ledger.sqlite").exists()
        url = make_url(config.ledger_url)
        if sqlite != (url.get_backend_name() == "sqlite"):
            raise ConfigError(f"ledger.url: the backup holds {'an SQLite' if sqlite else 'a PostgreSQL'} ledger")
        if sqlite and ledger_version(config.ledger_url):
            raise ConfigError(f"ledger.url: {url.database}: there is a ledger already; move it away first, with its -wal and -shm files")
        key = (self.folder / "secret.key").read_bytes()
        if config.node.key_path.exists() and config.node.key_path.read_bytes().strip() != key.strip():
            raise ConfigError(f"node.key_file: {config.node.key_path}: another key is there; move it away first")
        config.node.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not config.node.key_path.exists():
            _place(self.folder / "secret.key", config.node.key_path)
        files = self._spool(config)
        for source in sorted(self.folder.glob("files/*")):
            _place(source, config.node.data_dir / "from-backup" / source.name, replace=True)
        anchor = config.node.data_dir / ANCHOR
        if anchor.exists():
            anchor.rename(anchor.with_name(f"{ANCHOR}.before-restore"))
        if (self.folder / ANCHOR).exists():
            _place(self.folder / ANCHOR, anchor)
        made_at = str(self.manifest["made_at"])
        if not sqlite:
            dump = config.node.data_dir / "ledger.dump"
            _place(self.folder / "ledger.dump", dump)
            return Restored(made_at, files, None, str(dump))
        _place(self.folder / "ledger.sqlite", Path(url.database or ""))
        upgrade(config.ledger_url)
        return Restored(made_at, files, self._settle(config, made_at), "")

    def _spool(self, config: Config) -> int:
        """Put the instance files back, into a folder or an object store."""
        names = [name.removeprefix("spool/") for name in self.manifest["files"] if name.startswith("spool/")]
        if names:
            spool = open_spool(config, load_key(config.node.key_path, create=False))
            try:
                for name in names:
                    if not spool.exists(name):
                        spool.put_back(name, self.folder / "spool" / name)
            finally:
                spool.close()
        return len(names)

    def _settle(self, config: Config, made_at: str) -> Path | None:
        """Audit it, and save originals that came after the backup from the sweep: they were acknowledged, the ledger that knew is gone."""
        key = load_key(config.node.key_path, create=False)
        spool = open_spool(config, key)
        ledger = Ledger(config.ledger_url, key, spool)
        try:
            ledger.record_act(f"node {os.uname().nodename}", "restore", f"from the backup of {made_at}")
            aside = config.node.data_dir / f"unknown-{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}"
            moved = 0
            for names in spool.originals():
                for name in set(names) - ledger.known_files(names):
                    aside.mkdir(mode=0o700, exist_ok=True)
                    kept = aside / Path(name).name
                    spool.hold(name, kept)
                    kept.chmod(0o600)
                    spool.remove(name)
                    moved += 1
            return aside if moved else None
        finally:
            ledger.close()
            spool.close()


@contextmanager
def opened(path: Path, secret: Callable[[str], str]) -> Iterator[Found]:
    """Decrypt and check a backup as a whole; nothing of it is used before its last byte was right.

    Raises
    ------
    ConfigError
        It is none, is damaged, or `secret` does not open it.
    """
    folder = path.parent / f".restore-{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700)
    try:
        with path.open("rb") as source:
            yield Found(folder, _unpack(ReadVault(source, secret), folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(vault: ReadVault, folder: Path) -> dict[str, Any]:
    digests: dict[str, str] = {}
    manifest: dict[str, Any] = {}
    try:
        with tarfile.open(fileobj=vault, mode="r|") as tar:  # type: ignore[call-overload]
            for member in tar:
                source = tar.extractfile(member)
                if source is None or not (member.name == MANIFEST or _NAMES.fullmatch(member.name)):
                    raise ConfigError("backup: holds something that does not belong into one")
                if member.name == MANIFEST:
                    manifest = json.loads(source.read())
                    continue
                reader = Hashing(source)
                target = folder / member.name
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
                    shutil.copyfileobj(reader, out, 1 << 20)
                digests[member.name] = reader.digest.hexdigest()
        while vault.read(1 << 20):
            pass
    except (tarfile.TarError, ValueError, KeyError):
        raise ConfigError("backup: it is damaged") from None
    if manifest.get("files") != digests or "secret.key" not in digests:
        raise ConfigError("backup: it is damaged: not the files that its list names")
    return manifest


def _place(source: Path, target: Path, replace: bool = False) -> None:
    """Copy to a new file of mode 0600, on stable storage."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if replace else os.O_EXCL)
    with source.open("rb") as reading, os.fdopen(os.open(target, flags, 0o600), "wb") as out:
        shutil.copyfileobj(reading, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())
