"""The front door: names every command and hands over to its module in ``commands/``; no logic of its own.

A command's module offers ``add_arguments(parser)`` and ``run(args) -> int`` (the exit status) and is imported only when asked for,
so that ``radanon status`` does not pay for the models; nor for decoders, as it opens no pictures.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import radanon_node
from radanon_node import lean
from radanon_node.errors import EXIT_FAILURE, EXIT_USAGE, ConfigError, RadanonError, describe

COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("serve", "run the node: listen, clean, forward"),
    "anonymize": ("anonymize", "clean a folder of DICOM files into another folder"),
    "explain": ("explain", "say what would happen to one file, element by element and box by box"),
    "status": ("status", "counts per state, route and destination"),
    "quarantine": ("quarantine", "list, show, retry, release or drop quarantined instances"),
    "review": ("review", "what reviewers decided; labels and device rules that follow from it; bounds of residual identity"),
    "recall": ("recall", "take back what left with identity in it: list, order, show, close"),
    "deliveries": ("deliveries", "list or retry deliveries"),
    "receipts": ("receipts", "show what was done to an instance; check that no receipt was changed"),
    "backup": ("backup", "write ledger, key and settings into one encrypted file, while the node runs"),
    "restore": ("restore", "put a backup where the settings say"),
    "shadow": ("shadow", "what a profile that runs beside the one in force would do otherwise"),
    "digest": ("digest", "a day in a few lines: what came, left, is held, needs a person"),
    "report": ("report", "the de-identification report of a period, as HTML"),
    "audit": ("audit", "check the audit trail, or write it out"),
    "ledger": ("ledger", "say the ledger's schema version, or bring it to this release's"),
    "map": ("reidentification_map", "export the encrypted re-identification map of original files, or read one"),
    "rules": ("rules", "device region rules: check, import, accept or reject proposed ones"),
    "doctor": ("doctor", "check configuration, keys, weights, OCR, disk, GPU and destinations"),
    "healthcheck": ("healthcheck", "is this node alive? exit status 0 or 1, for containers and service managers"),
    "hash-password": ("hash_password", "make a password hash for web.auth"),
    "synthesize": ("synthesize", "draw synthetic films or screens with markers and labels"),
    "train": ("train", "train the marker detector"),
    "finetune": ("finetune", "adapt the marker detector to about 20 local films"),
    "evaluate": ("evaluate", "measure removal, retention and false boxes on labelled films"),
    "biometrics": ("biometrics", "train, evaluate and time the anonymisation of chest films' anatomy"),
    "export": ("export", "write a trained checkpoint as ONNX weights for the node"),
    "completion": ("completion", "a script that completes commands in the shell"),
    "bench": ("bench", "measure speed beside peers, in one run"),
}

OPEN_NO_PICTURES = frozenset({
    "serve", "status", "quarantine", "recall", "deliveries", "receipts", "backup", "restore", "shadow", "digest", "report", "audit",
    "ledger", "rules", "healthcheck", "hash-password",
})  # fmt: skip
"""Commands whose own process needs no decoders; those of `serve` that do are other processes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Default: the process's arguments.

    Returns
    -------
    int
        0 done, 1 failed, 2 usage or configuration, 3 some instances quarantined.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser, commands = _front()
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    modules = {}
    for name, (module_name, summary) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            if argv is None and name in OPEN_NO_PICTURES:  # only in a process of its own
                lean.leave_out(*lean.DECODERS, *lean.GDCM, *lean.DOWNLOADS, *(lean.TABLES if name == "serve" else ()))
            modules[name] = importlib.import_module(f"radanon_node.commands.{module_name}")
            modules[name].add_arguments(sub)
    args = parser.parse_args(arguments)
    try:
        status: int = modules[args.command].run(args)
    except ConfigError as error:
        for line in error.problems:
            print(f"radanon: {line}", file=sys.stderr)
        return EXIT_USAGE
    except RadanonError as error:
        print(f"radanon: {describe(error)}", file=sys.stderr)
        return EXIT_FAILURE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our output went away: not our failure
        return EXIT_FAILURE
    except OSError as error:
        print(f"radanon: {f'{error.filename}: ' if error.filename else ''}{describe(error)}", file=sys.stderr)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return 130
    return status


def whole_parser() -> argparse.ArgumentParser:
    """The parser with the options of all commands, for shell completion; a command whose extra is not installed has none."""
    parser, commands = _front()
    for name, (module_name, summary) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary)
        with suppress(ImportError):
            importlib.import_module(f"radanon_node.commands.{module_name}").add_arguments(sub)
    return parser


def _front() -> tuple[argparse.ArgumentParser, Any]:
    parser = argparse.ArgumentParser(prog="radanon", description=radanon_node.__doc__)
    parser.add_argument("--version", action="version", version=f"radanon {radanon_node.__version__}")
    return parser, parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
