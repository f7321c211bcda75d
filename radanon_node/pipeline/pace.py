"""How much a worker claims at once, and when what failed is tried again."""

from __future__ import annotations

import random

_RETRY_FIRST_S, _RETRY_MOST_S = 2.0, 300.0
_BATCH_S = 1.0  # so much processor time at once, so that the other workers have something of a burst of films too


class Pace:
    """How many instances a worker claims at once: a full batch of quick ones, few of those that take long.

    Parameters
    ----------
    most : int
        ``worker.batch_size``.

    Examples
    --------
    >>> pace = Pace(16)
    >>> pace.note(16, 4.0)
    >>> pace.limit
    4
    >>> pace.note(4, 0.04)
    >>> pace.limit
    16
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = most

    def note(self, count: int, seconds: float) -> None:
        """`count` instances took `seconds` of processor time, which unlike the clock says nothing about the machine's other work."""
        if count:
            fitting = int(_BATCH_S * count / max(seconds, 1e-6))
            # Growing by steps: one quick instance says little about the next.
            self.limit = max(1, min(self._most, fitting, 4 * self.limit))


def backoff(attempts: int) -> float:
    """Seconds until an instance that failed so many times before is tried again."""
    # With jitter, so that what failed together does not come back together.
    return min(_RETRY_MOST_S, _RETRY_FIRST_S * 2.0**attempts) * random.uniform(0.5, 1.0)
