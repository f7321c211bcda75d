"""The way to a collector: over TLS, kept while it is away, told by one node at a time."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from radanon_node.audit import syslog
from radanon_node.audit.forwarder import Forwarder
from radanon_node.errors import ConfigError, Unreachable
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.types import DeliveryResult
from radanon_node.settings import AuditSettings, SyslogSettings
from tests.ledger.conftest import KEY, Hands
from tests.network.test_tls import Authority, Pair


class Reader:
    """A syslog receiver over TLS (RFC 5425): counts octets, keeps messages; `rude` hangs up without reading."""

    def __init__(self, pair: Pair, ca: Path, port: int = 0, rude: bool = False) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
        self._context, self._rude = context, rude
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self.messages: list[bytes] = []
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            try:
                tls = self._context.wrap_socket(plain, server_side=True)
                self._open.append(tls)
                if self._rude:
                    tls.close()
                    continue
                self._read(tls)
            except (OSError, ValueError):
                plain.close()

    def _read(self, connection: ssl.SSLSocket) -> None:
        rest = b""
        while True:
            while b" " in rest:
                length, _, after = rest.partition(b" ")
                if len(after) < int(length):
                    break
                self.messages.append(after[:int(length)])
                rest = after[int(length):]
            data = connection.recv(65536)
            if not data:
                return
            rest += data


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "ca")


Start = Callable[..., Reader]


@pytest.fixture
def start(authority: Authority) -> Iterator[Start]:
    started: list[Reader] = []

    def make(port: int = 0, rude: bool = False) -> Reader:
        started.append(Reader(authority.issue("collector"), authority.file, port, rude))
        return started[-1]

    yield make
    for reader in started:
        reader.close()


def tls(authority: Authority, port: int) -> AuditSettings:
    pair = authority.issue("node")
    return AuditSettings(source_id="radanon1", syslog=SyslogSettings(
        host="localhost", port=port, ca=authority.file, certificate=pair.certificate, private_key=pair.key))


def test_what_was_done_reaches_the_collector_once(hands: Hands, authority: Authority, start: Start) -> None:
    reader = start()
    forwarder = Forwarder(lambda: tls_settings, hands.ledger, "one")
    tls_settings = tls(authority, reader.port)
    hands.ledger.record_act("anna", "before the collector was known", "why")
    hands.ledger.record_act("node n", "node start", "0.1")
    hands.ledger.record_act("anna", "quarantine drop", "why")
    hands.ledger.record_transfer("received", {"ae_title": "CT1", "peer": "10.0.0.1", "instances": 3})
    assert forwarder.tell() == 3
    assert forwarder.tell() == 0
    hands.ledger.record_act("anna", "audit export", "csv")
    assert forwarder.tell() == 1
    forwarder.close()
    assert [name in message for name, message in zip(
        (b"110120", b"quarantine", b"110104", b"110101"), reader.messages, strict=True)] == [True] * 4
    assert all(message.startswith(b"<85>1 ") for message in reader.messages)


def test_a_dead_collector_misses_nothing(
    sqlite_hands: Hands, authority: Authority, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syslog, "_TIMEOUT_S", 3600.0)  # a connection that was reset is noticed, not waited for
    ledger = sqlite_hands.ledger
    reader = start()
    settings = tls(authority, reader.port)
    ledger.record_act("node n", "node start", "0.1")
    forwarder = Forwarder(lambda: settings, ledger, "one")
    assert forwarder.tell() == 1
    reader.close()
    for number in range(5):
        ledger.record_act("anna", f"act {number}", "why")
        with pytest.raises(Unreachable):
            forwarder.tell()
    assert ledger.untold() == 5
    again = start(port=reader.port)
    assert forwarder.tell() == 5
    assert ledger.untold() == 0
    forwarder.close()
    again.close()
    assert [f"act {number}".encode() in message for number, message in enumerate(again.messages)] == [True] * 5


def test_a_collector_that_hangs_up_is_told_again(sqlite_hands: Hands, authority: Authority, start: Start) -> None:
    rude = start(rude=True)
    settings = tls(authority, rude.port)
    forwarder = Forwarder(lambda: settings, sqlite_hands.ledger, "one")
    sqlite_hands.ledger.record_act("node n", "node start", "0.1")
    with pytest.raises(Unreachable):
        forwarder.tell()
    rude.close()
    reader = start(port=rude.port)
    assert forwarder.tell() == 1
    forwarder.close()
    reader.close()
    assert len(reader.messages) == 1


def test_one_node_tells_at_a_time(hands: Hands, authority: Authority, start: Start) -> None:
    reader = start()
    settings = tls(authority, reader.port)
    hands.ledger.record_act("node n", "node start", "0.1")
    first, second = (Forwarder(lambda: settings, hands.ledger, name) for name in ("one", "two"))
    assert first.tell() == 1
    hands.ledger.record_act("anna", "act", "why")
    assert second.tell() == 0
    assert first.tell() == 1
    first.close()
    second.close()


def test_a_collector_with_an_unknown_certificate_is_told_nothing(sqlite_hands: Hands, authority: Authority, start: Start,
                                                                 tmp_path: Path) -> None:
    reader = start()
    other = Authority(tmp_path, "other")
    settings = AuditSettings(syslog=SyslogSettings(host="localhost", port=reader.port, ca=other.file))
    sqlite_hands.ledger.record_act("node n", "node start", "0.1")
    forwarder = Forwarder(lambda: settings, sqlite_hands.ledger, "one")
    with pytest.raises(Unreachable):
        forwarder.tell()
    assert reader.messages == []


def test_without_tls_datagrams_are_sent(sqlite_hands: Hands) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        settings = AuditSettings(syslog=SyslogSettings(host="127.0.0.1", port=receiver.getsockname()[1], protocol="udp"))
        sqlite_hands.ledger.record_act("node n", "node start", "0.1")
        assert Forwarder(lambda: settings, sqlite_hands.ledger, "one").tell() == 1
        assert receiver.recv(65536).startswith(b"<85>1 ")


def test_files_that_cannot_be_used_are_named(sqlite_hands: Hands, tmp_path: Path) -> None:
    settings = AuditSettings(syslog=SyslogSettings(host="127.0.0.1", ca=tmp_path / "absent.pem"))
    with pytest.raises(ConfigError, match=r"absent\.pem"):
        Forwarder(lambda: settings, sqlite_hands.ledger, "one").tell()


def test_what_was_sent_is_told_by_study_with_pseudonyms(hands: Hands) -> None:
    hands.release("1.1", "1.2")
    items = hands.ledger.claim_deliveries("s", "archive", 10, 60)
    results = [DeliveryResult(items[0], "delivered"), DeliveryResult(items[1], "retry")]
    hands.ledger.finish_deliveries(results)
    hands.ledger.record_sent(results, {"destination": "archive", "ae_title": "ARCHIVE"})
    batch = hands.ledger.outbox("x", "me", 10, 60)
    (transfer,) = batch.transfers
    assert transfer.kind == "sent"
    assert transfer.facts["instances"] == 1
    hands.ledger.told("x", "me", batch)
    assert hands.ledger.outbox("x", "me", 10, 60).transfers == ()


def test_a_ledger_opened_elsewhere_sees_the_same_mark(sqlite_hands: Hands, tmp_path: Path) -> None:
    sqlite_hands.ledger.record_act("node n", "node start", "0.1")
    batch = sqlite_hands.ledger.outbox("x", "me", 10, 60)
    sqlite_hands.ledger.told("x", "me", batch)
    other = Ledger(sqlite_hands.url, KEY, Spool(sqlite_hands.root))
    assert other.outbox("x", "me", 10, 60).acts == ()
    other.close()
