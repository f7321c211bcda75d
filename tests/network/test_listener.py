"""The listener with a real ledger and spool, driven by DCMTK's programs and by hand."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import stat
import threading
import time
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from radanon_node.config import parse
from radanon_node.errors import ConfigError, DiskLow, LedgerUnavailable
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.types import Arrival
from radanon_node.network import upper_layer
from radanon_node.network.listener import Listener
from tests.network.kit import (
    CT,
    EXPLICIT,
    IMPLICIT,
    RELEASE_RQ,
    Peer,
    associate_rq,
    dcmtk,
    echo_command,
    encoded,
    make_config,
    make_instance,
    pdu,
    running,
    save,
    store_command,
)


def test_storescu_gets_success_for_what_lies_in_spool_and_ledger(tmp_path: Path) -> None:
    instance = make_instance(300_000)
    file = save(instance, tmp_path / "film.dcm")
    with running(make_config(tmp_path / "node")) as node:
        sent = dcmtk("storescu", "-v", "-aec", "RADANON", "-aet", "CT01", "127.0.0.1", node.port, file)
        assert sent.returncode == 0, sent.stderr
        assert "Received Store Response (Success)" in sent.stdout + sent.stderr
        [item] = node.items()
        assert (item.route, item.sop_class_uid, item.sop_instance_uid, item.transfer_syntax_uid) == (
            "RADANON", CT, instance.SOPInstanceUID, EXPLICIT)
        assert node.data_set(item) == encoded(instance)
        with node.spool.open(item.file) as opened:
            received = dcmread(BytesIO(bytes(opened.data)))
        assert received.file_meta.TransferSyntaxUID == EXPLICIT
        assert received.file_meta.MediaStorageSOPInstanceUID == instance.SOPInstanceUID
        assert received.PixelData == instance.PixelData
        assert node.admitted == [1]
        assert [stat.S_IMODE(path.stat().st_mode) for path in node.files()] == [0o600]


@pytest.mark.parametrize("program", ["dcmsend", "storescu"])
def test_a_folder_of_many_classes_and_syntaxes_arrives(tmp_path: Path, program: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    wanted = {}
    for index, (sop_class, syntax) in enumerate([
        (CT, EXPLICIT), (CT, IMPLICIT), ("1.2.840.10008.5.1.4.1.1.1.1", EXPLICIT), ("1.2.840.10008.5.1.4.1.1.7", IMPLICIT),
    ]):
        instance = make_instance(5000, sop_class)
        save(instance, folder / f"{index}.dcm", syntax)
        wanted[instance.SOPInstanceUID] = instance.PixelData
    arguments = ["-aec", "RADANON", "127.0.0.1"]
    with running(make_config(tmp_path / "node")) as node:
        sent = dcmtk(program, *arguments, node.port, "+sd", folder)
        assert sent.returncode == 0, sent.stderr
        items = node.items()
        assert {item.sop_instance_uid for item in items} == set(wanted)
        for item in items:
            with node.spool.open(item.file) as opened:
                assert dcmread(BytesIO(bytes(opened.data))).PixelData == wanted[item.sop_instance_uid]


@pytest.mark.parametrize("option", ["-xi", "-xd"])
def test_implicit_and_deflated_arrive_as_they_were_sent(tmp_path: Path, option: str) -> None:
    file = save(make_instance(20_000), tmp_path / "film.dcm")
    with running(make_config(tmp_path / "node")) as node:
        sent = dcmtk("storescu", option, "-aec", "RADANON", "127.0.0.1", node.port, file)
        assert sent.returncode == 0, sent.stderr
        [item] = node.items()
        assert item.transfer_syntax_uid == {"-xi": IMPLICIT, "-xd": "1.2.840.10008.1.2.1.99"}[option]
        with node.spool.open(item.file) as opened:
            received = dcmread(BytesIO(bytes(opened.data)))
        assert received.SOPInstanceUID == item.sop_instance_uid


def test_big_endian_arrives_as_it_was_sent(tmp_path: Path) -> None:
    big = "1.2.840.10008.1.2.2"
    instance = make_instance(uid="1.2.3")
    with running(make_config(tmp_path)) as node, Peer(node.port) as peer:
        peer.associate(contexts=((1, CT, (big,)),))
        assert peer.store(encoded(instance, big), "1.2.3") == 0
        [item] = node.items()
        assert (item.transfer_syntax_uid, node.data_set(item)) == (big, encoded(instance, big))


def test_echo_is_answered_and_routes_are_the_called_ae_titles(tmp_path: Path) -> None:
    with running(make_config(tmp_path)) as node:
        assert dcmtk("echoscu", "-aec", "RADANON", "127.0.0.1", node.port).returncode == 0
        refused = dcmtk("echoscu", "-aec", "ANYBODY", "127.0.0.1", node.port)
        assert refused.returncode != 0
        assert "Called AE Title Not Recognized" in refused.stdout + refused.stderr


@pytest.mark.parametrize(("listener", "route", "calling", "reason"), [
    ({"allowed_callers": ["CT01"]}, None, "CT01", None),
    ({"allowed_callers": ["CT01"]}, None, "CT02", 3),
    ({"allowed_callers": [{"ae_title": "CT01", "host": "127.0.0.0/8"}]}, None, "CT01", None),
    ({"allowed_callers": [{"ae_title": "CT01", "host": "localhost"}]}, None, "CT01", None),
    ({"allowed_callers": [{"ae_title": "CT01", "host": "192.0.2.7"}]}, None, "CT01", 3),
    ({}, ["CT03"], "CT01", 3),
    ({"allowed_callers": ["CT01"]}, ["CT03"], "CT03", None),
    ({"allowed_callers": ["CT01"]}, [], "CT01", 3),
])
def test_callers_are_let_in_by_title_and_address(tmp_path: Path, listener: dict[str, object], route: list[str] | None, calling: str,
                                                 reason: int | None) -> None:
    config = make_config(tmp_path, listener, routes=[
        {"ae_title": "RADANON", "profile": "default", "destinations": ["out"]} | ({} if route is None else {"callers": route})])
    with running(config) as node, Peer(node.port) as peer:
        peer.send(associate_rq(calling=calling))
        kind, body = peer.recv()
        assert (kind == 2) if reason is None else (kind, body) == (3, bytes([0, 1, 1, reason]))


def test_associations_over_the_limit_are_told_to_come_back_and_let_in_when_one_ends(tmp_path: Path) -> None:
    with running(make_config(tmp_path, {"max_associations": 2})) as node, Peer(node.port) as first, Peer(node.port) as second:
        first.associate()
        second.associate()
        with Peer(node.port) as third:
            third.send(associate_rq())
            assert third.recv() == (3, bytes([0, 2, 3, 2]))
        first.send(RELEASE_RQ)
        assert first.recv()[0] == 6
        assert node.listener.associations <= 2
        with Peer(node.port) as fourth:
            while True:  # the answer to the release leaves a moment before the place is free
                fourth.send(associate_rq())
                kind, _ = fourth.recv()
                if kind == 2:
                    break
                assert kind == 3
                fourth = Peer(node.port)


def test_sixty_half_open_connections_do_not_lock_good_senders_out(tmp_path: Path) -> None:
    file = save(make_instance(), tmp_path / "film.dcm")
    with running(make_config(tmp_path / "node", {"max_associations": 2})) as node:
        half_open = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(60)]
        for index, sock in enumerate(half_open):
            sock.sendall(associate_rq()[:index * 3])
        sent = dcmtk("storescu", "-aec", "RADANON", "127.0.0.1", node.port, file, timeout=30)
        assert sent.returncode == 0, sent.stderr
        for sock in half_open:
            sock.close()
        assert len(node.items()) == 1


def test_half_open_connections_are_bounded_and_the_oldest_goes(tmp_path: Path) -> None:
    with running(make_config(tmp_path, {"max_associations": 1})) as node:
        socks = [socket.create_connection(("127.0.0.1", node.port), timeout=10) for _ in range(66)]
        assert socks[0].recv(1) == b""
        assert socks[1].recv(1) == b""
        socks[2].sendall(associate_rq())
        assert socks[2].recv(1) == b"\x02"
        for sock in socks:
            sock.close()


def test_a_connection_that_never_asks_is_ended_by_artim_however_slowly_it_trickles(tmp_path: Path) -> None:
    with running(make_config(tmp_path, {"acse_timeout": "400ms"})) as node, Peer(node.port) as trickling, Peer(node.port) as silent:
        done = threading.Event()

        def trickle() -> None:
            for byte in associate_rq():
                if done.wait(0.05):
                    return
                try:
                    trickling.send(bytes([byte]))
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        assert trickling.recv()[0] == 7
        assert silent.recv()[0] == 7
        done.set()
        thread.join()


def test_a_silent_association_is_aborted_and_its_half_instance_forgotten(tmp_path: Path) -> None:
    with running(make_config(tmp_path, {"network_timeout": "300ms"})) as node, Peer(node.port) as peer:
        peer.associate()
        peer.send(pdu((1, 3, store_command(CT, "1.2.3"))) + pdu((1, 0, encoded(make_instance())[:1000]))[:-10])
        assert peer.recv()[0] == 7
        assert peer.recv()[0] == 0
        assert node.items() == []
        assert node.files() == []


def test_an_association_whose_pdu_trickles_in_for_ever_loses_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, the PDU does not: 32 such peers would lock every other sender out."""
    monkeypatch.setattr(upper_layer, "PDU_TIMEOUTS", 2)
    with running(make_config(tmp_path, {"network_timeout": "500ms", "max_associations": 1})) as node, Peer(node.port) as peer:
        peer.associate()
        peer.send(pdu((1, 3, store_command(CT, "1.2.3"))))
        done = threading.Event()

        def trickle() -> None:
            for byte in pdu((1, 0, bytes(1000))):
                with suppress(OSError):
                    peer.send(bytes([byte]))
                if done.wait(0.1):
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        assert peer.recv()[0] == 7
        done.set()
        thread.join()
        assert peer.recv()[0] == 0  # closed: its place is free
        instance = make_instance()
        with Peer(node.port) as good:
            good.associate()
            assert good.store(encoded(instance), instance.SOPInstanceUID) == 0
        assert len(node.items()) == 1


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x01\x00\x00\x00\x00\x04abcd",
                                   b"\x01\x00\xff\xff\xff\xff" + bytes(100),
                                   b"\x04\x00\x00\x00\x00\x04abcd", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
                                   b"\x01\x00\x00\x00\x01\x00" + bytes(256)])
