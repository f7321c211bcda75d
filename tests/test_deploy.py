"""What a site installs: the wheel, the service unit, the container's configuration, the dashboard, the site of the documents."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from radanon_node import config as configuration

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)],
                   check=True, capture_output=True, timeout=120)
    [found] = out.glob("*.whl")
    return found


def test_the_wheel_carries_all_that_the_node_needs(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(["git", "ls-files", "radanon_node", "weights"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for path in tracked.splitlines():
        wanted = path if path.startswith("radanon_node/") else path.replace("weights/", "radanon_node/packaged_weights/", 1)
        assert wanted in names
    assert "radanon_node/config.default.yaml" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "runs/"))]


def test_an_installed_wheel_runs_away_from_the_repository(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    script = (f"import sys; sys.path.insert(0, {str(site)!r})\n"
              "import radanon_node.cli; assert radanon_node.__file__.startswith(sys.path[0])\n"
              "sys.exit(radanon_node.cli.main(sys.argv[1:]))")
    empty = tmp_path / "empty"
    (empty / "in").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "pixels" / "conftest.py", empty / "in" / "no-dicom.txt")

    def radanon(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", script, *arguments], cwd=empty, capture_output=True, text=True, timeout=120)

    assert radanon("--version").stdout.startswith("radanon ")
    done = radanon("anonymize", "in", "--out", "out")  # loads the packaged configuration, weights and tables
    assert done.returncode == 3, done.stderr
    assert json.loads((empty / "out" / "report.json").read_text())


def test_the_container_has_a_valid_configuration() -> None:
    config = configuration.load(ROOT / "docker" / "config.yaml")
    assert config.listener.host == "0.0.0.0"
    assert not config.web.enabled  # until it has users
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    node = compose["services"]["node"]
    assert node["read_only"] and node["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for service in compose["services"].values() for port in service["ports"])
    assert config.destinations["archive"].host in compose["services"]


SERVICE_KEYS = {"build", "image", "restart", "read_only", "tmpfs", "cap_drop", "security_opt", "stop_grace_period", "volumes", "ports",
                "depends_on", "environment"}  # of the Compose specification, those used here


def test_the_compose_file_refers_to_what_there_is() -> None:
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    assert set(compose) == {"services", "volumes"}
    for name, service in compose["services"].items():
        assert set(service) <= SERVICE_KEYS, name
        assert "image" in service and set(service.get("depends_on", ())) <= set(compose["services"])
        for volume in service.get("volumes", ()):
            source, target, *mode = volume.split(":")
            assert target.startswith("/") and mode in ([], ["ro"])
            assert (ROOT / "docker" / source).exists() if source.startswith(".") else source in compose["volumes"]
        for port in service.get("ports", ()):
            assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
        assert all(isinstance(value, str) for value in service.get("environment", {}).values())
        if "build" in service:
            context = ROOT / "docker" / service["build"]["context"]
            assert (context / service["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cuda"])
def test_the_images_copy_what_there_is_and_do_not_run_as_root(name: str) -> None:
    """Every file that a step copies from the repository exists, and the last user is the unprivileged one."""
    steps = re.sub(r"\\\n", " ", (ROOT / "docker" / name).read_text()).splitlines()
    copied = [word for step in steps if step.startswith("COPY") and "--from" not in step for word in step.split()[1:-1]]
    assert copied and all((ROOT / word).exists() for word in copied)
    assert [step for step in steps if step.startswith("USER")][-1] == "USER 10001:10001"


def test_the_service_unit_is_one_that_systemd_accepts(tmp_path: Path) -> None:
    path = ROOT / "deploy" / "systemd" / "radanon.service"
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(path)
    assert unit["Service"]["ExecStart"].startswith("/opt/radanon/bin/radanon serve --config ")
    assert unit["Service"]["ProtectSystem"] == "strict"
    if shutil.which("systemd-analyze") is None:
        return
    copy = tmp_path / "radanon.service"
    copy.write_text(path.read_text().replace("/opt/radanon/bin/radanon", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60)
    assert "radanon.service" not in done.stderr, done.stderr


def test_dashboard_and_alerts_ask_for_metrics_that_exist() -> None:
    source = (ROOT / "radanon_node" / "web" / "metrics.py").read_text()
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())
    alerts = yaml.safe_load((ROOT / "deploy" / "grafana" / "alerts.yaml").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    names = {name for expression in asked for name in re.findall(r"radanon_\w+", expression)}
    assert names
    for name in names:
        assert f'"{name}"' in source, name


def test_the_documents_build_as_a_site_without_broken_links(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
                          cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    remote = re.compile(r'(?:src|href)="https?://[^"]*\.(?:js|css|woff2?)"')
    for page in (tmp_path / "site").rglob("*.html"):
        assert not remote.search(page.read_text()), page.name
