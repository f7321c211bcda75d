"""Which presentation contexts are accepted, against pynetdicom's negotiation and the standard's lists."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.presentation import AllStoragePresentationContexts, build_context, negotiate_as_acceptor

from radanon_node.network.contexts import (
    EXPLICIT_LE,
    IMPLICIT_LE,
    STORAGE_COMMITMENT,
    STORAGE_SOP_CLASSES,
    TRANSFER_SYNTAXES,
    VERIFICATION,
    Acceptor,
    Proposal,
)
from radanon_node.settings import ListenerSettings

PRIVATE = "1.2.826.0.1.3680043.9.9999.1"
REFERENCE = Path(__file__).parents[3] / "shared" / "reference"


def answer(uid: str, syntaxes: tuple[str, ...] = (EXPLICIT_LE,), role: tuple[bool, bool] | None = None, stores: bool = True,
           reports: bool = False, **listener: object) -> tuple[int, str]:
    acceptor = Acceptor(ListenerSettings.model_validate(listener), stores, reports)
    [context] = acceptor.answer([Proposal(1, uid, syntaxes)], {} if role is None else {uid: role})
    return context.result, context.transfer_syntax


def test_every_storage_class_that_pynetdicom_knows_is_taken() -> None:
    assert {str(context.abstract_syntax) for context in AllStoragePresentationContexts} <= STORAGE_SOP_CLASSES


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference tables are not here")
def test_every_sop_class_of_the_iod_tables_that_is_stored_is_taken() -> None:
    with (REFERENCE / "iod_modules.csv").open(newline="", encoding="utf-8") as file:
        uids = {value.strip() for row in csv.DictReader(file) for key, value in row.items()
                if key and "uid" in key.lower() and value and value.startswith("1.2.840.10008.5.1.4.1.1.")}
    assert uids <= STORAGE_SOP_CLASSES


@pytest.mark.parametrize("uid", [
    "1.2.840.10008.5.1.4.1.1.3",  # retired ultrasound multi-frame
    "1.2.840.10008.5.1.4.1.1.88.1",  # retired trial SR
    "1.2.840.10008.5.1.1.30",  # retired hardcopy
    "1.2.840.10008.5.1.4.1.1.104.1",  # encapsulated PDF
    "1.2.840.10008.5.1.4.1.1.66.7",  # label map, newer than the dictionary
])
def test_retired_and_new_classes_are_taken(uid: str) -> None:
    assert answer(uid) == (0, EXPLICIT_LE)


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.3.10", "1.2.840.10008.1.20.2", "1.2.840.10008.5.1.4.1.2.2.1", PRIVATE])
def test_what_is_no_storage_class_is_not(uid: str) -> None:
    assert answer(uid)[0] == 3


def test_unknown_classes_are_taken_by_configuration_only() -> None:
    assert answer(PRIVATE, unknown_sop_classes="quarantine")[0] == 0
    assert answer(PRIVATE, extra_sop_classes=(PRIVATE,))[0] == 0
    assert answer("1.2.840.10008.5.1.4.1.2.2.1", unknown_sop_classes="quarantine")[0] == 3  # Study Root FIND is known and no storage


@pytest.mark.parametrize("syntax", sorted(TRANSFER_SYNTAXES))
def test_every_transfer_syntax_is_taken_as_it_is(syntax: str) -> None:
    assert answer("1.2.840.10008.5.1.4.1.1.2", (syntax,)) == (0, syntax)


def test_the_peers_order_decides_but_implicit_gives_way_to_explicit() -> None:
    ct, jpeg = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.4.70"
    assert answer(ct, (IMPLICIT_LE, EXPLICIT_LE))[1] == EXPLICIT_LE
    assert answer(ct, (jpeg, EXPLICIT_LE))[1] == jpeg
    assert answer(ct, ("1.2.3", jpeg))[1] == jpeg
    assert answer(ct, ("1.2.3",)) == (4, "")
    assert answer(VERIFICATION, (jpeg,)) == (4, "")


def test_commitment_needs_the_right_side_of_it() -> None:
    assert answer(STORAGE_COMMITMENT)[0] == 3
    assert answer(STORAGE_COMMITMENT, storage_commitment=True)[0] == 0
    assert answer(STORAGE_COMMITMENT, storage_commitment=True, stores=False)[0] == 3
    assert answer(STORAGE_COMMITMENT, role=(False, True), reports=True)[0] == 0
    assert answer(STORAGE_COMMITMENT, role=(True, False), reports=True)[0] == 1
    assert answer(STORAGE_COMMITMENT, reports=True)[0] == 1  # default roles: it would be the SCU


def test_a_peer_that_may_not_store_may_still_be_echoed() -> None:
    assert answer("1.2.840.10008.5.1.4.1.1.2", stores=False)[0] == 3
    assert answer(VERIFICATION, stores=False)[0] == 0


UIDS = st.sampled_from([*sorted(STORAGE_SOP_CLASSES)[:6], VERIFICATION, PRIVATE])
SYNTAXES = st.lists(st.sampled_from([*sorted(TRANSFER_SYNTAXES)[:8], "1.2.3"]), min_size=1, max_size=4, unique=True)


@given(st.lists(st.tuples(UIDS, SYNTAXES), min_size=1, max_size=6),
       st.dictionaries(UIDS, st.sampled_from([(True, False), (False, True), (True, True)]), max_size=2))
@settings(max_examples=80, deadline=None)
def test_results_and_roles_are_those_of_pynetdicom(wanted: list[tuple[str, list[str]]], roles: dict[str, tuple[bool, bool]]) -> None:
    """Except for which of several possible syntaxes is taken: pynetdicom follows the acceptor's order, we the peer's."""
    acceptor = Acceptor(ListenerSettings())
    ours = acceptor.answer([Proposal(2 * index + 1, uid, tuple(syntaxes)) for index, (uid, syntaxes) in enumerate(wanted)], roles)
    requested, supported = [], []
    for index, (uid, syntaxes) in enumerate(wanted):
        requested.append(build_context(uid, syntaxes))
        requested[-1].context_id = 2 * index + 1
    for uid in {uid for uid, _ in wanted} - {PRIVATE}:
        known = ["1.2.840.10008.1.2", EXPLICIT_LE, "1.2.840.10008.1.2.2"] if uid == VERIFICATION else sorted(TRANSFER_SYNTAXES)
        context = build_context(uid, known)
        context.scu_role, context.scp_role = True, False  # how it accepts a peer that is SCU only
        supported.append(context)
    theirs, answered = negotiate_as_acceptor(requested, supported, dict(roles))
    assert {item.context_id: item.result for item in ours} == {item.context_id: item.result for item in theirs}
    assert acceptor.roles(ours, roles) == {str(item.sop_class_uid): (bool(item.scu_role), bool(item.scp_role)) for item in answered}


def test_a_context_without_a_known_syntax_is_refused_for_that_whatever_its_role() -> None:
    assert answer("1.2.840.10008.5.1.4.1.1.2", ("1.2.3",), role=(False, True)) == (4, "")
    assert answer("1.2.840.10008.5.1.4.1.1.2", role=(False, True))[0] == 1
