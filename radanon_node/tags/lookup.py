"""The site's own table of pseudonyms: a CSV file or an SQLite database, patient ID -> pseudonym.

CSV: a header line with ``patient_id`` and ``pseudonym``, and, where IDs of several issuers meet, ``issuer``. SQLite: a table
``pseudonyms`` with the same columns. It is read once, when the node starts.
"""

from __future__ import annotations

import csv
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from radanon_node.errors import ConfigError

_VALID = re.compile(r"[ -<>-\[\]_-~]{1,64}")  # an LO value in every character set, that may stand in a PN component group too
_COLUMNS = ("patient_id", "pseudonym", "issuer")


class LookupTable:
    """Pseudonyms the site chose itself.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ConfigError
        When it cannot be read, a pseudonym is no valid value, or two patients share one. Texts give lines, never values.
    """

    def __init__(self, path: Path) -> None:
        self._names: dict[tuple[str, str], str] = {}
        problems: list[str] = []
        owners: dict[str, tuple[str, str]] = {}
        for line, (patient, pseudonym, issuer) in enumerate(_read(path), start=1):
            key = (patient.strip(), issuer.strip())
            name = pseudonym.strip()
            if not key[0] or not _VALID.fullmatch(name):
                problems.append(f"pseudonyms.table: entry {line} lacks a patient_id, or its pseudonym is no LO value of 1 to 64 characters")
            elif self._names.get(key, name) != name:
                problems.append(f"pseudonyms.table: entry {line} gives a patient a second pseudonym")
            elif owners.setdefault(name, key) != key:
                problems.append(f"pseudonyms.table: entry {line} repeats the pseudonym of another patient")
            else:
                self._names[key] = name
        if problems:
            raise ConfigError(problems)

    def __len__(self) -> int:
        return len(self._names)

    def find(self, patient_id: str, issuer: str) -> str | None:
        """The pseudonym of a patient; an entry without an issuer stands for every issuer."""
        return self._names.get((patient_id, issuer)) or self._names.get((patient_id, ""))


def _read(path: Path) -> list[tuple[str, str, str]]:
    try:
        with path.open("rb") as file:
            is_sqlite = file.read(16) == b"SQLite format 3\0"
        return _read_sqlite(path) if is_sqlite else _read_csv(path)
    except (OSError, UnicodeDecodeError, csv.Error, sqlite3.Error) as error:
        raise ConfigError(f"pseudonyms.table: {path} cannot be read ({type(error).__name__})") from None


def _read_csv(path: Path) -> list[tuple[str, str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        missing = {"patient_id", "pseudonym"} - set(reader.fieldnames or ())
        if missing:
            raise ConfigError(f"pseudonyms.table: {path} has no column {' and no column '.join(sorted(missing))}")
        return [tuple(row.get(column) or "" for column in _COLUMNS) for row in reader]  # type: ignore[misc]


def _read_sqlite(path: Path) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        columns = {row[1] for row in connection.execute("pragma table_info(pseudonyms)")}
        missing = {"patient_id", "pseudonym"} - columns
        if missing:
            raise ConfigError(f"pseudonyms.table: {path} needs a table pseudonyms with the columns patient_id and pseudonym")
        issuer = "issuer" if "issuer" in columns else "''"
        rows = connection.execute(f"select patient_id, pseudonym, {issuer} from pseudonyms")
        return [tuple("" if value is None else str(value) for value in row) for row in rows]  # type: ignore[misc]
