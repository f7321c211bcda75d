"""Only the verifier makes `Released`, and only its sealed bytes re-open as one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import radanon_node
from radanon_node.errors import HoldInstance
from radanon_node.ledger.seal import Seal
from radanon_node.ledger.types import ReleaseRecord
from radanon_node.pipeline.released import Released, digest_of

PACKAGE = Path(radanon_node.__file__).parent
SEAL = Seal(bytes(range(32)))
DATA = b"\0" * 128 + b"DICM" + b"rest"


def record(seal: Seal = SEAL) -> ReleaseRecord:
    unsigned = ReleaseRecord("1.2", "1.2.3", "1.2.840.10008.1.2.1", "out/x", len(DATA), digest_of(DATA), "")
    return replace(unsigned, seal=seal.sign(unsigned))


def test_it_cannot_be_made_by_calling_the_class() -> None:
    with pytest.raises(TypeError):
        Released(object(), encoded=DATA)


def test_only_the_verifier_issues_it() -> None:
    named = re.compile(r"\b_issue\b|\b_ISSUED\b")
    users = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if named.search(path.read_text())}
    assert users == {"pipeline/released.py", "pipeline/verify.py"}


def test_it_is_immutable() -> None:
    released = Released.reopen(record(), DATA, SEAL)
    with pytest.raises(AttributeError):
        released.encoded = b""


def test_the_sealed_bytes_reopen() -> None:
    assert Released.reopen(record(), DATA, SEAL).encoded == DATA


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", DATA[:-1] + b"T"])
def test_other_bytes_do_not(data: bytes) -> None:
    with pytest.raises(HoldInstance):
        Released.reopen(record(), data, SEAL)


def test_a_record_that_another_key_sealed_does_not() -> None:
    with pytest.raises(HoldInstance):
        Released.reopen(record(Seal(bytes(32))), DATA, SEAL)


def test_a_record_changed_after_sealing_does_not() -> None:
    with pytest.raises(HoldInstance):
        Released.reopen(replace(record(), sop_instance_uid="1.2.4"), DATA, SEAL)
