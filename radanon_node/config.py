"""Reads ``config.yaml`` into `settings.Config`; every mistake becomes one line with the key's path."""

from __future__ import annotations

import difflib
import socket
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from radanon_node.errors import ConfigError
from radanon_node.settings import Config

DEFAULT_CONFIG = Path("config.yaml")

# pydantic's words for what YAML calls otherwise.
_PLAIN = {
    "tuple_type": "must be a list: [a, b], or lines that begin with `- `",
    "dict_type": "must be a mapping: lines `name: value` below it",
    "model_type": "must be a mapping: lines `name: value` below it",
    "string_type": 'must be text; write numbers and words such as yes in quotes ("104")',
    "missing": "is missing",
}


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, which YAML would silently let the last one win."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise ConfigError(f"line {key_node.start_mark.line + 1}: key {key!r} is given twice")
        seen.add(key)
    return loader.construct_mapping(node, deep)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load(path: Path) -> Config:
    """Read and validate a configuration file; relative paths in it are relative to its folder.

    Parameters
    ----------
    path : Path
        A YAML file.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        With one line per mistake.

    Examples
    --------
    >>> load(Path("no-such-file.yaml"))
    Traceback (most recent call last):
    ...
    radanon_node.errors.ConfigError: no-such-file.yaml: cannot be read: No such file or directory
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from error
    try:
        raw = yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}:{where} not valid YAML: {getattr(error, 'problem', error)}") from error
    except ConfigError as error:
        raise ConfigError([f"{path}: {line}" for line in error.problems]) from error
    return parse({} if raw is None else raw, base=path.parent, name=str(path))


def parse(raw: object, base: Path = Path(), name: str = "config") -> Config:
    """Validate an already parsed document; see `load`."""
    if not isinstance(raw, dict):
        raise ConfigError(f"{name}: must be a mapping of sections, is a {type(raw).__name__}")
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError([line for item in error.errors() for line in _lines(dict(item), name)]) from None
    circles = [f"{name}: {line}" for line in _circles(config)]
    if circles:
        raise ConfigError(circles)
    return _anchored(config, base)


def _circles(config: Config) -> Iterator[str]:
    """Routes whose instances come back to them: each round would make new ones, without end."""
    own = {"127.0.0.1", "::1", "localhost", config.listener.host, socket.gethostname()}
    here = {name: found.ae_title for name, found in config.destinations.items() if found.host in own and found.port == config.listener.port}
    leads = {route.ae_title: {here[name] for name in route.destinations if name in here} for route in config.routes}
    for start in leads:
        reached: set[str | None] = set()
        waiting: list[str | None] = [start]
        while waiting:
            found = leads.get(waiting.pop() or "", set()) - reached
            reached |= found
            waiting += found
        if start in reached:
            yield f"routes: what comes to {start} goes to this node's own {start} again, without end"


def _lines(item: dict[str, Any], name: str) -> list[str]:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"]).lstrip(".")
    prefix = f"{name}: {where}: " if where else f"{name}: "
    if item["type"] == "extra_forbidden":
        allowed = _keys_at(item["loc"][:-1])
        near = difflib.get_close_matches(str(item["loc"][-1]), allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return [f"{prefix}unknown key{hint} (allowed here: {', '.join(sorted(allowed))})"]
    message = _PLAIN.get(item["type"]) or str(item["msg"]).removeprefix("Value error, ")
    return [prefix + line for line in message.splitlines()]


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """Field names of the settings class found at `location`."""
    found: type[BaseModel] | None = Config
    named_next = False  # the next part is an index or a free name inside a tuple or dict
    for part in location:
        if named_next:
            named_next = False
            continue
        field = found.model_fields.get(str(part)) if found else None
        if field is None:
            return []
        found = model_in(field.annotation)
        named_next = any(typing.get_origin(each) in (tuple, dict) for each in (field.annotation, *typing.get_args(field.annotation)))
    return list(found.model_fields) if found else []


def model_in(annotation: Any) -> Any:
    """The settings class inside Optional[...], tuple[..., ...], dict[str, ...] or Annotated[...]."""
    if typing.get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in typing.get_args(annotation):
        found = model_in(argument)
        if found is not None:
            return found
    return None


def _anchored(config: Config, base: Path) -> Config:
    """The same settings with relative paths made relative to `base`."""

    def visit(value: Any) -> Any:
        if isinstance(value, Path):
            return value if value.is_absolute() else base / value
        if isinstance(value, BaseModel):
            return value.model_copy(update={key: visit(getattr(value, key)) for key in type(value).model_fields})
        if isinstance(value, tuple):
            return tuple(visit(item) for item in value)
        if isinstance(value, dict):
            return {key: visit(item) for key, item in value.items()}
        return value

    anchored: Config = visit(config)
    return anchored
