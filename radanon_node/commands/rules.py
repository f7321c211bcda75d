"""``radanon rules``: device region rules: check and import them, decide on proposed ones, see what was found."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable
from pathlib import Path
from typing import Any

from radanon_node.commands.common import add_config_argument, load_config, print_json, print_rows, warn
from radanon_node.errors import EXIT_OK, ConfigError
from radanon_node.ledger.layouts import LayoutEntry, UnknownLayout
from radanon_node.ledger.ledger import Ledger
from radanon_node.markers.rules import Rule, dump_rules, load_rules
from radanon_node.markers.rules_import import import_ctp, import_deid
from radanon_node.rulebook import accept, proposed_rule, rulebook_path
from radanon_node.settings import Config
from radanon_node.store import open_store

_IMPORTERS: dict[str, Callable[[str, str], list[Rule]]] = {"ctp": import_ctp, "deid": import_deid}
_COLUMNS = ("device", "state", "pictures", "boxes", "alarm", "alarms", "modality", "manufacturer", "model", "software", "size")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    check = acts.add_parser("check", help="read rule files and say what is wrong with them")
    check.add_argument("files", type=Path, nargs="+", metavar="FILE")
    importer = acts.add_parser("import", help="turn another tool's rules into ours")
    importer.add_argument("kind", choices=sorted(_IMPORTERS), help="ctp: DicomPixelAnonymizer.script; deid: a recipe with coordinates")
    importer.add_argument("file", type=Path, metavar="FILE")
    importer.add_argument("--out", type=Path, metavar="YAML", help="where to write (default: print)")
    importer.add_argument("--prefix", metavar="NAME", help="rule ids begin with it (default: the kind)")
    acts.add_parser("devices", help="kinds of devices whose screens were seen: what is learned, and alarms")
    acts.add_parser("proposals", help="rules proposed from what was learned, as they would be written")
    finds = acts.add_parser("finds", help="how often text was burnt in, per route and kind of device")
    finds.add_argument("--since", default="", metavar="DAY", help="YYYY-MM-DD, UTC")
    finds.add_argument("--until", default="9999", metavar="DAY")
    for name, text in (("accept", "write a proposed rule into the file of learned rules"), ("reject", "close a proposal without a rule"),
                       ("acknowledge", "take note of an alarm: what was learned of the device is forgotten and learned anew")):
        act = acts.add_parser(name, help=text)
        act.add_argument("device", metavar="DEVICE", help="token, as `rules devices` shows it")
        act.add_argument("--reason", required=True, metavar="WHY", help="kept in the audit trail")
        act.add_argument("--user", default=None, metavar="NAME", help="who decides (default: the login name)")
        if name == "accept":
            act.add_argument("--to", type=Path, metavar="YAML", help="default: rules/learned.yaml in node.data_dir")
    for name in ("devices", "proposals", "finds", "accept", "reject", "acknowledge"):
        add_config_argument(acts.choices[name])
    for name in ("devices", "proposals", "finds"):
        acts.choices[name].add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    if args.act == "check":
        found = load_rules(args.files)
        print(f"{len(found.rules)} rules, {len(found.required)} kinds of devices that must have one")
    elif args.act == "import":
        _import(args)
    else:
        _with_ledger(args)
    return EXIT_OK


def _import(args: argparse.Namespace) -> None:
    try:
        text = args.file.read_text("utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"FILE: {args.file}: {error.strerror}") from None
    rules = _IMPORTERS[args.kind](text, args.prefix or args.kind)
    written = dump_rules(rules)
    if args.out is None:
        print(written, end="")
        return
    try:
        with args.out.open("x", encoding="utf-8") as file:
            file.write(written)
    except OSError as error:
        raise ConfigError(f"--out: {args.out}: {error.strerror}") from None
    load_rules([args.out])
    print(f"{len(rules)} rules written to {args.out}; read them, then name the file in `pixels.regions` of a profile")


def _with_ledger(args: argparse.Namespace) -> None:
    config = load_config(args.config)
    ledger, _ = open_store(config)
    try:
        if args.act == "devices":
            entries = ledger.layout_list()
            if args.json:
                print_json([_as_dict(entry) for entry in entries])
            else:
                print_rows(_COLUMNS, [[str(value) for value in _as_dict(entry).values()][:len(_COLUMNS)] for entry in entries])
        elif args.act == "proposals":
            entries = ledger.layout_list("proposed")
            if args.json:
                print_json([_as_dict(entry) | {"rule": proposed_rule(entry).as_yaml()} for entry in entries])
            else:
                print(dump_rules([proposed_rule(entry) for entry in entries]) if entries else "no open proposals\n", end="")
        elif args.act == "finds":
            _finds(ledger, args)
        else:
            _decide(ledger, config, args)
    except UnknownLayout as error:
        raise ConfigError(f"DEVICE: no device {error} is known; see `radanon rules devices`") from None
    except ValueError as error:
        raise ConfigError(f"{args.act}: {error}") from None


def _decide(ledger: Ledger, config: Config, args: argparse.Namespace) -> None:
    who = args.user or getpass.getuser()
    if args.act != "accept":
        decision = "rejected" if args.act == "reject" else "acknowledged"
        ledger.layout_decide(args.device, decision, who, args.reason)
        print(f"{args.device}: {decision}")
        return
    path = args.to or rulebook_path(config)
    rule = accept(ledger, path, args.device, who, args.reason)
    print(f"{args.device}: rule {rule.id} written to {path}; it applies from the next start or reload")
    if not any(path.resolve() == named.resolve() for profile in config.profiles.values() for named in profile.pixels.regions):
        warn(f"no profile names {path}: add it to `pixels.regions`")


def _finds(ledger: Ledger, args: argparse.Namespace) -> None:
    found = ledger.finds(args.since, args.until)
    if args.json:
        print_json(found)
        return
    print_rows(("route", "device", "what", "count"), [[route, device, what, str(count)] for route, devices in found.items()
                                                       for device, counts in devices.items() for what, count in counts.items()])


def _as_dict(entry: LayoutEntry) -> dict[str, Any]:
    device = entry.device
    return {"device": entry.token, "state": entry.state, "pictures": entry.instances, "boxes": len(entry.boxes), "alarm": entry.alarm,
            "alarms": entry.alarms, "modality": device.modality, "manufacturer": device.manufacturer, "model": device.model,
            "software": device.software, "size": f"{device.rows}x{device.columns}", "changed_at": entry.changed_at}
