"""``radanon restore``: put a backup where the settings say; nothing that is there is overwritten."""

from __future__ import annotations

import argparse
from pathlib import Path

from radanon_node import config as configuration
from radanon_node import restoring
from radanon_node.commands.backup import passphrase
from radanon_node.commands.common import print_json
from radanon_node.errors import EXIT_OK, ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="what radanon backup made")
    parser.add_argument("--config", type=Path, required=True, metavar="F",
                        help="the settings that say where things belong; made from the backup if there are none")
    parser.add_argument("--passphrase-file", type=Path, metavar="P", help="file with the pass phrase (default: asked for)")
    parser.add_argument("--secret-file", type=Path, metavar="S", help="secret key of the recipient the backup was made for")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    def secret(kind: str) -> str:
        if kind == "passphrase":
            return passphrase(args.passphrase_file, twice=False)
        if args.secret_file is None:
            raise ConfigError("--secret-file: this backup was made for a recipient; its secret key is needed")
        return str(args.secret_file.read_text(encoding="ascii").strip())

    try:
        with restoring.opened(args.file, secret) as found:
            if not args.config.exists():
                found.write_config(args.config)
            done = found.restore(configuration.load(args.config))
    except OSError as error:
        raise ConfigError(f"{error.filename or args.file}: {error.strerror}") from None
    if args.json:
        print_json({"made_at": done.made_at, "files": done.files, "aside": str(done.aside) if done.aside else None, "dump": done.dump})
        return EXIT_OK
    print(f"restored: ledger, key, {done.files} instance files, as of {done.made_at}")
    if done.aside:
        print(f"originals that were in the spool but are unknown to this ledger: {done.aside}\nsend them to the node again (storescu), "
              "then remove them")
    if done.dump:
        print(f"the ledger is a PostgreSQL dump: {done.dump}; load it with: pg_restore --no-owner -d DATABASE {done.dump}")
    return EXIT_OK
