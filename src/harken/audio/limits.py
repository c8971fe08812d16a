"""What decoding may cost, what it finds out about a file, and the errors it raises."""

import math
from dataclasses import dataclass

from harken.core import InputError, Strict
from harken.core.units import format_bytes, format_duration

BYTES_PER_SAMPLE = 4  # decoded audio is float32


class AudioDecodeError(InputError):
    """Audio that cannot be used as it is: missing, damaged, empty, of an unknown kind, or beyond a limit."""


class AudioLimitError(AudioDecodeError):
    """Audio that is larger, longer, wider or faster than `DecodeLimits` allows (HTTP: 413)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits(Strict):
    """What a piece of audio may cost before decoding it is refused.

    `max_bytes` holds for the file (or download) and for samples that are returned together; `max_duration_s` for the
    piece that is returned, which is the whole file unless a part was asked for. Both are enforced while decoding: what
    a header claims is never trusted for an allocation. Decoding time grows with duration, channels and rate, so a
    server that takes files from strangers sets all of them.
    """

    max_bytes: int = 2 * 1024**3
    max_duration_s: float = 14_400.0
    max_channels: int = 32
    min_sample_rate_hz: int = 1_000
    max_sample_rate_hz: int = 384_000

    def __post_init__(self) -> None:
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes is {self.max_bytes}; use a number of bytes above 0")
        if not (math.isfinite(self.max_duration_s) and self.max_duration_s > 0):
            raise ValueError(f"max_duration_s is {self.max_duration_s}; use a finite number of seconds above 0")
        if self.max_channels < 1:
            raise ValueError(f"max_channels is {self.max_channels}; use 1 or more")
        if not 1 <= self.min_sample_rate_hz <= self.max_sample_rate_hz:
            raise ValueError(
                f"min_sample_rate_hz is {self.min_sample_rate_hz} and max_sample_rate_hz is {self.max_sample_rate_hz};"
                " use 1 or more, the smaller one first"
            )


DEFAULT_LIMITS = DecodeLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInfo:
    """What a file says about itself.

    `format` is the container ("wav", "flac", "ogg", "mp4", ...), `codec` what is inside ("pcm_s16", "opus", "aac",
    ...). `duration_s` is exact for uncompressed audio, FLAC and Ogg, and within an encoder's padding (0.15 s at most
    rates) for the rest.
    """

    duration_s: float
    sample_rate_hz: int
    channels: int
    format: str
    codec: str


def check_size(name: str, size: int, limits: DecodeLimits) -> None:
    """Raise for an empty file or one beyond `max_bytes`."""
    if size == 0:
        raise AudioDecodeError(f"{name} is empty (0 bytes).", hint="Copy or export it again.")
    if size > limits.max_bytes:
        raise AudioLimitError(
            f"{name} has {format_bytes(size)}; the limit is {format_bytes(limits.max_bytes)}.",
            hint="Split the recording, or raise max_bytes.",
        )


def check_stream(name: str, sample_rate_hz: int, channels: int, limits: DecodeLimits) -> None:
    """Raise for a sample rate or a number of channels that no recording has; call it before decoding anything."""
    if not limits.min_sample_rate_hz <= sample_rate_hz <= limits.max_sample_rate_hz:
        raise AudioLimitError(
            f"{name} declares a sample rate of {sample_rate_hz:,} Hz; "
            f"{limits.min_sample_rate_hz:,} to {limits.max_sample_rate_hz:,} Hz are accepted.",
            hint="The header is probably damaged: export the file again.",
        )
    if not 1 <= channels <= limits.max_channels:
        raise AudioLimitError(
            f"{name} declares {channels:,} channels; 1 to {limits.max_channels} are accepted.",
            hint="The header is probably damaged: export the file again, or raise max_channels.",
        )


def frames_allowed(*, sample_rate_hz: int, channels: int, limits: DecodeLimits) -> int:
    """The largest number of samples per channel that both `max_duration_s` and `max_bytes` allow."""
    by_time = math.floor(limits.max_duration_s * sample_rate_hz)
    return min(by_time, limits.max_bytes // (BYTES_PER_SAMPLE * channels))


def too_long(name: str, frames: int, *, sample_rate_hz: int, allowed: int, certain: bool) -> AudioLimitError:
    """The error for a piece of more than `allowed` samples; `certain` when `frames` is its real or declared length."""
    length = format_duration(frames / sample_rate_hz) if certain else "longer"
    return AudioLimitError(
        f"{name} is {length}{'' if certain else ' than the limit'}; at most "
        f"{format_duration(allowed / sample_rate_hz)} are decoded here.",
        hint="Cut it into shorter pieces, or raise max_duration_s (and max_bytes).",
    )
