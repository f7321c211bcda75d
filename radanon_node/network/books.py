"""What a lane has its clerk do beside: a batch's outcomes go to the ledger, and the next batch is claimed, while one is being sent."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import structlog

from radanon_node.errors import LedgerUnavailable
from radanon_node.ledger.faults import point
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.types import DeliveryItem, DeliveryResult
from radanon_node.network.claims import Bell, Claims
from radanon_node.settings import AuditSettings, DestinationSettings

_log = structlog.get_logger("radanon.sender")

LEASE_S = 300.0
_PAUSE_S = 2.0


class Books:
    """Claims and outcomes of one lane's deliveries; of its thread alone, which may leave the ledger to another.

    Parameters
    ----------
    name : str
        Of the destination.
    settings : DestinationSettings
    audit : AuditSettings
    ledger : Ledger
    owner : str
        Who claims.
    claims : Claims
        An item is held from its claim until its outcome is written.
    bell : Bell
        Closed when the sender stops: then nothing is tried again.
    """

    def __init__(self, name: str, settings: DestinationSettings, audit: AuditSettings, ledger: Ledger, owner: str, claims: Claims,
                 bell: Bell) -> None:
        self._name, self._settings, self._audit = name, settings, audit
        self._ledger, self._owner, self._claims, self._bell = ledger, owner, claims, bell
        self._results: list[DeliveryResult] = []
        self._clerk = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-books")
        self._clerk.submit(int)  # the thread is there from the beginning: none comes later, under load
        self._writing: Future[None] | None = None
        self._ahead: Future[tuple[list[DeliveryItem], bool]] | None = None

    def claim(self, limit: int) -> tuple[list[DeliveryItem], bool]:
        """Deliveries to be made now: those that were claimed ahead if there are any.

        Parameters
        ----------
        limit : int
            How many at most.

        Returns
        -------
        list of DeliveryItem
            They are held.
        bool
            Whether as many were found as were looked for: then there may be more.

        Raises
        ------
        LedgerUnavailable
        """
        items, more = self._claimed_ahead()
        if not items:
            return self._claim(limit)
        for item in items[limit:]:
            self.add(DeliveryResult(item, "retry"))
        return items[:limit], more or len(items) > limit

    def claim_beside(self, limit: int) -> None:
        """Begin to claim the next batch, and go on; `claim` gives it, or raises what its claiming did."""
        if self._ahead is None:
            self._ahead = self._clerk.submit(self._claim, limit)

    def return_ahead(self, delay: float) -> None:
        """What was claimed ahead is not to be sent now: note it down for later."""
        for item in self._claimed_ahead()[0]:
            self.add(DeliveryResult(item, "retry", delay))

    def add(self, result: DeliveryResult) -> None:
        """An outcome, to be written."""
        self._results.append(result)

    def forget(self, items: Sequence[DeliveryItem]) -> None:
        """Items of which nothing is known: their claims lapse."""
        noted = {result.item.id for result in self._results}
        self._claims.release([item for item in items if item.id not in noted])

    def write(self) -> None:
        """Write all of it down; while the ledger is away it is kept, as what was sent should not be sent again.

        Raises
        ------
        LedgerUnavailable
            The ledger is away, and the sender stops.
        """
        self._wait()
        results, self._results = self._results, []
        self._write(results)

    def write_beside(self) -> None:
        """Begin to write all of it down, and go on; raises what the last writing did."""
        self._wait()
        results, self._results = self._results, []
        if results:
            self._writing = self._clerk.submit(self._write, results)

    def close(self) -> None:
        """Write what is left, if the ledger takes it."""
        with suppress(LedgerUnavailable):
            self.return_ahead(0.0)
        try:
            self.write()
        except LedgerUnavailable:
            _log.warning("results not written: ledger unavailable", destination=self._name)
        self._clerk.shutdown()

    def _claimed_ahead(self) -> tuple[list[DeliveryItem], bool]:
        ahead, self._ahead = self._ahead, None
        return ([], False) if ahead is None else ahead.result()

    def _claim(self, limit: int) -> tuple[list[DeliveryItem], bool]:
        items = self._ledger.claim_deliveries(self._owner, self._name, limit, LEASE_S)
        self._claims.hold(items)
        return items, len(items) == limit

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, results: Sequence[DeliveryResult]) -> None:
        if not results:
            return
        while True:
            try:
                point("sender.before_finish")
                self._ledger.finish_deliveries(results)
                point("sender.after_finish")
                break
            except LedgerUnavailable:
                if self._bell.closed:
                    raise
                _log.warning("results wait: ledger unavailable", destination=self._name, count=len(results))
                self._bell.sleep(_PAUSE_S)
        self._claims.release([result.item for result in results])
        self._report(results)

    def _report(self, done: Sequence[DeliveryResult]) -> None:
        """Have the audit collector told, where there is one; the results are written already."""
        own = self._settings
        if self._audit.syslog is None or not self._audit.transfers:
            return
        try:
            self._ledger.record_sent(done, {"destination": self._name, "own_ae_title": own.calling_ae_title,
                                            "ae_title": own.ae_title or self._name, "peer": own.host or ""})
        except LedgerUnavailable:
            _log.warning("not told to the audit collector: the ledger does not answer", destination=self._name, count=len(done))
