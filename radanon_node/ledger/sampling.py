"""A random sample of what was released, kept to be looked at, and the bound on residual identity that follows from it.

Every released instance of a device (a keyed token) and month draws a number from [0, 1). It is kept if the number is below
`sampling.rate` or among the `sampling.per_device` smallest of its device and month, so that what is kept at the end of a month is a
uniform random sample of it, whatever the month brought. One that a later, smaller number displaces before anybody has looked is let go;
one that was looked at stays in the figures.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from radanon_node.errors import StorageError
from radanon_node.ledger.database import Database
from radanon_node.ledger.schema import instances, now, releases, tally
from radanon_node.ledger.schema_review import PENDING, samples
from radanon_node.ledger.tally import add_to_tally
from radanon_node.ledger.types import ReleasedItem, SampleDraw
from radanon_node.settings import SamplingSettings

DEVICE_KIND = "device "
"""`tally.kind` of the released instances per device: this and the month."""
_REFRESH_S, _REFRESH_KEPT_S = 60.0, 1.0
_DEVICES = 10_000


@dataclass(frozen=True, slots=True)
class SampleEntry:
    """A kept instance that waits for a look; no identity in it. `keep_until` and `taken_at` are seconds since 1970."""

    id: int
    instance_id: int
    device: str
    month: str
    route: str
    taken_at: float
    keep_until: float
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Residual:
    """What was found in the sample of one device and month.

    Parameters
    ----------
    released : int
        Instances released; 0 where they were not counted.
    kept, looked, found : int
        Instances in the sample, looked at, and with identity left in them.
    upper : float
        One-sided upper confidence bound of the share of released instances with identity left (`upper_bound`).
    level : float
        Its confidence level.
    """

    device: str
    month: str
    released: int
    kept: int
    looked: int
    found: int
    upper: float
    level: float


def upper_bound(found: int, looked: int, level: float = 0.95) -> float:
    """One-sided upper bound of a share after Clopper and Pearson (Biometrika 26, 1934): exact, never too small.

    Parameters
    ----------
    found, looked : int
        So many out of so many.
    level : float
        Confidence, 0..1.

    Returns
    -------
    float
        The `level` quantile of Beta(found + 1, looked - found); 1.0 where nothing was looked at, or everything found.

    Raises
    ------
    ValueError
        Not ``0 <= found <= looked``, or `level` outside (0, 1).

    Examples
    --------
    >>> round(upper_bound(0, 59), 4)
    0.0495
    """
    if not 0 <= found <= looked or not 0 < level < 1:
        raise ValueError("needs 0 <= found <= looked and 0 < level < 1")
    if found == looked:
        return 1.0
    from scipy.special import betaincinv

    return float(betaincinv(found + 1, looked - found, level))


class Sampling(Database):
    """The sample in the ledger."""

    def sample_threshold(self, device: str, draw: SampleDraw) -> float:
        """Below which number an instance of `device` enters this month's sample at present."""
        with self._read() as connection:
            month = _month(connection)
            last = connection.scalar(
                select(samples.c.priority).where(*_one_device(month, device)).order_by(samples.c.priority)
                .offset(draw.per_device - 1).limit(1)) if draw.per_device else 0.0
        return 1.0 if last is None else max(float(last), draw.rate)

    def _sample(self, connection: Connection, outcomes: Sequence[ReleasedItem]) -> None:
        """Count the released instances per device and keep those that were drawn, in the caller's transaction."""
        counted = [outcome for outcome in outcomes if outcome.device and outcome.counted]
        if not counted:
            return
        month = _month(connection)
        add_to_tally(connection, DEVICE_KIND + month, Counter(outcome.device for outcome in counted))
        drawn = [(outcome, outcome.sample) for outcome in counted if outcome.sample is not None]
        if not drawn:
            return
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        # SQLite may give the number of a row that was forgotten to a new one: what was found in the old one's sample stays.
        kept = (dialect.insert(samples).values(taken_at=now(), keep_until=now() + bindparam("keep"), kind="sample", state="pending")
                .on_conflict_do_nothing(index_elements=["instance_id"]))
        connection.execute(kept, [
            {"instance_id": outcome.id, "device": outcome.device, "month": month, "route": draw.route, "priority": draw.priority,
             "keep": draw.keep} for outcome, draw in drawn])
        for device, draw in {outcome.device: draw for outcome, draw in drawn}.items():
            beyond = (select(samples.c.id).where(*_one_device(month, device)).order_by(samples.c.priority).offset(draw.per_device)
                      .limit(10_000).subquery())
            connection.execute(update(samples).where(samples.c.id.in_(select(beyond.c.id)), PENDING, samples.c.priority >= draw.rate)
                               .values(state="displaced", keep_until=0.0))

    def sample_list(self, limit: int = 200, after: int = 0) -> list[SampleEntry]:
        """Kept instances that nobody has looked at yet, oldest first."""
        columns = samples.c
        query = (select(columns.id, columns.instance_id, columns.device, columns.month, columns.route, columns.taken_at, columns.keep_until,
                        releases.c.sop_class_uid, releases.c.sop_instance_uid)
                 .join(releases, releases.c.instance_id == columns.instance_id)
                 .join(instances, instances.c.id == columns.instance_id)
                 .where(PENDING, columns.kind == "sample", columns.id > after, columns.keep_until > now(),
                        releases.c.file.isnot(None), instances.c.file.isnot(None))
                 .order_by(columns.id).limit(limit))
        with self._read() as connection:
            return [SampleEntry(*row) for row in connection.execute(query)]

    def residual_bounds(self, level: float = 0.95, months: int = 12) -> list[Residual]:
        """What was found in the samples, per device and month, latest month first.

        Parameters
        ----------
        level : float
            Confidence of the upper bounds.
        months : int
            At most so many latest months.

        Returns
        -------
        list of Residual
            One row per device with released or kept instances in a month; the device is a keyed token.
        """
        released: Counter[tuple[str, str]] = Counter()
        looked: dict[tuple[str, str], Counter[str]] = {}
        with self._read() as connection:
            for kind, name, count in connection.execute(
                    select(tally.c.kind, tally.c.name, func.sum(tally.c.change)).where(tally.c.kind.startswith(DEVICE_KIND))
                    .group_by(tally.c.kind, tally.c.name)):
                released[(kind.removeprefix(DEVICE_KIND), name)] = int(count)
            for month, device, state, count in connection.execute(
                    select(samples.c.month, samples.c.device, samples.c.state, func.count()).where(samples.c.kind == "sample")
                    .group_by(samples.c.month, samples.c.device, samples.c.state)):
                looked.setdefault((month, device), Counter())[state] += count
        keys = sorted({*released, *looked}, key=lambda key: key[1])
        keys.sort(key=lambda key: key[0], reverse=True)
        shown = sorted({month for month, _ in keys}, reverse=True)[:months]
        return [self._residual(month, device, released[(month, device)], looked.get((month, device), Counter()), level)
                for month, device in keys if month in shown]

    def _residual(self, month: str, device: str, released: int, states: Counter[str], level: float) -> Residual:
        found, clean = states["residual"], states["clean"]
        return Residual(device, month, released, clean + found + states["pending"], clean + found, found,
                        upper_bound(found, clean + found, level), level)


