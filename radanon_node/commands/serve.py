"""``radanon serve``: run the node."""

from __future__ import annotations

import argparse

from radanon_node.commands.common import add_config_argument, load_config
from radanon_node.node import Node


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)


def run(args: argparse.Namespace) -> int:
    return Node(load_config(args.config)).run()
