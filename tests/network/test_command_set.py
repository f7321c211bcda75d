"""Command sets against pynetdicom's and pydicom's own encoders."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import UID
from pynetdicom.dimse_messages import _MESSAGE_TYPES, C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import decode

from radanon_node.errors import AssociationEnded
from radanon_node.network import command_set as cs

UIDS = st.from_regex(r"1(\.(0|[1-9][0-9]{0,8})){1,6}", fullmatch=True)


@given(sop_class=UIDS, sop_instance=UIDS, message_id=st.integers(0, 65535), priority=st.sampled_from([0, 1, 2]))
@settings(max_examples=60, deadline=None)
def test_a_request_of_pynetdicom_is_read_as_it_was_meant(sop_class: str, sop_instance: str, message_id: int, priority: int) -> None:
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority = message_id, priority
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = UID(sop_class), UID(sop_instance)
    primitive.DataSet = BytesIO(b"1234")
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    fragments = [data for item in message.encode_msg(1, 16384) for _, data in item.presentation_data_value_list]
    command = cs.parse(fragments[0][1:])
    assert (command.kind, command.message_id, command.has_data) == (cs.C_STORE_RQ, message_id, True)
    assert (command.sop_class_uid, command.sop_instance_uid) == (sop_class, sop_instance)


@given(sop_class=UIDS, sop_instance=UIDS, message_id=st.integers(0, 65535), status=st.sampled_from([0, 0xA700, 0xC000]),
       comment=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80))
@settings(max_examples=60, deadline=None)
def test_a_response_is_read_by_pydicom_as_it_was_meant(sop_class: str, sop_instance: str, message_id: int, status: int,
                                                       comment: str) -> None:
    request = cs.parse(cs.pack(CommandField=1, MessageID=message_id, AffectedSOPClassUID=sop_class, AffectedSOPInstanceUID=sop_instance))
    data = cs.response(request, status, comment.replace("\\", ""))
    assert len(data) % 2 == 0
    found = decode(BytesIO(data), True, True)
    assert found.CommandGroupLength == len(data) - 12
    assert (found.CommandField, found.MessageIDBeingRespondedTo, found.Status) == (0x8001, message_id, status)
    assert (found.AffectedSOPClassUID, found.AffectedSOPInstanceUID, found.CommandDataSetType) == (sop_class, sop_instance, 0x0101)
    assert list(found.keys()) == sorted(found.keys())


@given(sop_class=UIDS, sop_instance=st.one_of(st.just(""), UIDS), message_id=st.integers(0, 65535))
@settings(max_examples=60, deadline=None)
def test_the_usual_answer_is_the_one_that_is_put_together_from_its_elements(sop_class: str, sop_instance: str, message_id: int) -> None:
    request = cs.parse(cs.pack(CommandField=1, MessageID=message_id, AffectedSOPClassUID=sop_class, AffectedSOPInstanceUID=sop_instance))
    assert cs.response(request, 0) == cs.pack(
        CommandField=0x8001, MessageIDBeingRespondedTo=message_id, CommandDataSetType=cs.NO_DATA_SET, Status=0,
        AffectedSOPClassUID=sop_class, AffectedSOPInstanceUID=sop_instance)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_noise_ends_the_association_or_parses_but_raises_nothing_else(data: bytes) -> None:
    try:
        cs.parse(data)
    except AssociationEnded as ended:
        assert ended.abort == (2, 6)


@pytest.mark.parametrize("cut", [1, 7, 9, 20])
def test_a_cut_command_is_no_command(cut: int) -> None:
    with pytest.raises(AssociationEnded):
        cs.parse(cs.pack(CommandField=1, MessageID=1, AffectedSOPClassUID="1.2")[:-cut])


def test_every_request_of_the_standard_is_known() -> None:
    requests = {number for number, (name, _) in _MESSAGE_TYPES.items() if number < 0x8000}
    assert requests - {cs.C_CANCEL_RQ} == cs.REQUESTS


@given(sop_class=UIDS, sop_instance=UIDS, message_id=st.integers(1, 65535))
@settings(max_examples=60, deadline=None)
def test_a_store_request_is_the_one_that_is_put_together_from_its_elements(sop_class: str, sop_instance: str, message_id: int) -> None:
    assert cs.store_request(message_id, sop_class, sop_instance) == cs.pack(
        CommandField=cs.C_STORE_RQ, MessageID=message_id, Priority=0, CommandDataSetType=1, AffectedSOPClassUID=sop_class,
        AffectedSOPInstanceUID=sop_instance)
