"""Settings: every mistake is one line with the key's path, and the documented default is complete and true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from radanon_node import config
from radanon_node.errors import ConfigError
from radanon_node.settings import Config, DestinationSettings, RouteSettings
from radanon_node.settings_profile import ProfileSettings

ROOT = Path(__file__).parents[1]
MINIMAL: dict[str, Any] = {
    "routes": [{"ae_title": "IN", "profile": "p", "destinations": ["a"]}],
    "profiles": {"p": {}},
    "destinations": {"a": {"host": "h", "port": 104, "ae_title": "A"}},
}


def problems(raw: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.parse(raw)
    return caught.value.problems


def changed(path: str, value: object) -> dict[str, Any]:
    import copy

    raw: Any = copy.deepcopy(MINIMAL)
    here = raw
    *parents, last = path.split(".")
    for part in parents:
        here = here[int(part)] if part.isdigit() else here.setdefault(part, {})
    here[last] = value
    return raw


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("listener.prot", 1, "listener.prot: unknown key; did you mean 'port'?"),
        ("profiles.p.tags.optons", [], "profiles.p.tags.optons: unknown key; did you mean 'options'?"),
        ("profiles.p.pixels.retian", [], "profiles.p.pixels.retian: unknown key; did you mean 'retain'?"),
        ("destinations.a.retry_intial", 1, "did you mean 'retry_initial'?"),
        ("routes.0.profil", "p", "routes[0].profil: unknown key; did you mean 'profile'?"),
        ("listener.tls", {"certificat": "x"}, "listener.tls.certificat: unknown key; did you mean 'certificate'?"),
        ("listener.port", "x", "listener.port: "),
        ("listener.port", 70000, "listener.port: "),
        ("listener.min_free_disk", "2 gigs", "listener.min_free_disk: must be a size"),
        ("worker.lease", "soon", "worker.lease: must be a duration"),
        ("routes.0.ae_title", "AN_AE_TITLE_TOO_LONG", "routes[0].ae_title: must be an AE title"),
        ("routes.0.profile", "q", "routes[0].profile: no profile named 'q'; there are: p"),
        ("routes.0.destinations", ["b"], "routes[0].destinations: no destination named 'b'; there are: a"),
        ("destinations.a.directory", "/x", "destinations.a: "),
        ("profiles.p.tags.options", ["retain_everything"], "profiles.p.tags.options[0]: "),
        ("profiles.p.tags.options", ["retain_longitudinal_full_dates", "retain_longitudinal_modified_dates"], "exclude each other"),
        ("worker.weights", "w.onnx", "weights_sha256 is required"),
        ("web.host", "0.0.0.0", "web.host: off the loopback needs web.tls"),
        ("routes", None, "routes: must be a list"),
        ("profiles", None, "profiles: must be a mapping"),
        ("routes.0.ae_title", 104, "routes[0].ae_title: must be text"),
        ("profiles.p.pixels.retain", ["LL"], "profiles.p.pixels.retain[0]: must be one capital letter"),
        ("listener.allowed_callers", [{"ae_title": "X", "host": "10.1.0.0/99"}], "listener.allowed_callers[0]: host: neither an address"),
        ("listener.allowed_callers", [{"ae_title": "X", "host": "10.1.2.300"}], "listener.allowed_callers[0]: host: neither an address"),
        ("ledger.spool", "s3:/bucket", "ledger.spool: must be a folder or s3://"),
        ("web.auth", [{"name": "a", "password_hash": "secret"}], "web.auth[0].password_hash: not as `radanon hash-password` prints it"),
        ("web.auth", [{"name": "a"}, {"name": "a"}], "web.auth: user 'a' is there twice"),
        ("destinations.a", {"host": "localhost", "port": 11112, "ae_title": "IN"}, "routes: what comes to IN goes to this node's own IN"),
        ("", 1, ""),
    ],
)
def test_a_mistake_is_one_line_with_its_path(path: str, value: object, expected: str) -> None:
    found = problems(changed(path, value)) if path else problems([1])
    assert len(found) == 1 or path in ("listener.tls", "web.host")
    assert any(expected in line for line in found)


def test_a_circle_of_routes_is_told_and_a_chain_is_none() -> None:
    raw = changed("destinations.b", {"host": "127.0.0.1", "port": 11112, "ae_title": "B"})
    raw["destinations"]["a"]["ae_title"] = "IN"
    raw["routes"] = [{"ae_title": "IN", "profile": "p", "destinations": ["b"]}, {"ae_title": "B", "profile": "p", "destinations": ["a"]}]
    config.parse(raw)
    raw["destinations"]["a"] |= {"host": "127.0.0.1", "port": 11112}
    assert len(problems(raw)) == 2


def test_all_mistakes_are_told_at_once() -> None:
    raw = changed("listener.port", "x")
    raw["worker"] = {"batch_size": 0}
    assert len(problems(raw)) == 2


def test_no_value_is_repeated_in_an_error() -> None:
    assert not any("hunter2" in line for line in problems(changed("ledger.url", {"password": "hunter2"})))


def test_a_key_given_twice_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("listener:\n  port: 1\n  port: 2\n")
    with pytest.raises(ConfigError, match="line 3: key 'port' is given twice"):
        config.load(path)


@pytest.mark.parametrize("text", ["a: [", "\t", "- 1", "!!python/object/apply:os.system [ls]"])
def test_bad_yaml_is_a_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        config.load(path)


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(changed("profiles.p.pixels.regions", ["rules.yaml"])))
    found = config.load(path)
    assert found.node.data_dir == tmp_path / "var"
    assert found.node.key_path == tmp_path / "var" / "secret.key"
    assert found.profiles["p"].pixels.regions == (tmp_path / "rules.yaml",)


def test_units() -> None:
    raw = changed("listener.min_free_disk", "1.5GiB")
    raw["worker"] = {"lease": "5m"}
    found = config.parse(raw)
    assert found.listener.min_free_disk == 3 * 2**29
    assert found.worker.lease == 300.0


def test_settings_are_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        config.parse(MINIMAL).listener.port = 1  # type: ignore[misc]


def test_the_documented_default_names_every_key_with_its_default() -> None:
    raw = yaml.safe_load((ROOT / "config.yaml").read_text())
    found = config.load(ROOT / "config.yaml")
    # Keys of the example entries, and of sections; a destination is either a folder or on the network.
    assert_complete(Config(), raw, skip={"routes", "destinations", "profiles", "data_dir"})
    profile = raw["profiles"]["default"]
    assert_complete(ProfileSettings(), profile, skip={"options"})
    assert set(raw["routes"][0]) == set(RouteSettings.model_fields)
    assert set(raw["destinations"]["archive"]) == set(DestinationSettings.model_fields) - {"directory"}
    assert found.node.data_dir == ROOT / "var"


def assert_complete(settings: BaseModel, raw: dict[str, Any], skip: set[str]) -> None:
    assert set(raw) == set(type(settings).model_fields)
    parsed = type(settings).model_validate(
        {key: value for key, value in raw.items() if key not in {"routes", "destinations", "profiles"}}
    )
    for name in type(settings).model_fields:
        if name in skip:
            continue
        default = getattr(settings, name)
        if isinstance(default, BaseModel):
            assert_complete(default, raw[name], skip)
        else:
            assert getattr(parsed, name) == default, name
