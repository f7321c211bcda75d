"""``radanon hash-password``: make a value for ``web.auth[].password_hash``."""

from __future__ import annotations

import argparse
import getpass
import sys

from radanon_node.errors import EXIT_OK, ConfigError
from radanon_node.web.auth import hash_password


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Asks for a password twice (or reads one line from a pipe) and prints its hash."


def run(args: argparse.Namespace) -> int:
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if password != getpass.getpass("Again: "):
            raise ConfigError("the two passwords differ")
    else:
        password = sys.stdin.readline().rstrip("\n")
    if len(password) < 10:
        raise ConfigError("a password has at least 10 characters")
    print(hash_password(password))
    return EXIT_OK
