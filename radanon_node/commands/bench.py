"""``radanon bench``: speed beside peers, measured in one run; docs/benchmarks.md says which figures are from which command."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import time
from pathlib import Path

from radanon_node.errors import EXIT_OK, ConfigError

BENCHES = {
    "receive": "durable receive beside storescp, Orthanc and plain pynetdicom",
    "gateway": "sender to archive through the node, beside Orthanc and a plain pass-through",
    "send": "the sender beside storescu",
    "retention": "the retention pass per film, beside one pytesseract call per crop",
    "film": "one film from spool to released, per stage",
    "biometrics": "the anonymisation of a chest film's anatomy, per method",
    "tags": "read, scrub and write a CT header, beside dicom-anonymizer and deid",
    "pixels": "decode, redact and encode per transfer syntax, beside gdcm",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("which", nargs="*", metavar="BENCH", help=f"{', '.join(BENCHES)} (default: all)")
    parser.add_argument("--out", type=Path, metavar="F", help="also write the tables there as Markdown")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: shows that it runs, not how fast")


def run(args: argparse.Namespace) -> int:
    unknown = [name for name in args.which if name not in BENCHES]
    if unknown:
        raise ConfigError(f"BENCH: no {unknown[0]!r}; there are: {', '.join(BENCHES)}")
    parts = [f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n"]
    for name in args.which or list(BENCHES):
        module = importlib.import_module(f"radanon_node.commands.bench_{name}")
        print(f"-- {name}: {BENCHES[name]}", flush=True)
        table: str = module.run(quick=args.quick)
        print(table, flush=True)
        parts.append(f"## {name}: {BENCHES[name]}\n\n`radanon bench {name}`\n\n{table}\n")
    if args.out is not None:
        args.out.write_text("\n".join(parts), encoding="utf-8")
    return EXIT_OK
