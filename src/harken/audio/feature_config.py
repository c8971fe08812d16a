"""Settings of the acoustic features."""

from dataclasses import dataclass
from typing import Literal

from harken.core import Strict

FeatureKind = Literal["kaldi", "whisper", "nemo", "mfcc", "waveform"]
Normalization = Literal["none", "mean", "mean-scale", "per-feature"]

_WHISPER_MELS = (80, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class KaldiConfig(Strict):
    """What Kaldi's front end lets its users choose (kinds `kaldi` and `mfcc`)."""

    snip_edges: bool = True  # only frames that lie wholly inside; False: one per hop, the ends mirrored
    preemphasis: float = 0.97
    low_hz: float = 20.0
    high_hz: float | None = None  # None: half the sample rate

    def __post_init__(self) -> None:
        if not 0 <= self.preemphasis <= 1:
            raise ValueError(f"preemphasis is {self.preemphasis}; use a number from 0 (off) to 1")
        _check_band(self.low_hz, self.high_hz)


@dataclass(frozen=True, slots=True, kw_only=True)
class MfccConfig(Strict):
    """Cepstra from Kaldi's filterbank (kind `mfcc`)."""

    mel_bins: int = 23
    lifter: float = 22.0  # 0: none
    use_energy: bool = True  # the log energy of the frame in place of C0
    energy_floor: float = 0.0  # on squares of samples in the 16-bit range

    def __post_init__(self) -> None:
        if self.mel_bins < 3:
            raise ValueError(f"mel_bins is {self.mel_bins}; use 3 or more")
        if self.lifter < 0:
            raise ValueError(f"lifter is {self.lifter}; use 0 (none) or more, such as 22")
        if self.energy_floor < 0:
            raise ValueError(f"energy_floor is {self.energy_floor}; use 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class NemoConfig(Strict):
    """What differs between NeMo's models (kind `nemo`)."""

    pad_mode: Literal["constant", "reflect"] = "constant"  # NeMo 2, and NeMo 1 (which also gave one frame more)
    preemphasis: float = 0.97
    low_hz: float = 0.0
    high_hz: float | None = None  # None: half the sample rate

    def __post_init__(self) -> None:
        if not 0 <= self.preemphasis <= 1:
            raise ValueError(f"preemphasis is {self.preemphasis}; use a number from 0 (off) to 1")
        _check_band(self.low_hz, self.high_hz)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig(Strict):
    """Which features a model hears.

    kind            what                                              dimensions     frames of n samples (16 kHz)
    `kaldi`         natural-log mel energies, povey window            mels           1 + (n - 400) // 160, from 400 on
    `whisper`       log10 mel energies as OpenAI's Whisper            80 or 128      n // 160
    `nemo`          natural-log mel energies as NeMo's preprocessor   mels           n // 160
    `mfcc`          Kaldi's cepstra                                   coefficients   as `kaldi`
    `waveform`      the samples themselves                            1              n

    `normalize` works on one utterance: `mean` takes the mean off each dimension; `mean-scale` does that and divides
    everything by one standard deviation (for a waveform: zero mean and unit variance, as Wav2Vec2 wants it);
    `per-feature` divides each dimension by its own, estimated with N - 1, plus 1e-5 (NeMo's, which its models expect).
    `dither` is the standard deviation of Gaussian noise added to the samples, full scale being 1 (Kaldi's 1.0 is
    1 / 32768 here). The blocks `kaldi`, `mfcc` and `nemo` are refused for kinds that would not read them.
    """

    kind: FeatureKind = "kaldi"
    sample_rate_hz: int = 16_000
    dimensions: int = 80
    window_s: float = 0.025
    hop_s: float = 0.010
    normalize: Normalization = "none"
    dither: float = 0.0
    pad_to_s: float | None = None  # whisper: zeros after the audio up to this length (Whisper's windows are 30 s)
    kaldi: KaldiConfig | None = None
    mfcc: MfccConfig | None = None
    nemo: NemoConfig | None = None

    def __post_init__(self) -> None:
        if not 1_000 <= self.sample_rate_hz <= 384_000:
            raise ValueError(f"sample_rate_hz is {self.sample_rate_hz}; use 1000 to 384000")
        if self.dimensions < 1:
            raise ValueError(f"dimensions is {self.dimensions}; use 1 or more")
        if self.dither < 0:
            raise ValueError(f"dither is {self.dither}; use 0 (off) or more, such as 3e-5")
        self._check_blocks()
        if self.kind == "waveform":
            self._check_waveform()
        else:
            self._check_frames()
        if self.kind == "whisper":
            self._check_whisper()
        mel_bins = (self.mfcc or MfccConfig()).mel_bins
        if self.kind == "mfcc" and self.dimensions > mel_bins:
            raise ValueError(f"dimensions is {self.dimensions}; use at most mfcc.mel_bins ({mel_bins}), usually 13")
        for block in (self.kaldi, self.nemo):
            if block is not None and (block.high_hz or 0) > self.sample_rate_hz / 2:
                raise ValueError(f"high_hz is {block.high_hz}; use at most half of sample_rate_hz")

    def _check_blocks(self) -> None:
        readers = {"kaldi": ("kaldi", "mfcc"), "mfcc": ("mfcc",), "nemo": ("nemo",), "pad_to_s": ("whisper",)}
        for name, kinds in readers.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                raise ValueError(f"{name} is set but kind is {self.kind}; use it with kind {' or '.join(kinds)} only")

    def _check_frames(self) -> None:
        if self.hop_s * self.sample_rate_hz < 1:
            raise ValueError(f"hop_s is {self.hop_s}; use at least one sample, such as 0.010")
        if not self.hop_s <= self.window_s <= 1:
            raise ValueError(f"window_s is {self.window_s}; use hop_s ({self.hop_s}) to 1, such as 0.025")

    def _check_waveform(self) -> None:
        if self.dimensions != 1:
            raise ValueError(f"dimensions is {self.dimensions}; use 1 for kind waveform")
        if self.normalize == "per-feature":
            raise ValueError("normalize is per-feature; use mean-scale for kind waveform (zero mean, unit variance)")

    def _check_whisper(self) -> None:
        if self.dimensions not in _WHISPER_MELS:
            raise ValueError(f"dimensions is {self.dimensions}; use 80, or 128 for large-v3, for kind whisper")
        if (self.sample_rate_hz, self.window_s, self.hop_s) != (16_000, 0.025, 0.010):
            raise ValueError(
                "sample_rate_hz, window_s or hop_s is changed; use 16000, 0.025 and 0.010 for kind whisper"
            )
        if self.pad_to_s is not None and not 0 < self.pad_to_s <= 3600:
            raise ValueError(f"pad_to_s is {self.pad_to_s}; use seconds above 0, such as 30")


def _check_band(low_hz: float, high_hz: float | None) -> None:
    if low_hz < 0:
        raise ValueError(f"low_hz is {low_hz}; use 0 or more")
    if high_hz is not None and high_hz <= low_hz:
        raise ValueError(f"high_hz is {high_hz}; use more than low_hz ({low_hz}), or leave it out")
