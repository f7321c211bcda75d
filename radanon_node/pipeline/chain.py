"""Receipts chained by the day, so that a changed, missing or swapped one shows (law 6).

Each receipt's link is a keyed BLAKE3 over the link before it and the receipt itself. The first link of a day comes from the day
and from the last link of the day before, where there is one. Without the key no link can be made, so whoever can write to the
ledger but has not the key file cannot rewrite the chain; the last link of a day, kept elsewhere, also binds whoever has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from blake3 import blake3

_PURPOSE = "radanon_node 2026 receipt chain"


class ReceiptChain:
    """Makes and checks links.

    Parameters
    ----------
    key : bytes
        The node's secret; a key for this purpose alone is derived from it.
    """

    def __init__(self, key: bytes) -> None:
        self._key = blake3(key, derive_key_context=_PURPOSE).digest()

    def opening(self, day: str, before: str = "") -> str:
        """The link that a day begins with.

        Parameters
        ----------
        day : str
            ISO 8601 date (UTC) of the receipts, ``2026-11-21``.
        before : str
            Last link of the last day that has receipts; empty for the first day of all.
        """
        return self._link(b"day", day.encode(), before.encode())

    def link(self, before: str, receipt: dict[str, Any]) -> str:
        """The link of `receipt`, given the one before it: 64 hexadecimal digits."""
        return self._link(b"receipt", before.encode(), canonical(receipt))

    def first_broken(self, opening: str, entries: Iterable[tuple[dict[str, Any], str]]) -> int | None:
        """Check a day.

        Parameters
        ----------
        opening : str
            The day's opening link.
        entries : iterable of (dict, str)
            Receipts and the links that were stored with them, in order.

        Returns
        -------
        int or None
            Position of the first entry that does not fit, None if all do. A receipt missing at the end of the day shows in the
            next day's opening only.
        """
        before = opening
        for position, (receipt, stored) in enumerate(entries):
            before = self.link(before, receipt)
            if before != stored:
                return position
        return None

    def _link(self, *parts: bytes) -> str:
        return keyed_link(self._key, *parts)


def keyed_link(key: bytes, *parts: bytes) -> str:
    """Keyed BLAKE3 over `parts`, each with its length so that no two lists of parts look alike: 64 hexadecimal digits."""
    hasher = blake3(key=key)
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.hexdigest()


def canonical(receipt: dict[str, Any]) -> bytes:
    """The bytes that stand for a receipt: JSON with sorted keys, no spaces, ASCII only."""
    return json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")
