"""``radanon serve``: run the node."""

from __future__ import annotations

import argparse

from radanon_node.commands.common import add_config_argument, load_config
from radanon_node.node import Node
from radanon_node.roles import ROLES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)
    parser.add_argument("--role", choices=("all", *ROLES), default="all",
                        help="what this node does; several nodes with one ledger share the work")


def run(args: argparse.Namespace) -> int:
    return Node(load_config(args.config), ROLES if args.role == "all" else (args.role,), lambda: load_config(args.config)).run()
