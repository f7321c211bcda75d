"""``radanon deliveries``: what still has to reach a destination, and another try for what failed."""

from __future__ import annotations

import argparse
import getpass
from dataclasses import asdict

from radanon_node.commands.common import add_config_argument, load_config, print_json, print_rows
from radanon_node.errors import EXIT_OK, ConfigError
from radanon_node.store import open_store

_COLUMNS = ("id", "instance_id", "destination", "state", "attempts", "detail", "sop_instance_uid")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    listing = acts.add_parser("list", help="deliveries that are not done")
    listing.add_argument("--state", choices=("waiting", "sending", "sent", "delivered", "failed"))
    listing.add_argument("--limit", type=int, default=1000, metavar="N")
    retry = acts.add_parser("retry", help="try failed or waiting deliveries again now, with fresh attempts")
    retry.add_argument("ids", type=int, nargs="*", metavar="ID", help="default: all of --destination")
    retry.add_argument("--reason", default="", metavar="WHY", help="kept in the audit trail")
    retry.add_argument("--user", default=None, metavar="NAME", help="who decides (default: the login name)")
    for sub in acts.choices.values():
        sub.add_argument("--destination", metavar="NAME")
        add_config_argument(sub)
        sub.add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    if args.destination is not None and args.destination not in config.destinations:
        raise ConfigError(f"--destination: no destination named {args.destination!r}; there are: {', '.join(sorted(config.destinations))}")
    ledger, _ = open_store(config)
    if args.act == "list":
        entries = ledger.deliveries_list(args.state, args.destination, args.limit)
        if args.json:
            print_json([asdict(entry) for entry in entries])
        else:
            print_rows(_COLUMNS, [[str(getattr(entry, name)) for name in _COLUMNS] for entry in entries])
        return EXIT_OK
    if not args.ids and args.destination is None:
        raise ConfigError("give the ids of deliveries, or --destination")
    count = ledger.deliveries_retry(args.user or getpass.getuser(), args.reason, args.ids or None, args.destination)
    if args.json:
        print_json({"retried": count})
    else:
        print(f"{count} deliveries queued again")
    return EXIT_OK
