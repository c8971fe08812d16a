"""Choosing utterances: by length, language and speaker, and down to a number or an amount of audio."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harken.core import Strict, Utterance, derive_seed
from harken.data.importers import Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectConfig(Strict):
    """What is kept. None and empty mean no limit.

    Durations in seconds are inclusive. `languages` and `speakers` list what is kept, `tags` the values that are kept
    of each tag it names (an utterance without the tag is not). `max_utterances` and `max_hours`
    draw at random among what the other limits keep, by a hash keyed with `seed`: the same utterances whatever the
    order, and few changes when the set grows.
    """

    min_duration_s: float | None = None
    max_duration_s: float | None = None
    languages: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    require_text: bool = False
    max_utterances: int | None = None
    max_hours: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("min_duration_s", "max_duration_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}; use seconds, 0 or more")
        shortest_s = self.min_duration_s or 0.0
        if self.max_duration_s is not None and self.max_duration_s < shortest_s:
            raise ValueError(f"max_duration_s is {self.max_duration_s}; use min_duration_s ({shortest_s}) or more")
        if self.max_utterances is not None and self.max_utterances < 1:
            raise ValueError(f"max_utterances is {self.max_utterances}; use 1 or more")
        if self.max_hours is not None and not self.max_hours > 0:
            raise ValueError(f"max_hours is {self.max_hours}; use hours above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What was kept, in order, and what was not, with the reason; together they are every utterance."""

    kept: tuple[Utterance, ...]
    rejected: tuple[Rejection, ...]


def select_utterances(utterances: Iterable[Utterance], config: SelectConfig) -> Selection:
    """Apply the limits of `config`. `max_hours` takes utterances in drawn order while they fit."""
    items = list(utterances)
    reasons: dict[int, str] = {}
    for index, item in enumerate(items):
        reason = _reason(item, config)
        if reason:
            reasons[index] = reason
    if config.max_utterances is not None or config.max_hours is not None:
        _draw(items, config, reasons)
    return Selection(
        kept=tuple(item for index, item in enumerate(items) if index not in reasons),
        rejected=tuple(Rejection(item=items[index].id, reason=reasons[index]) for index in sorted(reasons)),
    )


def _reason(utterance: Utterance, config: SelectConfig) -> str:
    """Why an utterance is left out by itself, or ""."""
    if config.min_duration_s is not None and utterance.duration_s < config.min_duration_s:
        return f"it lasts {utterance.duration_s:.3f} s, less than {config.min_duration_s:g} s"
    if config.max_duration_s is not None and utterance.duration_s > config.max_duration_s:
        return f"it lasts {utterance.duration_s:.3f} s, more than {config.max_duration_s:g} s"
    if config.languages and utterance.language not in config.languages:
        return f"its language is {utterance.language or 'unknown'}"
    if config.speakers and utterance.speaker not in config.speakers:
        return f"its speaker is {utterance.speaker or 'unknown'}"
    for name, values in config.tags.items():
        if utterance.tags.get(name) not in values:
            return f"its tag {name} is {utterance.tags.get(name, 'unknown')}"
    if config.require_text and not (utterance.text or "").strip():
        return "it has no text"
    return ""


def _draw(items: list[Utterance], config: SelectConfig, reasons: dict[int, str]) -> None:
    """Add the reasons of those that are not drawn."""
    left = [index for index in range(len(items)) if index not in reasons]
    left.sort(key=lambda index: (derive_seed(config.seed, "select", items[index].id), items[index].id))
    room_s = math.inf if config.max_hours is None else config.max_hours * 3600
    count = 0
    for index in left:
        if config.max_utterances is not None and count >= config.max_utterances:
            reasons[index] = f"not drawn: {config.max_utterances} utterances are the limit"
        elif items[index].duration_s > room_s:
            reasons[index] = f"not drawn: {config.max_hours:g} hours are the limit"
        else:
            room_s -= items[index].duration_s
            count += 1
