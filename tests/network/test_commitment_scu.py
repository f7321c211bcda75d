"""Storage Commitment as its user: an original is kept until the archive has promised."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.dsutils import encode
from pynetdicom.events import Event
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from radanon_node.ledger.seal import Seal
from radanon_node.network.commit_request import (
    INVALID_ARGUMENT,
    NO_SUCH_EVENT_TYPE,
    SUCCESS,
    decode_report,
    handle_event_report,
    is_transaction,
    new_transaction,
)
from tests.network.sending import KEY, Bench, bench, network, picture
from tests.peers import orthanc, storescp

IMPLICIT = "1.2.840.10008.1.2"


def report(transaction: str, committed: list[str], failed: list[str], implicit: bool = True) -> bytes:
    """Event information as an archive sends it."""
    ds = Dataset()
    ds.TransactionUID = transaction
    for keyword, uids in (("ReferencedSOPSequence", committed), ("FailedSOPSequence", failed)):
        if uids:
            items = []
            for uid in uids:
                item = Dataset()
                item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
                if keyword == "FailedSOPSequence":
                    item.FailureReason = 0x0112
                items.append(item)
            setattr(ds, keyword, items)
    data: bytes = encode(ds, implicit, True)
    return data


@contextlib.contextmanager
def committing(commits: bool = True, same_association: bool = True) -> Iterator[tuple[int, list[Dataset]]]:
    """An archive with Storage Commitment (pynetdicom); gives its port and the requests it got."""
    requests: list[Dataset] = []

    def on_action(event: Event) -> tuple[int, None]:
        requests.append(event.action_information)
        if same_association:
            answer = Dataset()
            answer.TransactionUID = event.action_information.TransactionUID
            keyword = "ReferencedSOPSequence" if commits else "FailedSOPSequence"
            setattr(answer, keyword, event.action_information.ReferencedSOPSequence)

            def send() -> None:
                event.assoc.send_n_event_report(answer, 1 if commits else 2, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)

            threading.Timer(0.1, send).start()
        return 0, None

    application = AE("ARCHIVE")
    application.supported_contexts = AllStoragePresentationContexts[:120]
    application.add_supported_context(StorageCommitmentPushModel)
    server: Any = application.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda event: 0), (evt.EVT_N_ACTION, on_action)])
    try:
        yield server.server_address[1], requests
    finally:
        server.shutdown()


def sent(node: Bench) -> bool:
    return {entry.state for entry in node.ledger.deliveries_list()} == {"sent"}


@settings(max_examples=50)
@given(name=st.text(min_size=1, max_size=20), other=st.text(min_size=1, max_size=20), forged=st.integers(0, 2**128 - 1))
def test_transactions_are_known_by_their_mac(name: str, other: str, forged: int) -> None:
    """Whoever holds the key knows its own transaction of that destination, and no other."""
    seal = Seal(KEY)
    transaction = new_transaction(seal, name)
    assert is_transaction(seal, name, transaction) and len(transaction) <= 64
    assert is_transaction(seal, other, transaction) == (name == other)
    assert not is_transaction(Seal(bytes(32)), name, transaction)
    assert not is_transaction(seal, name, f"2.25.{forged}")
    for nonsense in ("", "2.25.", "1.2.3", "2.25.x", "2.25.-1", "2.25.\u0663"):
        assert not is_transaction(seal, name, nonsense)


@settings(max_examples=60)
@given(data=st.binary(max_size=200), syntax=st.sampled_from([IMPLICIT, "1.2.840.10008.1.2.1"]))
def test_noise_is_no_report(data: bytes, syntax: str) -> None:
    with contextlib.suppress(ValueError):
        decode_report(data, syntax)


@pytest.mark.integration
def test_committed_on_the_same_association(tmp_path: Path) -> None:
    """Sent, asked, promised: only then it is delivered."""
    with committing() as (port, requests), bench(tmp_path, {"archive": network(port, storage_commitment=True)}) as node:
        pictures = [picture(number) for number in range(4)]
        node.put(pictures)
        with node.sending():
            node.wait_delivered("archive", 4)
        asked = {str(item.ReferencedSOPInstanceUID) for request in requests for item in request.ReferencedSOPSequence}
        assert asked == {str(ds.SOPInstanceUID) for ds in pictures}
        assert node.ledger.status()["states"]["delivered"] == 4


@pytest.mark.integration
def test_not_committed_is_sent_again_and_fails_after_the_attempts(tmp_path: Path) -> None:
    """An archive that takes and then denies: the instance is kept, and failed when the attempts are used up."""
    settings_ = network(0, storage_commitment=True, attempts=2)
    with committing(commits=False) as (port, _), bench(tmp_path, {"archive": {**settings_, "port": port}}) as node:
        node.put([picture()])
        with node.sending():
            node.wait(lambda: node.counts("archive").get("failed") == 1)
        assert "attempts are used up" in node.ledger.deliveries_list()[0].detail


@pytest.mark.integration
def test_report_by_another_association(tmp_path: Path) -> None:
    """The listener's process hands the report over: a made-up transaction changes nothing, the asked one delivers."""
    archive = committing(same_association=False)
    with archive as (port, requests), bench(tmp_path, {"archive": network(port, storage_commitment=True)}) as node:
        pictures = [picture(number) for number in range(2)]
        uids = [str(ds.SOPInstanceUID) for ds in pictures]
        node.put(pictures)
        with node.sending():
            node.wait(lambda: bool(requests) and sent(node))
            take = (node.config, node.ledger, node.seal)
            assert handle_event_report(*take, 1, report(generate_uid(), uids, []), IMPLICIT)[0] == INVALID_ARGUMENT
            assert handle_event_report(*take, 1, b"\0", IMPLICIT)[0] == INVALID_ARGUMENT
            transaction = str(requests[0].TransactionUID)
            assert handle_event_report(*take, 9, report(transaction, uids, []), IMPLICIT)[0] == NO_SUCH_EVENT_TYPE
            assert sent(node)
            explicit = report(transaction, uids, [], implicit=False)
            assert handle_event_report(*take, 1, explicit, "1.2.840.10008.1.2.1") == (SUCCESS, "archive", 2, 0)
            node.wait_delivered("archive", 2)


@pytest.mark.integration
def test_archive_without_commitment_keeps_them_sent(tmp_path: Path) -> None:
    """It was asked for and cannot be had: the originals are kept, and the deliveries say why."""
    running = storescp(tmp_path / "store", "--fork")
    with running as archive, bench(tmp_path, {"archive": network(archive.port, storage_commitment=True)}) as node:
        node.put([picture()])
        with node.sending():
            node.wait(lambda: "does not offer Storage Commitment" in node.ledger.deliveries_list()[0].detail)
        assert sent(node)


@pytest.mark.integration
def test_orthanc_takes_the_request(tmp_path: Path) -> None:
    """Orthanc accepts the N-ACTION and checks what it has: its own log says so. It reports by an association of its own."""
    running = orthanc(tmp_path / "orthanc", {"node": ["RADANON", "127.0.0.1", 1]})
    with running as archive, bench(tmp_path, {"archive": network(archive.port, storage_commitment=True, ae_title="ORTHANC")}) as node:
        node.put([picture()])
        with node.sending():
            node.wait(lambda: node.ledger.deliveries_list()[0].detail == "Storage Commitment requested")
        assert len(archive.instances()) == 1
