"""``radanon explain``: what would happen to one file, and by which rule. Nothing is written, no value is printed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from radanon_node import logs
from radanon_node.commands.common import add_config_argument, load_config, print_json, profile_name
from radanon_node.errors import EXIT_OK, EXIT_QUARANTINED, ConfigError
from radanon_node.ledger.seal import load_key
from radanon_node.pipeline.explain import explain
from radanon_node.pipeline.tools import Policy, Tools
from radanon_node.pipeline.types import Received


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a DICOM file")
    parser.add_argument("--route", metavar="AE", help="use the profile of this route (default: the profile `default`)")
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="also write a before/after picture (it shows the original)")


def run(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    route, profile = profile_name(config, args.route)
    policy = Policy(route, profile, config.profiles[profile])
    logs.configure(config.node.log_format, "error", sys.stderr)
    try:
        data = args.file.read_bytes()
    except OSError as error:
        raise ConfigError(f"FILE: {args.file}: {error.strerror}") from None
    tools = Tools.load(config, load_key(config.node.key_path, create=True))
    found = explain(Received(data, args.file.name), policy, tools, picture=args.picture is not None)
    if args.picture is not None and found.picture is not None:
        args.picture.write_bytes(found.picture)
    result = found.as_dict()
    if args.json:
        print_json(result)
    else:
        _print(result)
    return EXIT_QUARANTINED if found.reason else EXIT_OK


def _print(result: dict[str, Any]) -> None:
    console = Console()
    elements = Table("element", "keyword", "fate", "rule", title="Elements", title_justify="left")
    for element in result["elements"]:
        elements.add_row(element["path"], element["keyword"], element["fate"], element["rule"])
    console.print(elements)
    boxes = Table("box (x0 y0 x1 y1)", "frames", "kind", "confidence", "found by", "verdict", "why", title="Boxes", title_justify="left")
    for box in result["boxes"]:
        frames = box["frames"] if isinstance(box["frames"], str) else " ".join(map(str, box["frames"]))
        corners = " ".join(map(str, box["box"]))
        boxes.add_row(corners, frames, box["kind"], f"{box['confidence']:.2f}", box["source"], box["verdict"], box["why"])
    console.print(boxes)
    if result["looked"]:
        console.print("looked: " + ", ".join(f"{key}: {value}" for key, value in result["looked"].items()))
    verdict = f"quarantined: {result['reason']}: {result['detail']}" if result["reason"] else "released"
    console.print(f"outcome: {verdict}")
