"""Settings of a stream."""

from dataclasses import dataclass, field
from typing import Literal

from harken.core import Strict

PolicyName = Literal["auto", "cached", "windowed", "fixed", "local-agreement"]


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
        for name in ("pause_s", "silence_s", "longest_s", "breath_s"):
            seconds = getattr(self, name)
            if seconds is not None and seconds <= 0:
                raise ValueError(f"{name} is {seconds}; use seconds above 0")
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
        if self.chunk_s <= 0 or self.horizon_s <= 0:
            raise ValueError(f"chunk_s is {self.chunk_s} and horizon_s {self.horizon_s}; use seconds above 0")
        if self.left_s < 0 or self.right_s < 0:
            raise ValueError(f"left_s is {self.left_s} and right_s {self.right_s}; use seconds, 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedConfig(Strict):
    """Policy `fixed`: windows decoded one by one, their texts merged. A baseline, not a recommendation."""

    window_s: float = 2.0
    overlap_s: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.overlap_s < self.window_s:
            raise ValueError(f"overlap_s is {self.overlap_s}; use 0 to less than window_s ({self.window_s})")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementConfig(Strict):
    """Policy `local-agreement`."""

    every_s: float = 1.0  # of new audio between two readings of the buffer
    longest_s: float = 15.0  # a buffer this long is committed whatever the readings say
    prompt_characters: int = 200  # committed text given to the recogniser as context
    reset_s: float = 2.0  # silence after which the context is forgotten

    def __post_init__(self) -> None:
        if not 0 < self.every_s < self.longest_s:
            raise ValueError(f"every_s is {self.every_s}; use seconds from 0 to longest_s ({self.longest_s})")
        if self.prompt_characters < 0:
            raise ValueError(f"prompt_characters is {self.prompt_characters}; use 0 or more")
        if self.reset_s <= 0:
            raise ValueError(f"reset_s is {self.reset_s}; use seconds above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingConfig(Strict):
    """`auto` takes `cached` for a model trained with chunks, `windowed` for other CTC models, else `local-agreement`.

    `chunk_frames` and `left_chunks` are those of policy `cached`; None: as the model was trained.
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
        sized = self.chunk_frames is not None or self.left_chunks is not None
        if sized and self.policy not in ("auto", "cached"):
            raise ValueError(f"policy is {self.policy}; chunk_frames and left_chunks are for policy cached only")
