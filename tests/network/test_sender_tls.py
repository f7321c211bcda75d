"""TLS towards the archive: storescp with certificates, and what becomes of deliveries when they do not fit."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.network.sending import bench, network, picture
from tests.peers import storescp

pytestmark = pytest.mark.integration


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    paths[1].chmod(0o600)
    return paths


def test_mutual_tls(tmp_path: Path) -> None:
    """Both sides show a certificate; large instances come through whole."""
    (ours, our_key), (theirs, their_key) = certificate(tmp_path, "node"), certificate(tmp_path, "archive")
    tls = {"certificate": str(ours), "private_key": str(our_key), "ca": str(theirs)}
    running = storescp(tmp_path / "store", "--fork", "+tls", str(their_key), str(theirs), "+cf", str(ours), "-rc")
    with running as archive, bench(tmp_path, {"archive": network(archive.port, tls=tls)}) as node:
        pictures = [picture(number, rows=1000, columns=700) for number in range(3)]
        node.put(pictures)
        with node.sending():
            node.wait_delivered("archive", 3)
        found = {ds.SOPInstanceUID: ds.PixelData for ds in archive.instances()}
        assert found == {ds.SOPInstanceUID: ds.PixelData for ds in pictures}


def test_unknown_certificate_means_down(tmp_path: Path) -> None:
    """Nothing is sent to an archive whose certificate the configured authority has not signed; it waits, and the log says why."""
    (ours, our_key), (theirs, their_key) = certificate(tmp_path, "node"), certificate(tmp_path, "archive")
    tls = {"certificate": str(ours), "private_key": str(our_key), "ca": str(ours)}
    running = storescp(tmp_path / "store", "--fork", "+tls", str(their_key), str(theirs), "+cf", str(ours), "-rc")
    with running as archive, bench(tmp_path, {"archive": network(archive.port, tls=tls)}) as node:
        node.put([picture()])
        with node.sending():
            node.wait(lambda: node.counts("archive").get("up") is False)
            node.wait(lambda: "certificate of the peer" in node.ledger.deliveries_list()[0].detail)
        assert node.ledger.deliveries_list()[0].attempts == 0
        assert archive.files() == []
