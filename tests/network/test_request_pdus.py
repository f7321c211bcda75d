"""What the requestor writes is what pynetdicom reads, and the other way round; nonsense is refused in words."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.presentation import PresentationContext

from radanon_node import IMPLEMENTATION_CLASS_UID
from radanon_node.network import request_pdus as pdus
from radanon_node.network.request_pdus import Offer, ProtocolError

UIDS = st.from_regex(r"[12](\.[1-9][0-9]{0,6}){1,7}", fullmatch=True)
TITLES = st.from_regex(r"[A-Z0-9]([A-Z0-9 ]{0,14}[A-Z0-9])?", fullmatch=True)
OFFERS = st.lists(st.builds(Offer, UIDS, st.lists(UIDS, min_size=1, max_size=3, unique=True).map(tuple)), min_size=1, max_size=12)


@settings(max_examples=15, deadline=None)
@given(calling=TITLES, called=TITLES, offers=OFFERS, max_pdu=st.integers(0, 2**32 - 1))
def test_associate_request_reads_back_in_pynetdicom(calling: str, called: str, offers: list[Offer], max_pdu: int) -> None:
    pdu = A_ASSOCIATE_RQ()
    pdu.decode(pdus.encode_associate(calling, called, offers, max_pdu))
    primitive = pdu.to_primitive()
    assert (primitive.calling_ae_title, primitive.called_ae_title) == (calling, called)
    contexts = primitive.presentation_context_definition_list
    assert [(context.context_id, str(context.abstract_syntax), tuple(map(str, context.transfer_syntax))) for context in contexts] == [
        (2 * index + 1, offer.abstract_syntax, offer.transfer_syntaxes) for index, offer in enumerate(offers)]
    assert primitive.maximum_length_received == max_pdu
    assert primitive.implementation_class_uid == IMPLEMENTATION_CLASS_UID


@settings(max_examples=40, deadline=None)
@given(results=st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, 4]), UIDS), min_size=1, max_size=20), max_pdu=st.integers(0, 2**32 - 1))
def test_pynetdicoms_accept_is_read(results: list[tuple[int, str]], max_pdu: int) -> None:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "HERE", "THERE"
    primitive.result = 0x00
    contexts = []
    for index, (result, syntax) in enumerate(results):
        context = PresentationContext()
        context.context_id, context.result, context.transfer_syntax = 2 * index + 1, result, [syntax]
        contexts.append(context)
    primitive.presentation_context_definition_results_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, implementation.implementation_class_uid = max_pdu, "1.2.3"
    primitive.user_information = [length, implementation]
    found = pdus.decode_accept(A_ASSOCIATE_AC(primitive).encode()[6:])
    assert found.max_pdu == max_pdu
    accepted = {key: value for key, value in found.contexts.items() if value[0] == 0}
    assert accepted == {2 * index + 1: (0, syntax) for index, (result, syntax) in enumerate(results) if result == 0}
    assert {key: value[0] for key, value in found.contexts.items()} == {2 * index + 1: result for index, (result, _) in enumerate(results)}


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """No length in a peer's PDU makes anything but a ProtocolError."""
    for read in (pdus.decode_accept, lambda data: list(pdus.pdvs(data)), pdus.describe_reject):
        with suppress(ProtocolError):
            read(body)  # type: ignore[operator]


@given(fragment=st.binary(min_size=1, max_size=100), context=st.integers(0, 127).map(lambda n: 2 * n + 1), control=st.integers(0, 3))
def test_pdata_reads_back(fragment: bytes, context: int, control: int) -> None:
    raw = pdus.pdata_header(len(fragment), context, control) + fragment
    assert list(pdus.pdvs(raw[6:])) == [(context, control, fragment)]
    pdu = P_DATA_TF()
    pdu.decode(raw)
    item = pdu.to_primitive().presentation_data_value_list[0]
    assert (item[0], item[1]) == (context, bytes([control]) + fragment)


@pytest.mark.parametrize(("body", "words"), [
    (b"\0\1\1\7", "rejected permanently: called AE title not recognized"),
    (b"\0\2\3\2", "rejected for now: local limit exceeded"),
    (b"\0\7\7\7", "rejected with result 7: source 7, reason 7"),
])  # fmt: skip
def test_rejections_in_words(body: bytes, words: str) -> None:
    assert pdus.describe_reject(body) == words
