"""``radanon backup``: ledger, key and settings (and, if asked, the spool) in one encrypted file, while the node runs."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from radanon_node import backup
from radanon_node.commands.common import add_config_argument, load_config, print_json
from radanon_node.errors import EXIT_OK, ConfigError
from radanon_node.store import open_store
from radanon_node.vault import new_recipient


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="F", help="a new file, or a folder that gets one with the time in its name")
    parser.add_argument("--passphrase-file", type=Path, metavar="P", help="file with the pass phrase (default: asked for)")
    parser.add_argument("--recipient", metavar="KEY", help="public key of --new-recipient: the node itself cannot read its backups then")
    parser.add_argument("--new-recipient", type=Path, metavar="S", help="make such a key: secret into this new file, public to stdout")
    parser.add_argument("--spool", action="store_true", help="with the instance files that wait; they hold identities, and take their room")
    parser.add_argument("--user", default=None, metavar="NAME", help="who asks (default: the login name)")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    add_config_argument(parser)


def run(args: argparse.Namespace) -> int:
    if args.new_recipient is not None:
        return _recipient(args.new_recipient)
    if args.out is None:
        raise ConfigError("--out: a file or folder must be named")
    config = load_config(args.config)
    target = args.out
    if target.is_dir():
        target = target / f"radanon-{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}.backup"
    secret = "" if args.recipient else passphrase(args.passphrase_file, twice=True)
    ledger, spool = open_store(config)
    try:
        # Before anything is written: a copy of the key that nobody can see later does not happen.
        ledger.record_act(args.user or getpass.getuser(), "backup", f"{'with' if args.spool else 'without'} spool; "
                          f"{'for a recipient' if args.recipient else 'under a pass phrase'}")
        made = backup.make(config, args.config, target, ledger, spool if args.spool else None, secret, args.recipient or "")
    finally:
        ledger.close()
        spool.close()
    if args.json:
        print_json({"file": str(target), "bytes": target.stat().st_size, "files": made.files, "left_out": made.left_out})
    else:
        print(f"{target}: {target.stat().st_size} bytes, {made.files} files" + (
            f", {made.left_out} were delivered meanwhile" if made.left_out else ""))
    return EXIT_OK


def passphrase(path: Path | None, twice: bool) -> str:
    """The pass phrase in a file or from the terminal.

    Raises
    ------
    ConfigError
        There is none, or it is too short to protect a key.
    """
    if path is not None:
        try:
            found = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--passphrase-file: {path}: {getattr(error, 'strerror', None) or 'not text'}") from None
    else:
        if not sys.stdin.isatty():
            raise ConfigError("--passphrase-file: must be given where there is no terminal to ask at")
        found = getpass.getpass("pass phrase: ")
        if twice and getpass.getpass("once more: ") != found:
            raise ConfigError("the two pass phrases differ")
    if twice and len(found) < 12:
        raise ConfigError("the pass phrase must have at least 12 characters: it protects the node's key")
    return found


def _recipient(path: Path) -> int:
    public, secret = new_recipient()
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="ascii") as file:
            file.write(secret + "\n")
    except OSError as error:
        raise ConfigError(f"--new-recipient: {path}: {error.strerror}") from None
    print(public)
    return EXIT_OK
