"""How a node's sender processes divide the associations of its destinations among them.

Every lane (an association to a destination) belongs to one process, by its number, so that no limit of a destination needs to be agreed on
while sending; rate limits and pauses are in the ledger. A destination's first lane looks for work by the clock, asks for Storage Commitment
and says whether the destination is up; those of other processes help when they are called, and say nothing about it. What one of them has
claimed when its process dies comes back, as after any crash of a sender.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

from radanon_node.bell import Bell


@dataclass(frozen=True, slots=True)
class Share:
    """The part of one process.

    Parameters
    ----------
    index, count : int
        Which of how many processes.
    others : tuple of Bell
        The bells of the others: rung when there is more to send than this process can.

    Examples
    --------
    >>> [list(Share(index, 2).lanes("archive", 3)) for index in (0, 1)]
    [[0, 2], [1]]
    """

    index: int = 0
    count: int = 1
    others: tuple[Bell, ...] = ()

    def lanes(self, destination: str, count: int) -> range:
        """Numbers of its lanes of `destination`, which has `count`.

        By the destination's name alone, so that processes that run under different configurations for a moment (a reload) agree too.
        """
        return range((self.index - crc32(destination.encode())) % self.count, count, self.count)

    def call(self) -> None:
        """Wake the others."""
        for bell in self.others:
            bell.ring()


def shares(count: int, first: Bell) -> list[tuple[Share, Bell]]:
    """The parts of `count` processes, each with the bell that wakes it; `first` wakes the first."""
    bells = [first, *(Bell() for _ in range(count - 1))]
    return [(Share(index, count, tuple(bells[:index] + bells[index + 1:])), bell) for index, bell in enumerate(bells)]
