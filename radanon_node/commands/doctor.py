"""``radanon doctor``: the first support step. Checks what the node needs and says what to do about what is missing."""

from __future__ import annotations

import argparse
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from radanon_node.biometrics.generator import Generator
from radanon_node.biometrics.weights import find_generator
from radanon_node.commands.common import add_config_argument, load_config, print_json
from radanon_node.errors import EXIT_FAILURE, EXIT_OK, ConfigError, RadanonError, describe
from radanon_node.ledger.database import try_url
from radanon_node.ledger.seal import load_key
from radanon_node.markers.rules import load_rules
from radanon_node.markers.weights import find_weights
from radanon_node.network.check import check_destination
from radanon_node.network.tls import server_context
from radanon_node.reload import check_profile
from radanon_node.settings import Config
from radanon_node.settings_profile import BiometricsSettings, ProfileSettings
from radanon_node.store import open_store


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    result: Literal["ok", "warning", "failed"]
    detail: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    findings = [Finding("configuration", "ok", "valid")]
    for check in (_key, _store, _disk, _weights, _biometrics, _text_model, _decoders, _ocr, _profiles, _listener, _device, _routes,
                  _destinations):
        findings += list(check(config))
    failed = any(finding.result == "failed" for finding in findings)
    if args.json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            print(f"{finding.result:8} {finding.check}: {finding.detail}")
    return EXIT_FAILURE if failed else EXIT_OK


def _tried(check: str, step: Callable[[], str]) -> Finding:
    """The step's sentence, or what went wrong in words for an administrator."""
    try:
        return Finding(check, "ok", step())
    except ConfigError as error:
        return Finding(check, "failed", "; ".join(error.problems))
    except (RadanonError, OSError, RuntimeError, ImportError) as error:
        return Finding(check, "failed", describe(error))


def _key(config: Config) -> Iterator[Finding]:
    path = config.node.key_path
    if not path.exists():
        yield Finding("key file", "warning", f"{path} does not exist yet; the first start of the node makes it")
        return

    def check() -> str:
        load_key(path, create=False)
        return f"{path}, readable by its owner alone; keep a backup"

    yield _tried("key file", check)


def _store(config: Config) -> Iterator[Finding]:
    if not config.node.key_path.exists():
        yield _tried("ledger and spool", lambda: try_url(config.ledger_url))
        return

    off: dict[str, int] = {}

    def check() -> str:
        ledger, _ = open_store(config)
        counts = ledger.status()["states"]
        off.update(ledger.drift())
        ledger.close()
        return f"ledger opens; {sum(counts.values())} instances, {counts['quarantined']} quarantined, {counts['failed']} failed"

    yield _tried("ledger and spool", check)
    if off:
        yield Finding("counts of the ledger", "warning", f"do not fit its rows: {', '.join(f'{name} {by:+}' for name, by in off.items())}; "
                      "something else has written to it? A running node mends them when it starts and every hour")
    spool = config.spool_dir
    if spool.exists() and stat.S_IMODE(spool.stat().st_mode) & 0o077:
        yield Finding("spool", "failed", f"{spool} is open to other users; chmod 700 it")


def _disk(config: Config) -> Iterator[Finding]:
    folder = next(parent for parent in (config.spool_dir, *config.spool_dir.resolve().parents) if parent.exists())
    free, floor = shutil.disk_usage(folder).free, config.listener.min_free_disk
    detail = f"{free / 2**30:.1f} GiB free for the spool; C-STORE is refused below {floor / 2**30:.1f} GiB"
    yield Finding("disk", "failed" if free < floor else "warning" if free < 2 * floor else "ok", detail)


def _weights(config: Config) -> Iterator[Finding]:
    def check() -> str:
        found = find_weights(config.worker.weights, config.worker.weights_sha256)
        if found is None:
            raise ConfigError("no packaged weights are installed: films would be quarantined as model_missing")
        return f"{found.path.name}, sha256 {found.sha256[:16]}..., as named"

    yield _tried("marker weights", check)


