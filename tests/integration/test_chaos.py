"""Two nodes, one PostgreSQL, one object store, everything broken in turn under load: nothing acknowledged is lost or doubled."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.chaos import ACTS, Site, check
from tests.integration.harness import write_study
from tests.postgres import postgres_server
from tests.s3 import s3_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    with postgres_server() as postgres, s3_server() as store:
        made = Site(tmp_path, postgres, store, seed=int(os.environ.get("RADANON_CHAOS_SEED", "1")))
        try:
            made.start()
            yield made
        finally:
            made.stop()


def run(site: Site, studies: int, slices: int, seconds: float, pause: tuple[float, float], kinds: list[str]) -> None:
    files = [path for number in range(studies) for path in write_study(site.folder / "in", slices, seed=100 + number)]
    breaker = threading.Thread(target=site.break_things, args=(seconds, pause, kinds))
    breaker.start()
    site.send(files)
    breaker.join()
    states = check(site, files)
    counts = {state: count for state, count in states.items() if count}
    site.note(f"{len(files)} instances acknowledged, {site.refused} times refused or cut off before: {counts}; peaks: {site.peak}")


def test_short(site: Site) -> None:
    """A minute of it on a quiet machine."""
    run(site, studies=6, slices=10, seconds=20, pause=(0.2, 1.0),
        kinds=["kill -9 of a node", "kill -9 of a child", "PostgreSQL crashes", "archive flaps", "object store hangs"])


@pytest.mark.slow
def test_minutes_of_everything(site: Site) -> None:
    """`make chaos`: RADANON_CHAOS_SECONDS (default 180) and RADANON_CHAOS_SEED choose how long and which order."""
    seconds = float(os.environ.get("RADANON_CHAOS_SECONDS", "180"))
    run(site, studies=max(4, int(seconds / 6)), slices=40, seconds=seconds, pause=(0.5, 3.0), kinds=list(ACTS))
