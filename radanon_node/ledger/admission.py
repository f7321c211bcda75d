"""How received instances come into the ledger: one durable transaction per batch, resends recognised, conflicts kept apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from radanon_node.errors import Reason, StorageError
from radanon_node.ledger.database import Database, storable
from radanon_node.ledger.faults import point
from radanon_node.ledger.peek import numbers
from radanon_node.ledger.prepared import Prepared
from radanon_node.ledger.schema import CONFLICTING, PRIMARY, instances, now
from radanon_node.ledger.seal import Seal
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.tally import DELIVERED_INSTANCES, ROWS, add_to_tally
from radanon_node.ledger.turns import Rounds
from radanon_node.ledger.types import Admission, Arrival, State

_RACES = 5
_READMITTED = 100  # in one transaction


class Admissions(Database):
    """The receiving side of the ledger."""

    def __init__(self, url: str, seal: Seal | bytes, spool: Spool, attempts: int = 5) -> None:
        super().__init__(url, seal, spool, attempts)
        self._rounds = Rounds()

    def admit(self, arrivals: Sequence[Arrival], urgent: bool = True) -> list[Admission]:
        """Take received instances in. When it returns, all of them are on stable storage: success may be answered.

        An instance whose SOP Instance UID this route has seen before is compared with the one that is there (transfer syntax and data
        set bytes): the same content is a ``duplicate``, also of an instance that was delivered or dropped long ago, and its file is
        removed; other content is a ``conflict``, kept in quarantine. Only then files are read and hashed.

        Parameters
        ----------
        arrivals : sequence of Arrival
            Their files must be sealed. On success the ledger has kept or removed each. After an error the caller removes a file only
            once `known_files` says that no row has it: a commit whose answer was lost may have happened.
        urgent : bool
            A sender waits for its response: pass the queue of SQLite's other writers (gate.py). False: nobody does, as the files carry
            their own records (record.py), and what a power cut takes back of these rows the next start writes again.

        Returns
        -------
        list of Admission
            In the order of `arrivals`.

        Raises
        ------
        LedgerUnavailable
            Refuse the instances (0xA700); a resend is harmless.
        StorageError
            The spool cannot read an instance that must be compared; the same.
        """
        new = self._insert(arrivals, urgent)
        return [Admission(new[arrival.file], "new") if arrival.file in new else self._compare(arrival) for arrival in arrivals]

    def turn(self, arrival: Arrival) -> int:
        """The round of the next instance of its study (turns.py)."""
        return self._rounds.next(f"{arrival.route}/{arrival.study or arrival.calling_ae}", arrival.priority)

    def readmit(self, names: Sequence[str]) -> set[str]:
        """Take in files that carry their own record (record.py) and have no row: acknowledged by a process that died before it wrote one.

        Parameters
        ----------
        names : sequence of str
            Files that `known_files` does not know, of processes that live no more.

        Returns
        -------
        set of str
            Those that a row stands for now. The others were never acknowledged.

        Raises
        ------
        LedgerUnavailable
            Nothing is decided about files that have no row yet.
        StorageError
            The same: one of them cannot be read.
        """
        found: set[str] = set()
        for start in range(0, len(names), _READMITTED):
            arrivals = list(filter(None, map(self._recorded, names[start:start + _READMITTED])))
            if arrivals:
                self.admit(arrivals, urgent=False)
                point("sweep.after_readmit")
                found.update(arrival.file for arrival in arrivals)
        return found

    def _recorded(self, name: str) -> Arrival | None:
        with self.spool.open(name) as opened:
            return self.seal.records.read(name, opened.data)

    def _insert(self, arrivals: Sequence[Arrival], urgent: bool = True) -> dict[str, int]:
        rows = [self._row(arrival) for arrival in arrivals]
        with self._write(urgent=urgent, revocable=not urgent) as connection:
            new = {str(file): int(number) for number, file in _ADMIT.rows(connection, rows)}
            add_to_tally(connection, ROWS + DELIVERED_INSTANCES, Counter(row["route"] for row in rows if row["file"] in new))
            return new

    def _row(self, arrival: Arrival) -> dict[str, Any]:
        identity = json.dumps({"sop_instance_uid": arrival.sop_instance_uid, "calling_ae": arrival.calling_ae})
        return {
            "route": arrival.route, "file": arrival.file, "size": arrival.size, "sop_class_uid": storable(arrival.sop_class_uid),
            "transfer_syntax_uid": storable(arrival.transfer_syntax_uid), "received_at": arrival.received_at,
            "identity": self.seal.encrypt(identity), "sop_index": self._sop_index(arrival.route, arrival.sop_instance_uid),
            "round": self.turn(arrival) if arrival.turn is None else arrival.turn,
        }

    def _sop_index(self, route: str, sop_instance_uid: str) -> bytes:
        return self.seal.index("sop", route, sop_instance_uid)

    def _content(self, file: str, transfer_syntax_uid: str) -> bytes:
        with self.spool.open(file) as opened:
            return self.seal.content_digest(opened.data, transfer_syntax_uid)

    def _compare(self, arrival: Arrival) -> Admission:
        content = self._content(arrival.file, arrival.transfer_syntax_uid)
        columns = instances.c
        query = (select(columns.id, columns.file, columns.content, columns.transfer_syntax_uid)
                 .where(columns.sop_index == self._sop_index(arrival.route, arrival.sop_instance_uid), PRIMARY))
        for _ in range(_RACES):
            with self._read() as connection:
                row = connection.execute(query).first()
            if row is None:  # its retention ended a moment ago
                new = self._insert([arrival])
                if new:
                    return Admission(new[arrival.file], "new")
                continue
            if row.file == arrival.file:  # a commit whose answer was lost
                return Admission(row.id, "new")
            seen = row.content
            if seen is None:
                try:
                    seen = self._content(row.file, row.transfer_syntax_uid)
                except StorageError:
                    if self.spool.exists(row.file):
                        raise
                    # Purged a moment ago: the digest is in the row now. Or lost, which the resend makes good.
                    if self._replace(row.id, row.file, arrival):
                        return Admission(row.id, "new")
                    continue
            if seen == content:
                self.spool.remove(arrival.file)
                return Admission(row.id, "duplicate")
            return self._set_apart(arrival, content)
        raise StorageError("ledger: an instance that was resent cannot be compared")

    def _set_apart(self, arrival: Arrival, content: bytes) -> Admission:
        with self.spool.open(arrival.file) as opened:
            series, instance = numbers(opened.data)
        row = self._row(arrival) | {
            "content": content, "series_number": series, "instance_number": instance,
            "detail": "another instance with this SOP Instance UID came before on this route",
        }
        same = select(instances.c.id, instances.c.file).where(
            instances.c.sop_index == row["sop_index"], instances.c.content == content, CONFLICTING)
        with self._write() as connection:
            found = connection.execute(_CONFLICT[connection.dialect.name], [row]).first()
            if found is not None:
                add_to_tally(connection, ROWS + DELIVERED_INSTANCES, {arrival.route: 1})
                return Admission(found.id, "conflict")
            known = connection.execute(same).first()
        if known is not None and known.file == arrival.file:
            return Admission(known.id, "conflict")
        self.spool.remove(arrival.file)
        return Admission(known.id if known else 0, "duplicate")

    def _replace(self, instance_id: int, lost: str, arrival: Arrival) -> bool:
        """Give a row whose file was lost, before anything came of it, the resent one."""
        columns = instances.c
        statement = (update(instances)
                     .where(columns.id == instance_id, columns.file == lost, columns.content.is_(None),
                            columns.state.not_in([State.RELEASED, State.DELIVERED, State.DROPPED]))
                     .values(file=arrival.file, size=arrival.size, sop_class_uid=arrival.sop_class_uid, state=State.RECEIVED, due=now(),
                             transfer_syntax_uid=arrival.transfer_syntax_uid, attempts=0, token=columns.token + 1, owner=None, reason=None,
                             detail=None, closed_at=None)
                     .returning(columns.id))
        with self._write() as connection:
            return connection.execute(statement).first() is not None


def _admit(dialect: Any) -> Any:
    columns = ("route", "file", "size", "sop_class_uid", "transfer_syntax_uid", "received_at", "identity", "sop_index", "round")
    return (dialect.insert(instances)
            .values(state=State.RECEIVED, due=now(), **{name: bindparam(name) for name in columns})
            .on_conflict_do_nothing(index_elements=["sop_index"], index_where=PRIMARY)
            .returning(instances.c.id, instances.c.file))


def _conflict(dialect: Any) -> Any:
    columns = ("route", "file", "size", "sop_class_uid", "transfer_syntax_uid", "received_at", "identity", "sop_index", "round",
               "content", "detail", "series_number", "instance_number")
    return (dialect.insert(instances)
            .values(state=State.QUARANTINED, reason=Reason.UID_CONFLICT, conflict=True, closed_at=now(),
                    **{name: bindparam(name) for name in columns})
            .on_conflict_do_nothing(index_elements=["sop_index", "content"], index_where=CONFLICTING)
            .returning(instances.c.id))


_ADMIT = Prepared({"sqlite": _admit(sqlite), "postgresql": _admit(postgresql)})
_CONFLICT = {"sqlite": _conflict(sqlite), "postgresql": _conflict(postgresql)}
