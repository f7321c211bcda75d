"""Counts of rows per pair of values, out of an index, without looking at every row of a large one.

The pairs are found by skipping through the index and small counts are taken one by one; a large one of each group is what is left of
the group's total, which the ledger keeps (tally.py). All of it must be of one moment (`Database._snapshot`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Column, Connection, func, literal, select

FEW = 10_000
"""Counts up to this are taken one by one."""


def pair_counts(connection: Connection, first: Column[Any], second: Column[Any], condition: Any,
                totals: Mapping[Any, int], together: Collection[Any] = ()) -> list[tuple[Any, Any, int]]:
    """How many rows there are per pair of `first` and `second`.

    Parameters
    ----------
    connection : Connection
        In a transaction that sees one moment.
    first, second : Column
        Of one table and not null; a partial index on both has `condition` as its own.
    condition : ClauseElement
    totals : mapping
        Value of first -> how many rows there are with it. One that cannot be right is not used.
    together : collection
        Values of second that the caller adds up anyway: large ones of a group are not told apart, their sum stands at one of them.

    Returns
    -------
    list of (value of first, value of second, int)
        In the index's order; none is 0.
    """
    pairs: list[tuple[Any, Any]] = []
    look = select(first, second).where(condition).order_by(first, second).limit(1)
    found = connection.execute(look).first()
    while found is not None:
        pairs.append((found[0], found[1]))
        # Two steps: for one comparison of both values SQLite would read all that begins with the first.
        found = (connection.execute(look.where(first == found[0], second > found[1])).first()
                 or connection.execute(look.where(first > found[0])).first())
    counts: dict[tuple[Any, Any], int] = {}
    for pair in pairs:
        some = select(literal(1)).where(condition, first == pair[0], second == pair[1])
        counts[pair] = int(connection.scalar(select(func.count()).select_from(some.limit(FEW + 1).subquery())) or 0)
    spared: dict[Any, list[tuple[Any, Any]]] = {}  # per group, what is large and not counted: one pair, or what may be taken together
    for pair in sorted((pair for pair, count in counts.items() if count > FEW), key=lambda pair: pair[1] not in together):
        those = spared.setdefault(pair[0], [])
        if not those or (pair[1] in together and those[0][1] in together):
            those.append(pair)
        else:
            counts[pair] = _count(connection, condition, first == pair[0], second == pair[1])
    for group, those in spared.items():
        rest = totals.get(group, 0) - sum(count for pair, count in counts.items() if pair[0] == group and pair not in those)
        for pair in those:
            likely = rest > FEW * len(those)
            counts[pair] = (rest if pair == those[0] else 0) if likely else _count(connection, condition, first == group, second == pair[1])
    return [(*pair, counts[pair]) for pair in pairs if counts[pair]]


def _count(connection: Connection, *conditions: Any) -> int:
    return int(connection.scalar(select(func.count()).where(*conditions)) or 0)
