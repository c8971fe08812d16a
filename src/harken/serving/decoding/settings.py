"""Settings of the decoding of uploads."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from harken.audio.limits import DecodeLimits
from harken.core import Strict

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits(DecodeLimits):
    """Stricter than those of files of one's own: whoever sets one of them keeps the others."""

    max_bytes: int = 512 * MIB
    max_channels: int = 16
    min_sample_rate_hz: int = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeSettings(Strict):
    """`memory_bytes` is what a worker may take beyond its own size, `time_limit_s` what a file may take by the clock.

    Decoded samples lie in files in `folder` as long as somebody needs them; None is the system's folder for temporary
    files. They take 64 kB for a second of audio at 16 kHz.
    """

    workers: int = 2  # processes, of about 60 MB each
    max_waiting: int = 64  # files, beside those that are being decoded
    shortest_s: float = 0.1
    time_limit_s: float = 120.0
    memory_bytes: int = 512 * MIB
    folder: Path | None = None
    limits: UploadLimits = field(default_factory=UploadLimits)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers is {self.workers}; use 1 or more")
        if self.max_waiting < 0:
            raise ValueError(f"max_waiting is {self.max_waiting}; use 0 or more")
        if not (math.isfinite(self.shortest_s) and self.shortest_s >= 0):
            raise ValueError(f"shortest_s is {self.shortest_s}; use seconds, 0 or more")
        if not (math.isfinite(self.time_limit_s) and self.time_limit_s > 0):
            raise ValueError(f"time_limit_s is {self.time_limit_s}; use seconds above 0")
        if self.memory_bytes < 64 * MIB:
            raise ValueError(f"memory_bytes is {self.memory_bytes}; use 67108864 (64 MiB) or more")
