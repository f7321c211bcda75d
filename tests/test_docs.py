"""The documents that the code knows are what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from radanon_node.errors import Reason
from radanon_node.reasons import REASON_HELP

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("generate_docs", ROOT / "scripts" / "generate_docs.py")
assert SPEC is not None and SPEC.loader is not None
generate_docs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generate_docs)


@pytest.mark.parametrize("name", ["configuration.md", "quarantine-reasons.md", "conformance.md"])
def test_the_generated_documents_are_up_to_date(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == generate_docs.documents()[name], "run scripts/generate_docs.py"


def test_every_reason_is_explained() -> None:
    assert set(REASON_HELP) == set(Reason)
