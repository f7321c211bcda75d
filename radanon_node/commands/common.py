"""What several commands share: finding the configuration, choosing a policy, printing."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

from radanon_node import config as configuration
from radanon_node.errors import ConfigError
from radanon_node.settings import Config


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="F", help="configuration file (default: config.yaml here, else the packaged one)")


def day(text: str) -> date:
    """A day given on the command line; the `type` of an argument."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a day, YYYY-MM-DD") from None


def load_config(path: Path | None) -> Config:
    """The configuration a command works with.

    Parameters
    ----------
    path : Path or None
        As given; None looks for ``config.yaml`` in the current folder, then takes the packaged default with its data in ``./var``.

    Raises
    ------
    ConfigError
        With one line per mistake.
    """
    if path is not None:
        return configuration.load(path)
    here = configuration.DEFAULT_CONFIG
    if here.exists():
        return configuration.load(here)
    packaged = Path(str(files("radanon_node"))) / "config.default.yaml"
    if not packaged.exists():  # an editable installation: the file lies at the repository's root
        packaged = Path(str(files("radanon_node"))).parent / "config.yaml"
    found = configuration.load(packaged)
    data_dir = Path("var")
    return found.model_copy(update={"node": found.node.model_copy(update={"data_dir": data_dir, "key_file": None})})


def profile_name(config: Config, route: str | None) -> tuple[str, str]:
    """(route, profile name) for a command that works on files.

    Raises
    ------
    ConfigError
        No such route, or several profiles and none is called ``default``.
    """
    if route is not None:
        found = config.route(route)
        if found is None:
            known = ", ".join(item.ae_title for item in config.routes) or "none"
            raise ConfigError(f"--route: no route with AE title {route!r}; there are: {known}")
        return found.ae_title, found.profile
    if "default" in config.profiles:
        return "folder", "default"
    if len(config.profiles) == 1:
        return "folder", next(iter(config.profiles))
    raise ConfigError("profiles: none is called `default`; choose one with --route AE")


def print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table for a person at a terminal; tab-separated lines, nothing cut off, for a pipe."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            print("\t".join(row))
        return
    from rich.console import Console  # a terminal alone needs it, and `serve` has none
    from rich.table import Table

    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def warn(line: str) -> None:
    print(f"radanon: {line}", file=sys.stderr)
