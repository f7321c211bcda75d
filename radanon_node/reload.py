"""A new configuration for a running node (SIGHUP): read and tried out first, so that a bad file changes nothing.

What cannot change while the node runs keeps its old value and is named; everything else applies: to associations that open from now on,
and to workers, sender and web pages as each finishes what it holds and is replaced by one that starts under the new configuration.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from radanon_node.biometrics.weights import find_generator
from radanon_node.errors import ConfigError
from radanon_node.markers.weights import find_weights
from radanon_node.roles import ROLES
from radanon_node.settings import Config
from radanon_node.settings_profile import ProfileSettings
from radanon_node.settings_values import Settings

_ANY_KEY = bytes(32)

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


def try_out(config: Config, roles: Sequence[str] = ROLES) -> None:
    """Open what the configuration names and its roles use: weights, rules, tables, certificates.

    Raises
    ------
    ConfigError
        With one line per thing that cannot be used.
    """
    problems: list[str] = []
    for step in _steps(config, roles):
        try:
            step()
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def _steps(config: Config, roles: Sequence[str]) -> Iterator[Callable[[], object]]:
    from radanon_node.network.courier import NetworkCourier
    from radanon_node.network.negotiation import Doorkeeper
    from radanon_node.network.tls import server_context

    def routes() -> None:
        if not config.routes:
            raise ConfigError("routes: none are configured; every association would be rejected")

    yield routes
    if "worker" in roles:
        yield partial(find_weights, config.worker.weights, config.worker.weights_sha256)
        for name, profile in config.profiles.items():
            yield partial(check_profile, name, profile)
    if "listener" in roles:
        yield partial(Doorkeeper, config)
    for role, tls in (("listener", config.listener.tls), ("web", config.web.tls)):
        if role in roles and tls is not None:
            yield partial(server_context, tls)
    if config.audit.syslog is not None:
        from radanon_node.audit.syslog import Collector

        yield partial(Collector, config.audit.syslog)
    for destination in config.destinations.values() if "sender" in roles else ():
        if destination.directory is None:
            yield partial(NetworkCourier, destination)


def check_profile(name: str, profile: ProfileSettings) -> None:
    """Read a profile's rules and tables as a worker will; a node with a misspelt one would quarantine whatever comes.

    Raises
    ------
    ConfigError
        With one line per mistake, each beginning with the key's path.
    """
    from radanon_node.markers.rules import load_rules
    from radanon_node.tags.engine import Scrubber
    from radanon_node.tags.pseudonyms import Pseudonyms

    tags, pseudonyms = profile.tags, profile.pseudonyms
    plain = pseudonyms.model_copy(update={"table": None})
    problems: list[str] = []
    for step in (
        lambda: Pseudonyms(_ANY_KEY, pseudonyms, tags),
        lambda: Scrubber(tags, Pseudonyms(_ANY_KEY, plain, tags), tuple(profile.pixels.sop_classes)),
        lambda: load_rules(profile.pixels.regions),
        lambda: find_generator(profile.biometrics.weights, profile.biometrics.weights_sha256),
    ):
        try:
            step()
        except ConfigError as error:
            problems += [f"profiles.{name}.{line}" if line.startswith(("tags.", "pseudonyms.")) else f"profiles.{name}: {line}"
                         for line in error.problems]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