def test_garbage_ends_its_connection_and_nothing_else(tmp_path: Path, noise: bytes) -> None:
    with running(make_config(tmp_path)) as node, Peer(node.port) as bad, Peer(node.port) as good:
        good.associate()
        bad.send(noise)
        assert bad.recv()[0] in (7, 0)
        assert bad.recv()[0] == 0
        good.send(pdu((3, 3, echo_command())))
        assert good.response().numbers["Status"] == 0


def statuses(instance_uid: str) -> dict[str, tuple[bytes, str, str, int]]:
    good = make_instance(uid=instance_uid)
    other = make_instance()
    other_class = make_instance(sop_class="1.2.840.10008.5.1.4.1.1.4", uid=instance_uid)
    nameless = make_instance(uid=instance_uid)
    del nameless.SOPInstanceUID
    return {
        "good": (encoded(good), instance_uid, CT, 0),
        "empty data set": (b"", instance_uid, CT, 0xC000),
        "noise": (b"no data set at all, really", instance_uid, CT, 0xC000),
        "implicit under explicit": (encoded(good, IMPLICIT), instance_uid, CT, 0xC000),
        "Part 10 file": (bytes(128) + b"DICM" + encoded(good), instance_uid, CT, 0xC000),
        "other instance": (encoded(other), instance_uid, CT, 0xA900),
        "other class": (encoded(other_class), instance_uid, CT, 0xA900),
        "data set without SOP Instance UID": (encoded(nameless), instance_uid, CT, 0xA900),
        "request without SOP Instance UID": (encoded(good), "", CT, 0x0117),
        "request with a bad SOP Instance UID": (encoded(good), "../../etc/passwd", CT, 0x0117),
        "request without SOP Class UID": (encoded(good), instance_uid, "", 0x0122),
        "request with the class of another context": (encoded(good), instance_uid, "1.2.840.10008.5.1.4.1.1.4", 0x0122),
    }