class Sampler:
    """A worker's dice: which released instances are kept, under one node's settings.

    Parameters
    ----------
    settings : SamplingSettings
    ledger : Sampling
    """

    def __init__(self, settings: SamplingSettings, ledger: Sampling) -> None:
        self._settings, self._ledger = settings, ledger
        self._limits: dict[str, tuple[float, float]] = {}  # device -> when asked, threshold then
        self._random = random.SystemRandom()

    @property
    def on(self) -> bool:
        """Whether anything is sampled at all."""
        return self._settings.rate > 0 or self._settings.per_device > 0

    def draw(self, device: str, route: str) -> SampleDraw | None:
        """The draw of one instance that is about to be released; None if it is not kept."""
        settings = self._settings
        draw = SampleDraw(self._random.random(), settings.rate, settings.per_device, settings.keep, route)
        asked, limit = self._limits.get(device, (0.0, 1.0))
        # Thresholds only fall within a month: an old one keeps a few too many, which the ledger lets go again.
        age = time.monotonic() - asked
        if age > _REFRESH_S or (age > _REFRESH_KEPT_S and draw.priority < limit):
            try:
                limit = self._ledger.sample_threshold(device, draw)
            except StorageError:
                return draw if draw.priority < limit else None
            if len(self._limits) > _DEVICES:
                self._limits.clear()
            self._limits[device] = (time.monotonic(), limit)
        return draw if draw.priority < limit else None


def _one_device(month: str, device: str) -> tuple[Any, ...]:
    return (samples.c.month == month, samples.c.device == device, samples.c.kind == "sample", samples.c.state != "displaced")


def _month(connection: Connection) -> str:
    """The present month (UTC) by the database's clock."""
    return datetime.fromtimestamp(float(connection.scalar(select(now())) or 0), UTC).strftime("%Y-%m")
