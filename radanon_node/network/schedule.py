"""When, and how fast, one destination may be sent to: its send window and its rate limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from typing import Protocol
from zoneinfo import ZoneInfo

from radanon_node.ledger.types import DeliveryItem
from radanon_node.settings import DestinationSettings

_CHECKED_S = 1.0
_DAYS = (-1, 0, 1, 2)


class Window:
    """Times of day, every day, in which a destination is sent to.

    A time of day is looked up in the calendar of its own day: a window that begins at 19:00 begins at 19:00 summer and winter; one that
    begins in the hour that is left out in spring begins when the clock has been put forward, and in the hour that comes twice the first
    of the two counts. Equal times mean the whole day.

    Parameters
    ----------
    spans : str or None
        As `send_window` in the settings; None is always open.
    zone : str or None
        IANA name; None is the machine's.

    Examples
    --------
    >>> Window("19:00-06:00", "Europe/Berlin").opening(datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp())
    18000.0
    """

    def __init__(self, spans: str | None, zone: str | None) -> None:
        self._zone = ZoneInfo(zone) if zone else None
        self._spans = [_span(part) for part in spans.split(",")] if spans else None

    def opening(self, now: float) -> float:
        """Seconds from `now` (since 1970) until it is open; 0.0 while it is."""
        if self._spans is None:
            return 0.0
        today = datetime.fromtimestamp(now, self._zone).date()
        waits = [0.0 if begin <= now < end else begin - now for begin, end in self._intervals(today) if end > now]
        return min(waits)

    def _intervals(self, today: date) -> Iterator[tuple[float, float]]:
        for begin, end in self._spans or ():
            for day in _DAYS:
                first = today + timedelta(days=day)
                yield self._stamp(first, begin), self._stamp(first + timedelta(days=end <= begin), end)

    def _stamp(self, day: date, at: time_of_day) -> float:
        return datetime.combine(day, at, tzinfo=self._zone).timestamp()


def _span(text: str) -> tuple[time_of_day, time_of_day]:
    begin, _, end = text.strip().partition("-")
    return time_of_day.fromisoformat(begin), time_of_day.fromisoformat(end)


class Credits(Protocol):
    """The part of the ledger that keeps rate limits (`ledger.rates.Rates`)."""

    def credit(self, destination: str) -> float: ...

    def spend(self, destination: str, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Limit:
    """What an instance costs, in seconds."""

    per_minute: float | None
    mbit_per_second: float | None

    @property
    def limited(self) -> bool:
        return self.per_minute is not None or self.mbit_per_second is not None

    def cost(self, size: int) -> float:
        """Seconds that an instance of `size` bytes may take at the limit."""
        by_count = 60.0 / self.per_minute if self.per_minute else 0.0
        by_size = 8.0 * size / (self.mbit_per_second * 1e6) if self.mbit_per_second else 0.0
        return max(by_count, by_size)


class Schedule:
    """Shared by the lanes of a destination.

    Parameters
    ----------
    name : str
    settings : DestinationSettings
    zone : str or None
        `node.time_zone`.
    credits : Credits
    clock : callable
        Seconds since 1970; looked at again and again, so that one that is set does no lasting harm.
    """

    def __init__(self, name: str, settings: DestinationSettings, zone: str | None, credits: Credits,
                 clock: Callable[[], float] = time.time) -> None:
        self._name = name
        self._window = Window(settings.send_window, zone)
        self._limit = Limit(settings.max_instances_per_minute, settings.max_mbit_per_second)
        self._credits = credits
        self._clock = clock
        self._always = settings.send_window is None
        self._checked = 0.0
        self._open = True

    def is_open(self) -> bool:
        """Whether the window is open, looked up at most once a second."""
        if self._always:
            return True
        if time.monotonic() - self._checked >= _CHECKED_S or not self._checked:
            self._checked = time.monotonic()
            self._open = self._window.opening(self._clock()) == 0.0
        return self._open

    def permit(self, batch: int) -> int:
        """How many instances may be claimed now, at most `batch`; 0: none."""
        if not self.is_open():
            return 0
        if not self._limit.limited:
            return batch
        credit = self._credits.credit(self._name)
        if credit <= 0.0:
            return 0
        if self._limit.mbit_per_second is not None:
            return 1  # only its size will tell what it costs
        return max(1, min(batch, int(credit / self._limit.cost(0))))

    def claimed(self, items: Sequence[DeliveryItem]) -> None:
        """Take credit for what is going to be sent."""
        if self._limit.limited:
            self._credits.spend(self._name, sum(self._limit.cost(item.release.size) for item in items))


def describe(settings: DestinationSettings, zone: str | None, now: float) -> dict[str, object]:
    """What `status` shows of window and limits; empty where there are none."""
    shown: dict[str, object] = {}
    if settings.send_window is not None:
        opening = Window(settings.send_window, zone).opening(now)
        shown["send_window"] = settings.send_window
        shown["opens_at"] = datetime.fromtimestamp(now + opening, UTC).isoformat(timespec="seconds") if opening else None
    if settings.max_instances_per_minute is not None:
        shown["max_instances_per_minute"] = settings.max_instances_per_minute
    if settings.max_mbit_per_second is not None:
        shown["max_mbit_per_second"] = settings.max_mbit_per_second
    return shown