@pytest.mark.parametrize("name", statuses("1.2.3"))
@pytest.mark.parametrize("step", [16000, 7])
def test_every_wrong_instance_gets_its_status_and_the_association_goes_on(tmp_path: Path, name: str, step: int) -> None:
    uid = generate_uid()
    data, instance_uid, sop_class, status = statuses(uid)[name]
    with running(make_config(tmp_path)) as node, Peer(node.port) as peer:
        peer.associate()
        assert peer.store(data, instance_uid, sop_class, step=step) == status
        assert len(node.files()) == (1 if status == 0 else 0)
        good = make_instance()
        assert peer.store(encoded(good), good.SOPInstanceUID, message_id=2) == 0
        assert len(node.items()) == (2 if status == 0 else 1)


def test_a_request_that_announces_no_data_set_cannot_be_understood(tmp_path: Path) -> None:
    from radanon_node.network import command_set as cs

    with running(make_config(tmp_path)) as node, Peer(node.port) as peer:
        peer.associate()
        peer.send(pdu((1, 3, cs.pack(CommandField=1, MessageID=4, CommandDataSetType=0x0101, AffectedSOPClassUID=CT,
                                     AffectedSOPInstanceUID="1.2.3"))))
        assert peer.response().numbers["Status"] == 0xC000


