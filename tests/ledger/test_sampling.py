"""The bound is Clopper and Pearson's, and the dice are fair."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.errors import LedgerUnavailable
from radanon_node.ledger.sampling import Sampler, upper_bound
from radanon_node.ledger.types import SampleDraw
from radanon_node.settings import SamplingSettings


# One-sided upper limits at 95%: no finding has the closed form 1 - 0.05**(1/n); the others are textbook values (two-sided 90% intervals).
@pytest.mark.parametrize(("found", "looked", "expected"), [
    (0, 1, 0.95), (0, 10, 0.2589), (0, 20, 0.1391), (0, 59, 0.0495), (0, 299, 0.0100), (0, 3000, 0.000998),
    (1, 10, 0.3942), (1, 20, 0.2161), (2, 20, 0.2826), (5, 10, 0.7776), (1, 100, 0.0466), (10, 100, 0.1637), (9, 10, 0.9949), (10, 10, 1.0),
])  # fmt: skip
def test_the_bound_agrees_with_the_tables(found: int, looked: int, expected: float) -> None:
    assert upper_bound(found, looked) == pytest.approx(expected, abs=6e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.95, 0.99]))
def test_so_few_findings_would_be_that_rare_at_the_bound(pair: tuple[int, int], level: float) -> None:
    """The definition itself: at a true share equal to the bound, `found` or fewer findings have the probability 1 - level."""
    found, looked = pair
    bound = upper_bound(found, looked, level)
    if found == looked:
        assert bound == 1.0
        return
    chance = sum(math.comb(looked, k) * bound**k * (1 - bound) ** (looked - k) for k in range(found + 1))
    assert chance == pytest.approx(1 - level, abs=1e-8)


def test_nothing_looked_at_says_nothing() -> None:
    assert upper_bound(0, 0) == 1.0
    for wrong in ((2, 1, 0.95), (-1, 1, 0.95), (0, 1, 1.0)):
        with pytest.raises(ValueError):
            upper_bound(*wrong)


class Ledger:
    """A ledger with one threshold."""

    def __init__(self, threshold: float) -> None:
        self.threshold, self.asked, self.down = threshold, 0, False

    def sample_threshold(self, device: str, draw: SampleDraw) -> float:
        self.asked += 1
        if self.down:
            raise LedgerUnavailable("ledger: gone")
        return self.threshold


def test_a_share_is_kept_and_the_ledger_is_seldom_asked() -> None:
    ledger = Ledger(0.2)
    sampler = Sampler(SamplingSettings(rate=0.2), ledger)  # type: ignore[arg-type]
    kept = [draw for draw in (sampler.draw("dev", "IN") for _ in range(2000)) if draw]
    assert 300 < len(kept) < 500  # 400 expected, standard deviation 18
    assert all(draw.priority < 0.2 and draw.route == "IN" for draw in kept)
    assert ledger.asked <= 3


def test_off_is_off_and_a_dead_ledger_keeps_rather_than_loses() -> None:
    assert not Sampler(SamplingSettings(), Ledger(1.0)).on  # type: ignore[arg-type]
    ledger = Ledger(0.0)
    ledger.down = True
    assert Sampler(SamplingSettings(per_device=1), ledger).draw("dev", "IN") is not None  # type: ignore[arg-type]
