"""Writes the parts of docs/ that the code itself knows: configuration reference, quarantine reasons, tables of the conformance statement.

A test runs it and compares, so that neither can fall behind. Run it after changing settings.py or errors.py.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydicom.charset import python_encoding
from pydicom.uid import UID
from pynetdicom.sop_class import _STORAGE_CLASSES

import radanon_node
from radanon_node.config import model_in
from radanon_node.errors import WAIVABLE, Reason
from radanon_node.network import contexts
from radanon_node.reasons import REASON_HELP
from radanon_node.settings import Config

DOCS = Path(__file__).resolve().parent.parent / "docs"
TEMPLATE = Path(__file__).resolve().parent / "conformance.template.md"


def main() -> int:
    for name, text in documents().items():
        (DOCS / name).write_text(text, encoding="utf-8")
    return 0


def documents() -> dict[str, str]:
    """File name below docs/ -> its text."""
    return {"configuration.md": configuration(), "quarantine-reasons.md": reasons(), "conformance.md": conformance()}


def configuration() -> str:
    lines = [
        "# Configuration reference", "",
        "Generated from the settings' model. `config.yaml` at the root of the repository is the same with comments. Unknown or misspelt",
        "keys, also nested ones, are errors; each mistake is one line with the key's path. Relative paths are relative to the file.",
        "Sizes: `500MiB`, `2GiB`. Durations: `300s`, `5m`, `2h`, `30d`.", "",
        "| key | default | meaning |", "|---|---|---|",
    ]  # fmt: skip
    lines += [f"| `{path}` | {default} | {meaning} |" for path, default, meaning in rows(Config, "")]
    return "\n".join(lines) + "\n"


def rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    """(path, default, description) of every key below `model`."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        inner = model_in(field.annotation)
        if inner is None:
            yield path, default_of(field), (field.description or "").replace("|", "\\|")
            continue
        kinds = {typing.get_origin(each) for each in (field.annotation, *typing.get_args(field.annotation))}
        if field.description:
            yield path, default_of(field), field.description
        yield from rows(inner, path + ("[]." if tuple in kinds else ".NAME." if dict in kinds else "."))


def default_of(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "null"
    if value in ((), {}):
        return "empty"
    shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"`{shown}`"


def reasons() -> str:
    lines = [
        "# Why an instance is in quarantine", "",
        "Stable codes, as in `radanon quarantine list`, `report.json` and the logs. *Can be released*: a reviewer who has looked at the",
        "instance may let this verdict pass (`radanon quarantine release`); everything else is corrected at its source and sent again,",
        "retried, or dropped. Nothing that is quarantined has left, and its sender was told that it arrived: because it did.", "",
        "| code | what it means and what to do | can be released |", "|---|---|---|",
    ]  # fmt: skip
    lines += [f"| `{reason}` | {REASON_HELP[reason]} | {'yes' if reason in WAIVABLE else 'no'} |" for reason in Reason]
    return "\n".join(lines) + "\n"


def conformance() -> str:
    newer = {str(uid): keyword for keyword, uid in _STORAGE_CLASSES.items()}

    def sop_class(uid: str) -> str:
        name = UID(uid).name
        return newer.get(uid, uid) if name == uid else name

    classes = sorted((sop_class(uid), uid) for uid in contexts.STORAGE_SOP_CLASSES)
    syntaxes = sorted((UID(uid).name, uid) for uid in contexts.TRANSFER_SYNTAXES)
    character_sets = [name for name in python_encoding if name]
    values = {
        "storage_count": str(len(classes)),
        "implementation_class": radanon_node.IMPLEMENTATION_CLASS_UID,
        "implementation_version": radanon_node.IMPLEMENTATION_VERSION_NAME,
        "application_context": contexts.APPLICATION_CONTEXT,
        "sop_classes": _uid_table("SOP class", [("Verification", contexts.VERIFICATION), *classes,
                                               ("Storage Commitment Push Model (option)", contexts.STORAGE_COMMITMENT)]),
        "transfer_syntaxes": _uid_table("transfer syntax", syntaxes),
        "character_sets": "Read: the default repertoire, " + ", ".join(f"`{name}`" for name in character_sets) + ".",
    }  # fmt: skip
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def _uid_table(kind: str, rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join([f"| {kind} | UID |", "|---|---|", *(f"| {name} | {uid} |" for name, uid in rows)])


if __name__ == "__main__":
    sys.exit(main())
