"""A shadow policy: a profile beside the one in force, on a share of the live traffic; what differs is counted, nothing of it is sent.

It runs when the batch's outcomes are written and delivery may begin, so that neither its time nor its failures touch them; an instance that
was claimed before is left out, so that one which kills its worker in the shadow alone is not held for it. What is kept are codes and
attribute keywords with counts, no values.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, Protocol

import structlog
from pydicom import dcmread
from pydicom.dataset import Dataset

from radanon_node.errors import StorageError, describe
from radanon_node.ledger.types import WorkItem
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.tools import Policy
from radanon_node.pipeline.types import Quarantined, Received
from radanon_node.settings import Config

log = structlog.get_logger("radanon.shadow")

_MOST_BYTES = 256 * 2**20  # of originals kept until their outcomes are written; more than that is left out
Counts = Counter[tuple[str, str]]
"""(kind, name) -> instances."""


class Book(Protocol):
    """The part of the ledger that keeps the counts."""

    def record_shadow(self, route: str, policies: str, counts: Counts) -> None: ...


@dataclass(frozen=True, slots=True)
class _Chosen:
    received: Received
    result: Released | Quarantined
    policy: Policy
    shadow: Policy


class Shadow:
    """The shadow policies of one worker.

    Parameters
    ----------
    config : Config
        `routes[].shadow_profile` and `shadow_share`.
    book : Book
    clean : callable
        As `clean_batch` with its tools; it must remember nothing of what it sees.
    """

    def __init__(self, config: Config, book: Book, clean: Callable[[Sequence[Received], Policy], list[Released | Quarantined]]) -> None:
        self._config, self._book, self._clean = config, book, clean
        self._chosen: list[_Chosen] = []
        self._bytes = 0

    @property
    def waiting(self) -> bool:
        """Whether there is something for `run`."""
        return bool(self._chosen)

    def note(self, policy: Policy, items: Sequence[WorkItem], received: Sequence[Received],
             results: Sequence[Released | Quarantined]) -> None:
        """Choose from a batch that was cleaned; its files may be closed after."""
        route = self._config.route(policy.route)
        if route is None or route.shadow_profile is None:
            return
        shadow = Policy(policy.route, route.shadow_profile, self._config.profiles[route.shadow_profile])
        for item, one, result in zip(items, received, results, strict=True):
            if item.attempts or one.waived or bool(one.edits) or random.random() >= route.shadow_share:
                continue
            if self._bytes + len(one.data) > _MOST_BYTES:
                continue
            self._bytes += len(one.data)
            self._chosen.append(_Chosen(replace(one, data=bytes(one.data)), result, policy, shadow))

    def run(self) -> None:
        """Clean what was chosen under the shadow policies and count what differs. Raises nothing."""
        chosen, self._chosen, self._bytes = self._chosen, [], 0
        for one in chosen:
            try:
                (result,) = self._clean([one.received], one.shadow)
                counts = differences(one.result, result)
            except Exception as error:  # noqa: BLE001  the shadow's edge: whatever it does, the live traffic goes on
                counts = Counter({("error", type(error).__name__): 1, ("compared", ""): 1})
            try:
                self._book.record_shadow(one.policy.route, policies(one.policy, one.shadow), counts)
            except StorageError as error:
                log.warning("shadow result not kept", route=one.policy.route, error=describe(error))


def policies(policy: Policy, shadow: Policy) -> str:
    """What is compared with what: names and the beginnings of the hashes."""
    return f"{policy.name} {policy.hash[:12]} / {shadow.name} {shadow.hash[:12]}"


def differences(live: Released | Quarantined, shadow: Released | Quarantined) -> Counts:
    """What the shadow did otherwise, each thing once per instance.

    Returns
    -------
    Counter
        ``("compared", "")`` always; ``("same", "")`` or any of ``("outcome", "released -> video")``, ``("attribute", PATH OF KEYWORDS)``,
        ``("boxes", "redact only in force")`` and the like, ``("pixels", "differ")``.
    """
    counts: Counts = Counter({("compared", ""): 1})
    if isinstance(live, Released) and isinstance(shadow, Released):
        counts.update({("attribute", path): 1 for path in _attributes(live, shadow)})
        before, after = _boxes(live), _boxes(shadow)
        for side, only in (("only in force", before - after), ("only in shadow", after - before)):
            counts.update({("boxes", f"{verdict} {side}"): 1 for verdict in {box[0] for box in only}})
        if _pixels(live) != _pixels(shadow):
            counts["pixels", "differ"] = 1
    elif _outcome(live) != _outcome(shadow):
        counts["outcome", f"{_outcome(live)} -> {_outcome(shadow)}"] = 1
    if len(counts) == 1:
        counts["same", ""] = 1
    return counts


def _outcome(result: Released | Quarantined) -> str:
    return "released" if isinstance(result, Released) else str(result.reason)


def _boxes(result: Released) -> set[tuple[Any, ...]]:
    return {(box["verdict"], tuple(box["box"]), str(box["frames"])) for box in result.receipt.get("boxes", ())}


def _pixels(result: Released) -> Any:
    return result.receipt.get("pixels", {}).get("after")


def _attributes(live: Released, shadow: Released) -> set[str]:
    before, after = (_values(result) for result in (live, shadow))
    return {path for path in {*before, *after} if before.get(path) != after.get(path)}


def _values(result: Released) -> dict[str, list[bytes]]:
    dataset = dcmread(BytesIO(bytes(result.encoded)), stop_before_pixels=True, force=True)
    found: dict[str, list[bytes]] = {}
    for path, value in _walk(dataset, ""):
        found.setdefault(path, []).append(value)
    return found


def _walk(dataset: Dataset, prefix: str) -> Iterator[tuple[str, bytes]]:
    for element in dataset:
        # A private element's own name could be anything: its number says enough.
        name = element.keyword or f"({element.tag.group:04x},xx{element.tag.element & 0xFF:02x})"
        path = f"{prefix}{name}"
        if element.VR == "SQ":
            yield path, str(len(element.value)).encode()
            for item in element.value:
                yield from _walk(item, f"{path}/")
        else:
            yield path, repr(element.value).encode()
