"""Storage Commitment requests of modalities (PS3.4 Annex J) that are not yet reported on: they outlive the node that took them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update

from radanon_node.errors import StorageError
from radanon_node.ledger.database import Database
from radanon_node.ledger.schema import commitment_requests, now


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request that somebody holds; `token` proves it.

    Parameters
    ----------
    request : dict
        As it was kept. It names original UIDs: never to be logged.
    expired : bool
        What is not decided by now counts as not committed.
    """

    id: int
    token: int
    request: dict[str, Any]
    expired: bool


class CommitmentRequests(Database):
    """Kept, held while somebody reports, dropped."""

    def keep_request(self, request: dict[str, Any], lease: float, lifetime: float) -> KeptRequest:
        """Put a request on stable storage; the caller holds it for `lease` seconds."""
        with self._write() as connection:
            found = connection.scalar(insert(commitment_requests).values(
                due=now() + lease, expires_at=now() + lifetime, request=self.seal.encrypt(json.dumps(request)))
                .returning(commitment_requests.c.id))
        return KeptRequest(int(found or 0), 0, request, False)

    def due_request(self, lease: float) -> KeptRequest | None:
        """Hold the request that nobody has looked at for longest, for `lease` seconds; None if none is due."""
        columns = commitment_requests.c
        chosen = select(columns.id).where(columns.due <= now()).order_by(columns.due).limit(1)
        with self._read() as connection:
            if connection.scalar(chosen) is None:
                return None
        with self._write() as connection:
            found = connection.scalar(chosen.with_for_update(skip_locked=True))
            if found is None:
                return None
            row = connection.execute(update(commitment_requests).where(columns.id == found)
                                     .values(due=now() + lease, token=columns.token + 1)
                                     .returning(columns.id, columns.token, columns.request, columns.expires_at < now())).one()
            try:
                request = json.loads(self.seal.decrypt(row.request))
            except StorageError:  # altered: nothing can be reported on it
                connection.execute(delete(commitment_requests).where(columns.id == found))
                return None
        return KeptRequest(row.id, row.token, request, bool(row[3]))

    def hold_request(self, kept: KeptRequest, lease: float) -> bool:
        """Go on holding it, or let go of it with `lease` seconds until the next look; whether it was still held."""
        columns = commitment_requests.c
        with self._write() as connection:
            return connection.execute(update(commitment_requests).where(columns.id == kept.id, columns.token == kept.token)
                                      .values(due=now() + lease).returning(columns.id)).first() is not None

    def drop_request(self, kept: KeptRequest) -> None:
        """It is reported on, or given up."""
        columns = commitment_requests.c
        with self._write() as connection:
            connection.execute(delete(commitment_requests).where(columns.id == kept.id, columns.token == kept.token))
