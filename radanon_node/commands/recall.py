"""``radanon recall``: identity got out; what left the same way is found, named for the archives, and taken back."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from radanon_node.commands.common import add_config_argument, day, load_config, print_json, print_rows, warn
from radanon_node.errors import EXIT_OK, ConfigError
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.recalls import Suspect, Suspicion, UnknownRecall
from radanon_node.recalling import COLUMNS, day_bounds, named, suspicion_of, write_csv
from radanon_node.store import open_store

_SHARED = ("device", "policy", "rule", "route")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    find = acts.add_parser("find", help="what a recall would name; nothing is changed")
    order = acts.add_parser("order", help="recall it: mark it, take back what waits for delivery")
    for act in (find, order):
        act.add_argument("found", nargs="*", metavar="FOUND", help="instances with identity left: numbers of the ledger, new Patient IDs, "
                         "Study or SOP Instance UIDs")
        act.add_argument("--same", action="append", default=[], choices=("device", "policy", "route"),
                         help="also all that share this with the first of FOUND (repeated: all of these)")
        act.add_argument("--device", default="", metavar="TOKEN", help="also all of this device, by its keyed token")
        act.add_argument("--policy", default="", metavar="HASH", help="also all cleaned under this policy")
        act.add_argument("--rule", default="", metavar="ID", help="also all to which this device rule or table row applied")
        act.add_argument("--route", default="", metavar="AE", help="also all of this route")
        act.add_argument("--from", dest="since", type=day, metavar="DAY", help="of those: released on that day (UTC) or later")
        act.add_argument("--to", dest="until", type=day, metavar="DAY", help="of those: released on that day or before")
    order.add_argument("--reason", required=True, help="goes into the audit trail; write no identity")
    acts.add_parser("list", help="recalls so far")
    show = acts.add_parser("show", help="what a recall names, a line per instance and destination that has or may have it")
    show.add_argument("number", type=int)
    show.add_argument("--destination", help="only what this one has or may have")
    show.add_argument("--csv", action="store_true", help="as CSV, for the archive's managers")
    close = acts.add_parser("close", help="the archives have deleted it: clean again what is still here, forget the rest")
    close.add_argument("number", type=int)
    close.add_argument("--reason", required=True, help="who confirmed the deletion, and how; goes into the audit trail")
    for act in acts.choices.values():
        act.add_argument("--json", action="store_true", help="print JSON")
        add_config_argument(act)


def run(args: argparse.Namespace) -> int:
    """Find, order, list, show or close recalls."""
    config = load_config(args.config)
    ledger, spool = open_store(config)
    try:
        _ACTS[args.act](args, ledger)
    except UnknownRecall as error:
        raise ConfigError(f"recall: no {'open ' if args.act == 'close' else ''}recall {error.args[0]}") from None
    except ValueError as error:
        raise ConfigError(f"recall: {error}") from None
    finally:
        ledger.close()
        spool.close()
    return EXIT_OK


def _asked(args: argparse.Namespace, ledger: Ledger) -> Suspicion:
    since, until = day_bounds(args.since, args.until)
    given = Suspicion(**{name: getattr(args, name) for name in _SHARED}, since=since, until=until)
    return suspicion_of(ledger, args.found, args.same, given)


def _find(args: argparse.Namespace, ledger: Ledger) -> None:
    suspicion = _asked(args, ledger)
    suspects = ledger.suspects(suspicion)
    if args.json:
        print_json([{name: value for name, value in asdict(one).items() if name != "receipt"} for one in suspects])
        return
    print_rows(("id", "state", "route", "device", "released", "deliveries", "SOP Instance UID"),
               [[str(one.instance_id), one.state, one.route, one.device, _time(one.released_at),
                 ", ".join(f"{name} {state}" for name, state in one.destinations.items()), one.sop_instance_uid] for one in suspects])
    _summary(suspects)
    unknown = ledger.without_device(suspicion.since, suspicion.until) if suspicion.device else 0
    if unknown:
        warn(f"{unknown} released instances of that time have no device noted (an earlier release cleaned them): they are not in this list")


def _summary(suspects: Sequence[Suspect]) -> None:
    left = Counter(name for one in suspects for name in one.left)
    warn(f"{len(suspects)} instances" + "".join(f"; {count} at {name}" for name, count in sorted(left.items())))


def _order(args: argparse.Namespace, ledger: Ledger) -> None:
    number = ledger.recall(_asked(args, ledger), getpass.getuser(), args.reason)
    entries = ledger.recalled_list(number)
    left = Counter(name for one in entries for name in one.left)
    if args.json:
        print_json({"recall": number, "instances": len(entries), "left": dict(left)})
        return
    print(f"recall {number}: {len(entries)} instances" + "".join(f"; {count} at {name}" for name, count in sorted(left.items())))
    for name in sorted(left):
        print(f"radanon recall show {number} --destination {name} --csv   # what the managers of {name} have to delete")
    print(f"radanon recall close {number} --reason ...   # once they have")


def _list(args: argparse.Namespace, ledger: Ledger) -> None:
    entries = [asdict(entry) for entry in ledger.recalls_list()]
    if args.json:
        print_json(entries)
        return
    print_rows(("recall", "at", "who", "instances", "closed", "reason"),
               [[str(one["id"]), _time(one["at"]), one["who"], str(one["instances"]), _time(one["closed_at"]), one["reason"]]
                for one in entries])


def _show(args: argparse.Namespace, ledger: Ledger) -> None:
    rows = named(ledger.recalled_list(args.number), args.destination)
    if args.json:
        print_json(rows)
    elif args.csv:
        write_csv(rows, sys.stdout)
    else:
        print_rows(COLUMNS, [[str(row[name]) for name in COLUMNS] for row in rows])


def _close(args: argparse.Namespace, ledger: Ledger) -> None:
    outcomes = ledger.recall_close(args.number, getpass.getuser(), args.reason)
    if args.json:
        print_json(outcomes)
        return
    print(f"recall {args.number} closed: " + (", ".join(f"{count} {name}" for name, count in outcomes.items()) or "nothing was left"))
    if outcomes.get("forgotten"):
        print("The forgotten ones can be sent again by their source; they keep their pseudonyms and UIDs.")


def _time(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S") if seconds is not None else ""


_ACTS = {"find": _find, "order": _order, "list": _list, "show": _show, "close": _close}
