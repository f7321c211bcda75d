"""The sealed memory of patients, on both engines and across processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from io import BytesIO
from multiprocessing.synchronize import Event as EventType
from pathlib import Path

import numpy as np
import pydicom
import pytest

from radanon_node.errors import StorageError
from radanon_node.pipeline.clean import clean_batch
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.tools import Policy, Tools
from radanon_node.pipeline.types import Quarantined, Received
from radanon_node.settings_profile import ProfileSettings, PseudonymSettings, TagSettings
from radanon_node.tags.known import Known
from radanon_node.tags.pseudonyms import PatientKey
from radanon_node.training.films_dicom import invent
from tests.integration.harness import ct
from tests.ledger.conftest import KEY, Hands

PERSON = invent(np.random.default_rng(7))
ANNA = PatientKey("4711", "HOSPITAL")


@pytest.fixture
def other(hands: Hands) -> Iterator[Hands]:
    """The same ledger in another process's hands."""
    made = hands.again()
    yield made
    made.close()


def test_what_one_process_saw_another_knows(hands: Hands, other: Hands) -> None:
    first = Known((("Mueller^Anna", "name"),), (date(2020, 1, 2),), (date(1961, 3, 7),))
    assert hands.ledger.exchange({ANNA: first}) == {ANNA: first}
    assert other.ledger.exchange({ANNA: Known()}) == {ANNA: first}
    both = other.ledger.exchange({ANNA: Known((("Schmidt^Anna", "name"),))})[ANNA]
    assert both.values == (("Mueller^Anna", "name"), ("Schmidt^Anna", "name"))
    assert hands.ledger.exchange({ANNA: Known()})[ANNA] == both
    assert hands.ledger.exchange({PatientKey("4711"): Known()}) == {PatientKey("4711"): Known()}
    assert hands.ledger.exchange({}) == {}


def test_it_writes_only_what_is_new(hands: Hands) -> None:
    known = Known((("Mueller^Anna", "name"),))
    hands.ledger.exchange({ANNA: known})
    for _ in range(3):
        hands.ledger.exchange({ANNA: known})
    assert hands.sql("SELECT version FROM patients") == [(1,)]


def test_the_table_shows_no_identity(hands: Hands) -> None:
    hands.ledger.exchange({ANNA: Known((("Mueller^Anna", "name"),), (), (date(1961, 3, 7),))})
    ((index, sealed),) = hands.sql("SELECT patient_index, identifiers FROM patients")
    for column in (bytes(index), bytes(sealed)):  # type: ignore[call-overload]
        assert not any(word in column for word in (b"Mueller", b"4711", b"HOSPITAL", b"1961"))


def test_a_row_somebody_altered_is_an_error_and_no_empty_memory(hands: Hands, other: Hands) -> None:
    hands.ledger.exchange({ANNA: Known((("Mueller^Anna", "name"),))})
    cast = "X'00'" if hands.url.startswith("sqlite") else "'\\x00'::bytea"
    hands.sql(f"UPDATE patients SET identifiers = {cast}")
    with pytest.raises(StorageError):
        other.ledger.exchange({ANNA: Known()})


def test_writers_at_the_same_time_lose_nothing(hands: Hands, other: Hands) -> None:
    def tell(number: int) -> None:
        (hands if number % 2 else other).ledger.exchange(
            {ANNA: Known(((f"NAME{number}", "staff"),)), PatientKey(f"{number % 3}"): Known(((f"X{number}", "id"),))})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tell, range(24)))
    assert {value for value, _ in hands.ledger.exchange({ANNA: Known()})[ANNA].values} == {f"NAME{number}" for number in range(24)}


def _tell(url: str, folder: str, who: str, begin: EventType) -> None:
    hands = Hands(url, Path(folder))
    begin.wait(60)
    for number in range(20):
        said = f"{who}{number}"
        hands.ledger.exchange({ANNA: Known(((said, "staff"),)), PatientKey(f"{number % 2}"): Known(((said, "id"),))})
    hands.close()


def test_two_worker_processes_that_add_to_the_same_patients_lose_nothing(hands: Hands) -> None:
    context = multiprocessing.get_context("spawn")
    begin = context.Event()
    workers = [context.Process(target=_tell, args=(hands.url, str(hands.root), who, begin)) for who in ("ONE", "TWO")]
    for worker in workers:
        worker.start()
    begin.set()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    told = {f"{who}{number}" for who in ("ONE", "TWO") for number in range(20)}
    assert {value for value, _ in hands.ledger.exchange({ANNA: Known()})[ANNA].values} == told
    both = hands.ledger.exchange({PatientKey("0"): Known(), PatientKey("1"): Known()})
    assert {value for known in both.values() for value, _ in known.values} == told


def test_patients_of_whom_nothing_came_for_long_are_forgotten(hands: Hands) -> None:
    hands.ledger.exchange({ANNA: Known((("Mueller^Anna", "name"),))})
    assert hands.ledger.forget_patients(3600) == 0
    hands.sql("UPDATE patients SET seen_at = seen_at - 7200")
    assert hands.ledger.forget_patients(3600) == 1
    assert hands.ledger.exchange({ANNA: Known()})[ANNA] == Known()


def slice_of(number: int, **attributes: str) -> bytes:
    dataset = pydicom.dcmread(BytesIO(ct(PERSON, number)))
    dataset.PatientID, dataset.StudyInstanceUID = "4711", f"1.2.3.{number}"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def cleaned(hands: Hands, data: bytes, remember: bool = True) -> Released | Quarantined:
    profile = ProfileSettings(tags=TagSettings(options=("clean_descriptors",)),
                              pseudonyms=PseudonymSettings(remember_identifiers=remember))
    (result,) = clean_batch([Received(data, "1")], Policy("IN", "p", profile), Tools(KEY, memory=hands.ledger))
    return result


@pytest.mark.parametrize("remember", [True, False])
def test_a_name_spelled_only_in_an_earlier_instance_goes_from_a_later_ones_comments(hands: Hands, other: Hands, remember: bool,
                                                                                   tmp_path: Path) -> None:
    first = cleaned(hands, slice_of(1, PatientName="Vandenberghe^Liesbeth", ReferringPhysicianName="Kazlauskas^Jonas"), remember)
    assert isinstance(first, Released)
    later = slice_of(2, PatientName="Dubois^Liesbeth", StudyComments="knee of vandenberghe, sent by KAZLAUSKAS, married name Dubois")
    result = cleaned(other, later, remember)
    assert isinstance(result, Released)
    kept = str(pydicom.dcmread(BytesIO(bytes(result.encoded))).get("StudyComments"))
    assert kept.startswith("knee of") and "Dubois" not in kept
    assert ("andenberghe" in kept, "KAZLAUSKAS" in kept) == (not remember, not remember)
    assert len(hands.sql("SELECT 1 FROM patients")) == remember
