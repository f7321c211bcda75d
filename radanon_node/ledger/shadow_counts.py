"""What shadow policies did otherwise, as counts by day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from radanon_node.ledger.database import Database
from radanon_node.ledger.schema import now
from radanon_node.ledger.schema_audit import shadow


@dataclass(frozen=True, slots=True)
class ShadowCount:
    """So many instances of a route differed in this way; see `shadow.differences` for kinds and names."""

    route: str
    policies: str
    kind: str
    name: str
    count: int


class ShadowCounts(Database):
    """The shadow's part of the ledger."""

    def record_shadow(self, route: str, policies: str, counts: Mapping[tuple[str, str], int]) -> None:
        """Add the counts of one instance."""
        with self._write() as connection:
            day = datetime.fromtimestamp(float(connection.scalar(select(now())) or 0), UTC).date().isoformat()
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            statement = dialect.insert(shadow)
            statement = statement.on_conflict_do_update(
                index_elements=["day", "route", "policies", "kind", "name"], set_={"count": shadow.c.count + statement.excluded.count})
            # In one order, so that workers that count the same things do not wait for each other in a circle.
            connection.execute(statement, [
                {"day": day, "route": route, "policies": policies, "kind": kind, "name": name, "count": count}
                for (kind, name), count in sorted(counts.items())])

    def shadow_counts(self, route: str | None = None, since: str = "", until: str = "9999") -> list[ShadowCount]:
        """Sums over the days from `since` to `until` (ISO 8601 dates, both included), the most frequent difference first."""
        columns = shadow.c
        total = func.sum(columns.count)
        query = (select(columns.route, columns.policies, columns.kind, columns.name, total)
                 .where(columns.day >= since, columns.day <= until)
                 .group_by(columns.route, columns.policies, columns.kind, columns.name)
                 .order_by(columns.route, columns.policies, total.desc(), columns.kind, columns.name))
        if route is not None:
            query = query.where(columns.route == route)
        with self._read() as connection:
            return [ShadowCount(*row[:4], int(row[4])) for row in connection.execute(query)]


def total(counts: list[ShadowCount], kind: str) -> Counter[tuple[str, str]]:
    """Sum of one kind by (route, policies)."""
    found: Counter[tuple[str, str]] = Counter()
    for item in counts:
        if item.kind == kind:
            found[item.route, item.policies] += item.count
    return found
