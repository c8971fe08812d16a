"""Settings of the server, and where they come from: a YAML file, the environment, the command line, in this order."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from harken.core import InputError, Strict, apply_overrides, dump_settings, load_yaml, parse_settings
from harken.http.addresses import ProxySettings
from harken.http.auth import AuthSettings
from harken.http.bodies import BodySettings
from harken.http.headers import CorsSettings, HeaderSettings
from harken.http.hosts import host_name
from harken.http.limits import LimitSettings
from harken.http.telemetry import TelemetrySettings
from harken.serving.connections import ConnectionSettings
from harken.serving.decoding.settings import DecodeSettings
from harken.serving.jobs.settings import JobSettings, WebhookSettings
from harken.serving.live.settings import LiveSettings
from harken.serving.retention import RetentionSettings
from harken.serving.scheduling.settings import QueueSettings
from harken.serving.served.settings import ModelsSettings
from harken.serving.sockets.settings import SocketSettings
from harken.serving.transcription import ResultSettings
from harken.serving.variables import check_variable
from harken.storage.settings import StorageSettings, masked

ENVIRONMENT_PREFIX = "HARKEN_SERVE_"
SOURCE = "settings of the server"
_SECRETS = re.compile(r"secret|headers|password", re.IGNORECASE)
_HIDDEN = "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings(Strict):
    """Files in PEM form. `key_password` opens an encrypted key."""

    certificate: Path
    key: Path
    key_password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings(Strict):
    """What is kept of every request. Its text, which may be personal, only where that is asked for."""

    text: bool = False
    keep_s: float = 90 * 86_400.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.keep_s) and self.keep_s > 0):
            raise ValueError(f"keep_s is {self.keep_s}; use seconds above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings(Strict):
    """A server that listens elsewhere than on loopback lets nobody in without a key, unless `allow_anybody` says so."""

    models: ModelsSettings
    host: str = "127.0.0.1"
    port: int = 8000
    hosts: tuple[str, ...] = ()  # names that Host headers may have besides this machine's own; with them, no others
    allow_anybody: bool = False
    tls: TlsSettings | None = None
    proxies: ProxySettings = field(default_factory=ProxySettings)
    drain_s: float = 30.0  # for open requests and streams, once the server is told to stop
    spool: Path | None = None  # of uploads while their request lasts; None: the system's temporary folder
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"
    open_metrics: bool = False  # /metrics without a key
    auth: AuthSettings = field(default_factory=AuthSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    connections: ConnectionSettings = field(default_factory=ConnectionSettings)
    bodies: BodySettings = field(default_factory=BodySettings)
    headers: HeaderSettings = field(default_factory=HeaderSettings)
    cors: CorsSettings = field(default_factory=CorsSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    decode: DecodeSettings = field(default_factory=DecodeSettings)
    queue: QueueSettings = field(default_factory=QueueSettings)
    results: ResultSettings = field(default_factory=ResultSettings)
    live: LiveSettings = field(default_factory=LiveSettings)
    sockets: SocketSettings = field(default_factory=SocketSettings)
    jobs: JobSettings = field(default_factory=JobSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port is {self.port}; use 1 to 65535, or 0 for any that is free")
        for name in self.hosts:
            if host_name(name) is None or (":" in name and not name.endswith("]")):
                raise ValueError(f"hosts has {name!r}; use names without scheme and port, such as asr.example.com")
        if not (math.isfinite(self.drain_s) and self.drain_s >= 0):
            raise ValueError(f"drain_s is {self.drain_s}; use seconds, 0 or more")

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_settings(
    file: Path | None, *, environment: Mapping[str, str], given: Mapping[str, Any] | None = None
) -> ServeSettings:
    """Settings of a YAML file, over them those of the environment, over them `given`, nested as in the file.

    `HARKEN_SERVE_QUEUE__MAX_BATCH=8` sets `queue.max_batch`; lists and mappings are written as YAML, in brackets or
    braces. Raises InputError that names the file or the variable, and the setting.
    """
    found: dict[str, Any] = {} if file is None else load_yaml(file)
    if file is not None:
        _paths_from(file.parent, found)
    for name, text in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX):
            path = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            _lay(found, path, _value(name, text), source=name)
            check_variable(name.upper(), ServeSettings, prefix=ENVIRONMENT_PREFIX)
    _merge(found, given or {})
    if not (found.get("models") or {}).get("models"):
        raise InputError("No model is named.", hint="Name a model folder: harken serve --model runs/NAME/model.")
    return parse_settings(ServeSettings, found, source=SOURCE if file is None else str(file))


def shown(settings: ServeSettings) -> dict[str, Any]:
    """Settings for people and logs, without anything secret; as a YAML file may hold them."""
    data: dict[str, Any] = dump_settings(settings)
    data["storage"] = settings.storage.shown()
    return {name: _masked(name, value) for name, value in data.items()}


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        if name == "headers" and value and all(isinstance(item, str) for item in value.values()):
            return dict.fromkeys(value, _HIDDEN)
        return {key: _masked(key, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(name, item) for item in value]
    if isinstance(value, str) and _SECRETS.search(name):
        return _HIDDEN
    return masked(value) if isinstance(value, str) and "://" in value else value


def _value(name: str, text: str) -> Any:
    """A variable's value: text as it is, which becomes what the setting is; brackets and braces are YAML."""
    if not text.lstrip().startswith(("[", "{")):
        return None if text == "" else text
    try:
        return apply_overrides({}, [f"value={text}"])["value"]
    except InputError as err:
        raise InputError(f"{name} is {text[:200]!r}, which is not valid YAML.") from err


def _lay(data: dict[str, Any], path: list[str], value: Any, *, source: str) -> None:
    *above, last = path
    for step in above:
        if data.get(step) is None:
            data[step] = {}
        data = data[step]
        if not isinstance(data, dict):
            raise InputError(f"{source}: {step} is a value, not a block of settings.")
    data[last] = value


def _merge(data: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, Mapping) and isinstance(data.get(name), dict):
            _merge(data[name], value)
        else:
            data[name] = value


def _paths_from(folder: Path, data: dict[str, Any]) -> None:
    """Paths in a file are relative to it."""
    models = data.get("models")
    entries: Iterable[Any] = models.get("models") or () if isinstance(models, dict) else ()
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("path"), str):
            entry["path"] = str(folder / entry["path"])
    if isinstance(models, dict) and isinstance(models.get("folders"), list):
        models["folders"] = [str(folder / each) for each in models["folders"]]
    tls = data.get("tls")
    if isinstance(tls, dict):
        for name in ("certificate", "key"):
            if isinstance(tls.get(name), str):
                tls[name] = str(folder / tls[name])
