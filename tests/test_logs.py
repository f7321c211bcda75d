"""Logging lets facts through and identities never."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys

import pytest
import structlog

from radanon_node import logs
from radanon_node.errors import HoldInstance, Reason


@pytest.fixture
def stream() -> io.StringIO:
    out = io.StringIO()
    logs.configure("json", "info", out)
    return out


def events(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_key_that_is_not_listed_is_withheld(stream: io.StringIO) -> None:
    structlog.get_logger("x").info("instance received", id=7, patient_name="CANARY^ONE")
    assert "CANARY" not in stream.getvalue()
    assert events(stream)[0]["withheld"] == ["patient_name"]
    assert events(stream)[0]["id"] == 7


def test_messages_of_libraries_are_withheld(stream: io.StringIO) -> None:
    logging.getLogger("pynetdicom.assoc").error("(0010,0010) PN [CANARY^TWO]")
    logging.getLogger("pydicom").error("value CANARY^TWO has no VR")
    logging.getLogger("some.other").warning("CANARY^TWO")
    assert "CANARY" not in stream.getvalue()
    assert [event["event"] for event in events(stream)] == ["library message withheld"] * 3


def test_an_exception_shows_type_and_place_but_not_its_text(stream: io.StringIO) -> None:
    try:
        raise ValueError("CANARY^THREE")
    except ValueError:
        structlog.get_logger("x").error("failed", exc_info=True)
    assert "CANARY" not in stream.getvalue()
    assert events(stream)[0]["error"] == "ValueError"
    assert "test_logs.py" in str(events(stream)[0]["trace"])


def test_our_own_errors_show_their_text(stream: io.StringIO) -> None:
    structlog.get_logger("x").error("held", exc_info=HoldInstance(Reason.VIDEO, "MPEG-4"))
    assert events(stream)[0]["error"] == "HoldInstance: video: MPEG-4"


def test_warnings_of_libraries_are_silent() -> None:
    program = """if True:
        import sys, warnings
        from radanon_node import logs
        logs.configure("json", "info", sys.stdout)
        warnings.simplefilter("always")
        warnings.warn("Invalid value for VR UI: 'CANARY'")
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "CANARY" not in done.stdout + done.stderr
