"""What the processes of a node, and short commands, must not load; and what those that open pictures have loaded before the first one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pydicom  # noqa: F401  before `leave_out` is called in this process
import pytest

from radanon_node import lean
from radanon_node.cli import COMMANDS, OPEN_NO_PICTURES
from tests.integration.harness import NodeProcess, node_config, storescu, write_study
from tests.peers import free_port, wait_listening

CODECS = {"libjpeg", "openjpeg", "rle", "CharLS"}
FOR_PICTURES = {*CODECS, "gdcm", "cv2", "onnxruntime", "imaging", "tesserocr"}


def loaded(program: str, *arguments: str) -> set[str]:
    """Top-level modules of a new interpreter after `program`."""
    end = "\nimport json; json.dump(sorted({name.partition('.')[0] for name, module in sys.modules.items() if module}), sys.stderr)"
    done = subprocess.run([sys.executable, "-c", f"import sys\n{program}{end}", *arguments], capture_output=True, text=True, check=True,
                          timeout=120)
    return set(json.loads(done.stderr))


def mapped(pid: int) -> set[str]:
    """Which of the libraries for pictures are mapped into a process."""
    files = {Path(line.rpartition(" ")[2].strip()).name.lstrip("_") for line in Path(f"/proc/{pid}/maps").read_text().splitlines()
             if ".so" in line}
    return {library for library in FOR_PICTURES if any(name.startswith(library) for name in files)}


def test_help_loads_nothing_but_the_front_door() -> None:
    found = loaded("from radanon_node.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass")
    assert not found & {"numpy", "pydicom", "structlog", "sqlalchemy", "pydantic", "yaml", "rich", "asyncio", *FOR_PICTURES}


def test_a_process_is_started_with_nothing_that_it_may_leave_out() -> None:
    found = loaded("import radanon_node.child, radanon_node.roles, radanon_node.network.places, radanon_node.network.share")
    assert not found & {"numpy", "pydicom", "structlog", "sqlalchemy", *FOR_PICTURES}


@pytest.mark.parametrize("command", ["status", "healthcheck", "quarantine", "serve"])
def test_commands_on_the_ledger_load_no_decoders(command: str) -> None:
    program = "sys.argv[1:] = [sys.argv[1], '--help']\nfrom radanon_node.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass"
    found = loaded(program, command)
    assert "rich" not in found or command != "serve"
    assert not found & {*lean.DECODERS, *lean.GDCM, *lean.DOWNLOADS, "cv2", "onnxruntime"}
    assert "pydicom" in found


def test_commands_without_decoders_open_no_pictures() -> None:
    """Each of them can be imported where decoders are left out, and the room of pictures is never among what they import."""
    modules = [COMMANDS[name][0] for name in sorted(OPEN_NO_PICTURES)]
    loaded(f"""
from radanon_node import lean
lean.leave_out(*lean.DECODERS, *lean.GDCM, *lean.DOWNLOADS)
import importlib
for name in {modules}:
    importlib.import_module('radanon_node.commands.' + name)
assert 'radanon_node.pixels' not in sys.modules""")


def test_pictures_are_not_opened_without_decoders() -> None:
    loaded("""
from radanon_node import lean
lean.leave_out(*lean.DECODERS)
try:
    import radanon_node.pixels
except ImportError as error:
    assert 'opens no pictures' in str(error)
else:
    raise AssertionError""")


def test_nothing_is_left_out_of_a_process_that_has_pydicom() -> None:
    before = dict(sys.modules)
    lean.leave_out("never_heard_of", *lean.DECODERS)
    assert dict(sys.modules) == before


def test_workers_have_read_the_tables_before_the_first_instance(tmp_path: Path) -> None:
    """A CT is cleaned without a further look into a table of the standard."""
    (path,) = write_study(tmp_path, 1, seed=1)
    loaded("""
from pathlib import Path
from radanon_node.pipeline import worker
from radanon_node.pipeline.clean import clean_batch
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.tools import Policy, Tools
from radanon_node.pipeline.types import Received
from radanon_node.settings_profile import ProfileSettings
from radanon_node.tags import iods, tables
worker._read_tables()
def late(name):
    raise AssertionError(f'{name} is read late')
iods.read_csv = tables.read_csv = late
(result,) = clean_batch([Received(Path(sys.argv[1]).read_bytes(), '1')], Policy('IN', 'p', ProfileSettings()), Tools(bytes(32)))
assert isinstance(result, Released), result""", str(path))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    web = free_port()
    config = node_config(tmp_path / "node", {"folder": {"directory": str(tmp_path / "out")}}, listener={"processes": 2},
                         web={"enabled": True, "port": web})
    found = NodeProcess(tmp_path / "node", config)
    yield found
    found.stop()


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_each_role_loads_what_it_needs_and_no_more(node: NodeProcess, tmp_path: Path) -> None:
    port = node.start()
    storescu(port, write_study(tmp_path / "in", 1, seed=1))
    node.wait_states(delivered=1)  # so that all have begun
    assert node.process is not None
    wait_listening(node.config["web"]["port"], node.process, 60)
    first = psutil.Process(node.process.pid)
    roles = {child.name(): mapped(child.pid) for child in first.children() if "resource_tracker" not in " ".join(child.cmdline())}
    assert mapped(first.pid) == set()
    assert roles["acceptor-1"] == roles["acceptor-2"] == roles["web"] == roles["sender"] == set()
    assert {*CODECS, "cv2", "onnxruntime"} <= roles["worker-1"], "before the first film"
    assert "gdcm" not in roles["worker-1"]
