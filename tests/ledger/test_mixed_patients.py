"""A study belongs to one patient: instances of another one are set apart (several Patient IDs in one study)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.ledger.conftest import Hands


@pytest.mark.parametrize("together", [True, False])
def test_the_first_patient_of_a_study_keeps_it(hands: Hands, together: bool) -> None:
    ids = hands.admit("1.1", "1.2", "1.3", "1.4")
    items = {item.id: item for item in hands.ledger.claim("worker", 4, 60)}
    whose = dict(zip(ids, ["anna", "anna", "bert", "bert"]))
    study = dict(zip(ids, ["one", "one", "one", "two"]))
    outcomes = [replace(hands.released(items[one], study=study[one]), patient_key=whose[one]) for one in ids]
    for batch in [outcomes] if together else [[outcome] for outcome in outcomes]:
        assert hands.ledger.finish(batch) == []
    assert hands.states() == {"released": 3, "quarantined": 1}
    (held,) = hands.ledger.quarantine_list()
    assert (held.id, held.reason) == (ids[2], "mixed_patients")
    assert outcomes[2].release.file not in hands.files()
    assert len(hands.files()) == 4 + 3


def test_a_retry_is_judged_again(hands: Hands) -> None:
    first, second = hands.admit("1.1", "1.2")
    items = {item.id: item for item in hands.ledger.claim("worker", 2, 60)}
    whose = {first: "anna", second: "bert"}
    hands.ledger.finish([replace(hands.released(items[one]), patient_key=whose[one]) for one in whose])
    hands.ledger.quarantine_retry(second, "tester")
    (item,) = hands.ledger.claim("worker", 1, 60)
    hands.ledger.finish([replace(hands.released(item), patient_key="anna")])
    assert hands.states() == {"released": 2}
