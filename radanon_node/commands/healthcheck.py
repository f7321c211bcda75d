"""``radanon healthcheck``: is this node alive? For containers and service managers; prints one line per role, no identities."""

from __future__ import annotations

import argparse
import ssl
import urllib.request
from collections.abc import Callable

from radanon_node.commands.common import add_config_argument, load_config
from radanon_node.errors import EXIT_FAILURE, EXIT_OK, RadanonError, StorageError, describe
from radanon_node.network.check import knock
from radanon_node.roles import ROLES
from radanon_node.settings import Config
from radanon_node.store import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)
    parser.add_argument("--role", choices=("all", *ROLES), default="all", help="the role this node was started with")
    parser.add_argument("--timeout", type=float, default=5.0, metavar="S", help="seconds for each answer (default: 5)")


def run(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    checks: dict[str, Callable[[Config, float], None]] = {
        "listener": _listener, "worker": _ledger, "sender": _ledger, "web": _web,
    }  # fmt: skip
    roles = ROLES if args.role == "all" else (args.role,)
    alive = True
    for role in roles:
        if role == "web" and not config.web.enabled:
            continue
        try:
            checks[role](config, args.timeout)
        except (RadanonError, OSError) as error:
            alive = False
            print(f"{role}: {describe(error)}")
        else:
            print(f"{role}: ok")
    return EXIT_OK if alive else EXIT_FAILURE


def _loopback(host: str) -> str:
    """The address under which a server bound to `host` is reached from its own machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _listener(config: Config, timeout: float) -> None:
    knock(_loopback(config.listener.host), config.listener.port, config.routes[0].ae_title, config.listener.tls is not None, timeout)


def _ledger(config: Config, timeout: float) -> None:
    ledger, _ = open_store(config)
    try:
        ledger.status()
    finally:
        ledger.close()


def _web(config: Config, timeout: float) -> None:
    scheme = "https" if config.web.tls else "http"
    host = _loopback(config.web.host)
    address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{config.web.port}/healthz"
    context = ssl._create_unverified_context() if config.web.tls else None  # its own certificate names another host
    with urllib.request.urlopen(address, timeout=timeout, context=context) as answer:
        if answer.status != 200:
            raise StorageError(f"status {answer.status}")
