"""``radanon status``: counts per state, route and destination."""

from __future__ import annotations

import argparse
from typing import Any

from radanon_node.commands.common import add_config_argument, load_config, print_json, print_rows
from radanon_node.errors import EXIT_OK
from radanon_node.status import full_status
from radanon_node.store import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    ledger, _ = open_store(config)
    status = full_status(config, ledger)
    if args.json:
        print_json(status)
    else:
        _print(status)
    return EXIT_OK


def _print(status: dict[str, Any]) -> None:
    states = list(status["states"])
    routes = [*sorted(status["routes"].items()), ("all", status["states"])]
    print_rows(("route", *states), [[route, *(str(counts[state]) for state in states)] for route, counts in routes])
    keys = ("waiting", "delivered", "failed")
    rows = [[name, "yes" if row["up"] else "NO", *(str(row[key]) for key in keys), _limits(row)]
            for name, row in sorted(status["destinations"].items())]
    print_rows(("destination", "up", *keys, "limits"), rows)
    if status["layouts"]["alarms"] or status["layouts"]["proposed"]:
        print(f"devices: {status['layouts']['alarms']} with an alarm, {status['layouts']['proposed']} proposed rules; "
              "see `radanon rules devices`")
    disk = status["disk"]
    print(f"oldest waiting: {status['oldest_waiting_s']:.0f} s; disk free: {disk['free'] / 2**30:.1f} GiB "
          f"(refuses below {disk['min_free'] / 2**30:.1f} GiB)")


def _limits(place: dict[str, Any]) -> str:
    """Send window and rate limits of a destination in words."""
    parts = []
    if "send_window" in place:
        parts.append(place["send_window"] + (f" (opens {place['opens_at']})" if place["opens_at"] else " (open)"))
    parts += [f"{place[key]:g} {unit}" for key, unit in (("max_instances_per_minute", "instances/min"), ("max_mbit_per_second", "Mbit/s"))
              if key in place]
    return ", ".join(parts) or "-"
