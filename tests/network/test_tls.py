"""TLS: who is let in with which certificate, what is never offered, and that a stalled handshake holds up nobody."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from radanon_node.errors import ConfigError
from radanon_node.network.tls import client_context, server_context
from radanon_node.settings import TlsSettings
from tests.network.kit import Peer, dcmtk, encoded, make_config, make_instance, running


@dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path


class Authority:
    """A certificate authority for the length of a test module."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._sign(self._name, self._key, authority=True).public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, password: bytes | None = None) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        locked: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            locked = serialization.BestAvailableEncryption(password)
        pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
        pair.key.chmod(0o600)
        return pair

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, authority: bool = False) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
                .not_valid_after(now + datetime.timedelta(days=1)).add_extension(names, critical=False)
                .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True).sign(self._key, hashes.SHA256()))


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "authority")


@pytest.fixture(scope="module")
def node_pair(ca: Authority) -> Pair:
    return ca.issue("node")


def settings_of(pair: Pair, ca: Authority, **more: object) -> dict[str, object]:
    return {"certificate": str(pair.certificate), "private_key": str(pair.key), "ca": str(ca.file)} | more


def test_storing_over_tls_with_dcmtk_and_with_a_client_of_our_own(tmp_path: Path, ca: Authority, node_pair: Pair) -> None:
    caller = ca.issue("caller")
    config = make_config(tmp_path, {"tls": settings_of(node_pair, ca)})
    with running(config) as node:
        echo = dcmtk("echoscu", "+tls", caller.key, caller.certificate, "+cf", ca.file, "-aec", "RADANON", "localhost", node.port)
        assert echo.returncode == 0, echo.stderr
        context = client_context(TlsSettings.model_validate(settings_of(caller, ca)))
        with Peer(node.port) as peer:
            peer.sock = context.wrap_socket(peer.sock, server_hostname="localhost")
            peer.associate()
            instance = make_instance(400_000)
            assert peer.store(encoded(instance), instance.SOPInstanceUID) == 0
        assert [node.data_set(item) for item in node.items()] == [encoded(instance)]


@pytest.mark.parametrize(("mode", "shown", "enters"), [
    ("require", "none", False), ("require", "good", True), ("require", "foreign", False),
    ("accept", "none", True), ("accept", "foreign", False), ("ignore", "none", True),
])
def test_client_certificates_are_asked_for_as_configured(tmp_path: Path, ca: Authority, node_pair: Pair, mode: str, shown: str,
                                                         enters: bool) -> None:
    context = ssl.create_default_context(cafile=str(ca.file))
    if shown != "none":
        pair = ca.issue("good") if shown == "good" else Authority(tmp_path, "other").issue("foreign")
        context.load_cert_chain(pair.certificate, pair.key)
    config = make_config(tmp_path / "node", {"tls": settings_of(node_pair, ca, client_certificates=mode)})
    with running(config) as node, Peer(node.port) as peer:
        try:
            peer.sock = context.wrap_socket(peer.sock, server_hostname="localhost")
            peer.associate()
            entered = True
        except (OSError, AssertionError):  # with TLS 1.3 a client learns of its rejection when it reads
            entered = False
    assert entered is enters


@pytest.mark.parametrize("limit", ["version", "cipher"])
def test_old_versions_and_weak_ciphers_are_not_offered(tmp_path: Path, ca: Authority, node_pair: Pair, limit: str) -> None:
    context = ssl.create_default_context(cafile=str(ca.file))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if limit == "version":
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    else:
        context.set_ciphers("ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA:AES128-GCM-SHA256")
    config = make_config(tmp_path, {"tls": settings_of(node_pair, ca, client_certificates="ignore")})
    with running(config) as node, Peer(node.port) as peer, pytest.raises(OSError):
        context.wrap_socket(peer.sock, server_hostname="localhost")


def test_tls_1_3_only_if_configured(tmp_path: Path, ca: Authority, node_pair: Pair) -> None:
    context = ssl.create_default_context(cafile=str(ca.file))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    tls = settings_of(node_pair, ca, client_certificates="ignore", minimum_version="1.3")
    with running(make_config(tmp_path, {"tls": tls})) as node, Peer(node.port) as peer, pytest.raises(OSError):
        context.wrap_socket(peer.sock, server_hostname="localhost")


def test_stalled_handshakes_hold_up_nobody(tmp_path: Path, ca: Authority, node_pair: Pair) -> None:
    config = make_config(tmp_path, {"max_associations": 2, "tls": settings_of(node_pair, ca, client_certificates="ignore")})
    context = ssl.create_default_context(cafile=str(ca.file))
    with running(config) as node:
        stalled = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(60)]
        for sock in stalled[::2]:
            sock.sendall(b"\x16\x03\x01\x02\x00\x01")
        with Peer(node.port) as peer:
            peer.sock = context.wrap_socket(peer.sock, server_hostname="localhost")
            peer.associate()
        for sock in stalled:
            sock.close()


def test_a_plain_peer_at_a_tls_port_ends_only_itself(tmp_path: Path, ca: Authority, node_pair: Pair) -> None:
    with running(make_config(tmp_path, {"tls": settings_of(node_pair, ca)})) as node:
        refused = dcmtk("echoscu", "-aec", "RADANON", "127.0.0.1", node.port)
        assert refused.returncode != 0
        assert node.listener.associations == 0


def test_a_hostname_that_the_certificate_does_not_name_is_refused_by_our_client(tmp_path: Path, ca: Authority, node_pair: Pair) -> None:
    settings = TlsSettings.model_validate(settings_of(node_pair, ca, client_certificates="ignore"))
    with running(make_config(tmp_path, {"tls": settings.model_dump(mode="json")})) as node:
        with Peer(node.port) as peer, pytest.raises(ssl.SSLCertVerificationError):
            client_context(settings).wrap_socket(peer.sock, server_hostname="archive.example")
        lax = settings.model_copy(update={"verify_hostname": False})
        with Peer(node.port) as peer:
            client_context(lax).wrap_socket(peer.sock, server_hostname="archive.example")


def test_files_that_cannot_be_used_are_named(tmp_path: Path, ca: Authority, node_pair: Pair) -> None:
    def problem(**changes: object) -> str:
        with pytest.raises(ConfigError) as error:
            server_context(TlsSettings.model_validate(settings_of(node_pair, ca) | changes))
        return str(error.value)

    assert "No such file" in problem(certificate=str(tmp_path / "none.pem"))
    assert "no matching pair" in problem(private_key=str(ca.issue("another").key))
    assert "without password" in problem(private_key=str(ca.issue("locked", b"secret").key))
    assert "tls.ca" in problem(ca=str(node_pair.key))
    assert "tls.ca: is needed" in problem(ca=None)
    open_key = ca.issue("open").key
    open_key.chmod(0o644)
    assert "readable by everybody" in problem(private_key=str(open_key))
