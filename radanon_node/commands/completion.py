"""``radanon completion``: a script that completes commands, options and file names in the shell; made from the commands themselves."""

from __future__ import annotations

import argparse
from pathlib import Path

import shtab

from radanon_node.errors import EXIT_OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))


def run(args: argparse.Namespace) -> int:
    from radanon_node.cli import whole_parser

    parser = whole_parser()
    _complete_files(parser)
    print(shtab.complete(parser, shell=args.shell))
    return EXIT_OK


def _complete_files(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                _complete_files(sub)
