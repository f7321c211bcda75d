"""Asking a peer whether it is there and would take what this node sends, without sending anything: for `doctor` and `healthcheck`."""

from __future__ import annotations

import socket
import ssl

from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
    UltrasoundImageStorage,
)

from radanon_node.errors import DeliveryFailed, Unreachable
from radanon_node.network import request_pdus as pdus
from radanon_node.network.contexts import STORAGE_COMMITMENT, VERIFICATION
from radanon_node.network.request_pdus import Offer
from radanon_node.network.scu import Association
from radanon_node.network.tls import client_context
from radanon_node.settings import DestinationSettings

_UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_CLASSES = (
    ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation, CTImageStorage, MRImageStorage, UltrasoundImageStorage,
)  # fmt: skip
_COMPRESSED = (JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, RLELossless)


def check_destination(destination: DestinationSettings, timeout: float = 10.0) -> str:
    """C-ECHO a network destination and negotiate the usual storage contexts.

    Parameters
    ----------
    destination : DestinationSettings
        With host, port and AE title.
    timeout : float
        Seconds for each answer.

    Returns
    -------
    str
        One sentence for an administrator.

    Raises
    ------
    DeliveryError
        No connection or association, or the C-ECHO was refused.
    ConfigError
        Its TLS files cannot be used.
    """
    assert destination.host is not None and destination.port is not None and destination.ae_title is not None
    offers = [Offer(VERIFICATION, _UNCOMPRESSED), Offer(STORAGE_COMMITMENT, _UNCOMPRESSED)]
    offers += [Offer(uid, _UNCOMPRESSED) for uid in _CLASSES]
    offers += [Offer(DigitalXRayImageStorageForPresentation, (syntax,)) for syntax in _COMPRESSED]
    tls = client_context(destination.tls) if destination.tls else None
    association = Association(
        destination.host, destination.port, destination.ae_title, destination.calling_ae_title, offers,
        min(timeout, destination.timeout), tls,
    )  # fmt: skip
    try:
        taken = association.contexts
        syntax = next((uid for uid in _UNCOMPRESSED if (VERIFICATION, uid) in taken), None)
        if syntax is not None:
            status = association.response(association.send_echo(syntax))
            if status != 0:
                raise DeliveryFailed("C-ECHO refused", status)
    finally:
        association.release()
    classes = [uid.name.removesuffix(" Image Storage") for uid in _CLASSES if any((uid, item) in taken for item in _UNCOMPRESSED)]
    if not classes:
        raise DeliveryFailed("an association, but no storage presentation context was accepted")
    if destination.storage_commitment and not any((STORAGE_COMMITMENT, uid) in taken for uid in _UNCOMPRESSED):
        raise DeliveryFailed("storage_commitment is set, but it does not offer Storage Commitment")
    compressed = [uid.name for uid in _COMPRESSED if (DigitalXRayImageStorageForPresentation, uid) in taken]
    echo = "C-ECHO ok" if syntax is not None else "no Verification service"
    return f"{echo}; takes {', '.join(classes)}; compressed: {', '.join(compressed) or 'none, would be sent uncompressed'}"


def knock(host: str, port: int, called: str, tls: bool, timeout: float) -> None:
    """See that a listener answers at all; being turned away (caller not allowed, no client certificate) is an answer too.

    A bare connection proves nothing: the kernel accepts it for a process that hangs.

    Raises
    ------
    Unreachable
        No connection, or no answer in `timeout` seconds.
    """
    try:
        with socket.create_connection((host, port), timeout) as peer:
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE  # nothing is sent, and the certificate names the machine, not the loopback
                try:
                    context.wrap_socket(peer).close()
                except ssl.SSLError:
                    return  # it wants a client certificate
                return
            peer.sendall(pdus.encode_associate("RADANON-HEALTH", called, [Offer(VERIFICATION, _UNCOMPRESSED)], 16384))
            if not peer.recv(1):
                raise Unreachable("no answer to an association request")
    except OSError as error:
        raise Unreachable(f"no answer: {error.strerror or type(error).__name__}") from error
