"""A new configuration for a running node (SIGHUP): read and tried out first, so that a bad file changes nothing.

What cannot change while the node runs keeps its old value and is named; everything else applies: to associations that open from now on,
and to workers, sender and web pages as each finishes what it holds and is replaced by one that starts under the new configuration.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from radanon_node.errors import ConfigError
from radanon_node.markers.rules import load_rules
from radanon_node.markers.weights import find_weights
from radanon_node.settings import Config
from radanon_node.settings_values import Settings

RESTART_ONLY = (
    "node.data_dir", "node.key_file", "listener.host", "listener.port", "listener.processes", "worker.processes",
    "sender.processes", "ledger", "web.enabled", "web.host", "web.port",
)  # fmt: skip
"""Keys (or whole sections) that only a restart changes: what is open, bound or divided among the processes."""


@dataclass(frozen=True, slots=True)
class Change:
    """A configuration to go on with, and how it differs from the one before.

    Parameters
    ----------
    config : Config
        The new one, with the old values of what needs a restart.
    applied, deferred : tuple of str
        Paths of the keys that differ: those in force now, and those that need a restart.
    """

    config: Config
    applied: tuple[str, ...]
    deferred: tuple[str, ...]


def config_hash(config: Config) -> str:
    """SHA-256 that names a configuration in the audit trail. The ledger's URL is left out: it may hold a password."""
    values = config.model_dump(mode="json", exclude={"ledger": {"url"}})
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def change(current: Config, wanted: Config) -> Change:
    """What becomes of a running node's configuration when it is told to take `wanted`; see `try_out`."""
    merged: Any = wanted
    for path in RESTART_ONLY:
        merged = _with(merged, path.split("."), current)
    differing = tuple(_differences("", current, wanted))
    deferred = tuple(key for key in differing if any(key == path or key.startswith(f"{path}.") for path in RESTART_ONLY))
    return Change(merged, tuple(key for key in differing if key not in deferred), deferred)


def _with(new: Any, path: list[str], old: Any) -> Any:
    """`new` with the value that `old` has at `path`."""
    name, *rest = path
    value = _with(getattr(new, name), rest, getattr(old, name)) if rest else getattr(old, name)
    return new.model_copy(update={name: value})


def _differences(path: str, old: Any, new: Any) -> Iterator[str]:
    """Paths of the smallest parts that differ; lists count as one part, except that routes are told apart by their AE title."""
    if old == new:
        return
    if isinstance(old, Settings) and type(old) is type(new):
        parts = [(name, getattr(old, name), getattr(new, name)) for name in type(old).model_fields]
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        parts = [(str(name), old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new])]
    elif path == "routes":
        olds, news = ({route.ae_title: route for route in routes} for routes in (old, new))
        parts = [(name, olds.get(name), news.get(name)) for name in dict.fromkeys([*olds, *news])]
    else:
        yield path
        return
    for name, before, after in parts:
        yield from _differences(f"{path}.{name}" if path else name, before, after)


def try_out(config: Config) -> None:
    """Open what the configuration names: weights, rules, tables, certificates.

    Raises
    ------
    ConfigError
        With one line per thing that cannot be used.
    """
    problems: list[str] = []
    for step in _steps(config):
        try:
            step()
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def _steps(config: Config) -> Iterator[Any]:
    from radanon_node.audit.syslog import Collector
    from radanon_node.network.courier import NetworkCourier
    from radanon_node.network.negotiation import Doorkeeper
    from radanon_node.network.tls import server_context

    def routes() -> None:
        if not config.routes:
            raise ConfigError("routes: none are configured; every association would be rejected")

    yield routes
    yield lambda: find_weights(config.worker.weights, config.worker.weights_sha256)
    yield lambda: Doorkeeper(config)
    for name, profile in config.profiles.items():
        yield lambda paths=profile.pixels.regions: load_rules(paths)
        yield lambda name=name, table=profile.pseudonyms.table: _readable(f"profiles.{name}.pseudonyms.table", table)
    for tls in (config.listener.tls, config.web.tls):
        if tls is not None:
            yield lambda tls=tls: server_context(tls)
    if config.audit.syslog is not None:
        yield lambda settings=config.audit.syslog: Collector(settings)
    for destination in config.destinations.values():
        if destination.directory is None:
            yield lambda destination=destination: NetworkCourier(destination)


def _readable(key: str, path: Any) -> None:
    if path is not None and not os.access(path, os.R_OK):
        raise ConfigError(f"{key}: {path}: cannot be read")
