"""Files that tell what they are: nothing acknowledged goes missing, nothing torn passes for an instance."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.ledger.record import PREAMBLE, carries
from radanon_node.ledger.seal import Seal
from radanon_node.ledger.types import Arrival
from radanon_node.network.storing import file_header
from radanon_node.pipeline.receipt import _digest_as_received
from radanon_node.pipeline.released import digest_of
from tests.ledger.conftest import KEY, Hands

CT, SYNTAX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
RECORDS = Seal(KEY).records


def marked(uid: str, body: bytes, name: str = "in/x", route: str = "RADANON", calling: str = "CT 01") -> tuple[Arrival, bytes]:
    header = file_header(CT, uid, SYNTAX)
    arrival = Arrival(name, len(header) + len(body), route, calling, CT, uid, SYNTAX, 12.5, turn=3)
    digest = RECORDS.digest()
    digest.update(header[PREAMBLE:])
    for start in range(0, len(body), 1000):
        digest.update(body[start:start + 1000])
    preamble = RECORDS.write(arrival, digest)
    assert preamble is not None and len(preamble) == PREAMBLE
    return arrival, preamble + header[PREAMBLE:] + body


def spooled(hands: Hands, uid: str, body: bytes = b"the data set") -> str:
    """A sealed file with its record, as a listener leaves it that dies after the answer."""
    incoming = hands.spool.begin(b"")
    _, data = marked(uid, body, incoming.name)
    os.write(incoming.fd, data)
    incoming.seal()
    return incoming.name


@given(st.binary(min_size=1, max_size=5000), st.text("0123456789", min_size=1, max_size=20).map(lambda tail: f"1.2.{tail}"))
@settings(max_examples=40, deadline=None)
def test_a_record_says_what_was_written(body: bytes, uid: str) -> None:
    arrival, data = marked(uid, body)
    assert carries(data)
    assert RECORDS.read("in/x", data) == arrival


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_a_file_that_is_not_whole_or_was_changed_carries_none(data: st.DataObject) -> None:
    _, whole = marked("1.2.3", bytes(range(256)) * 4)
    end = data.draw(st.integers(0, len(whole) - 1))
    assert RECORDS.read("in/x", whole[:end]) is None
    assert RECORDS.read("in/x", whole[:end] + bytes(len(whole) - end)) is None or not any(whole[end:])
    at = data.draw(st.integers(0, len(whole) - 1).filter(lambda place: not 92 <= place < PREAMBLE))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    assert RECORDS.read("in/x", changed) is None
    assert RECORDS.read("in/y", whole) is None
    assert Seal(bytes(32)).records.read("in/x", whole) is None


@pytest.mark.parametrize("titles", [("A" * 17, "CT"), ("RADANON", "K\u00d6LN"), ("RADANON", "A\0B")])
def test_titles_that_have_no_place_in_a_record_need_their_row_first(titles: tuple[str, str]) -> None:
    assert RECORDS.write(Arrival("in/x", 1, *titles, CT, "1.2.3", SYNTAX, 0.0, turn=0), RECORDS.digest()) is None


def test_the_next_start_writes_the_rows_of_a_dead_listener_from_its_files(hands: Hands) -> None:
    other = hands.again()
    names = {spooled(other, f"1.2.{number}") for number in range(3)}
    again = spooled(other, "1.2.0")  # resent
    changed = spooled(other, "1.2.1", b"another one")
    torn = spooled(other, "1.2.9")
    with (hands.root / torn).open("r+b") as file:
        file.truncate(300)
    other.close()
    hands.spool.sweep(hands.ledger.known_files)  # without its ledger nothing decides about them
    assert set(hands.files()) >= names | {changed, again}
    hands.spool.sweep(hands.ledger.known_files, hands.ledger.readmit)
    assert hands.states() == {"received": 3, "quarantined": 1}
    assert len(hands.files()) == 4
    assert torn not in hands.files()
    items = hands.ledger.claim("worker", 16, 60)
    assert {(item.sop_instance_uid, item.route, item.transfer_syntax_uid) for item in items} == {
        (f"1.2.{number}", "RADANON", SYNTAX) for number in range(3)}
    assert hands.spool.sweep(hands.ledger.known_files, hands.ledger.readmit) == []


def test_rows_that_a_power_cut_took_back_are_written_again_from_the_files(hands: Hands) -> None:
    other = hands.again()
    names = [spooled(other, f"1.2.{number}") for number in range(250)]
    arrivals = [RECORDS.read(name, (hands.root / name).read_bytes()) for name in names]
    other.ledger.admit([arrival for arrival in arrivals if arrival is not None], urgent=False)
    assert hands.states() == {"received": 250}
    other.close()
    hands.sql("DELETE FROM instances WHERE id % 2 = 1")
    assert hands.spool.sweep(hands.ledger.known_files, hands.ledger.readmit) == []
    assert hands.states() == {"received": 250}
    assert {item.file for item in hands.ledger.claim("worker", 300, 60)} == set(names)


def test_the_same_instance_has_the_same_digest_in_its_receipts_whenever_it_came() -> None:
    first, second = (marked("1.2.3", b"body", name)[1] for name in ("in/x", "in/y"))
    assert first != second
    assert _digest_as_received(first) == _digest_as_received(second) == digest_of(bytes(PREAMBLE) + first[PREAMBLE:])


def test_a_commit_whose_answer_was_lost_removes_no_file(hands: Hands) -> None:
    for uid, body in (("1.1", b"one"), ("1.1", b"other")):
        arrival = hands.arrival(uid, body)
        first = hands.ledger.admit([arrival])
        assert [item.id for item in hands.ledger.admit([arrival])] == [first[0].id]
        assert hands.spool.exists(arrival.file)
