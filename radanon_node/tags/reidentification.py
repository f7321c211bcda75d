"""The way back, for those who may go it: an encrypted file of which pseudonym stands for whom (Fernet, AES-128-CBC with HMAC).

The node keeps no such map: everything is derived from its secret, and the map is made only when somebody asks for it, from the
patients he names or the ledger's sealed rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from cryptography.fernet import Fernet, InvalidToken

from radanon_node.errors import ConfigError
from radanon_node.tags.pseudonyms import PatientKey, Pseudonyms

_FORMAT = "radanon re-identification map 1"


@dataclass(frozen=True, slots=True)
class MapEntry:
    """One patient and the stand-ins of one project.

    Parameters
    ----------
    patient_id, issuer : str
        As the hospital knows the patient.
    pseudonym : str
        As the archive does.
    days : int
        By how many days the patient's dates were moved back under modified dates.
    uids : dict of str to str
        New UID -> original, for the studies named.
    """

    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)
    pseudonym: str
    days: int = field(repr=False)
    uids: dict[str, str] = field(default_factory=dict, repr=False)


def new_key() -> bytes:
    """A key for one export; it is shown once and not kept."""
    return Fernet.generate_key()


def export_map(pseudonyms: Pseudonyms, patients: Iterable[tuple[PatientKey, Iterable[str]]], key: bytes) -> bytes:
    """Encrypt the map of the patients given.

    Parameters
    ----------
    pseudonyms : Pseudonyms
        Of the project.
    patients : iterable of (PatientKey, iterable of str)
        Each with the original UIDs (studies, series, instances) to be listed.
    key : bytes
        From `new_key`.

    Returns
    -------
    bytes
        A Fernet token; nothing of it can be read without the key.

    Raises
    ------
    ConfigError
        For a key that is none.
    HoldInstance
        ``unknown_patient``: the site's table does not list a patient.
    """
    entries = [
        asdict(
            MapEntry(
                patient_id=patient.patient_id,
                issuer=patient.issuer,
                pseudonym=pseudonyms.patient_id(patient),
                days=pseudonyms.day_shift(patient),
                uids={pseudonyms.uid(uid): uid for uid in uids},
            )
        )
        for patient, uids in patients
    ]
    text = json.dumps({"format": _FORMAT, "scope": pseudonyms.settings.scope, "patients": entries}, ensure_ascii=False)
    return _fernet(key).encrypt(text.encode("utf-8"))


def read_map(token: bytes, key: bytes) -> list[MapEntry]:
    """Decrypt what `export_map` made.

    Raises
    ------
    ConfigError
        For the wrong key, or a file that is no map or was changed.
    """
    try:
        content = json.loads(_fernet(key).decrypt(token))
        if content["format"] != _FORMAT:
            raise ConfigError("re-identification map: made by another version")
        return [MapEntry(**entry) for entry in content["patients"]]
    except (InvalidToken, ValueError, KeyError, TypeError):
        raise ConfigError("re-identification map: the key does not fit, or the file is no map or was changed") from None


def _fernet(key: bytes) -> Fernet:
    try:
        return Fernet(key)
    except (ValueError, TypeError):
        raise ConfigError("re-identification map: the key is no Fernet key (32 bytes, URL-safe base64)") from None
