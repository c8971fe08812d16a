"""Settings of a stream."""

import math
from dataclasses import dataclass, field, fields
from typing import Literal

from harken.core import InputError, Strict
from harken.core.units import seconds_to_samples

PolicyName = Literal["auto", "cached", "windowed", "fixed", "local-agreement"]
_LONGEST_CHUNK_S = 86_400.0  # as long as a file may be


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig(Strict):
    """When a segment ends, by three rules like those of Kaldi's and sherpa-onnx's online endpointing; None: never.

    `source` is what tells silence: the model's own blanks (no further network), or voice activity detection (Silero).
    """

    source: Literal["blank", "vad"] = "blank"
    pause_s: float | None = 1.2  # silence after words
    silence_s: float | None = 2.4  # silence before the first word; other silence has been told by its pause
    longest_s: float | None = 20.0  # a segment this long ends at the next breath
    breath_s: float = 0.2  # blanks that count as a breath
    speech_threshold: float = 0.5  # probability, for `vad`; speech ends 0.15 below it

    def __post_init__(self) -> None:
        _check_seconds(self, "pause_s", "silence_s", "longest_s", "breath_s")
        if not 0.15 < self.speech_threshold < 1:
            raise ValueError(f"speech_threshold is {self.speech_threshold}; use a probability from 0.15 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowConfig(Strict):
    """Policy `windowed`: each chunk is scored within a window that reaches further on both sides.

    An utterance's statistics, where the model was trained on them, are those of the last `horizon_s` seconds.
    """

    left_s: float = 1.6
    chunk_s: float = 0.64
    right_s: float = 0.64
    horizon_s: float = 30.0

    def __post_init__(self) -> None:
        _check_seconds(self, "chunk_s", "horizon_s")
        _check_seconds(self, "left_s", "right_s", zero=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedConfig(Strict):
    """Policy `fixed`: windows decoded one by one, their texts merged. A baseline, not a recommendation."""

    window_s: float = 2.0
    overlap_s: float = 0.5

    def __post_init__(self) -> None:
        _check_seconds(self, "window_s")
        if not 0 <= self.overlap_s < self.window_s:
            raise ValueError(f"overlap_s is {self.overlap_s}; use 0 to less than window_s ({self.window_s})")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementConfig(Strict):
    """Policy `local-agreement`."""

    every_s: float = 1.0  # of new audio between two readings of the buffer
    trim_s: float = 5.0  # a buffer this long loses the sound of its committed words but the last
    longest_s: float = 15.0  # a buffer this long is committed whatever the readings say
    prompt_characters: int = 200  # committed text given to the recogniser as context
    reset_s: float = 2.0  # silence after which the context is forgotten

    def __post_init__(self) -> None:
        _check_seconds(self, "every_s", "trim_s", "longest_s", "reset_s")
        if not self.every_s < self.longest_s:
            raise ValueError(f"every_s is {self.every_s}; use seconds from 0 to longest_s ({self.longest_s})")
        if self.prompt_characters < 0:
            raise ValueError(f"prompt_characters is {self.prompt_characters}; use 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingConfig(Strict):
    """`auto` takes `cached` for a model trained with chunks, `windowed` for other CTC models, else `local-agreement`.

    `chunk_frames` and `left_chunks` are those of policy `cached`; None: as the model was trained. Of `endpoint`, policy
    `local-agreement` takes `pause_s` and `speech_threshold` (it always hears by voice activity detection), and `fixed`
    nothing.
    """

    policy: PolicyName = "auto"
    chunk_frames: int | None = None
    left_chunks: int | None = None
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    fixed: FixedConfig = field(default_factory=FixedConfig)
    agreement: AgreementConfig = field(default_factory=AgreementConfig)

    def __post_init__(self) -> None:
        if self.chunk_frames is not None and self.chunk_frames < 1:
            raise ValueError(f"chunk_frames is {self.chunk_frames}; use 1 or more, or null")
        if self.left_chunks is not None and self.left_chunks < 0:
            raise ValueError(f"left_chunks is {self.left_chunks}; use 0 or more, or null")
        idle = None if self.policy == "auto" else self.idle_settings(self.policy)
        if idle is not None:
            raise ValueError(f"policy is {self.policy}; {idle}")

    def idle_settings(self, policy: str) -> str | None:
        """Which settings were changed that do nothing with `policy`, in words; None where there are none."""
        if policy != "cached" and not (self.chunk_frames is None and self.left_chunks is None):
            return "chunk_frames and left_chunks are for policy cached only"
        plain = EndpointConfig()
        changed = {
            item.name for item in fields(plain) if getattr(self.endpoint, item.name) != getattr(plain, item.name)
        }
        if policy == "fixed" and changed:
            return f"endpoint.{min(changed)} does nothing with it: the whole stream is one segment"
        idle = changed & {"silence_s", "longest_s", "breath_s"}
        if policy == "local-agreement" and idle:
            return f"endpoint.{min(idle)} does nothing with it: its segments end by endpoint.pause_s alone"
        return None


def chunk_samples(chunk_s: float, *, sample_rate_hz: int) -> int:
    """Samples of a chunk that is heard at a time. Raises InputError for less than one, and for more than a day."""
    if not 0 < chunk_s <= _LONGEST_CHUNK_S or seconds_to_samples(chunk_s, sample_rate_hz=sample_rate_hz) < 1:
        raise InputError(f"chunk_s is {chunk_s}.", hint="Use seconds of at least one sample, such as 0.05.")
    return seconds_to_samples(chunk_s, sample_rate_hz=sample_rate_hz)


def _check_seconds(settings: Strict, *names: str, zero: bool = False) -> None:
    """Raise ValueError unless each of the settings is None or a finite number above 0, or 0 where `zero` allows it."""
    for name in names:
        seconds = getattr(settings, name)
        if seconds is None or (math.isfinite(seconds) and (seconds > 0 or (zero and seconds == 0))):
            continue
        wanted = "0 or more" if zero else "above 0"
        raise ValueError(f"{name} is {seconds}; use seconds {wanted}, a finite number")
