"""Which model transcribes which language: the settings of a router, and the YAML file they are written in."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harken.core import (
    HarkenError,
    InputError,
    MissingPart,
    RunFailed,
    ServiceRefused,
    Strict,
    load_yaml,
    parse_settings,
)
from harken.inference.config import EngineConfig
from harken.text.languages import primary_language

_FAMILIES = (InputError, MissingPart, RunFailed, ServiceRefused, HarkenError)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedModel(Strict):
    """A model folder and how it is run. Equal ones share one model in memory."""

    model: Path
    engine: str = "auto"
    settings: EngineConfig = field(default_factory=EngineConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesConfig(Strict):
    """`routes` are models by the BCP-47 tag of what is spoken; script and region do not count.

    `default` transcribes languages without a route, and audio whose likeliest language has less than
    `least_probability`; without a default both are errors. The detector chooses among `languages` only, whose
    probabilities are scaled to a sum of 1; None: among all it knows. With `find_speech` it hears the first speech, not
    the beginning of the audio (needs the extra `vad`).
    """

    routes: dict[str, RoutedModel]
    default: RoutedModel | None = None
    detector: RoutedModel | None = None  # a multilingual Whisper; None where a detector is handed over in Python
    least_probability: float = 0.5
    languages: tuple[str, ...] | None = None
    most_loaded: int = 2  # models in memory at a time, beside the detector; the least recently used is given up
    find_speech: bool = False

    def __post_init__(self) -> None:
        if not self.routes:
            raise ValueError("routes is empty; name a model for a language, such as uz: models/uz")
        if not 0 <= self.least_probability <= 1:
            raise ValueError(f"least_probability is {self.least_probability}; use a probability from 0 to 1")
        if self.most_loaded < 1:
            raise ValueError(f"most_loaded is {self.most_loaded}; use 1 or more")
        if self.languages is not None and not self.languages:
            raise ValueError("languages is empty; name those to choose among, or leave it out")
        known = None if self.languages is None else {primary_language(tag) for tag in self.languages}
        seen: dict[str, str] = {}
        for tag in self.routes:
            primary = primary_language(tag)
            if primary in seen:
                raise ValueError(f"routes has both {seen[primary]} and {tag}, which are one language; use one of them")
            if known is not None and primary not in known:
                raise ValueError(f"routes has {tag}, which is not among languages; add it there, or leave it out here")
            seen[primary] = tag


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which model transcribes a piece of audio, and why.

    `language` is the likeliest by the detector's code, `probabilities` are those of the languages it chose among;
    None and empty where it heard nothing. `certain` says whether that is enough for the language's own model. `model`
    is None where there is nothing to transcribe: silence, and no default.
    """

    language: str | None
    probabilities: Mapping[str, float]
    certain: bool
    model: RoutedModel | None

    @property
    def probability(self) -> float:
        """Of the likeliest language; 0 where nothing was heard."""
        return 0.0 if self.language is None else self.probabilities[self.language]


def choose_route(
    probabilities: Mapping[str, float],
    routes: Mapping[str, RoutedModel],
    config: RoutesConfig,
    *,
    among: Sequence[str] | None = None,
) -> Route:
    """The route for what a detector found. `routes` and `among`, which is `config.languages`, are by its own codes.

    Raises InputError, with the likeliest languages, where no model is left.
    """
    if among is not None:
        probabilities = _only(probabilities, among)
    language = max(probabilities, key=probabilities.__getitem__)
    certain = probabilities[language] >= config.least_probability
    model = routes.get(language, config.default) if certain else config.default
    if model is not None:
        return Route(language=language, probabilities=probabilities, certain=certain, model=model)
    likeliest = sorted(probabilities.items(), key=lambda item: -item[1])[:3]
    shown = ", ".join(f"{code} {probability:.2f}" for code, probability in likeliest)
    if certain:
        raise InputError(
            f"The language is {language} ({shown}), and the routes are for {', '.join(routes)}.",
            hint="Add a route for it, or a default.",
        )
    raise InputError(
        f"The language is in doubt: {shown}; least_probability is {config.least_probability:g}.",
        hint="Name a default, or lower least_probability.",
    )


def _only(probabilities: Mapping[str, float], codes: Sequence[str]) -> dict[str, float]:
    """Those of `codes`, scaled to a sum of 1; zeros where none has any."""
    kept = {code: probabilities.get(code, 0.0) for code in codes}
    total = sum(kept.values())
    return {code: probability / total if total else 0.0 for code, probability in kept.items()}


def read_routes(path: Path) -> RoutesConfig:
    """Settings from a YAML file. A model is a folder, or a mapping of `model`, `engine` and `settings`; paths are
    relative to the file.

    Raises InputError that names the file and the field.
    """
    data = load_yaml(path)
    if isinstance(routes := data.get("routes"), dict):
        data["routes"] = {_tag(tag, path): _in_full(model, path, f"routes.{tag}") for tag, model in routes.items()}
    if isinstance(languages := data.get("languages"), list):
        data["languages"] = [_tag(tag, path) for tag in languages]
    for name in ("detector", "default"):
        if data.get(name) is not None:
            data[name] = _in_full(data[name], path, name)
    return parse_settings(RoutesConfig, data, source=str(path))


def _tag(tag: Any, path: Path) -> Any:
    if tag is False:
        raise InputError(f"{path}: YAML reads the language no as false.", hint='Write "no", in quotes.')
    return tag


def _in_full(model: Any, path: Path, place: str) -> dict[str, Any]:
    """A model's entry as a mapping, its paths those it has seen from the file."""
    if isinstance(model, str):
        model = {"model": model}
    if not isinstance(model, dict):
        raise InputError(
            f"{path}: {place} is {model!r}.", hint="Name a model folder, or a mapping of model, engine and settings."
        )
    found = _below(model, path.parent, ("model",))
    settings = found.get("settings")
    if isinstance(settings, dict) and isinstance(settings.get("ctc"), dict):
        found["settings"] = {**settings, "ctc": _below(settings["ctc"], path.parent, ("lm", "hotwords"))}
    return found


def _below(block: dict[str, Any], base: Path, names: Sequence[str]) -> dict[str, Any]:
    return {
        key: str(base / value) if key in names and isinstance(value, str) else value for key, value in block.items()
    }


@contextmanager
def naming(place: object) -> Iterator[None]:
    """An error of the same family that says where it arose, such as a file or a setting."""
    try:
        yield
    except HarkenError as err:
        family = next(kind for kind in _FAMILIES if isinstance(err, kind))
        raise family(f"{place}: {err.message}", hint=err.hint) from err
