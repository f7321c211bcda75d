"""``radanon anonymize``: clean files and folders into a tree of pseudonyms."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import radanon_node
from radanon_node import folder, logs
from radanon_node.commands.common import add_config_argument, load_config, print_json, profile_name, warn
from radanon_node.errors import EXIT_OK, EXIT_QUARANTINED, ConfigError
from radanon_node.inputs import list_inputs, printable
from radanon_node.pipeline.tools import Policy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files or folders; folders are walked")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="output folder")
    add_config_argument(parser)
    parser.add_argument("--route", metavar="AE", help="use the profile of this route (default: the profile `default`)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="worker processes (default: all cores)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    route, profile = profile_name(config, args.route)
    policy = Policy(route, profile, config.profiles[profile])
    missing = [str(path) for path in args.paths if not path.exists()]
    if missing:
        raise ConfigError([f"PATH: {path}: no such file or folder" for path in missing])
    if args.jobs < 1:
        raise ConfigError("--jobs: must be at least 1")
    out: Path = args.out
    inside = [path for path in args.paths if out.resolve().is_relative_to(path.resolve())]
    if inside:
        raise ConfigError(f"--out: {out} lies inside the input {inside[0]}; the next run would clean its own output")
    logs.configure(config.node.log_format, "error", sys.stderr)
    inputs = list_inputs(args.paths, out)
    if not inputs:
        raise ConfigError("PATH: no files there")
    begun = time.time()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), disable=not sys.stderr.isatty(),
    ) as bar:  # fmt: skip
        task = bar.add_task("cleaning", total=len(inputs))
        outcomes = folder.anonymize(inputs, out, config, policy, args.jobs, lambda _: bar.advance(task))
    report = make_report(outcomes, policy, time.time() - begun)
    path = out / "report.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for outcome in outcomes:
        if outcome.outcome == "quarantined":
            warn(f"quarantined: {printable(outcome.source)}: {outcome.reason}" + (f": {outcome.detail}" if outcome.detail else ""))
    if args.json:
        print_json(report)
    else:
        counts = ", ".join(f"{number} {state}" for state, number in report["counts"].items())
        print(f"{len(outcomes)} files: {counts}; report: {path}")
    return EXIT_QUARANTINED if report["counts"].get("quarantined") else EXIT_OK


def make_report(outcomes: list[folder.FileOutcome], policy: Policy, seconds: float) -> dict[str, Any]:
    """What ``report.json`` holds: counts, policy, and every input with its outcome."""
    counts = Counter(outcome.outcome for outcome in outcomes)
    return {
        "program_version": radanon_node.__version__,
        "policy": {"profile": policy.name, "hash": policy.hash},
        "seconds": round(seconds, 2),
        "counts": dict(sorted(counts.items())),
        "files": [
            {
                "number": outcome.number,
                "path": outcome.shown,
                "outcome": outcome.outcome,
                **({"reason": str(outcome.reason), "detail": outcome.detail} if outcome.outcome == "quarantined" else {}),
                **({"output": outcome.target, "receipt": outcome.receipt} if outcome.target else {}),
            }
            for outcome in outcomes
        ],
    }