def test_an_instance_over_the_limit_is_refused_without_being_kept(tmp_path: Path) -> None:
    with running(make_config(tmp_path, {"max_instance_size": 10_000})) as node, Peer(node.port) as peer:
        peer.associate()
        big, small = make_instance(50_000), make_instance(5_000)
        assert peer.store(encoded(big), big.SOPInstanceUID) == 0xA700
        assert node.files() == []
        assert peer.store(encoded(small), small.SOPInstanceUID, message_id=2) == 0


def test_a_full_disk_is_out_of_resources_and_the_next_one_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = make_instance()
    with running(make_config(tmp_path, {"min_free_disk": "1GiB"})) as node, Peer(node.port) as peer:
        peer.associate()
        monkeypatch.setattr(node.spool, "free", lambda: 2**29)
        assert peer.store(encoded(instance), instance.SOPInstanceUID) == 0xA700
        monkeypatch.setattr(node.spool, "free", lambda: 2**31)
        assert peer.store(encoded(instance), instance.SOPInstanceUID, message_id=2) == 0
        monkeypatch.setattr(node.spool, "begin", lambda _: (_ for _ in ()).throw(DiskLow("spool: write: No space left on device")))
        other = make_instance()
        assert peer.store(encoded(other), other.SOPInstanceUID, message_id=3) == 0xA700


@pytest.mark.parametrize("rows_follow", [False, True])
def test_a_ledger_that_is_down_is_out_of_resources_and_what_was_answered_for_gets_its_row(
        rows_follow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spool, "keeps_records", rows_follow)
    with running(make_config(tmp_path)) as node, Peer(node.port) as peer:
        peer.associate()
        admit = node.ledger.admit

        def down(_: list[Arrival], urgent: bool = True) -> None:
            raise LedgerUnavailable("ledger: OperationalError")

        monkeypatch.setattr(node.ledger, "admit", down)
        instance = make_instance()
        assert peer.store(encoded(instance), instance.SOPInstanceUID) == (0 if rows_follow else 0xA700)
        if rows_follow:  # it went down between the question and the row: the first is in its file and waits for its row
            following = node.listener._following
            assert following is not None
            while not following._is_down():
                threading.Event().wait(0.001)
        assert peer.store(encoded(instance), instance.SOPInstanceUID, message_id=2) == 0xA700  # refused without asking it again
        monkeypatch.setattr(node.ledger, "admit", admit)
        deadline, status = time.monotonic() + 10, 0xA700
        while status and time.monotonic() < deadline:
            status = peer.store(encoded(instance), instance.SOPInstanceUID, message_id=3)
        assert status == 0
        assert len(node.items()) == 1


def test_a_ledger_that_another_program_holds_on_to_is_out_of_resources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radanon_node.ledger.database._BUSY_S", 0.2)
    instance = make_instance()
    with running(make_config(tmp_path)) as node, Peer(node.port) as peer:
        peer.associate()
        (database,) = tmp_path.rglob("ledger.sqlite")
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert peer.store(encoded(instance), instance.SOPInstanceUID) == 0xA700
            assert node.files() == []
        deadline, status = time.monotonic() + 10, 0xA700
        while status and time.monotonic() < deadline:
            status = peer.store(encoded(instance), instance.SOPInstanceUID, message_id=2)
        assert status == 0
        node.settle()
        assert len(node.items()) == 1


def test_a_resend_is_success_and_one_instance_and_a_changed_one_is_kept_apart(tmp_path: Path) -> None:
    instance = make_instance()
    with running(make_config(tmp_path)) as node, Peer(node.port) as peer:
        peer.associate()
        for message_id in (1, 2):
            assert peer.store(encoded(instance), instance.SOPInstanceUID, message_id=message_id) == 0
        node.settle()
        assert len(node.files()) == 1
        instance.PatientID = "43"
        assert peer.store(encoded(instance), instance.SOPInstanceUID, message_id=3) == 0
        node.settle()
        assert node.ledger.status()["states"]["quarantined"] == 1
        assert sum(node.admitted) == 1


