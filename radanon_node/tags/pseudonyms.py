"""Keyed stand-ins: UIDs, patient IDs and names, day shifts, identifiers.

Everything is derived with HMAC-SHA256 (RFC 2104) from the node's secret and the project's scope, so the same original always gives
the same stand-in, on every node that has the key, with nothing stored; without the key neither the original nor a link between
two scopes can be found.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from functools import lru_cache

from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset

from radanon_node.errors import ConfigError, HoldInstance, Reason
from radanon_node.settings_profile import PseudonymSettings, TagSettings
from radanon_node.tags.lookup import LookupTable
from radanon_node.tags.raw import first_text

# No vowels, so that no stand-in spells a name by chance; no 0, 1, O, I to mistake.
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ23456789"
_CODE_LENGTH = 14  # 28**14 > 2**67: a million patients meet a collision with a chance below one in 10**8


@dataclass(frozen=True, slots=True)
class PatientKey:
    """What tells one patient from another: the ID and who issued it, or a stand-in where there is no ID."""

    patient_id: str
    issuer: str = ""
    without_id: str = ""

    def __str__(self) -> str:
        return "<patient>"  # never in a log


def patient_key(dataset: Dataset) -> PatientKey:
    """The patient of an instance.

    Without a Patient ID name and birth date tell patients apart; without a name too, every study counts as another patient.

    Parameters
    ----------
    dataset : Dataset
        As received.
    """
    patient_id = first_text(dataset, 0x00100020)
    if patient_id:
        return PatientKey(patient_id, first_text(dataset, 0x00100021))
    name = first_text(dataset, 0x00100010).strip("^= ")
    if name:
        return PatientKey("", "", f"name\0{name.casefold()}\0{first_text(dataset, 0x00100030)}")
    return PatientKey("", "", f"study\0{first_text(dataset, 0x0020000D)}")


class Pseudonyms:
    """The stand-ins of one project.

    Parameters
    ----------
    key : bytes
        The node's secret, at least 16 bytes.
    settings : PseudonymSettings
        Scope, lookup table, prefix.
    tags : TagSettings
        Range of the date shift.

    Raises
    ------
    ConfigError
        For a key too short, a lookup table that cannot be used, or a range that holds no whole week though weekdays are kept.
    """

    def __init__(self, key: bytes, settings: PseudonymSettings, tags: TagSettings) -> None:
        if len(key) < 16:
            raise ConfigError("node.key_file: the secret must have at least 16 bytes")
        self.settings = settings
        self._key = hmac.digest(key, b"radanon scope\0" + settings.scope.encode(), "sha256")
        low, high = tags.date_shift_days
        step = 7 if tags.keep_weekday else 1
        self._shifts = range(-(-low // step) * step, high + 1, step)
        if not self._shifts:
            raise ConfigError("tags.date_shift_days: the range holds no whole number of weeks, which keep_weekday needs")
        self._table = LookupTable(settings.table) if settings.table is not None else None
        self.uid = lru_cache(maxsize=8192)(self._uid)
        self._patient_name = lru_cache(maxsize=512)(self._find_patient)

    def _digest(self, purpose: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{purpose}\0{value}".encode("utf-8", "surrogateescape"), "sha256")

    def _uid(self, original: str) -> str:
        """The new UID, ``2.25.`` and a UUID as a number (PS3.5 B.2); one that the standard defines stays.

        Parameters
        ----------
        original : str
            One UID, without padding; an empty one stays empty.
        """
        if not original or original in UID_dictionary:
            return original
        number = int.from_bytes(self._digest("uid", original)[:16], "big")
        # The bits of a version 8 UUID (RFC 9562): a UUID of this product's own making.
        number = number & ~(0xF << 76) & ~(0x3 << 62) | 0x8 << 76 | 0x2 << 62
        return f"2.25.{number}"

    def code(self, purpose: str, original: str, length: int = _CODE_LENGTH) -> str:
        """A short stand-in of capital letters and digits for an identifier of any kind."""
        number = int.from_bytes(self._digest(purpose, original), "big")
        letters = []
        for _ in range(length):
            number, index = divmod(number, len(_LETTERS))
            letters.append(_LETTERS[index])
        return "".join(letters)

    def patient_id(self, patient: PatientKey) -> str:
        """The pseudonym of a patient, from the site's table or made.

        Raises
        ------
        HoldInstance
            ``unknown_patient``: the table does not list the patient and the policy is to hold.
        """
        return self._patient_name(patient)

    def _find_patient(self, patient: PatientKey) -> str:
        if self._table is not None:
            listed = self._table.find(patient.patient_id, patient.issuer) if patient.patient_id else None
            if listed is not None:
                return listed
            if self.settings.unknown == "quarantine":
                raise HoldInstance(Reason.UNKNOWN_PATIENT, "the pseudonym table does not list this patient")
        prefix = f"{self.settings.prefix}-" if self.settings.prefix else ""
        return prefix + self.code("patient", _flat(patient))

    def patient_name(self, patient: PatientKey) -> str:
        """The name given to a patient (PN, family name only): the same as the pseudonymous ID."""
        return self.patient_id(patient)

    def day_shift(self, patient: PatientKey) -> int:
        """By how many whole days this patient's dates move back in time; never 0, the same in all instances."""
        return self._shifts[int.from_bytes(self._digest("days", _flat(patient))[:8], "big") % len(self._shifts)]

    def second_shift(self, patient: PatientKey) -> int:
        """By how many seconds times of day move back beside the days, where ``shift_times`` is set: 0 to 86,399."""
        return int.from_bytes(self._digest("seconds", _flat(patient))[:8], "big") % 86400

    def token(self, purpose: str, value: str) -> str:
        """An opaque key for comparing equals inside the node (hexadecimal, 128 bits): never a plain hash."""
        return self._digest(f"token {purpose}", value)[:16].hex()

    def secret(self, purpose: str, value: str) -> bytes:
        """32 bytes that nobody without the key can tell from random ones, for noise and fields that must come out the same again."""
        return self._digest(f"secret {purpose}", value)

    def patient_token(self, patient: PatientKey) -> str:
        """An opaque key of a patient: two of them in one study mean that patients were mixed up."""
        return self.token("patient", _flat(patient))


def _flat(patient: PatientKey) -> str:
    return f"{patient.patient_id}\0{patient.issuer}\0{patient.without_id}"
