"""Group commit: the rows of instances that are complete at the same time, on any association, go to the ledger in one transaction."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from radanon_node.errors import LedgerUnavailable, StorageError
from radanon_node.ledger.types import Admission, Arrival

_log = structlog.get_logger("radanon.network")

_PAUSE_S = 1.0


class Rows(Protocol):
    """The part of `ledger.ledger.Ledger` that admits instances."""

    def admit(self, arrivals: Sequence[Arrival]) -> list[Admission]: ...


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
    on_admitted : callable
        Called with the number of new instances after each commit, outside of locks.
    """

    def __init__(self, ledger: Rows, on_admitted: Callable[[int], None]) -> None:
        self._ledger = ledger
        self._on_admitted = on_admitted
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._waiting: list[_Ticket] = []
        self._down_until = 0.0

    def check(self) -> None:
        """Raise LedgerUnavailable while the ledger is known to be down, so that no file is written for nothing."""
        if time.monotonic() < self._down_until:
            raise LedgerUnavailable("ledger: did not answer a moment ago")

    def admit(self, arrival: Arrival) -> Admission:
        """Make the row of a sealed spool file durable; from this call on the file is the ledger's.

        Raises
        ------
        StorageError
            The ledger did not confirm it.
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
        for ticket, admission in zip(tickets, admissions, strict=True):
            ticket.admission = admission
        return sum(admission.outcome == "new" for admission in admissions)
