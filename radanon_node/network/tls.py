"""TLS contexts (PS3.15 Annex B.9-B.12: the BCP 195 profiles): nothing older than TLS 1.2, forward secrecy and AEAD only."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

from radanon_node.errors import ConfigError
from radanon_node.settings import TlsSettings

# RFC 9325 4.2 for TLS 1.2; those of TLS 1.3 all qualify.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """What this node listens with.

    Parameters
    ----------
    settings : TlsSettings
        `client_certificates` says whether callers must show a certificate; those shown are checked against `ca`.

    Raises
    ------
    ConfigError
        A file is missing, not usable, or readable by everybody.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context, settings)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_SINGLE_ECDH_USE
    context.verify_mode = {"require": ssl.CERT_REQUIRED, "accept": ssl.CERT_OPTIONAL, "ignore": ssl.CERT_NONE}[settings.client_certificates]
    if context.verify_mode != ssl.CERT_NONE:
        if settings.ca is None:
            raise ConfigError("tls.ca: is needed to check callers' certificates; or set tls.client_certificates: ignore")
        _load_ca(context, settings.ca)
    return context


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """What this node calls with: shows its certificate, checks the peer's against `ca` (the system's authorities if null).

    Raises
    ------
    ConfigError
        As for `server_context`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context, settings)
    context.check_hostname = settings.verify_hostname
    if settings.ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _load_ca(context, settings.ca)
    return context


def _harden(context: ssl.SSLContext, settings: TlsSettings) -> None:
    context.minimum_version = _VERSIONS[settings.minimum_version]
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        mode = settings.private_key.stat().st_mode
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            raise ConfigError(f"tls.private_key: {settings.private_key} is readable by everybody; chmod 600 it")
        # Without a password the library would ask for one on the terminal and wait.
        context.load_cert_chain(settings.certificate, settings.private_key, password=_no_password)
    except ssl.SSLError as error:
        raise ConfigError(f"tls.certificate, tls.private_key: no matching pair of PEM files without password ({error.reason})") from error
    except OSError as error:
        raise ConfigError(f"tls.certificate, tls.private_key: {error.filename or settings.certificate}: {error.strerror}") from error


def _no_password() -> str:
    return "-"  # never right; an empty one would be taken as none and asked for


def _load_ca(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(cafile=str(ca))
    except ssl.SSLError as error:
        raise ConfigError(f"tls.ca: {ca}: not a PEM file of certificates ({error.reason})") from error
    except OSError as error:
        raise ConfigError(f"tls.ca: {ca}: {error.strerror}") from error
