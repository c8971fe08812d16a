"""Settings of augmentation. Every block is off unless it is given."""

from dataclasses import dataclass
from typing import Any, Literal

from harken.core import Strict

NoiseKind = Literal["white", "pink", "brown", "speech", "file", "babble"]
CodecKind = Literal["mp3", "opus", "telephone"]

MP3_KBPS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
"""Bit rates of MPEG-2 Layer III, the MP3 of sample rates from 16 to 24 kHz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedConfig(Strict):
    """Speed perturbation by resampling: tempo and pitch change together (Ko et al. 2015)."""

    factors: tuple[float, ...] = (0.9, 1.0, 1.1)  # one is drawn; 1.1 is faster, shorter and higher
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check_probability(self.probability)
        if not self.factors:
            raise ValueError("factors is empty; use at least one speed, such as 1.0")
        for factor in self.factors:
            if not 0.5 <= factor <= 2:
                raise ValueError(f"factors holds {factor}; use speeds from 0.5 to 2")


@dataclass(frozen=True, slots=True, kw_only=True)
class PitchConfig(Strict):
    """Pitch shift that keeps the duration, uniform between -semitones and +semitones."""

    semitones: float = 2.0
    probability: float = 0.5

    def __post_init__(self) -> None:
        _check_probability(self.probability)
        if not 0 < self.semitones <= 12:
            raise ValueError(f"semitones is {self.semitones}; use above 0 and at most 12, such as 2")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseConfig(Strict):
    """Noise added at a signal-to-noise ratio over active speech, uniform in `snr_db`.

    A kind is drawn from `kinds`: generated `white`, `pink` (power falls as 1/f), `brown` (as 1/f²) or `speech` (with
    the long-term average spectrum of speech); `file`, an excerpt of one of `files`; `babble`, `babble_voices` excerpts
    of `files` (recordings of speech) on top of each other.
    """

    kinds: tuple[NoiseKind, ...] = ("white", "pink", "brown")
    files: tuple[str, ...] = ()
    snr_db: tuple[float, float] = (10.0, 30.0)
    babble_voices: int = 5
    probability: float = 0.5

    def __post_init__(self) -> None:
        _check_probability(self.probability)
        if not self.kinds:
            raise ValueError("kinds is empty; use at least one, such as white")
        needs_files = bool({"file", "babble"} & set(self.kinds))
        if needs_files and not self.files:
            raise ValueError(f"kinds is {list(self.kinds)} but files is empty; list recordings under files")
        if self.files and not needs_files:
            raise ValueError(f"files is set but kinds is {list(self.kinds)}; add file or babble to kinds")
        low, high = self.snr_db
        if not -20 <= low <= high <= 100:
            raise ValueError(
                f"snr_db is {list(self.snr_db)}; use [lowest, highest] from -20 to 100 dB, such as [10, 30]"
            )
        if not 1 <= self.babble_voices <= 50:
            raise ValueError(f"babble_voices is {self.babble_voices}; use 1 to 50")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomConfig(Strict):
    """Reverberation: the impulse response of a room, drawn from a bank, all equally likely.

    The bank holds `rooms` simulated rooms, their reverberation times uniform in `t60_s` and the distances from mouth to
    microphone uniform in `distance_m`, and the responses recorded in `files`. Which rooms the bank holds depends on
    these settings alone.
    """

    t60_s: tuple[float, float] = (0.2, 0.7)
    distance_m: tuple[float, float] = (0.5, 4.0)
    rooms: int = 32
    files: tuple[str, ...] = ()
    probability: float = 0.5

    def __post_init__(self) -> None:
        _check_probability(self.probability)
        low, high = self.t60_s
        if not 0.1 <= low <= high <= 1:
            raise ValueError(
                f"t60_s is {list(self.t60_s)}; use [shortest, longest] from 0.1 to 1 s, such as [0.2, 0.7]"
            )
        near, far = self.distance_m
        if not 0.2 <= near <= far <= 6:
            raise ValueError(f"distance_m is {list(self.distance_m)}; use [nearest, farthest] from 0.2 to 6 m")
        if not 0 <= self.rooms <= 1000:
            raise ValueError(f"rooms is {self.rooms}; use 1 to 1000, or 0 with files only")
        if not self.rooms and not self.files:
            raise ValueError("rooms is 0 and files is empty; use at least one room")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippingConfig(Strict):
    """A microphone driven too hard: of the samples of active speech, this share is cut off, uniform in `share`."""

    share: tuple[float, float] = (0.005, 0.1)
    probability: float = 0.2

    def __post_init__(self) -> None:
        _check_probability(self.probability)
        low, high = self.share
        if not 0 < low <= high <= 0.5:
            raise ValueError(f"share is {list(self.share)}; use [lowest, highest] above 0 and up to 0.5")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecConfig(Strict):
    """Encoding and decoding by a codec drawn from `kinds`: `mp3`, `opus`, or `telephone` (8 kHz, 300-3400 Hz, G.711).

    The bit rate is drawn from `mp3_kbps` or `opus_kbps`; the telephone's is always 64 kbps. `law` is the companding
    law of the telephone, `mu` in North America and Japan, `a` elsewhere.
    """

    kinds: tuple[CodecKind, ...] = ("mp3", "opus", "telephone")
    mp3_kbps: tuple[int, ...] = (32, 48, 64)
    opus_kbps: tuple[int, ...] = (12, 16, 24)
    law: Literal["mu", "a"] = "mu"
    probability: float = 0.3

    def __post_init__(self) -> None:
        _check_probability(self.probability)
        for name in ("kinds", "mp3_kbps", "opus_kbps"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty; use at least one")
        for rate in self.mp3_kbps:
            if rate not in MP3_KBPS:
                raise ValueError(f"mp3_kbps holds {rate}; use some of {', '.join(map(str, MP3_KBPS))}")
        for rate in self.opus_kbps:
            if not 6 <= rate <= 128:
                raise ValueError(f"opus_kbps holds {rate}; use bit rates from 6 to 128 kbps")


@dataclass(frozen=True, slots=True, kw_only=True)
class VocalTractConfig(Strict):
    """Vocal-tract length perturbation of log-mel features (VTLP, Jaitly and Hinton 2013).

    Frequencies up to `knee_hz` are scaled by a factor drawn uniformly from `factors`, the rest is compressed or
    stretched linearly so that the highest stays where it is. `low_hz` and `high_hz` are the ends of the mel axis.
    """

    factors: tuple[float, float] = (0.8, 1.2)
    knee_hz: float = 4800.0
    low_hz: float = 20.0
    high_hz: float = 8000.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check_probability(self.probability)
        low, high = self.factors
        if not 0.5 <= low <= high <= 2:
            raise ValueError(
                f"factors is {list(self.factors)}; use [lowest, highest] from 0.5 to 2, such as [0.8, 1.2]"
            )
        if not 0 <= self.low_hz < self.knee_hz < self.high_hz:
            raise ValueError(f"knee_hz is {self.knee_hz}; use a frequency between low_hz and high_hz")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecAugmentConfig(Strict):
    """Masks over features (Park et al. 2019). The defaults are the paper's policy LibriSpeech double, less its warp.

    Each mask is uniform from 0 to its width. `time_share` is the paper's p: no time mask is wider than this share of
    the utterance.
    """

    frequency_masks: int = 2
    frequency_width: int = 27  # F, in dimensions
    time_masks: int = 2
    time_width: int = 100  # T, in frames
    time_share: float = 1.0
    fill: Literal["zero", "mean"] = "mean"  # mean of the whole utterance
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check_probability(self.probability)
        for name in ("frequency_masks", "frequency_width", "time_masks", "time_width"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; use 0 (none) or more")
        if not 0.05 <= self.time_share <= 1:
            raise ValueError(f"time_share is {self.time_share}; use 0.05 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig(Strict):
    """Which augmentations are on.

    Waveforms pass through speed, pitch, room, noise, clipping and codec, the way from a mouth to a recording; features
    through the other two.
    """

    speed: SpeedConfig | None = None
    pitch: PitchConfig | None = None
    room: RoomConfig | None = None
    noise: NoiseConfig | None = None
    clipping: ClippingConfig | None = None
    codec: CodecConfig | None = None
    vocal_tract: VocalTractConfig | None = None
    spec_augment: SpecAugmentConfig | None = None

    @property
    def waveform_blocks(self) -> dict[str, Any]:
        """The blocks that are on and touch samples, by name, in the order in which they act."""
        names = ("speed", "pitch", "room", "noise", "clipping", "codec")
        return {name: block for name in names if (block := getattr(self, name)) is not None}


def _check_probability(probability: float) -> None:
    if not 0 <= probability <= 1:
        raise ValueError(f"probability is {probability}; use 0 to 1")
