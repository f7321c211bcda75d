"""Logging: structlog to stdout, one event per thing that happens, and a guard that lets no identity through (law 5).

The guard is an allow-list: an event is a constant sentence plus keys listed in `ALLOWED_KEYS`; any other key is withheld.
Messages of libraries (pynetdicom prints data sets, pydicom prints values) are withheld whole: only logger and level are shown.
Exceptions are shown as their type and the places of their traceback, never with their text, unless they are this package's own,
whose texts carry no values by contract (errors.py).
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from radanon_node.errors import describe

ALLOWED_KEYS = frozenset(
    {
        "event", "level", "timestamp", "logger", "error", "trace", "withheld",
        # the node
        "host", "port", "ae_titles", "version", "role", "process", "pid", "owner", "signal", "exit_code", "config", "seconds",
        "device", "engine", "weights_sha256", "reason", "detail", "path", "problems", "count",
        "web_port", "key_created", "keys", "changed", "link", "processes", "state", "name",
        # associations
        "association", "calling_ae", "called_ae", "peer", "tls", "instances", "bytes",
        "refused", "duplicates", "conflicts", "why",
        "status", "half_open", "limit", "contexts", "accepted", "rejected",
        # instances and deliveries: ledger ids and the NEW identifiers only
        "id", "ids", "route", "destination", "attempts", "delay", "released", "quarantined", "failed", "retried", "boxes", "kept",
        "redacted", "new_sop_instance_uid", "sop_class_uid", "transfer_syntax_uid", "rate",
        "orphans", "adopted", "removed", "purged", "free",
        "delivered", "waiting", "up", "committed", "batch", "token", "stage", "file_count",
    }
)  # fmt: skip

_LIMIT = 500


def _guard(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drops keys that are not on the list and cuts what is too long to be one of our facts."""
    withheld = [key for key in event if key not in ALLOWED_KEYS and not key.startswith("_")]
    for key in withheld:
        del event[key]
    if withheld:
        event["withheld"] = sorted(withheld)
    for key, value in event.items():
        if isinstance(value, str) and len(value) > _LIMIT:
            event[key] = value[:_LIMIT] + "..."
    return event


def _exception(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Turns ``exc_info`` into type and places; the text only of this package's own errors."""
    info = event.pop("exc_info", None)
    if not info:
        return event
    error = info if isinstance(info, BaseException) else info[1] if isinstance(info, tuple) else sys.exc_info()[1]
    if error is not None:
        event["error"] = describe(error)
        event["trace"] = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}"
                          for frame in traceback.extract_tb(error.__traceback__)[-6:]]
    return event


def _withhold_foreign(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["event"] = "library message withheld"
    return event


def configure(log_format: Literal["console", "json"] = "console", level: str = "info", stream: Any = None) -> None:
    """Set up structlog and route every library's logging through the guard.

    Parameters
    ----------
    log_format : {"console", "json"}
    level : str
        Least severe event to write.
    stream : file object, optional
        Default: stdout.
    """
    stream = stream if stream is not None else sys.stdout
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _exception,
        _guard,
    ]
    colors = bool(getattr(stream, "isatty", bool)())
    renderer: Any = structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer(colors=colors)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, _withhold_foreign, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))
    for name in ("pynetdicom", "pydicom"):
        library = logging.getLogger(name)
        library.handlers[:] = []
        library.propagate = True
        library.setLevel(logging.ERROR)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.CRITICAL)
