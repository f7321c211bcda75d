"""Group commit: the rows of instances that are complete at the same time, on any association, go to the ledger in one transaction.

Where files carry their own records (ledger/record.py), rows follow the answer instead: see `following.Following`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import structlog

from radanon_node.errors import LedgerUnavailable, StorageError
from radanon_node.ledger.types import Admission, Arrival

_log = structlog.get_logger("radanon.network")

_PAUSE_S = 1.0
_IN_DOUBT_S = 120.0  # longer than a statement may take: by then a commit whose answer was lost has happened or never will


class Rows(Protocol):
    """The part of `ledger.ledger.Ledger` that admits instances."""

    def admit(self, arrivals: Sequence[Arrival]) -> list[Admission]: ...

    def known_files(self, names: Sequence[str]) -> Collection[str]: ...


class Remover(Protocol):
    """The part of `ledger.spool.Spool` that removes files."""

    def remove(self, name: str) -> None: ...


class _Ticket:
    __slots__ = ("admission", "arrival", "error")

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.admission: Admission | None = None
        self.error: StorageError | None = None


class Admitter:
    """Admits arrivals of many threads; each call returns when its own row is durable.

    Whoever comes first commits for all who wait by then: with one association no thread is switched, with many one sync serves all.

    Parameters
    ----------
    ledger : Rows
    spool : Remover
    on_admitted : callable
        Called with the number of new instances after each commit, outside of locks.
    """

    def __init__(self, ledger: Rows, spool: Remover, on_admitted: Callable[[int], None]) -> None:
        self._ledger = ledger
        self._spool = spool
        self._on_admitted = on_admitted
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._waiting: list[_Ticket] = []
        self._down_until = 0.0
        self._doubtful: list[tuple[float, str]] = []

    def check(self) -> None:
        """Raise LedgerUnavailable while the ledger is known to be down, so that no file is written for nothing."""
        if time.monotonic() < self._down_until:
            raise LedgerUnavailable("ledger: did not answer a moment ago")

    def admit(self, arrival: Arrival) -> Admission:
        """Make the row of a sealed spool file durable; from this call on the file is not the caller's any more.

        Raises
        ------
        StorageError
            The ledger did not confirm it. The file goes later, once it is certain that no row has it.
        """
        ticket = _Ticket(arrival)
        with self._guard:
            self._waiting.append(ticket)
        new = 0
        with self._turn:
            if ticket.admission is None and ticket.error is None:
                new = self._commit()
        if new:
            self._on_admitted(new)
        if ticket.admission is None:
            raise ticket.error or LedgerUnavailable("ledger: gave no answer for an instance")
        return ticket.admission

    def _commit(self) -> int:
        with self._guard:
            tickets, self._waiting = self._waiting, []
        for ticket in tickets:  # whatever happens below, nobody who waits is left without an answer or told success
            ticket.error = LedgerUnavailable("ledger: failed")
        try:
            admissions = self._ledger.admit([ticket.arrival for ticket in tickets])
        except StorageError as error:
            if isinstance(error, LedgerUnavailable):
                self._down_until = time.monotonic() + _PAUSE_S
            for ticket in tickets:
                ticket.error = error
            _log.error("ledger_refused", count=len(tickets), detail=str(error))
            return 0
        else:
            for ticket, admission in zip(tickets, admissions, strict=True):
                ticket.admission = admission
        finally:
            self._doubtful += [(time.monotonic(), ticket.arrival.file) for ticket in tickets if ticket.admission is None]
        if self._doubtful:
            self._settle()
        return sum(admission.outcome == "new" for admission in admissions)

    def _settle(self) -> None:
        """Remove the files of refused arrivals that have no row; the sweep at the next start finds those that are left."""
        before = time.monotonic() - _IN_DOUBT_S
        names = [name for since, name in self._doubtful if since < before]
        if not names:
            return
        try:
            known = set(self._ledger.known_files(names))
            for name in names:
                if name not in known:
                    self._spool.remove(name)
        except StorageError as error:
            _log.warning("refused_files_not_removed", count=len(names), detail=str(error))
            return
        self._doubtful = [(since, name) for since, name in self._doubtful if since >= before]
