"""Asks one archive for Storage Commitment to what it has been sent, until it has reported on each instance."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog

from radanon_node.errors import DeliveryFailed, DeliveryRefused, Unreachable
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.seal import Seal
from radanon_node.ledger.types import DeliveryItem, DeliveryResult
from radanon_node.network.command_set import Command
from radanon_node.network.commit_request import handle_event_report, new_transaction
from radanon_node.network.courier import Courier
from radanon_node.network.health import Health
from radanon_node.settings import Config, DestinationSettings

_log = structlog.get_logger("radanon.sender")

_BATCH = 200
_EVERY_S = 2.0
_EVERY_OFF_S = 60.0  # where it was switched off, a look for what was sent before that
_PATIENCE_S = 3.0


def awaits_commitment(settings: DestinationSettings) -> bool:
    """Whether what the destination has taken counts only once it has committed to it; a folder's synced file needs no promise."""
    return settings.storage_commitment and settings.directory is None


class Commitments:
    """For one destination; `ask` is for its first lane alone.

    The report may come on the asking association or on one that the archive opens to the listener: `handle_event_report` takes both.
    Until it has come, the instance stays ``sent``, its original is kept, and the archive is asked again, less and less often.

    Parameters
    ----------
    name : str
        Of the destination.
    config : Config
    ledger : Ledger
    seal : Seal
    owner : str
    health : Health
    """

    def __init__(self, name: str, config: Config, ledger: Ledger, seal: Seal, owner: str, health: Health) -> None:
        self._name = name
        self._config = config
        self._settings = config.destinations[name]
        self._ledger = ledger
        self._seal = seal
        self._owner = owner
        self._health = health
        self._due = 0.0

    def ask(self, courier: Courier) -> bool:
        """Send one request if it is time; whether there was something to ask for."""
        now = time.monotonic()
        if now < self._due or not self._health.permit(1):
            return False
        self._due = now + (_EVERY_S if awaits_commitment(self._settings) else _EVERY_OFF_S)
        try:
            lease = 2 * self._settings.timeout + _PATIENCE_S + 60.0
            items = self._ledger.claim_commitments(self._owner, self._name, _BATCH, lease)
            if not items:
                return False
            if awaits_commitment(self._settings):
                detail = self._request(courier, items)
                # The archive is given time to check what it has before it is asked again.
                results = [DeliveryResult(item, "sent", self._settings.timeout + self._health.instance_delay(item.id), detail)
                           for item in items]
            else:
                results = [DeliveryResult(item, "delivered", 0.0, "Storage Commitment is no longer asked for") for item in items]
            # Rows whose report has come meanwhile are delivered already; the ledger leaves them so.
            self._ledger.finish_deliveries(results)
        finally:
            self._health.nothing()
        return True

    def on_event(self, command: Command, data: bytes, transfer_syntax: str) -> int:
        """An N-EVENT-REPORT request on one of our own associations; the status to answer with."""
        status, destination, committed, failed = handle_event_report(
            self._config, self._ledger, self._seal, command.numbers.get("EventTypeID", 0), data, transfer_syntax)
        _log.info("commitment reported", destination=destination, committed=committed, failed=failed, status=status)
        return status

    def _request(self, courier: Courier, items: Sequence[DeliveryItem]) -> str:
        transaction = new_transaction(self._seal, self._name)
        try:
            courier.ask_commitment(transaction, [item.release for item in items], _PATIENCE_S)
        except DeliveryRefused as error:
            self._health.trouble(str(error), whole=isinstance(error, Unreachable))
            return str(error)
        except DeliveryFailed as error:
            self._health.good()
            _log.warning("commitment not requested", destination=self._name, count=len(items), detail=str(error))
            return str(error)
        self._health.good()
        _log.info("commitment requested", destination=self._name, count=len(items))
        return "Storage Commitment requested"
