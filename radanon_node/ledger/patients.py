"""What patients are known by, sealed: identifiers seen in earlier instances, so that they are hunted in later ones.

The row's key is a keyed hash of Patient ID and issuer, its content is encrypted: without the node's key the table says how many patients
there are and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from radanon_node.ledger.database import Database
from radanon_node.ledger.schema import now, patients
from radanon_node.ledger.seal import Seal
from radanon_node.ledger.spool import Spool
from radanon_node.tags.known import Known
from radanon_node.tags.pseudonyms import PatientKey

_CACHED = 2048
_SEEN_AGAIN_S = 86400.0  # how stale `seen_at` may get: it costs a write


class Patients(Database):
    """The sealed memory of patients. A `tags.known.Memory`."""

    def __init__(self, url: str, seal: Seal | bytes, spool: Spool, attempts: int = 5) -> None:
        super().__init__(url, seal, spool, attempts)
        self._opened: dict[bytes, tuple[bytes, Known]] = {}

    def exchange(self, seen: Mapping[PatientKey, Known]) -> dict[PatientKey, Known]:
        """Keep what was seen of these patients and return all that is known of each.

        One read per call, and a transaction only where something new was seen. A row is opened again only when another process has
        changed it.

        Parameters
        ----------
        seen : mapping of PatientKey to Known

        Returns
        -------
        dict
            Every key of `seen`: what was known, and what was seen now.

        Raises
        ------
        LedgerUnavailable, StorageError
            The database does not answer; a row does not open with this key.
        """
        if not seen:
            return {}
        keys = {self.seal.index("patient", patient.patient_id, patient.issuer, patient.without_id): patient for patient in seen}
        with self._read() as connection:
            known, stale = self._known(connection, list(keys))
        if not stale and all(key in known and known[key].with_(seen[patient]) is known[key] for key, patient in keys.items()):
            return {patient: known[key] for key, patient in keys.items()}
        with self._write() as connection:
            order = sorted(keys)
            missing = [key for key in order if key not in known]
            if missing:
                dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
                empty = Known().as_json()
                connection.execute(dialect.insert(patients).on_conflict_do_nothing(index_elements=["patient_index"]), [
                    {"patient_index": key, "version": 0, "identifiers": self.seal.encrypt(empty), "seen_at": 0.0} for key in missing])
            # Read again under lock, in a fixed order: another process may have added to them meanwhile.
            known, stale = self._known(connection, order, lock=True)
            for key in order:
                merged = known[key].with_(seen[keys[key]])
                if merged is not known[key] or key in stale:
                    connection.execute(update(patients).where(patients.c.patient_index == key).values(
                        version=patients.c.version + 1, identifiers=self.seal.encrypt(merged.as_json()), seen_at=now()))
                    known[key] = merged
        return {patient: known[key] for key, patient in keys.items()}

    def forget_patients(self, after: float, limit: int = 1000) -> int:
        """Forget patients of whom nothing came for `after` seconds; returns how many, at most `limit`."""
        old = select(patients.c.patient_index).where(patients.c.seen_at <= now() - after).limit(limit)
        with self._write() as connection:
            return len(connection.execute(delete(patients).where(patients.c.patient_index.in_(old))
                                          .returning(patients.c.version)).all())

    def _known(self, connection: Connection, keys: Sequence[bytes], lock: bool = False) -> tuple[dict[bytes, Known], set[bytes]]:
        columns = patients.c
        query = (select(columns.patient_index, columns.identifiers, (columns.seen_at < now() - _SEEN_AGAIN_S).label("stale"))
                 .where(columns.patient_index.in_(keys)).order_by(columns.patient_index))
        found: dict[bytes, Known] = {}
        stale: set[bytes] = set()
        for row in connection.execute(query.with_for_update() if lock else query):
            key = bytes(row.patient_index)
            found[key] = self._open(key, bytes(row.identifiers))
            if row.stale:
                stale.add(key)
        return found, stale

    def _open(self, key: bytes, sealed: bytes) -> Known:
        # A sealed text is never the same twice (random nonce): equal bytes are the row that was opened before.
        held = self._opened.get(key)
        if held is not None and held[0] == sealed:
            return held[1]
        known = Known.from_json(self.seal.decrypt(sealed))
        if len(self._opened) >= _CACHED:
            self._opened.clear()
        self._opened[key] = (sealed, known)
        return known
