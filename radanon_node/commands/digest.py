"""``radanon digest``: the day in a few lines. The node sends no mail; pipe this into whatever does."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta

from radanon_node.commands.common import add_config_argument, day, load_config, print_json
from radanon_node.digest import as_text, digest
from radanon_node.errors import EXIT_OK
from radanon_node.store import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--day", type=day, default=None, metavar="DAY", help="YYYY-MM-DD, UTC (default: yesterday)")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    add_config_argument(parser)


def run(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    ledger, spool = open_store(config)
    try:
        found = digest(config, ledger, args.day or datetime.now(UTC).date() - timedelta(days=1))
    finally:
        ledger.close()
        spool.close()
    if args.json:
        print_json(found)
    else:
        sys.stdout.write(as_text(found))
    return EXIT_OK
