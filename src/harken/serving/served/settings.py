"""Which models are served, under which names, in how much memory."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from harken.core import Strict
from harken.core.plugins import plugin_names
from harken.inference.config import EngineConfig
from harken.serving.contract import DEFAULT_MODEL

DEFAULT_NAMES = (
    DEFAULT_MODEL,
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-realtime-whisper",
)
"""What clients call the model when they know of no other: OpenAI's names of models that give plain transcripts."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,99}")
_ROUTES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel(Strict):
    """A model folder, or a YAML file of routes by language (`harken.inference.RoutesConfig`), which brings the engines
    and settings of its models itself. None for `name` is that of the folder, or of the run around a folder `model`.
    """

    path: Path
    name: str | None = None
    engine: str = "auto"
    settings: EngineConfig = field(default_factory=EngineConfig)
    warm_up: bool = True  # hear a second of noise before the first request, which would take longer than those after it

    def __post_init__(self) -> None:
        known = ("auto", *plugin_names("harken.engines"))
        if self.engine not in known:
            raise ValueError(f"engine is {self.engine!r}; use one of {', '.join(known)}")
        if _NAME.fullmatch(self.shown_name) is None:
            raise ValueError(f"name is {self.shown_name!r}; use letters, digits and . _ : / @ + -, 100 at most")
        if self.is_routes and (self.engine != "auto" or self.settings != EngineConfig()):
            raise ValueError(f"engine or settings do nothing with the routes {self.path}; write them in that file")

    @property
    def is_routes(self) -> bool:
        return self.path.suffix in _ROUTES

    @property
    def shown_name(self) -> str:
        """The name clients use."""
        if self.name is not None:
            return self.name
        resolved = self.path.resolve()
        if self.is_routes:
            return resolved.stem
        return resolved.parent.name if resolved.name == "model" else resolved.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsSettings(Strict):
    """The first model is the default one, which `DEFAULT_NAMES` mean too unless a model has such a name itself.

    Models are loaded when they are asked for, the default one at the start; those that nobody has used for `idle_s`
    leave the memory, the default one stays. Where the next one would not fit into `memory_bytes`, those that were not
    used for longest leave first.
    """

    models: tuple[ServedModel, ...]
    aliases: dict[str, str] = field(default_factory=dict)  # further names of models
    folders: tuple[Path, ...] = ()  # in which models that are put in the place of others may lie; empty: nowhere
    memory_bytes: int | None = None  # None: 80 % of what is free when the first one is loaded
    idle_s: float | None = 900.0  # None: never
    retry_s: float = 10.0  # a load that failed is tried again no sooner
    room_wait_s: float = 10.0  # for models in use to make room
    variants: int = 32  # of each model: settings of requests that are kept ready

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("models is empty; name a model folder")
        names = [model.shown_name for model in self.models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"models has {name!r} {names.count(name)} times; give each a name of its own")
        for alias, name in self.aliases.items():
            if name not in names:
                raise ValueError(f"aliases has {alias!r} for {name!r}, which is no model; use {', '.join(names)}")
            if alias in names:
                raise ValueError(f"aliases has {alias!r}, which is a model already; use another name")
        if self.memory_bytes is not None and self.memory_bytes < 1:
            raise ValueError(f"memory_bytes is {self.memory_bytes}; use bytes above 0")
        if self.idle_s is not None and not (math.isfinite(self.idle_s) and self.idle_s > 0):
            raise ValueError(f"idle_s is {self.idle_s}; use seconds above 0, or leave it empty for never")
        for name in ("retry_s", "room_wait_s"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} is {getattr(self, name)}; use seconds, 0 or more")
        if self.variants < 1:
            raise ValueError(f"variants is {self.variants}; use 1 or more")
