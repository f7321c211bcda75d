"""What the cleaning core works with: the policy of a route, and the loaded tools (models, keys, rules) of a process."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import radanon_node
from radanon_node.biometrics.generator import Generator
from radanon_node.biometrics.weights import find_generator
from radanon_node.errors import ConfigError
from radanon_node.markers.detector import MarkerDetector
from radanon_node.markers.rules import RuleSet, load_rules
from radanon_node.markers.text import TextDetector
from radanon_node.pipeline.observer import Observer
from radanon_node.settings import Config
from radanon_node.settings_profile import BiometricsSettings, ProfileSettings
from radanon_node.tags.engine import Scrubber
from radanon_node.tags.known import Memory
from radanon_node.tags.pseudonyms import Pseudonyms


@dataclass(frozen=True)
class Policy:
    """What is to be done with the instances of one route.

    Parameters
    ----------
    route : str
        Called AE title; "folder" in folder mode without a route.
    name : str
        Name of the profile.
    profile : ProfileSettings
    destinations : tuple of str
    """

    route: str
    name: str
    profile: ProfileSettings
    destinations: tuple[str, ...] = ()

    @classmethod
    def for_route(cls, config: Config, ae_title: str) -> Policy:
        """The policy of the route that a called AE title selects.

        Raises
        ------
        ConfigError
            No such route.
        """
        route = config.route(ae_title)
        if route is None:
            raise ConfigError(f"no route with AE title {ae_title!r}; there are: {', '.join(r.ae_title for r in config.routes) or 'none'}")
        return cls(route.ae_title, route.profile, config.profiles[route.profile], route.destinations)

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the profile's settings and the program's version: names in a receipt exactly what was in force."""
        text = json.dumps([radanon_node.__version__, self.profile.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(slots=True)
class Stopwatch:
    """Seconds per stage, summed; what `radanon bench` reads. `observe` is told each passage, for the metrics."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    observe: Callable[[str, float], None] | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - begun
            self.seconds[name] += spent
            if self.observe is not None:
                self.observe(name, spent)


class Tools:
    """Models, keys and rules of one process, each loaded once and at first need.

    Parameters
    ----------
    key : bytes
        The node's secret: keys pseudonyms, UIDs and date shifts.
    weights : Path or None
        Marker weights; None = the packaged ones.
    weights_sha256 : str or None
    device : str
        ``auto``, ``cpu`` or ``cuda[:n]``.
    threads : int
        Threads the models may use in this process.
    memory : Memory or None
        Where it is kept what patients are known by; None hunts what an instance itself says.
    observer : Observer or None
        Takes note of where text stands, per kind of device.
    """

    def __init__(
        self, key: bytes, weights: Path | None = None, weights_sha256: str | None = None, device: str = "auto", threads: int = 1,
        memory: Memory | None = None, observer: Observer | None = None,
    ) -> None:
        self.memory = memory
        self.observer = observer
        self._key = key
        self._weights = (weights, weights_sha256)
        self._device = device
        self._threads = threads
        self._markers: MarkerDetector | None = None
        self._text: TextDetector | None = None
        self._scrubbers: dict[str, Scrubber] = {}
        self._rules: dict[tuple[Path, ...], RuleSet] = {}
        self._generators: dict[tuple[Path | None, str | None], Generator | None] = {}
        self._anatomy: tuple[BiometricsSettings, ...] = ()
        self.watch = Stopwatch()

    @classmethod
    def load(cls, config: Config, key: bytes, threads: int = 1) -> Tools:
        """Tools as the configuration names them; the models are loaded at first need or by `warm`."""
        worker = config.worker
        tools = cls(key, worker.weights, worker.weights_sha256, worker.device, threads)
        tools._anatomy = tuple(profile.biometrics for profile in config.profiles.values())
        return tools

    def warm(self) -> None:
        """Load the models now, so that a wrong path or hash is an error at start and not on the first film."""
        _ = self.markers
        for settings in self._anatomy:
            self.generator(settings)

    @property
    def markers(self) -> MarkerDetector:
        if self._markers is None:
            self._markers = MarkerDetector.load(*self._weights, self._device, self._threads)
        return self._markers

    @property
    def text(self) -> TextDetector:
        if self._text is None:
            self._text = TextDetector.load(self._threads)
        return self._text

    def scrubber(self, policy: Policy) -> Scrubber:
        """The tag engine of a policy (built once per policy)."""
        if policy.hash not in self._scrubbers:
            profile = policy.profile
            pseudonyms = Pseudonyms(self._key, profile.pseudonyms, profile.tags)
            self._scrubbers[policy.hash] = Scrubber(profile.tags, pseudonyms, tuple(profile.pixels.sop_classes))
        return self._scrubbers[policy.hash]

    def rules(self, policy: Policy) -> RuleSet:
        """The device region rules of a policy."""
        paths = policy.profile.pixels.regions
        if paths not in self._rules:
            self._rules[paths] = load_rules(paths)
        return self._rules[paths]

    def generator(self, settings: BiometricsSettings) -> Generator | None:
        """The network that makes deformation fields; None where the settings need none or no weights are there.

        Raises
        ------
        ConfigError
            Named weights that are missing or not what their hash says.
        """
        if settings.method != "deformation" or settings.field != "film":
            return None
        named = settings.weights, settings.weights_sha256
        if named not in self._generators:
            found = find_generator(*named)
            self._generators[named] = None if found is None else Generator(found, self._threads)
        return self._generators[named]
