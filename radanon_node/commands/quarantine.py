"""``radanon quarantine``: what a person does with instances that were set aside. Every act is audited with who and why."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from radanon_node.commands.common import add_config_argument, load_config, print_json, print_rows
from radanon_node.errors import EXIT_OK, WAIVABLE, ConfigError
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.quarantine import UnknownEntry
from radanon_node.ledger.types import QuarantineEntry
from radanon_node.store import open_store

_COLUMNS = ("id", "state", "reason", "detail", "route", "received_at", "series_number", "instance_number", "attempts")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    listing = acts.add_parser("list", help="instances set aside, with their reasons")
    listing.add_argument("--route", metavar="AE")
    listing.add_argument("--reason", metavar="CODE")
    listing.add_argument("--limit", type=int, default=1000, metavar="N")
    show = acts.add_parser("show", help="one instance and what was done about it")
    show.add_argument("id", type=int)
    for name, text in (("retry", "work on it again under the rules of today"),
                       ("release", "let the verdict pass: clean and send it all the same"),
                       ("drop", "remove its files; the row stays and recognises resends")):  # fmt: skip
        act = acts.add_parser(name, help=text)
        act.add_argument("ids", type=int, nargs="+", metavar="ID")
        act.add_argument("--reason", required=name != "retry", default="", metavar="WHY", help="kept in the audit trail")
        act.add_argument("--user", default=None, metavar="NAME", help="who decides (default: the login name)")
    for sub in acts.choices.values():
        add_config_argument(sub)
        sub.add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    ledger, _ = open_store(load_config(args.config))
    try:
        if args.act == "list":
            _list(ledger, args)
        elif args.act == "show":
            _show(ledger, args)
        else:
            _act(ledger, args)
    except UnknownEntry as error:
        raise ConfigError(f"ID: no instance {error} in quarantine") from None
    except ValueError as error:
        raise ConfigError(f"--reason: {error}") from None
    return EXIT_OK


def _list(ledger: Ledger, args: argparse.Namespace) -> None:
    entries = ledger.quarantine_list(args.route, args.reason, args.limit)
    if args.json:
        print_json([asdict(entry) for entry in entries])
        return
    print_rows(_COLUMNS, map(_cells, entries))


def _show(ledger: Ledger, args: argparse.Namespace) -> None:
    entry, acts = ledger.quarantine_show(args.id)
    shown: dict[str, Any] = {**asdict(entry), "can_be_released": entry.reason in WAIVABLE, "audit": [asdict(act) for act in acts]}
    if args.json:
        print_json(shown)
        return
    for name, value in shown.items():
        print(f"{name}: {_time(value) if name == 'received_at' else value}")


def _act(ledger: Ledger, args: argparse.Namespace) -> None:
    who = args.user or getpass.getuser()
    for number in args.ids:
        entry, _ = ledger.quarantine_show(number)
        if args.act == "release" and entry.reason not in WAIVABLE:
            allowed = ", ".join(sorted(WAIVABLE))
            raise ConfigError(f"{number}: held for {entry.reason}, which cannot be let pass (only {allowed}); correct it at the source and "
                              "send again, retry, or drop it")
        act: Callable[[int, str, str], None] = getattr(ledger, f"quarantine_{args.act}")
        act(number, who, args.reason)
    done = {"retry": "queued again", "release": "queued with the verdict waived", "drop": "dropped"}[args.act]
    if args.json:
        print_json({"ids": args.ids, "done": done})
    else:
        print(f"{', '.join(map(str, args.ids))}: {done}")


def _cells(entry: QuarantineEntry) -> list[str]:
    values = {**asdict(entry), "received_at": _time(entry.received_at)}
    return ["" if values[name] is None else str(values[name]) for name in _COLUMNS]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
