"""A shadow policy: differences are counted without values, and whatever it does, the live traffic goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from radanon_node.errors import ConfigError, Reason
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.types import WorkItem
from radanon_node.pipeline.clean import clean_batch
from radanon_node.pipeline.shadow import Shadow, differences
from radanon_node.pipeline.tools import Policy
from radanon_node.pipeline.types import Quarantined, Received
from radanon_node.settings import Config
from radanon_node.settings_profile import PixelSettings, ProfileSettings, TagSettings
from tests.integration.harness import film
from tests.pipeline.test_clean import OPTIONS, PERSON, tools
from tests.pipeline.test_worker import Site

LIVE = ProfileSettings(tags=TagSettings(options=OPTIONS))


def compare(shadow: ProfileSettings) -> Counter[tuple[str, str]]:
    data = film(PERSON)
    results = [clean_batch([Received(data, "1")], Policy("IN", "p", profile), tools())[0] for profile in (LIVE, shadow)]
    return differences(*results)


def test_the_same_profile_does_the_same() -> None:
    assert compare(LIVE) == {("compared", ""): 1, ("same", ""): 1}


def test_attributes_that_differ_are_named_by_keyword_alone() -> None:
    tags = TagSettings(options=OPTIONS, retain=("AccessionNumber",), remove=("KVP", "Manufacturer"))
    found = compare(LIVE.model_copy(update={"tags": tags}))
    names = {name for kind, name in found if kind == "attribute"}
    assert "Manufacturer" in names
    text = str(found)
    for word in (PERSON.accession, PERSON.patient_id, *PERSON.name.split("^"), "SYNTHETIC"):
        assert word not in text


def test_boxes_and_pixels_that_differ_are_counted() -> None:
    found = compare(LIVE.model_copy(update={"pixels": PixelSettings(margin=9)}))
    assert found["boxes", "redact only in force"] == found["boxes", "redact only in shadow"] == found["pixels", "differ"] == 1


def test_other_outcomes_are_named_by_their_codes() -> None:
    held = LIVE.model_copy(update={"pixels": PixelSettings(sop_classes={"DX": "hold"})})
    assert compare(held)["outcome", f"released -> {Reason.POLICY_HOLD}"] == 1
    quarantined = Quarantined("1", Reason.VIDEO, "x")
    assert differences(quarantined, Quarantined("2", Reason.VIDEO, "y"))["same", ""] == 1


class Book:
    """Keeps the counts in memory."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def record_shadow(self, route: str, policies: str, counts: Counter[tuple[str, str]]) -> None:
        self.counts.update(counts)


def shadow_site(root: Path, share: float = 1.0) -> Site:
    site = Site(root)
    raw = site.config.model_dump()
    raw["profiles"]["new"] = {"pixels": {"margin": 9}}
    raw["routes"] = [{"ae_title": "RESEARCH", "profile": "films", "destinations": ["archive"],
                      "shadow_profile": "new", "shadow_share": share}]
    raw["destinations"] = {"archive": {"directory": root / "out"}}
    site.config = Config.model_validate(raw)
    return site


def test_a_shadow_that_fails_in_every_way_touches_nothing(tmp_path: Path) -> None:
    site = shadow_site(tmp_path)
    (one, two, three) = site.admit(b"good 1", b"hold 2", b"good 3")
    seen: list[str] = []

    def clean(received: Sequence[Received], policy: Policy) -> list[Any]:
        if policy.name == "new":
            seen.append(received[0].label)
            # What it is about is decided already: released, or held.
            states = site.ledger.status()["states"]
            assert states["processing"] == 0
            raise ZeroDivisionError("CANARY")
        return site.clean(received, policy)

    site.work(clean)
    assert site.ledger.status()["states"]["released"] == 2
    assert site.ledger.status()["states"]["quarantined"] == 1
    assert sorted(seen) == sorted(map(str, (one, two, three)))
    counts = {(item.kind, item.name): item.count for item in site.ledger.shadow_counts()}
    assert counts == {("compared", ""): 3, ("error", "ZeroDivisionError"): 3}
    site.close()


def test_without_a_shadow_profile_nothing_runs_twice(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.admit(b"good 1")
    site.work()
    assert site.ledger.shadow_counts() == []
    assert len(site.batches) == 1
    site.close()


def test_one_that_failed_before_and_one_a_reviewer_let_pass_are_left_out(tmp_path: Path) -> None:
    site = shadow_site(tmp_path)
    book = Book()
    shadow = Shadow(site.config, book, lambda received, policy: [Quarantined("1", Reason.VIDEO)])
    policy = Policy.for_route(site.config, "RESEARCH")

    def note(attempts: int, waived: str = "") -> None:
        item = WorkItem(1, 1, "RESEARCH", "f", 1, "1", "1", "1", attempts, waived)
        shadow.note(policy, [item], [Received(b"x", "1", waived=waived)], [Quarantined("1", Reason.VIDEO)])

    note(1)
    note(0, "video")
    assert not shadow.waiting
    note(0)
    assert shadow.waiting
    shadow.run()
    assert book.counts == {("compared", ""): 1, ("same", ""): 1}
    site.close()


def test_counts_add_up_on_both_sides_of_a_day(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", bytes(32), Spool(tmp_path / "spool"))
    for _ in range(3):
        ledger.record_shadow("IN", "a / b", Counter({("compared", ""): 1, ("attribute", "KVP"): 1}))
    assert [(item.kind, item.count) for item in ledger.shadow_counts("IN")] == [("attribute", 3), ("compared", 3)]
    assert ledger.shadow_counts("OTHER") == []
    assert ledger.shadow_counts(until="2000-01-01") == []
    ledger.close()


def test_a_shadow_profile_that_is_none_is_named() -> None:
    from radanon_node import config as configuration

    with pytest.raises(ConfigError, match=r"routes\[0\]\.shadow_profile: no profile named 'x'"):
        configuration.parse({"profiles": {"p": {}}, "destinations": {"a": {"directory": "x"}},
                             "routes": [{"ae_title": "IN", "profile": "p", "destinations": ["a"], "shadow_profile": "x"}]})
