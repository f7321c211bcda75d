"""``radanon audit``: check the audit trail, and write it out for those who keep or read it elsewhere."""

from __future__ import annotations

import argparse
import csv
import getpass
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from radanon_node.audit.messages import Teller
from radanon_node.commands.common import add_config_argument, day, load_config, print_json, warn
from radanon_node.errors import EXIT_FAILURE, EXIT_OK, ConfigError
from radanon_node.ledger.audit import ANCHOR, Anchor
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.types import AuditEntry
from radanon_node.settings import Config
from radanon_node.store import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    verify = acts.add_parser("verify", help="check every row and the trail's end; exit status 1 if it does not hold")
    verify.add_argument("--head", metavar="ID:LINK", help="an end of the trail kept elsewhere, as in the log's `audit trail` events")
    verify.add_argument("--json", action="store_true", help="print as JSON")
    export = acts.add_parser("export", help="write the trail out; this is audited too")
    export.add_argument("--format", choices=("csv", "json", "dicom"), default="csv", help="dicom: messages of PS3.15 A.5, one XML per line")
    export.add_argument("--from", dest="since", type=day, metavar="DAY", help="first day, YYYY-MM-DD (UTC)")
    export.add_argument("--to", dest="until", type=day, metavar="DAY", help="last day")
    export.add_argument("--out", type=Path, metavar="F", help="a new file, made 0600 (default: stdout)")
    export.add_argument("--user", default=None, metavar="NAME", help="who asks (default: the login name)")
    for sub in acts.choices.values():
        add_config_argument(sub)


def run(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    ledger, spool = open_store(config)
    try:
        return _verify(args, config, ledger) if args.act == "verify" else _export(args, config, ledger)
    finally:
        ledger.close()
        spool.close()


def _verify(args: argparse.Namespace, config: Config, ledger: Ledger) -> int:
    anchors = [ledger.read_anchor(config.node.data_dir / ANCHOR)]
    if args.head:
        number, _, link = args.head.partition(":")
        if not number.isdigit() or len(link) != 64:
            raise ConfigError("--head: must be ID:LINK, a number and 64 hexadecimal digits")
        anchors.append(Anchor(int(number), link))
    checked, broken = ledger.verify_audit()
    for anchor in filter(None, anchors):
        if not ledger.audit_holds(anchor):
            broken += [entry for entry in ledger.verify_audit(anchor)[1] if entry.what == "cut"]
    head = ledger.audit_head()
    if args.json:
        print_json({"checked": checked, "broken": [asdict(entry) for entry in broken], "head": asdict(head) if head else None,
                    "anchored": anchors[0] is not None})
    else:
        for entry in broken:
            print(f"row {entry.id}: {entry.what}")
        print(f"{checked} rows checked, {len(broken)} broken" + (f"; end {head.id}:{head.link}" if head else ""))
        if anchors[0] is None and checked:
            warn(f"no {ANCHOR} in node.data_dir: rows cut off at the end would not show (a running node keeps it)")
    return EXIT_FAILURE if broken else EXIT_OK


def _export(args: argparse.Namespace, config: Config, ledger: Ledger) -> int:
    since, until = _seconds(args.since), _seconds(args.until + timedelta(days=1)) if args.until else None
    period = f"{args.since or 'beginning'} to {args.until or 'now'}"
    ledger.record_act(args.user or getpass.getuser(), "audit export", f"{args.format}, {period}")
    rows = ledger.audit_rows(since=since, until=until)
    with _output(args.out) as out:
        if args.format == "csv":
            writer = csv.writer(out)
            writer.writerow(["id", "at", "who", "action", "instance_id", "delivery_id", "reason"])
            writer.writerows([number, _moment(entry.at), *map(_plain, (entry.who, entry.action)), entry.instance_id, entry.delivery_id,
                              _plain(entry.reason)] for number, entry in rows)
        elif args.format == "json":
            for number, entry in rows:
                out.write(json.dumps(_as_json(number, entry), ensure_ascii=False) + "\n")
        else:
            host = os.uname().nodename
            teller = Teller(host, config.audit.source_id or host, config.audit.site_id, config.audit.free_text)
            for number, entry in rows:
                out.write(teller.act(number, entry, ledger.audit_link(number)).decode() + "\n")
    return EXIT_OK


def _as_json(number: int, entry: AuditEntry) -> dict[str, Any]:
    return {"id": number, **asdict(entry), "at": _moment(entry.at)}


def _plain(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" and text else text


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _seconds(day: date | None) -> float | None:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() if day else None


@contextmanager
def _output(path: Path | None) -> Iterator[IO[str]]:
    if path is None:
        yield sys.stdout
        return
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigError(f"--out: {path}: {error.strerror}") from None
    with file:
        yield file
