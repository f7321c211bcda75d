"""Storage Commitment: towards modalities on their association and on a new one, and archives' reports about what the sender asked."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.presentation import build_role

from radanon_node.network import command_set as cs
from radanon_node.network.commit_request import new_transaction
from radanon_node.network.commitment import read_data_set, write_data_set
from radanon_node.network.contexts import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from tests.network.kit import (
    CT,
    EXPLICIT,
    IMPLICIT,
    RELEASE_RQ,
    Node,
    Peer,
    associate_rq,
    encoded,
    make_config,
    make_instance,
    pdu,
    running,
)

CONTEXTS = ((1, CT, (EXPLICIT,)), (5, STORAGE_COMMITMENT, (IMPLICIT,)))
ON = {"storage_commitment": True}


def item(uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, uid
    return reference


def action(uids: list[str], transaction: str, instance: str = STORAGE_COMMITMENT_INSTANCE, action_type: int = 1) -> bytes:
    data = Dataset()
    if transaction:
        data.TransactionUID = transaction
    data.ReferencedSOPSequence = [item(uid) for uid in uids]
    command = cs.pack(CommandField=cs.N_ACTION_RQ, MessageID=3, CommandDataSetType=1, RequestedSOPClassUID=STORAGE_COMMITMENT,
                      RequestedSOPInstanceUID=instance, ActionTypeID=action_type)
    return pdu((5, 3, command)) + pdu((5, 2, write_data_set(data, IMPLICIT)))


def read_report(peer: Peer) -> tuple[cs.Command, Dataset]:
    kind, body = peer.recv()
    assert (kind, body[4], body[5]) == (4, 5, 3)
    command = cs.parse(body[6:])
    kind, body = peer.recv()
    assert (kind, body[4], body[5]) == (4, 5, 2)
    data = read_data_set(body[6:], IMPLICIT)
    assert data is not None
    return command, data


def uids(data: Dataset, keyword: str) -> list[str]:
    return [str(found.ReferencedSOPInstanceUID) for found in data.get(keyword) or []]


def decide(node: Node, monkeypatch: pytest.MonkeyPatch, verdict: str) -> None:
    """From now on the ledger says `verdict` about whatever it knows."""
    known = node.ledger.committed
    monkeypatch.setattr(node.ledger, "committed", lambda wanted, route: {
        uid: verdict if state == "pending" else state for uid, state in known(wanted, route).items()})


def test_the_result_follows_on_the_same_association_when_the_archives_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(make_config(tmp_path, ON)) as node, Peer(node.port) as peer:
        peer.associate(contexts=CONTEXTS)
        instance = make_instance()
        transaction = generate_uid()
        assert peer.store(encoded(instance), instance.SOPInstanceUID) == 0
        peer.send(action([instance.SOPInstanceUID, "1.2.3.4"], transaction))
        answer = peer.response()
        assert (answer.kind, answer.numbers["Status"]) == (0x8130, 0)
        more = make_instance()  # pending: the association can be used for other things meanwhile
        assert peer.store(encoded(more), more.SOPInstanceUID) == 0
        decide(node, monkeypatch, "accepted")
        command, data = read_report(peer)
        assert (command.kind, command.numbers["EventTypeID"], command.sop_instance_uid) == (0x0100, 2, STORAGE_COMMITMENT_INSTANCE)
        assert data.TransactionUID == transaction
        assert uids(data, "ReferencedSOPSequence") == [instance.SOPInstanceUID]
        assert uids(data, "FailedSOPSequence") == ["1.2.3.4"]
        assert data.FailedSOPSequence[0].FailureReason == 0x0112
        peer.send(pdu((5, 3, cs.response(command, 0))))
        peer.send(RELEASE_RQ)
        assert peer.recv()[0] == 6


class Modality:
    """An SCU that listens for results on a port of its own, as pynetdicom does it."""

    def __init__(self) -> None:
        self.reports: queue.Queue[tuple[int, Dataset]] = queue.Queue()
        entity = AE("MODALITY")
        entity.add_supported_context(STORAGE_COMMITMENT, scu_role=False, scp_role=True)
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._take)])

    def _take(self, event: Any) -> tuple[int, None]:
        self.reports.put((event.request.EventTypeID, event.event_information))
        return 0, None

    @property
    def port(self) -> int:
        return int(self.server.socket.getsockname()[1])


@pytest.mark.parametrize(("verdict", "event"), [("accepted", 1), ("failed", 2)])
def test_the_result_follows_on_a_new_association_when_the_first_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: str,
                                                                        event: int) -> None:
    modality = Modality()
    try:
        config = make_config(tmp_path, ON | {"allowed_callers": [{"ae_title": "MODALITY", "host": "127.0.0.1", "port": modality.port}]})
        with running(config) as node:
            instance, transaction = make_instance(), generate_uid()
            with Peer(node.port) as peer:
                peer.associate(contexts=CONTEXTS)
                assert peer.store(encoded(instance), instance.SOPInstanceUID) == 0
                decide(node, monkeypatch, "pending" if verdict == "accepted" else verdict)
                peer.send(action([instance.SOPInstanceUID], transaction) + RELEASE_RQ)
                assert peer.response().numbers["Status"] == 0
            decide(node, monkeypatch, verdict)
            found, data = modality.reports.get(timeout=20)
            assert (found, data.TransactionUID) == (event, transaction)
            assert uids(data, "ReferencedSOPSequence" if event == 1 else "FailedSOPSequence") == [instance.SOPInstanceUID]
    finally:
        modality.server.shutdown()


def test_a_request_outlives_the_node_that_took_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modality = Modality()
    try:
        config = make_config(tmp_path, ON | {"allowed_callers": [{"ae_title": "MODALITY", "host": "127.0.0.1", "port": modality.port}]})
        instance, transaction = make_instance(), generate_uid()
        with running(config) as node, Peer(node.port) as peer:
            peer.associate(contexts=CONTEXTS)
            assert peer.store(encoded(instance), instance.SOPInstanceUID) == 0
            peer.send(action([instance.SOPInstanceUID], transaction) + RELEASE_RQ)
            assert peer.response().numbers["Status"] == 0
        with running(config) as node:
            decide(node, monkeypatch, "accepted")
            found, data = modality.reports.get(timeout=30)
            assert (found, data.TransactionUID) == (1, transaction)
            assert uids(data, "ReferencedSOPSequence") == [instance.SOPInstanceUID]
    finally:
        modality.server.shutdown()


@pytest.mark.parametrize(("arguments", "status"), [
    ({"instance": "1.2.3"}, 0x0112), ({"action_type": 2}, 0x0123), ({"transaction": ""}, 0x0115), ({"uids": []}, 0x0115),
])
def test_requests_that_make_no_sense_are_answered_with_their_status(tmp_path: Path, arguments: dict[str, Any], status: int) -> None:
    with running(make_config(tmp_path, ON)) as node, Peer(node.port) as peer:
        peer.associate(contexts=CONTEXTS)
        peer.send(action(**({"uids": ["1.2.3"], "transaction": "1.2.4"} | arguments)))
        assert peer.response().numbers["Status"] == status


def test_it_is_off_by_default(tmp_path: Path) -> None:
    with running(make_config(tmp_path)) as node, Peer(node.port) as peer:
        body = peer.associate(contexts=CONTEXTS)
        assert body[body.index(b"\x21\x00") + 4] == 1
        assert b"\x05\x00\x03\x00" in body  # context 5: abstract syntax not supported


ARCHIVES = {"archive": {"host": "127.0.0.1", "port": 11113, "ae_title": "ARCHIVE", "calling_ae_title": "SENDER",
                        "storage_commitment": True}}


def archive_config(folder: Path) -> Any:
    return make_config(folder, destinations=ARCHIVES, routes=[{"ae_title": "RADANON", "profile": "default", "destinations": ["archive"]}])


def test_an_archives_report_on_its_own_association_reaches_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[Any, ...]] = []
    with running(archive_config(tmp_path)) as node:
        monkeypatch.setattr(node.ledger, "committed_by_archive", lambda *arguments: written.append(arguments) or 1)
        entity = AE("ARCHIVE")
        entity.add_requested_context(STORAGE_COMMITMENT)
        association = entity.associate("127.0.0.1", node.port, ae_title="SENDER", ext_neg=[build_role(STORAGE_COMMITMENT, scp_role=True)])
        assert association.is_established
        data = Dataset()
        data.TransactionUID = new_transaction(node.ledger.seal, "archive")
        data.ReferencedSOPSequence = [item("1.2.3")]
        status, _ = association.send_n_event_report(data, 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)
        assert status.Status == 0
        data.TransactionUID = "1.2.3"  # not one of ours
        status, _ = association.send_n_event_report(data, 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)
        assert status.Status == 0x0115
        association.release()
    assert [arguments[:3] for arguments in written] == [("archive", ("1.2.3",), ())]


@pytest.mark.parametrize(("called", "calling", "answer"), [
    ("SENDER", "ARCHIVE", 2), ("SENDER", "STRANGER", 3), ("RADANON", "ARCHIVE", 2),
])
def test_an_archive_may_call_the_title_that_asked_it_and_store_nothing_there(tmp_path: Path, called: str, calling: str,
                                                                             answer: int) -> None:
    with running(archive_config(tmp_path)) as node, Peer(node.port) as peer:
        peer.send(associate_rq(called=called, calling=calling))
        kind, body = peer.recv()
        assert kind == answer
        if kind == 2:
            assert (b"\x01\x00\x03\x00" in body) is (called == "SENDER")  # context 1, CT: abstract syntax not supported
