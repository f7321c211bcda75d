"""Whose turn it is: a small study is not starved by a large one, and no study waits for ever.

Every instance gets a round when it comes in: the first 16 instances of a study are of round 0, the next 16 of round 1 and so on, and what
is of a lower round goes first, at the workers and at each destination. That is scheduling by least attained service: two films that come
while a 10,000-slice CT is being worked on are done next, and 200 studies that come together advance together, 16 slices at a time. So
that a steady stream of small studies cannot starve the large one, every fourth claim takes what has waited longest, whatever its round.

Rounds rest on no clock and on nothing that listeners would have to agree on: a study that comes through two listeners, or through one that
was restarted, is counted anew there and gets a little more than its share.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

ROUND: Final = 16
"""Instances of one study per round; a batch of a worker."""
OLDEST_EVERY: Final = 4
"""One claim out of so many takes the oldest."""

_FAR: Final = 1_000_000
_REMEMBERED: Final = 20_000

PRIORITIES: Final = {"high": -_FAR, "normal": 0, "low": _FAR}
"""What `routes[].priority` adds to the round."""


class Rounds:
    """Counts the instances of each study; safe for threads. Of many studies, those that were silent longest are forgotten.

    Examples
    --------
    >>> rounds = Rounds()
    >>> [rounds.next("a") for _ in range(17)][-2:]
    [0, 1]
    >>> rounds.next("b"), rounds.next("c", "low") > rounds.next("a")
    (0, True)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, int] = OrderedDict()

    def next(self, study: str, priority: str = "normal") -> int:
        """The round of the next instance of `study`."""
        with self._lock:
            count = self._seen.pop(study, 0)
            self._seen[study] = count + 1
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return count // ROUND + PRIORITIES[priority]


class Alternation:
    """Says which claims take the oldest: every fourth. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[str, int] = {}

    def oldest(self, queue: str) -> bool:
        """Whether the next claim from `queue` goes by age."""
        with self._lock:
            count = self._claims[queue] = self._claims.get(queue, 0) + 1
        return count % OLDEST_EVERY == 0
