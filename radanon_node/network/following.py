"""Rows that follow the answer: received files carry their own records (ledger/record.py), so that success costs one sync.

A thread writes the rows, many in one transaction when instances come in quick succession. A ledger that has not taken rows just now is
asked before an instance is taken in, so that one that is down is noticed before success, not after. What cannot be written at once stays
in memory and in the files, nothing more is taken in while the ledger does not answer, and after a crash the next start writes the rows
from the files.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeAlias

import structlog

from radanon_node.errors import LedgerUnavailable, describe
from radanon_node.ledger.faults import point
from radanon_node.ledger.files import Incoming
from radanon_node.ledger.record import Digest, Records
from radanon_node.ledger.types import Admission, Arrival
from radanon_node.network.admission import Remover
from radanon_node.stages import Stages

_log = structlog.get_logger("radanon.network")

Told: TypeAlias = Callable[[Admission], None]
"""Is told what became of an arrival."""

_PAUSE_S = 1.0
_PROOF_S = 1.0  # how long the ledger is believed to be there after it has answered
_MOST_BEHIND, _MOST_AT_ONCE = 128, 64
_BURST_S = 0.25  # instances that come sooner than that after the last transaction
_GATHER_S = 0.05  # wait for others
_PATIENCE_S = 20.0


class Rows(Protocol):
    """The part of `ledger.ledger.Ledger` that admits instances."""

    def admit(self, arrivals: Sequence[Arrival], urgent: bool = True) -> list[Admission]: ...

    def turn(self, arrival: Arrival) -> int: ...

    def require_writable(self) -> None: ...


class Following:
    """Writes rows after the answer. Safe for threads.

    Parameters
    ----------
    ledger : Rows
    spool : Remover
    records : Records
    on_admitted : callable
        Called with the number of new instances after each commit, outside of locks.
    stages : Stages
        Counts the seconds of the transactions, as ``rows``.
    processes : int
        So many like this one share the bound on what is acknowledged and has no row.
    """

    def __init__(self, ledger: Rows, spool: Remover, records: Records, on_admitted: Callable[[int], None], stages: Stages,
                 processes: int = 1) -> None:
        self._ledger, self._spool, self._records = ledger, spool, records
        self._on_admitted = on_admitted
        self._stages = stages
        self._most_behind = max(1, _MOST_BEHIND // processes)
        self._most_at_once = min(_MOST_AT_ONCE, -(-self._most_behind // 2))
        self._down_until = 0.0
        self._answered = -_PROOF_S
        self._asking = threading.Lock()
        self._changed = threading.Condition()
        self._queue: list[tuple[Arrival, Told]] = []
        self._hurried = 0  # how many wait for an empty queue
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Be ready for `admit`."""
        self._thread = threading.Thread(target=self._run, name="rows", daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Write what is still to be written, for so many seconds at most; the rest is in the files."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(seconds)
        if self._queue:
            _log.warning("rows_left_to_the_next_start", count=len(self._queue))

    def check(self) -> None:
        """Raise LedgerUnavailable while the ledger is down, so that no file is written for nothing."""
        if self._is_down():
            raise LedgerUnavailable("ledger: did not take the last rows")
        if self._is_believed():
            return
        with self._asking:
            if self._is_believed():  # another association has asked
                return
            try:
                self._ledger.require_writable()
            except LedgerUnavailable as error:
                self._down_until = time.monotonic() + _PAUSE_S
                _log.error("ledger_refused", count=0, detail=str(error))
                raise
            self._answered = time.monotonic()

    def digest(self) -> Digest:
        """For a file that begins; see `Records.digest`."""
        return self._records.digest()

    def mark(self, incoming: Incoming, arrival: Arrival, digest: Digest) -> Arrival | None:
        """Write the record of `arrival` into its file, which is not sealed yet.

        Returns
        -------
        Arrival or None
            For `admit`; None if the file cannot carry it, and its row must be there before the answer.
        """
        arrival = replace(arrival, turn=self._ledger.turn(arrival))
        preamble = self._records.write(arrival, digest)
        if preamble is None:
            return None
        incoming.mark(preamble)
        return arrival

    def admit(self, arrival: Arrival, told: Told) -> None:
        """Have the row of a sealed file that carries its record written soon; `told` is then called with what became of it.

        Raises
        ------
        LedgerUnavailable
            Too many rows wait already, or the ledger did not take the last ones: refuse the instance. Its file is removed.
        """
        try:
            self.check()  # the transfer may have taken long
        except LedgerUnavailable:
            self._spool.remove(arrival.file)
            raise
        with self._changed:
            room = self._changed.wait_for(lambda: len(self._queue) < self._most_behind or self._is_down(), _PATIENCE_S)
            if room and not self._is_down():
                self._queue.append((arrival, told))
                self._changed.notify_all()
                return
        self._spool.remove(arrival.file)
        raise LedgerUnavailable("ledger: does not take rows now")

    def flush(self, seconds: float) -> bool:
        """Wait until all rows are written that were to follow, at most so long; whether they are."""
        with self._changed:
            if not self._queue:
                return True
            self._hurried += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not self._queue, seconds)
            finally:
                self._hurried -= 1

    def _is_down(self) -> bool:
        return time.monotonic() < self._down_until

    def _is_believed(self) -> bool:
        return time.monotonic() - self._answered < _PROOF_S

    def _run(self) -> None:
        written = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping)
                if not self._queue:
                    return
                if time.monotonic() - written < _BURST_S:
                    self._changed.wait_for(lambda: self._hurried or self._stopping or len(self._queue) >= self._most_at_once, _GATHER_S)
                batch = self._queue[:self._most_at_once]
            point("listener.before_rows")
            done = self._commit(batch)
            point("listener.after_rows")
            written = time.monotonic()
            with self._changed:
                # One that fails goes to the end: it must not keep the others from their rows.
                self._queue = [*self._queue[len(batch):], *(item for item in batch if item not in done)]
                self._changed.notify_all()
                if len(done) < len(batch) and self._changed.wait_for(lambda: self._stopping, _PAUSE_S):
                    return

    def _commit(self, batch: Sequence[tuple[Arrival, Told]]) -> list[tuple[Arrival, Told]]:
        """Write rows; returns those that were written."""
        try:
            with self._stages.stage("rows"):
                admissions = self._ledger.admit([arrival for arrival, _ in batch], urgent=False)
        except Exception as error:  # noqa: BLE001  the thread's edge: what was acknowledged stays in the queue and in the files
            if isinstance(error, LedgerUnavailable):
                self._down_until = time.monotonic() + 2 * _PAUSE_S
            elif len(batch) > 1:  # one of them is to blame
                return [item for one in batch for item in self._commit([one])]
            _log.error("rows_wait", count=len(batch), detail=describe(error))
            return []
        self._down_until, self._answered = 0.0, time.monotonic()
        for (_, told), admission in zip(batch, admissions, strict=True):
            told(admission)
        new = sum(admission.outcome == "new" for admission in admissions)
        if new:
            self._on_admitted(new)
        return list(batch)
