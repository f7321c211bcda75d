"""``radanon report``: the de-identification report of a period as one HTML file."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from radanon_node.commands.common import add_config_argument, day, load_config
from radanon_node.errors import EXIT_OK, ConfigError
from radanon_node.report import report_html
from radanon_node.store import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="first", type=day, required=True, metavar="DAY", help="first day, YYYY-MM-DD (UTC)")
    parser.add_argument("--to", dest="last", type=day, required=True, metavar="DAY", help="last day")
    parser.add_argument("--route", metavar="AE", help="of this route alone")
    parser.add_argument("--out", required=True, type=Path, metavar="F", help="a new HTML file; print it to PDF with any browser")
    add_config_argument(parser)


def run(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    ledger, spool = open_store(config)
    try:
        text = report_html(config, ledger, args.first, args.last, args.route)
    finally:
        ledger.close()
        spool.close()
    try:
        with os.fdopen(os.open(args.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"--out: {args.out}: {error.strerror}") from None
    print(args.out)
    return EXIT_OK
