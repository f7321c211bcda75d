"""A-ASSOCIATE: requests of real toolkits are understood, noise ends the association, answers are what pynetdicom reads."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ

from radanon_node.errors import AssociationEnded
from radanon_node.network.contexts import STORAGE_COMMITMENT, Acceptor, Proposal
from radanon_node.network.negotiation import Rejection, accept, check_request, max_send, parse_request, plain_address, reject
from radanon_node.network.upper_layer import MAX_PDU
from radanon_node.settings import ListenerSettings
from tests.network.kit import CT, EXPLICIT, IMPLICIT, associate_rq


def test_a_request_is_understood() -> None:
    request = parse_request(associate_rq(called="RADANON", calling="CT 01", max_pdu=4096, roles={STORAGE_COMMITMENT: (False, True)}))
    assert (request.called_ae, request.calling_ae, request.max_pdu) == ("RADANON", "CT 01", 4096)
    assert request.proposals == (Proposal(1, CT, (EXPLICIT,)), Proposal(3, "1.2.840.10008.1.1", (IMPLICIT,)))
    assert request.roles == {STORAGE_COMMITMENT: (False, True)}
    assert check_request(request) is None


def test_another_protocol_or_application_context_is_rejected() -> None:
    good = associate_rq()
    assert check_request(parse_request(good[:6] + b"\x00\x02" + good[8:])) is Rejection.PROTOCOL_VERSION
    assert check_request(parse_request(good.replace(b"10008.3.1.1.1", b"10008.3.1.1.2"))) is Rejection.APPLICATION_CONTEXT


@given(st.integers(0, 400), st.binary(min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_a_damaged_request_ends_the_association_or_parses(position: int, damage: bytes) -> None:
    good = associate_rq()
    position %= len(good)
    try:
        request = parse_request(good[:position] + damage + good[position + len(damage):])
    except AssociationEnded:
        return
    assert all(proposal.context_id % 2 for proposal in request.proposals)
    contexts = Acceptor(ListenerSettings()).answer(request.proposals, request.roles)
    assert len(contexts) == len(request.proposals)


@pytest.mark.parametrize("ids", [(1, 1), (2,), ()])
def test_context_ids_must_be_odd_and_different_and_there(ids: tuple[int, ...]) -> None:
    request = bytearray(associate_rq(contexts=[(2 * index + 1, CT, (EXPLICIT,)) for index in range(2)]))
    assert len(parse_request(bytes(request)).proposals) == 2
    start = request.index(b"\x20\x00", 74)  # behind the AE titles and the reserved bytes: the first presentation context item
    size = 4 + int.from_bytes(request[start + 2:start + 4], "big")
    items = [bytearray(request[start + index * size:start + (index + 1) * size]) for index in range(len(ids))]
    for item, number in zip(items, ids, strict=True):
        item[4] = number
    request[start:start + 2 * size] = b"".join(items)
    request[2:6] = (len(request) - 6).to_bytes(4, "big")
    with pytest.raises(AssociationEnded, match="invalid_association_request"):
        parse_request(bytes(request))


def test_the_answer_is_what_pynetdicom_reads() -> None:
    request = parse_request(associate_rq(contexts=((1, CT, ("1.2.3",)), (3, CT, (IMPLICIT, EXPLICIT)), (5, "1.2.3.4", (IMPLICIT,))),
                                         calling="A" * 16, roles={CT: (True, True)}))
    acceptor = Acceptor(ListenerSettings())
    contexts = acceptor.answer(request.proposals, request.roles)
    pdu = A_ASSOCIATE_AC()
    pdu.decode(accept(request, contexts, acceptor.roles(contexts, request.roles)))
    results = pdu.to_primitive().presentation_context_definition_results_list
    assert [(item.context_id, item.result) for item in results] == [(1, 4), (3, 0), (5, 3)]
    assert results[1].transfer_syntax == [EXPLICIT]
    assert pdu.user_information.maximum_length == MAX_PDU
    assert [(bool(item.scu), bool(item.scp)) for item in pdu.user_information.role_selection.values()] == [(True, False)]
    assert pdu.to_primitive().calling_ae_title == "A" * 16


@pytest.mark.parametrize("rejection", Rejection)
def test_a_rejection_is_what_pynetdicom_reads(rejection: Rejection) -> None:
    pdu = A_ASSOCIATE_RJ()
    pdu.decode(reject(rejection))
    assert (pdu.result, pdu.source, pdu.reason_diagnostic) == rejection.value
    assert pdu.reason_str  # a combination that the standard knows


@pytest.mark.parametrize(("announced", "used"), [(0, MAX_PDU), (16384, 16384), (2**31, MAX_PDU), (10, 1024)])
def test_the_peers_largest_pdu_is_kept_to(announced: int, used: int) -> None:
    assert max_send(parse_request(associate_rq(max_pdu=announced))) == used


@pytest.mark.parametrize(("address", "plain"), [("127.0.0.1", "127.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("fe80::1%eth0", "fe80::1")])
def test_addresses_are_compared_as_they_are_configured(address: str, plain: str) -> None:
    assert plain_address(address) == plain