def _biometrics(config: Config) -> Iterator[Finding]:
    for name, profile in config.profiles.items():
        settings = profile.biometrics
        if settings.method == "off":
            continue

        def check(settings: BiometricsSettings = settings) -> str:
            if settings.method != "deformation" or settings.field != "film":
                return f"{settings.method}, needs no weights"
            found = find_generator(settings.weights, settings.weights_sha256)
            if found is None:
                raise ConfigError("no weights of the deformation field are named or packaged: films would be quarantined as model_missing")
            Generator(found, 1)
            return f"{found.path.name}, sha256 {found.sha256[:16]}..., as named"

        yield _tried(f"biometrics of profile {name}", check)


def _text_model(config: Config) -> Iterator[Finding]:
    def check() -> str:
        from radanon_node.markers.text import TextDetector

        TextDetector.load(1)
        return "loaded, hash as pinned"

    yield _tried("text model", check)


def _decoders(config: Config) -> Iterator[Finding]:
    def check() -> str:
        from radanon_node.pixels.decoders import load_libraries

        load_libraries()
        return "all can be loaded"

    yield _tried("decoders", check)


def _ocr(config: Config) -> Iterator[Finding]:
    program = shutil.which("tesseract")
    if program is None:
        yield Finding("tesseract", "failed", "not found on PATH; apt-get install tesseract-ocr")
        return
    yield Finding("tesseract", "ok", program)


def _profiles(config: Config) -> Iterator[Finding]:
    for name, profile in config.profiles.items():

        def check(name: str = name, profile: ProfileSettings = profile) -> str:
            check_profile(name, profile)
            rules, table = len(load_rules(profile.pixels.regions).rules), profile.pseudonyms.table
            return f"rules of tags can be used; {rules} device rules; pseudonym table: {table or 'none'}"

        yield _tried(f"profile {name}", check)


def _listener(config: Config) -> Iterator[Finding]:
    for name, tls in (("listener.tls", config.listener.tls), ("web.tls", config.web.tls)):
        if tls is not None:
            yield _tried(name, lambda tls=tls: f"certificate and key can be used ({server_context(tls).minimum_version.name})")  # type: ignore[misc]


def _device(config: Config) -> Iterator[Finding]:
    wanted = config.worker.device
    try:
        import torch

        gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    except ImportError:
        gpus = []
    if wanted.startswith("cuda") and not gpus:
        yield Finding("device", "failed", f"worker.device is {wanted}, but PyTorch finds no CUDA GPU")
    else:
        yield Finding("device", "ok", f"{wanted}; GPUs: {', '.join(gpus) or 'none'}; cores: {len(os.sched_getaffinity(0))}")


def _routes(config: Config) -> Iterator[Finding]:
    if not config.routes:
        yield Finding("routes", "failed", "none are configured: every association would be rejected")
    for name in config.destinations:
        if not any(name in route.destinations for route in config.routes):
            yield Finding(f"destination {name}", "warning", "no route sends to it")
    yield from _one_scope_two_profiles(config)


def _one_scope_two_profiles(config: Config) -> Iterator[Finding]:
    """The new SOP Instance UID follows from the original one and the scope: two profiles would give two objects of one UID."""
    for route, other in combinations(config.routes, 2):
        shared = set(route.destinations) & set(other.destinations)
        one, two = config.profiles[route.profile], config.profiles[other.profile]
        if shared and one != two and one.pseudonyms.scope == two.pseudonyms.scope:
            yield Finding(f"routes {route.ae_title} and {other.ae_title}", "warning",
                          f"different profiles of one pseudonyms.scope send to {', '.join(sorted(shared))}: what comes by both routes "
                          "has one UID there and two contents; give one profile a scope of its own, or the routes their own destinations")


def _destinations(config: Config) -> Iterator[Finding]:
    for name, destination in config.destinations.items():
        if destination.directory is not None:
            folder: Path = destination.directory
            parent = next(item for item in (folder, *folder.resolve().parents) if item.exists())
            writable = os.access(parent, os.W_OK)
            yield Finding(f"destination {name}", "ok" if writable else "failed", f"{folder} is {'' if writable else 'not '}writable")
        else:
            yield _tried(f"destination {name}", lambda destination=destination: check_destination(destination))  # type: ignore[misc]
