"""What a lane has still to write down: the outcomes of a batch go to the ledger while the next one is being sent."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from radanon_node.errors import LedgerUnavailable
from radanon_node.ledger.faults import point
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.types import DeliveryItem, DeliveryResult
from radanon_node.network.claims import Bell, Claims
from radanon_node.settings import AuditSettings, DestinationSettings

_log = structlog.get_logger("radanon.sender")

_PAUSE_S = 2.0


class Books:
    """Outcomes of one lane's deliveries; of its thread alone, which may leave the writing to another.

    Parameters
    ----------
    name : str
        Of the destination.
    settings : DestinationSettings
    audit : AuditSettings
    ledger : Ledger
    claims : Claims
        An item is held from `open` until its outcome is written.
    bell : Bell
        Closed when the sender stops: then nothing is tried again.
    """

    def __init__(self, name: str, settings: DestinationSettings, audit: AuditSettings, ledger: Ledger, claims: Claims, bell: Bell) -> None:
        self._name, self._settings, self._audit = name, settings, audit
        self._ledger, self._claims, self._bell = ledger, claims, bell
        self._results: list[DeliveryResult] = []
        self._clerk = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-books")
        self._clerk.submit(int)  # the thread is there from the beginning: none comes later, under load
        self._writing: Future[None] | None = None

    def open(self, items: Sequence[DeliveryItem]) -> None:
        """Hold claimed items."""
        self._claims.hold(items)

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
        try:
            self.write()
        except LedgerUnavailable:
            _log.warning("results not written: ledger unavailable", destination=self._name)
        self._clerk.shutdown()

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
