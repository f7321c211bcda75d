"""The shape of ``config.yaml``: frozen, validated values with their defaults; config.py reads the file into them.

Profiles are in settings_profile.py, the types of single values in settings_values.py.

The descriptions here are the configuration reference: ``docs/configuration.md`` is generated from them.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from radanon_node.settings_profile import ProfileSettings
from radanon_node.settings_values import AETitle, PasswordHash, Port, Seconds, SendWindow, Settings, Size, TimeZone


class TlsSettings(Settings):
    certificate: Path = Field(description="PEM file with this node's certificate and its chain.")
    private_key: Path = Field(description="PEM file with its private key, readable by the node's user alone.")
    ca: Path | None = Field(None, description="PEM file of the authorities that peers' certificates are checked against.")
    client_certificates: Literal["require", "accept", "ignore"] = Field(
        "require", description="What a peer that calls this node must show; `require` is mutual authentication (PS3.15 B.9).")
    verify_hostname: bool = Field(True, description="When this node calls: the peer's certificate must name its host.")
    minimum_version: Literal["1.2", "1.3"] = Field("1.2", description="BCP 195: nothing older than TLS 1.2 is offered.")


class NodeSettings(Settings):
    data_dir: Path = Field(Path("var"), description="Folder of ledger, spool and receipts; made 0700 if absent.")
    key_file: Path | None = Field(None, description="Secret that keys pseudonyms, UIDs and date shifts; made 0600 at first start. "
                                  "Default: `secret.key` in data_dir. Back it up: without it no study can be continued.")
    log_format: Literal["console", "json"] = Field("console", description="How log events are written to stdout.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe event to log.")
    time_zone: TimeZone | None = Field(None, description="IANA name, as Europe/Berlin, that `send_window` goes by; null = that of the machine.")
    drain_timeout: Seconds = Field(30.0, description="How long SIGTERM waits for work in hand before it is left to the next start.")

    @property
    def key_path(self) -> Path:
        return self.key_file or self.data_dir / "secret.key"


class CallerSettings(Settings):
    ae_title: AETitle
    host: str | None = Field(None, description="Address, network (10.1.0.0/16) or name the caller must come from; null = any.")
    port: Port | None = Field(None, description="Where it listens itself: Storage Commitment results that come later are reported there.")

    @model_validator(mode="after")
    def _place(self) -> CallerSettings:
        # What looks like an address or network and is none would be taken for a name that nobody has: every such caller is locked out.
        if self.host is not None and ("/" in self.host or re.fullmatch(r"[\d.]+", self.host)):
            try:
                ipaddress.ip_network(self.host, strict=False)
            except ValueError:
                raise ValueError("host: neither an address nor a network such as 10.1.0.0/16") from None
        return self


def _caller(value: object) -> object:
    return {"ae_title": value} if isinstance(value, str) else value


Caller = Annotated[CallerSettings, BeforeValidator(_caller)]


class ListenerSettings(Settings):
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 = all.")
    port: int = Field(11112, ge=0, le=65535, description="TCP port; 0 takes a free one (the `ready` event names it).")
    processes: int | Literal["auto"] = Field("auto", description="Processes that receive; auto = one per four cores, at most eight. "
                                             "One is the node's own.")
    max_associations: int = Field(32, ge=1, le=1000, description="More are rejected as transient: local limit exceeded (2,3,2).")
    allowed_callers: tuple[Caller, ...] = Field((), description="Calling AE titles let in, items `AE` or `{ae_title, host}`; empty = any.")
    tls: TlsSettings | None = Field(None, description="TLS for incoming associations; null = plain.")
    min_free_disk: Size = Field(2 * 2**30, description="Below this free space C-STORE is refused with 0xA700.")
    max_instance_size: Size = Field(4 * 2**30, description="A larger instance is refused with 0xA700.")
    acse_timeout: Seconds = Field(30.0, description="ARTIM: seconds a connection may take to request its association.")
    network_timeout: Seconds = Field(60.0, description="Seconds an open association may stay silent before it is aborted.")
    unknown_sop_classes: Literal["reject", "quarantine"] = Field(
        "reject", description="Private or unknown storage SOP classes: refuse the presentation context, or accept and quarantine.")
    extra_sop_classes: tuple[str, ...] = Field((), description="UIDs of further storage SOP classes to accept (they are quarantined "
                                               "unless `sop_classes` of the profile says otherwise).")
    storage_commitment: bool = Field(False, description="Answer Storage Commitment requests of modalities from what the archives accepted.")

    @model_validator(mode="after")
    def _count(self) -> ListenerSettings:
        if isinstance(self.processes, int) and not 1 <= self.processes <= 64:
            raise ValueError("processes: must be auto or 1..64")
        return self


class RouteSettings(Settings):
    ae_title: AETitle = Field(description="Called AE title that selects this route.")
    profile: str = Field(description="Name of an entry of `profiles`.")
    destinations: tuple[str, ...] = Field(min_length=1, description="Names of entries of `destinations`.")
    priority: Literal["high", "normal", "low"] = Field(
        "normal", description="Whose instances workers and destinations take first; every fourth claim takes the oldest, whatever its priority.")
    callers: tuple[Caller, ...] | None = Field(None, description="Callers let in on this route; null = as the listener says.")
    shadow_profile: str | None = Field(None, description="Name of a profile that runs beside `profile`: what it does otherwise is counted "
                                       "(`radanon shadow report`), nothing of it is sent.")
    shadow_share: float = Field(0.1, gt=0, le=1, description="Share of the route's instances that the shadow profile also cleans.")


class DestinationSettings(Settings):
    directory: Path | None = Field(None, description="Folder destination: instances are written there as PATIENT/STUDY/SERIES/INSTANCE.dcm.")
    host: str | None = Field(None, description="Address of the archive.")
    port: Port | None = Field(None, description="Its DICOM port.")
    ae_title: AETitle | None = Field(None, description="Its AE title.")
    calling_ae_title: AETitle = Field("RADANON", description="AE title this node calls with.")
    tls: TlsSettings | None = Field(None, description="TLS towards the archive.")
    max_associations: int = Field(2, ge=1, le=32, description="Parallel associations to it.")
    storage_commitment: bool = Field(False, description="Ask for Storage Commitment before an original is purged.")
    transfer_syntaxes: tuple[str, ...] = Field((), description="Transfer syntax UIDs to propose beside the instance's own; "
                                               "empty = as it is, else explicit VR little endian.")
    retry_initial: Seconds = Field(10.0, description="First delay after a refusal or a lost connection; doubles each time, with jitter.")
    retry_max: Seconds = Field(900.0, description="Longest delay between tries.")
    attempts: int = Field(10, ge=1, description="Tries of one instance the destination itself says no to (Axxx, Cxxx); an unreachable "
                          "destination costs none.")
    timeout: Seconds = Field(60.0, description="Seconds to wait for its answer to one request.")
    send_window: SendWindow | None = Field(None, description="Only then it is sent to, by `node.time_zone`: \"19:00-06:00\", or several "
                                           "separated by commas; null = always.")
    max_instances_per_minute: float | None = Field(None, gt=0, description="Rate limit over all nodes of this ledger; null = none.")
    max_mbit_per_second: float | None = Field(None, gt=0, description="Rate limit of the network, over all nodes of this ledger; null = none.")

    @model_validator(mode="after")
    def _one_kind(self) -> DestinationSettings:
        network = [name for name in ("host", "port", "ae_title") if getattr(self, name) is None]
        if self.directory is not None and len(network) < 3:
            raise ValueError("give either `directory` or `host`, `port` and `ae_title`, not both")
        if self.directory is None and network:
            raise ValueError(f"a network destination needs host, port and ae_title (missing: {', '.join(network)}); a folder needs `directory`")
        return self


class WorkerSettings(Settings):
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="Where the model runs: auto, cpu, cuda, cuda:1 ...")
    processes: int | Literal["auto"] = Field("auto", description="Worker processes; auto = one per core, at least one, or one per GPU.")
    batch_size: int = Field(16, ge=1, le=256, description="Instances claimed and detected at once.")
    attempts: int = Field(5, ge=1, description="Tries of one instance before it is set aside as failed.")
    lease: Seconds = Field(300.0, description="A worker that has not finished or renewed by then loses its claim.")
    weights: Path | None = Field(None, description="Marker weights (.onnx or .pt); null = the packaged ones.")
    weights_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="Their hash; required with `weights`.")
    memory_limit: Size = Field(8 * 2**30, description="Memory one worker may allocate; files it maps do not count.")
    time_limit: Seconds = Field(600.0, description="Longest time for one instance.")

    @model_validator(mode="after")
    def _hash(self) -> WorkerSettings:
        if self.weights is not None and self.weights_sha256 is None:
            raise ValueError("weights_sha256 is required when weights is set")
        if isinstance(self.processes, int) and not 1 <= self.processes <= 256:
            raise ValueError("processes: must be auto or 1..256")
        return self


class SenderSettings(Settings):
    processes: int | Literal["auto"] = Field("auto", description="Processes that send and divide the destinations' associations among them; "
                                             "auto = one per four cores, at most eight.")

    @model_validator(mode="after")
    def _count(self) -> SenderSettings:
        if isinstance(self.processes, int) and not 1 <= self.processes <= 32:
            raise ValueError("processes: must be auto or 1..32")
        return self


class S3Settings(Settings):
    endpoint: str | None = Field(None, pattern=r"^https?://[^/]+/?$", description="https://HOST:PORT of an S3-compatible store; null = Amazon's.")
    region: str = Field("us-east-1", description="Its region; most other stores than Amazon's take any.")
    credentials: Path | None = Field(None, description="File, readable by the node's user alone, with the lines access_key_id=... and "
                                     "secret_access_key=...; null = AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment.")
    path_style: bool = Field(True, description="Bucket in the path (most stores) or in the host name.")
    encrypt: bool = Field(True, description="Seal every object with a key derived from the node's own: the store sees no pixel and no name.")
    timeout: Seconds = Field(30.0, description="Seconds to wait for an answer; after that C-STORE is refused with 0xA700.")
    staging: Path | None = Field(None, description="Folder where an instance lies while it comes in; null = data_dir/staging.")


class LedgerSettings(Settings):
    url: str | None = Field(None, description="SQLAlchemy URL; null = sqlite in data_dir. postgresql+psycopg://... for many nodes.")
    spool: str | None = Field(None, description="Folder of instance files, or s3://BUCKET/PREFIX; null = data_dir/spool.")
    s3: S3Settings = Field(default_factory=lambda: S3Settings())
    @field_validator("spool")
    @classmethod
    def _store(cls, spool: str | None) -> str | None:
        if spool is not None and re.match(r"[A-Za-z0-9+]+:", spool) and not re.fullmatch(r"s3://[^/]+(/.*)?", spool):
            raise ValueError("must be a folder or s3://BUCKET/PREFIX")
        return spool

    upgrade: Literal["at_start", "by_command"] = Field("at_start", description="The ledger of an older release: a starting node upgrades it "
                                                       "(an SQLite file is copied first), or `radanon ledger upgrade` must.")


class UserSettings(Settings):
    name: str = Field(min_length=1, max_length=64)
    role: Literal["viewer", "reviewer", "admin"] = "viewer"
    password_hash: PasswordHash | None = Field(None, description="As printed by `radanon hash-password`; null = this user comes in by `web.proxy` alone.")


class ProxySettings(Settings):
    addresses: tuple[str, ...] = Field(min_length=1, description="Addresses or networks of the reverse proxy; its headers are believed from there alone.")
    user_header: str = Field("X-Remote-User", pattern=r"^[A-Za-z0-9-]+$", description="Header with the name of the user it has logged in.")
    role: Literal["viewer", "reviewer", "admin"] | None = Field(
        None, description="Role of users that `web.auth` does not name; null = they are refused.")

    @model_validator(mode="after")
    def _networks(self) -> ProxySettings:
        for address in self.addresses:
            ipaddress.ip_network(address, strict=False)
        return self


class WebSettings(Settings):
    enabled: bool = Field(True, description="Serve the status pages.")
    host: str = Field("127.0.0.1", description="Address; off the loopback only with tls or insecure: true.")
    port: int = Field(8080, ge=0, le=65535)
    auth: tuple[UserSettings, ...] = Field((), description="Users; without any only counts are shown, and only on the loopback.")
    tls: TlsSettings | None = None
    insecure: bool = Field(False, description="Allow plain HTTP off the loopback (behind a TLS proxy).")
    proxy: ProxySettings | None = Field(None, description="A reverse proxy that logs users in and says who they are in a header.")
    session: Seconds = Field(8 * 3600.0, description="After that long a log-in has to be repeated.")
    idle: Seconds = Field(1800.0, description="So long without a request, too.")


class MetricsSettings(Settings):
    enabled: bool = Field(True, description="Prometheus endpoint /metrics on the web port.")


class RetentionSettings(Settings):
    originals: Seconds | Literal["purge on delivery"] = Field(
        "purge on delivery", description="When the received file goes: once every destination has it, or that long after.")
    receipts: Seconds | Literal["forever"] = Field("forever", description="How long receipts are kept.")
    rows: Seconds | Literal["forever"] = Field("forever", description="How long rows of delivered instances are kept (they recognise resends).")


class SamplingSettings(Settings):
    rate: float = Field(0.0, ge=0, le=1, description="Random share of the released instances that is kept, original and clean file, until "
                        "a reviewer has looked.")
    per_device: int = Field(0, ge=0, le=10_000, description="At least so many of each device and month, drawn at random.")
    keep: Seconds = Field(30 * 86400.0, description="Age at which a kept instance goes though nobody has looked.")
    keep_labels: Seconds = Field(30 * 86400.0, description="How long an original that a reviewer marked as a training label is kept "
                                 "(`radanon review export`).")
    level: float = Field(0.95, gt=0.5, lt=1, description="Confidence of the upper bounds of residual identity.")


class SyslogSettings(Settings):
    host: str = Field(description="Name or address of the collector.")
    port: Port = Field(6514, description="Its port.")
    protocol: Literal["tls", "udp"] = Field("tls", description="RFC 5425, or RFC 5426 (loses what the network loses).")
    ca: Path | None = Field(None, description="PEM file of the authorities its certificate is checked against; null = the system's.")
    certificate: Path | None = Field(None, description="PEM file with the certificate to show it.")
    private_key: Path | None = Field(None, description="PEM file with its private key.")
    verify_hostname: bool = Field(True, description="Its certificate must name `host`.")

    @model_validator(mode="after")
    def _pair(self) -> SyslogSettings:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together")
        return self


class AuditSettings(Settings):
    syslog: SyslogSettings | None = Field(None, description="Collector of DICOM audit messages (PS3.15 A.5); null = none.")
    source_id: str | None = Field(None, max_length=64, description="AuditSourceID in the messages; null = the host's name.")
    site_id: str = Field("", max_length=64, description="AuditEnterpriseSiteID in the messages.")
    transfers: bool = Field(True, description="Also tell what was received and sent: AE titles, addresses, counts, pseudonyms.")
    free_text: bool = Field(False, description="Send the reasons that people wrote; they may hold anything.")


class Config(Settings):
    """The whole of ``config.yaml``."""

    node: NodeSettings = Field(default_factory=NodeSettings)
    listener: ListenerSettings = Field(default_factory=ListenerSettings)
    routes: tuple[RouteSettings, ...] = Field((), description="Called AE title -> profile and destinations.")
    destinations: dict[str, DestinationSettings] = Field(default_factory=dict)
    profiles: dict[str, ProfileSettings] = Field(default_factory=dict)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    sender: SenderSettings = Field(default_factory=SenderSettings)
    ledger: LedgerSettings = Field(default_factory=LedgerSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    sampling: SamplingSettings = Field(default_factory=SamplingSettings)

    @model_validator(mode="after")
    def _names(self) -> Config:
        problems: list[str] = []
        seen: set[str] = set()
        for index, route in enumerate(self.routes):
            where = f"routes[{index}]"
            if route.ae_title in seen:
                problems.append(f"{where}.ae_title: {route.ae_title} is used by another route")
            seen.add(route.ae_title)
            if route.profile not in self.profiles:
                problems.append(f"{where}.profile: no profile named {route.profile!r}; there are: {_list(self.profiles)}")
            if route.shadow_profile is not None and route.shadow_profile not in self.profiles:
                problems.append(f"{where}.shadow_profile: no profile named {route.shadow_profile!r}; there are: {_list(self.profiles)}")
            problems += [f"{where}.destinations: no destination named {name!r}; there are: {_list(self.destinations)}"
                         for name in route.destinations if name not in self.destinations]
        names = [user.name for user in self.web.auth]
        problems += [f"web.auth: user {name!r} is there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
        loopback = self.web.host in ("127.0.0.1", "::1", "localhost")
        if self.web.enabled and not loopback and self.web.tls is None and not self.web.insecure:
            problems.append("web.host: off the loopback needs web.tls, or web.insecure: true behind a TLS proxy")
        if self.web.enabled and not loopback and not self.web.auth and self.web.proxy is None:
            problems.append("web.auth: off the loopback needs at least one user")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def ledger_url(self) -> str:
        return self.ledger.url or f"sqlite:///{self.node.data_dir / 'ledger.sqlite'}"

    @property
    def spool_dir(self) -> Path:
        """Where instance files lie on this machine; of a spool in an object store, those that are on their way there."""
        if self.ledger.spool and self.ledger.spool.startswith("s3://"):
            return self.ledger.s3.staging or self.node.data_dir / "staging"
        return Path(self.ledger.spool) if self.ledger.spool else self.node.data_dir / "spool"

    def route(self, ae_title: str) -> RouteSettings | None:
        """The route that the called AE title selects, or None."""
        return next((route for route in self.routes if route.ae_title == ae_title.strip()), None)


def _list(names: dict[str, Any]) -> str:
    return ", ".join(sorted(names)) or "none"
