"""Rate limits of destinations, shared by all nodes of a ledger: a token bucket whose tokens are seconds.

Each instance costs the seconds that it may take at the limit; a second of credit comes back each second by the database's clock, up to
`BURST_S`. Sending is allowed while there is credit and may overdraw it, so that an instance that is larger than the bucket goes too; the
debt is waited off. A clock that is set back gives no credit and a clock that is set forward no more than the bucket holds.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import case, literal, update
from sqlalchemy.dialects import postgresql, sqlite

from radanon_node.ledger.database import Database
from radanon_node.ledger.schema import destinations, now

BURST_S: Final = 2.0


class Rates(Database):
    """The buckets."""

    def credit(self, destination: str) -> float:
        """Seconds of credit; 0 or less: as many seconds are to be waited."""
        columns = destinations.c
        # Plain CASE: SQLite and PostgreSQL call their two-valued minimum and maximum differently.
        gained = case((now() > columns.allowance_at, now() - columns.allowance_at), else_=literal(0.0))
        grown = columns.allowance + gained
        statement = (update(destinations).where(columns.name == destination)
                     .values(allowance=case((columns.allowance.is_(None), BURST_S), (grown > BURST_S, BURST_S), else_=grown),
                             allowance_at=now())
                     .returning(columns.allowance))
        with self._write() as connection:
            found = connection.scalar(statement)
            if found is None:
                dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
                connection.execute(dialect.insert(destinations).on_conflict_do_nothing(index_elements=["name"]).values(
                    name=destination, up=True, changed_at=now(), allowance=BURST_S, allowance_at=now()))
                found = BURST_S
        return float(found)

    def spend(self, destination: str, seconds: float) -> None:
        """Take credit for what is being sent."""
        with self._write() as connection:
            connection.execute(update(destinations).where(destinations.c.name == destination)
                               .values(allowance=destinations.c.allowance - seconds))
