"""``radanon shadow``: what a profile that runs beside the one in force would do otherwise, as counts; no values, nothing was sent."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from radanon_node.commands.common import add_config_argument, load_config, print_json, print_rows
from radanon_node.errors import EXIT_OK
from radanon_node.ledger.shadow_counts import total
from radanon_node.store import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    report = acts.add_parser("report", help="count of instances per difference")
    report.add_argument("--route", metavar="AE", help="of this route alone")
    report.add_argument("--from", dest="since", default="", metavar="DAY", help="first day, YYYY-MM-DD (UTC)")
    report.add_argument("--to", dest="until", default="9999", metavar="DAY", help="last day")
    report.add_argument("--json", action="store_true", help="print as JSON")
    add_config_argument(report)


def run(args: argparse.Namespace) -> int:
    ledger, spool = open_store(load_config(args.config))
    try:
        counts = ledger.shadow_counts(args.route, args.since, args.until)
    finally:
        ledger.close()
        spool.close()
    if args.json:
        print_json([asdict(item) for item in counts])
        return EXIT_OK
    compared, same = total(counts, "compared"), total(counts, "same")
    for (route, policies), number in compared.items():
        print(f"{route}: {policies}: {number} compared, {same[route, policies]} the same")
    print_rows(("route", "policies", "what", "which", "instances"), [
        (item.route, item.policies, item.kind, item.name, str(item.count)) for item in counts if item.kind not in ("compared", "same")])
    return EXIT_OK
