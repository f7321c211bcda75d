"""Networks that lie in the package, each with a description that names its hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from radanon_node.errors import HoldInstance, Reason
from radanon_node.onnx_session import Network, open_session


def open_packaged(path: Path, what: str, **stated: object) -> Network:
    """Open a packaged network on one thread: the same order of sums gives the same verdict everywhere.

    Parameters
    ----------
    path : Path
        The ONNX file; its description lies beside it as ``.json``.
    what : str
        Its name in messages.
    stated : object
        What the description must say besides, by key.

    Raises
    ------
    HoldInstance
        ``MODEL_MISSING``: it is not there, was altered, or belongs to another version.
    """
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        content = path.read_bytes()
    except (OSError, ValueError):
        raise HoldInstance(Reason.MODEL_MISSING, f"{what} is not installed") from None
    if hashlib.sha256(content).hexdigest() != card["sha256"] or any(card[key] != value for key, value in stated.items()):
        raise HoldInstance(Reason.MODEL_MISSING, f"{what} is not the one that belongs to this version")
    return open_session(content, 1)
