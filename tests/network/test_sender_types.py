"""Only a `Released` is ever sent: a type checker says so beforehand, the courier says so at run time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from radanon_node.network.courier import FolderCourier, NetworkCourier
from radanon_node.pipeline.types import Cleaned
from radanon_node.settings import DestinationSettings

ROOT = Path(__file__).parents[2]

SNIPPET = """
from radanon_node.network.courier import Courier
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.types import Cleaned

def right(courier: Courier, released: Released) -> None:
    courier.begin(released)

def wrong(courier: Courier, cleaned: Cleaned) -> None:
    courier.begin(cleaned)

def also_wrong(courier: Courier, data: bytes) -> None:
    courier.begin(data)
"""


def test_type_checker_refuses_anything_else(tmp_path: Path) -> None:
    """mypy finds exactly the two wrong calls of the snippet."""
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--follow-imports", "silent", str(snippet)],
        # The project's cache of `make lint`: without it the type checker reads every library first.
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 2, done.stdout + done.stderr
    assert 'has incompatible type "Cleaned"; expected "Released"' in errors[0] and ":10:" in errors[0]
    assert 'has incompatible type "bytes"; expected "Released"' in errors[1] and ":13:" in errors[1]


def test_couriers_refuse_anything_else_at_run_time(tmp_path: Path) -> None:
    """Also a look-alike: nothing is connected to, nothing is written."""
    cleaned = Cleaned("1", b"data", "1.2", "1.2.3", "1.2.840.10008.1.2.1", ("P", "S", "E"), {})
    archive = NetworkCourier(DestinationSettings.model_validate({"host": "127.0.0.1", "port": 1, "ae_title": "X"}))
    folder = FolderCourier(DestinationSettings.model_validate({"directory": tmp_path / "out"}))
    for courier in (archive, folder):
        with pytest.raises(TypeError, match="only a Released"):
            courier.begin(cleaned)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
