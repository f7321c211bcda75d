"""``radanon receipts``: show what was done to a released instance, and check that no receipt was changed since."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from radanon_node.commands.common import add_config_argument, load_config, print_json
from radanon_node.errors import EXIT_FAILURE, EXIT_OK, ConfigError
from radanon_node.store import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    show = acts.add_parser("show", help="the receipt of one instance, as JSON")
    show.add_argument("id", type=int)
    acts.add_parser("verify", help="check the chain of all receipts; exit status 1 if it is broken")
    for sub in acts.choices.values():
        add_config_argument(sub)
        sub.add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    ledger, _ = open_store(load_config(args.config))
    if args.act == "show":
        receipt = ledger.receipt(args.id)
        if receipt is None:
            raise ConfigError(f"ID: no receipt of an instance {args.id}")
        print_json(receipt)
        return EXIT_OK
    checked, broken = ledger.verify_receipts()
    if args.json:
        print_json({"checked": checked, "broken": [asdict(item) for item in broken]})
    else:
        for item in broken:
            print(f"{item.day}: instance {item.instance_id}: {item.what} does not hold")
        print(f"{checked} receipts checked, {len(broken)} broken")
    return EXIT_FAILURE if broken else EXIT_OK
