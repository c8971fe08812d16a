"""Conditions: transformations of a test set, so that one recording answers for noise, rooms, codecs and speed.

A condition is an augmentation without chance in whether it happens. What it does to an utterance depends on the seed,
the condition's name and the utterance's id alone: the same bytes whatever the order, the thread and the process.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harken.audio.augment import augment_waveform, check_augmentation
from harken.audio.augment_config import (
    AugmentConfig,
    ClippingConfig,
    CodecConfig,
    NoiseConfig,
    RoomConfig,
    SpeedConfig,
)
from harken.core import InputError, Strict, Waveform, keyed_generator, load_yaml, parse_settings

CLEAN = "clean"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A named transformation of waveforms; `clean` changes nothing. The name becomes a folder of the report.

    Raises ValueError for a name that cannot be a folder's, an augmentation that may not happen (probability below 1),
    one of features, which are the model's own affair, and one called `clean` that does something.
    """

    name: str
    description: str
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name is {self.name!r}; use letters, digits, dots and hyphens, at most 64, beginning with one of the "
                "first two"
            )
        if self.augmentation.vocal_tract or self.augmentation.spec_augment:
            raise ValueError(f"{self.name} changes features; use augmentations of waveforms only")
        if (self.name == CLEAN) != (not self.augmentation.waveform_blocks):
            raise ValueError(
                f"{self.name} has the blocks {list(self.augmentation.waveform_blocks)}; only clean has none"
            )
        for block, settings in self.augmentation.waveform_blocks.items():
            if settings.probability != 1:
                raise ValueError(f"{self.name} has {block}.probability {settings.probability}; use 1")

    @property
    def kind(self) -> str:
        """What it is made of: "noise", "room", "codec", "room+noise", "clean"."""
        return "+".join(self.augmentation.waveform_blocks) or CLEAN

    def facts(self, sample_rate_hz: int) -> dict[str, Any]:
        """What a number under this condition has to be stated with, ready for JSON: settings, and what they came to.

        Rooms are built here, encoders looked up and files opened, so that what is missing is said before anything is
        recognised. Raises MissingPart, and AudioDecodeError for a file.
        """
        check_augmentation(self.augmentation)
        facts: dict[str, Any] = {"name": self.name, "kind": self.kind, "description": self.description}
        for block, settings in self.augmentation.waveform_blocks.items():
            facts[block] = _FACTS[block](settings, sample_rate_hz)
        return facts


def apply_condition(
    waveform: Waveform, condition: Condition, *, sample_rate_hz: int, utterance_id: str, seed: int = 0
) -> Waveform:
    """`waveform` (samples,) float32 under a condition: as long as before, but for the speed; `clean` gives it back.

    Raises MissingPart where a package or an encoder is absent, InputError for a file of noise that cannot be used.
    """
    generator = keyed_generator(*condition_keys(condition.name, seed), utterance_id)
    return augment_waveform(waveform, condition.augmentation, sample_rate_hz=sample_rate_hz, generator=generator)


def condition_keys(name: str, seed: int) -> tuple[int | str, ...]:
    """What, before the utterance's id, keys the chance of a condition."""
    return seed, "condition", name


def _noise(snr_db: float) -> Condition:
    return Condition(
        name=f"noise-{snr_db:g}db",
        description=f"noise with the average spectrum of speech, {snr_db:g} dB under the level of active speech",
        augmentation=AugmentConfig(noise=NoiseConfig(kinds=("speech",), snr_db=(snr_db, snr_db), probability=1)),
    )


def _room(name: str, words: str, t60_s: float, distance_m: tuple[float, float]) -> Condition:
    settings = RoomConfig(t60_s=(t60_s, t60_s), distance_m=distance_m, rooms=8, probability=1)
    near, far = distance_m
    description = f"{words} room, T60 {t60_s:g} s, microphone {near:g} to {far:g} m away, one of 8 simulated"
    return Condition(name=name, description=description, augmentation=AugmentConfig(room=settings))


def _codec(name: str, description: str, **settings: Any) -> Condition:
    block = CodecConfig(probability=1, **settings)
    return Condition(name=name, description=description, augmentation=AugmentConfig(codec=block))


def _speed(factor: float) -> Condition:
    return Condition(
        name=f"speed-{factor:g}",
        description=f"played at {factor:g} times the speed; the pitch moves along",
        augmentation=AugmentConfig(speed=SpeedConfig(factors=(factor,))),
    )


_KNOWN = (
    Condition(name=CLEAN, description="the recordings as they are"),
    *(_noise(snr_db) for snr_db in (20.0, 15.0, 10.0, 5.0)),
    _room("room-near", "living", 0.3, (0.5, 1.0)),
    _room("room-far", "meeting", 0.6, (3.0, 5.0)),
    _codec("mp3-64k", "MP3 at 64 kbps", kinds=("mp3",), mp3_kbps=(64,)),
    _codec("opus-16k", "Opus at 16 kbps", kinds=("opus",), opus_kbps=(16,)),
    _codec("telephone", "telephone: 300 to 3400 Hz at 8 kHz, G.711 mu-law", kinds=("telephone",)),
    Condition(
        name="clipping",
        description="5 % of the samples of active speech cut off",
        augmentation=AugmentConfig(clipping=ClippingConfig(share=(0.05, 0.05), probability=1)),
    ),
    _speed(0.9),
    _speed(1.1),
)

CONDITIONS: Mapping[str, Condition] = {condition.name: condition for condition in _KNOWN}
"""Every condition there is by name, in the order of reports."""


