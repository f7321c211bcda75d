"""``radanon ledger``: which schema version the ledger has, and bringing one of an older release to this release's."""

from __future__ import annotations

import argparse

from radanon_node.commands.common import add_config_argument, load_config, print_json
from radanon_node.errors import EXIT_FAILURE, EXIT_OK, ConfigError
from radanon_node.ledger.schema import VERSION
from radanon_node.ledger.upgrade import ledger_version, upgrade


def add_arguments(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    acts.add_parser("version", help="schema version of the ledger and of this program; exit status 1 if they differ")
    acts.add_parser("upgrade", help="bring the ledger to this release; stop all nodes and make a backup first (an SQLite file is copied)")
    for sub in acts.choices.values():
        add_config_argument(sub)
        sub.add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    if args.act == "version":
        found = ledger_version(config.ledger_url)
        if args.json:
            print_json({"ledger": found or None, "program": VERSION})
        else:
            print(f"ledger: {found or 'none yet'}; this program: {VERSION}")
        return EXIT_OK if found in ("", VERSION) else EXIT_FAILURE
    done = upgrade(config.ledger_url)
    if not done.found:
        raise ConfigError("ledger.url: there is no ledger yet; the first start of the node makes it")
    if args.json:
        print_json({"found": done.found, "now": done.now, "copy": str(done.copy) if done.copy else None})
    elif done.changed:
        print(f"upgraded from version {done.found} to {done.now}" + (f"; as it was before: {done.copy}" if done.copy else ""))
    else:
        print(f"version {done.now}: nothing to do")
    return EXIT_OK
