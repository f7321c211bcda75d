"""The settings in force as the page for administrators shows them: YAML without secrets."""

from __future__ import annotations

import re
from typing import Any

import yaml

from radanon_node.settings import Config

HIDDEN = "(hidden)"
_SECRET = re.compile(r"password|secret|token|credential|passphrase|access_key|api_key", re.IGNORECASE)
_PATHS = frozenset({"key_file", "private_key"})
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")
_QUERY = re.compile(r"((?:password|secret|token|key)[^=&]*=)[^&\s]+", re.IGNORECASE)


def masked(config: Config) -> str:
    """YAML of the settings: passwords, hashes and tokens hidden, also inside URLs."""
    return yaml.safe_dump(_masked(config.model_dump(mode="json"), ""), sort_keys=False, allow_unicode=True, width=120)


def _masked(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: _masked(one, str(key)) for key, one in value.items()}
    if isinstance(value, list):
        return [_masked(one, name) for one in value]
    if value is not None and name not in _PATHS and _SECRET.search(name):
        return HIDDEN
    if isinstance(value, str) and ("://" in value or "=" in value):
        return _QUERY.sub(rf"\1{HIDDEN}", _USERINFO.sub(f"{HIDDEN}@", value))
    return value