def find_conditions(spec: str | Iterable[str]) -> tuple[Condition, ...]:
    """The conditions of a list such as "clean,noise-10db" or "all"; `clean` comes first, others keep their order.

    An item that ends in .yaml or .yml is a file of your own conditions (`read_conditions`). Naming one twice counts
    once. Raises InputError for a name that is none, for two different conditions of one name, and for an empty list.
    """
    items = [item.strip() for item in (spec.split(",") if isinstance(spec, str) else spec)]
    found: dict[str, Condition] = {}
    for item in items:
        for condition in _conditions_of(item):
            if found.setdefault(condition.name, condition) != condition:
                raise InputError(
                    f"There are two conditions called {condition.name!r}.", hint="Give yours another name."
                )
    if not found:
        raise InputError("The list of conditions is empty.", hint=f"Use all, or some of {', '.join(CONDITIONS)}.")
    return tuple(sorted(found.values(), key=lambda condition: condition.name != CLEAN))


def _conditions_of(item: str) -> Iterable[Condition]:
    if item == "all":
        return CONDITIONS.values()
    if item.endswith((".yaml", ".yml")):
        return read_conditions(item)
    if item and item not in CONDITIONS:
        raise InputError(f"There is no condition {item!r}.", hint=f"Use all, or some of {', '.join(CONDITIONS)}.")
    return [CONDITIONS[item]] if item else []


def read_conditions(path: str | Path) -> tuple[Condition, ...]:
    """Conditions of your own from a YAML file: names, each with the blocks of a recipe's `augmentation`.

        cafe-10db:
          description: a café at 10 dB
          noise: {kinds: [file], files: [cafe.wav], snr_db: [10, 10]}

    A block happens always unless it says otherwise, which is refused. Paths are relative to the file. Raises
    InputError that names the file, the condition and the setting.
    """
    path = Path(path)
    return tuple(_read_condition(path, str(name), settings) for name, settings in load_yaml(path).items())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Described(Strict):
    description: str = ""


def _read_condition(path: Path, name: str, settings: Any) -> Condition:
    source = f"{path}, condition {name}"
    if not isinstance(settings, dict):
        raise InputError(f"{source} holds {settings!r}, not blocks.", hint="Write `noise: {snr_db: [10, 10]}`.")
    described = parse_settings(_Described, {k: v for k, v in settings.items() if k == "description"}, source=source)
    blocks = {key: value for key, value in settings.items() if key != "description"}
    for key, block in blocks.items():
        if isinstance(block, dict):
            block = {"probability": 1.0, **block}
            if "files" in block and isinstance(block["files"], list):
                block["files"] = [str(path.parent / str(file)) for file in block["files"]]
            blocks[key] = block
    augmentation = parse_settings(AugmentConfig, blocks, source=source)
    try:
        return Condition(name=name, description=described.description, augmentation=augmentation)
    except ValueError as err:
        raise InputError(f"{source}: {err}.") from err


def _speed_facts(config: SpeedConfig, _: int) -> dict[str, Any]:
    return {"factors": list(config.factors)}


def _pitch_facts(config: Any, _: int) -> dict[str, Any]:
    return {"semitones": config.semitones}


def _noise_facts(config: NoiseConfig, _: int) -> dict[str, Any]:
    facts: dict[str, Any] = {"kinds": list(config.kinds), "snr_db": list(config.snr_db), "over": "active speech"}
    return facts | ({"files": len(config.files)} if config.files else {})


def _room_facts(config: RoomConfig, sample_rate_hz: int) -> dict[str, Any]:
    from harken.audio.rooms import bank_size, room_response

    responses = [room_response(config, index, sample_rate_hz=sample_rate_hz) for index in range(bank_size(config))]
    facts: dict[str, Any] = {
        "rooms": config.rooms,
        "files": len(config.files),
        "t60_s": _spread([response.t60_s for response in responses]),
        "direct_to_reverberant_db": _spread([response.direct_to_reverberant_db for response in responses]),
    }
    distances = [response.distance_m for response in responses if response.distance_m is not None]
    if distances:
        from importlib.metadata import version

        facts |= {"distance_m": _spread(distances), "pyroomacoustics": version("pyroomacoustics")}
    return facts


def _spread(values: list[float]) -> dict[str, float]:
    """Mean and extremes, to a thousandth: what is beyond it says nothing."""
    return {
        "mean": round(sum(values) / len(values), 3),
        "lowest": round(min(values), 3),
        "highest": round(max(values), 3),
    }


def _clipping_facts(config: ClippingConfig, _: int) -> dict[str, Any]:
    return {"share": list(config.share), "of": "samples of active speech"}


def _codec_facts(config: CodecConfig, sample_rate_hz: int) -> dict[str, Any]:
    from harken.audio.codecs import codec_facts
    from harken.audio.telephone import telephone_facts

    codecs: list[dict[str, Any]] = []
    for kind in config.kinds:
        if kind == "telephone":
            codecs.append(telephone_facts(config.law))
        else:
            rates = config.mp3_kbps if kind == "mp3" else config.opus_kbps
            codecs += [codec_facts(kind, kbps=kbps, sample_rate_hz=sample_rate_hz) for kbps in rates]
    return {"codecs": codecs}


_FACTS: dict[str, Callable[[Any, int], dict[str, Any]]] = {
    "speed": _speed_facts,
    "pitch": _pitch_facts,
    "room": _room_facts,
    "noise": _noise_facts,
    "clipping": _clipping_facts,
    "codec": _codec_facts,
}