def test_other_requests_are_answered_and_cancel_is_not(tmp_path: Path) -> None:
    from radanon_node.network import command_set as cs

    with running(make_config(tmp_path)) as node, Peer(node.port) as peer:
        peer.associate()
        peer.send(pdu((1, 3, cs.pack(CommandField=0x0020, MessageID=9, CommandDataSetType=1, AffectedSOPClassUID=CT))))
        peer.send(pdu((1, 2, b"\x08\x00\x05\x00CS\x00\x00")))
        answer = peer.response()
        assert (answer.kind, answer.numbers["Status"], answer.numbers["MessageIDBeingRespondedTo"]) == (0x8020, 0x0211, 9)
        peer.send(pdu((1, 3, cs.pack(CommandField=cs.C_CANCEL_RQ, MessageIDBeingRespondedTo=9, CommandDataSetType=cs.NO_DATA_SET))))
        peer.send(pdu((3, 3, echo_command(10))))
        assert peer.response().numbers["MessageIDBeingRespondedTo"] == 10


def test_a_peer_that_takes_only_small_pdus_gets_small_ones(tmp_path: Path) -> None:
    with running(make_config(tmp_path)) as node, Peer(node.port) as peer:
        peer.associate(max_pdu=100)
        peer.send(pdu((3, 3, echo_command())))
        kind, _ = peer.recv()
        assert kind == 4


def test_a_taken_port_is_a_configuration_error_in_one_line(tmp_path: Path) -> None:
    with running(make_config(tmp_path)) as node:
        config = make_config(tmp_path / "b", {"port": node.port})
        spool = Spool(config.spool_dir)
        ledger = Ledger(config.ledger_url, bytes(32), spool)
        with pytest.raises(ConfigError, match=f"listener.port: 127.0.0.1:{node.port} is taken by another program"):
            Listener(config, spool, ledger, lambda _: None).start()
        config = make_config(tmp_path / "b", {"host": "192.0.2.1"})
        with pytest.raises(ConfigError, match="listener.host: 192.0.2.1:0 is no address of this machine"):
            Listener(config, spool, ledger, lambda _: None).start()


def test_stop_lets_the_instance_in_hand_finish_and_aborts_the_idle(tmp_path: Path) -> None:
    instance = make_instance(50_000)
    data = encoded(instance)
    with running(make_config(tmp_path)) as node, Peer(node.port) as busy, Peer(node.port) as idle, Peer(node.port) as half_open:
        busy.associate()
        idle.associate()
        busy.send(pdu((1, 3, store_command(CT, instance.SOPInstanceUID))) + pdu((1, 0, data[:10_000])))
        node.wait_for_a_file()
        stopping = threading.Thread(target=node.listener.stop, args=(10.0,))
        stopping.start()
        assert idle.recv()[0] == 7
        assert half_open.recv()[0] == 0
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", node.port), timeout=5)
        busy.send(pdu((1, 2, data[10_000:])))
        assert busy.response().numbers["Status"] == 0
        assert busy.recv()[0] == 7
        stopping.join(10)
        assert not stopping.is_alive()
        assert len(node.items()) == 1


def test_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    with running(make_config(tmp_path), stop=0.2) as node:
        peer = Peer(node.port)
        peer.associate()
        peer.send(pdu((1, 3, store_command(CT, "1.2.3"))) + pdu((1, 0, encoded(make_instance(uid="1.2.3"))[:1000])))
        node.wait_for_a_file()
    assert node.files() == []
    peer.sock.close()


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("storescu") is None, reason="storescu is not installed")
def test_the_same_instance_sent_by_many_at_once_is_one_instance(tmp_path: Path) -> None:
    file = save(make_instance(100_000), tmp_path / "film.dcm")
    with running(make_config(tmp_path / "node")) as node:
        results: list[int] = []

        def send() -> None:
            results.append(dcmtk("storescu", "-aec", "RADANON", "127.0.0.1", node.port, file).returncode)

        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [0] * 6
        assert len(node.items()) == 1
        assert len(node.files()) == 1


def test_parse_keeps_the_port_of_a_caller() -> None:
    config = parse({"listener": {"allowed_callers": [{"ae_title": "CT01", "host": "10.0.0.1", "port": 104}]}})
    assert config.listener.allowed_callers[0].port == 104
