"""Features of audio that arrives in pieces: the same frames that `FeatureExtractor` gives for the whole.

A piece may be one sample or half a minute. What a later frame still reads is carried; what is carried does not grow.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harken.audio.feature_config import FeatureConfig, KaldiConfig, Normalization
from harken.audio.features import check_waveform
from harken.audio.frontends import build_frontend
from harken.core import Features, InputError, Waveform

Float64 = npt.NDArray[np.float64]

_SCALE_GUARD = 1e-7  # as in features.py
_PER_FEATURE_GUARD = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnlineState:
    """`samples` heard last, the number of those `before` them, frames given so far; `ended` after `finish`."""

    samples: Waveform
    before: int = 0
    frames: int = 0
    ended: bool = False


class OnlineExtractor:
    """`state, features = step(state, waveform)`, before normalisation, for every kind but `whisper`.

    All pieces together are what `FeatureExtractor` gives of the whole signal with `normalize: none`, to the rounding of
    its transforms; the last frames, which read beyond the end, come from `finish`. A frame comes as soon as all its
    samples are there. Dither is left out: it is noise for training, and no two passes would have the same.
    """

    def __init__(self, config: FeatureConfig) -> None:
        """Raises InputError for kind `whisper`, whose range is cut at 80 dB below the loudest point of the whole."""
        if config.kind == "whisper":
            raise InputError(
                "Features of kind whisper depend on the loudest point of a recording, and have no online form.",
                hint="Use kaldi, nemo, mfcc or waveform for a stream.",
            )
        self.config = config
        self._frontend = build_frontend(config)
        self._hop, self._behind, self._ahead = _reach(config)

    @property
    def hop_s(self) -> float:
        """Seconds from one frame to the next."""
        return self._hop / self.config.sample_rate_hz

    @property
    def delay_s(self) -> float:
        """Seconds from the time of a frame, which is its number times `hop_s`, until it can be given."""
        return self._ahead / self.config.sample_rate_hz

    def start(self) -> OnlineState:
        """The state before the first sample."""
        return OnlineState(samples=np.zeros(0, np.float32))

    def step(self, state: OnlineState, waveform: Waveform) -> tuple[OnlineState, Features]:
        """The frames (frames, dimensions) float32 that `waveform` (samples,) float32 completes.

        Raises InputError for an array that is not one-dimensional float32 or not finite, and after the end.
        """
        check_waveform(waveform)
        _check_open(state)
        if self.config.kind == "waveform":
            return state, waveform[:, None].copy()
        samples = np.concatenate([state.samples, waveform])
        heard = state.before + len(samples)
        # A mirrored beginning is known once all that it mirrors is there.
        ready = (heard - self._ahead) // self._hop + 1 if heard > self._behind and heard >= self._ahead else 0
        features = self._frames(samples, state, until=max(ready, state.frames))
        return self._carry(samples, state, frames=state.frames + len(features)), features

    def finish(self, state: OnlineState) -> tuple[OnlineState, Features]:
        """The frames that the end completes; the state takes no more audio."""
        _check_open(state)
        ended = OnlineState(samples=np.zeros(0, np.float32), frames=state.frames, ended=True)
        if self.config.kind == "waveform":
            return ended, np.zeros((0, 1), np.float32)
        total = self._frontend.frame_count(state.before + len(state.samples))
        return ended, self._frames(state.samples, state, until=total)

    def _frames(self, samples: Waveform, state: OnlineState, *, until: int) -> Features:
        """Frames `[state.frames, until)`: a piece that begins some frames earlier has them as the whole has."""
        if until <= state.frames:
            return np.zeros((0, self.config.dimensions), np.float32)
        first = max(0, state.frames - -(-self._behind // self._hop))
        found = self._frontend(samples[first * self._hop - state.before :])
        return found[state.frames - first : until - first]

    def _carry(self, samples: Waveform, state: OnlineState, *, frames: int) -> OnlineState:
        # A frame at the end mirrors what lies before it, so more is carried than the next frame alone would need.
        kept_frames = -(-(self._behind + self._ahead + self._hop) // self._hop)
        before = max(state.before, (frames - kept_frames) * self._hop)
        return OnlineState(samples=samples[before - state.before :].copy(), before=before, frames=frames)


def _reach(config: FeatureConfig) -> tuple[int, int, int]:
    """Samples of a hop, and how many before and after frame f's first or middle sample, f hops in, the frame reads."""
    if config.kind == "waveform":
        return 1, 0, 0
    hop = int(config.hop_s * config.sample_rate_hz + 1e-6)  # rounded as the front ends do
    window = -int(-config.window_s * config.sample_rate_hz - 1e-6)
    half = window // 2 + 1
    if config.kind == "nemo":
        return hop, half, half
    if (config.kaldi or KaldiConfig()).snip_edges:
        return hop, 0, window
    return hop, half, half + hop // 2


def _check_open(state: OnlineState) -> None:
    if state.ended:
        raise InputError("The stream has ended and takes no more audio.", hint="Start a new one.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunningStatistics:
    """Mean and sum of squared differences of each dimension (M,) over `frames` frames heard so far.

    For models that were trained on whole-utterance statistics, which a stream cannot know. Up to the horizon they are
    those of everything heard, so that a short utterance is normalised at its end as it would be offline; beyond it
    older frames count less and less, and a change of speaker or room is forgotten.
    """

    frames: float
    mean_M: Float64
    squares_M: Float64

    @classmethod
    def empty(cls, dimensions: int) -> "RunningStatistics":
        return cls(frames=0.0, mean_M=np.zeros(dimensions), squares_M=np.zeros(dimensions))

    def update(self, features: Features, *, horizon_frames: float) -> "RunningStatistics":
        """The statistics after more frames (frames, M), the ones before weighing `horizon_frames` at most.

        The parallel update of Chan, Golub and LeVeque (1979).
        """
        if not len(features):
            return self
        kept = min(self.frames, horizon_frames)
        exact = features.astype(np.float64)
        new_mean_M = exact.mean(axis=0)
        total, shift_M = kept + len(features), new_mean_M - self.mean_M
        squares_M = self.squares_M * (kept / self.frames if self.frames else 0.0)
        squares_M = squares_M + np.square(exact - new_mean_M).sum(axis=0)
        return RunningStatistics(
            frames=total,
            mean_M=self.mean_M + shift_M * (len(features) / total),
            squares_M=squares_M + np.square(shift_M) * (kept * len(features) / total),
        )

    def normalize(self, features: Features, normalization: Normalization) -> Features:
        """Features (frames, M) normalised by these statistics; see `FeatureConfig.normalize`."""
        if normalization == "none" or not self.frames:
            return features
        centred = features - self.mean_M.astype(np.float32)
        if normalization == "mean-scale":
            variance = self.squares_M.sum() / (self.frames * len(self.squares_M))
            return centred / np.float32(np.sqrt(variance + _SCALE_GUARD))
        if normalization == "per-feature":
            deviation_M = np.sqrt(self.squares_M / max(1.0, self.frames - 1))
            return np.divide(centred, (deviation_M + _PER_FEATURE_GUARD).astype(np.float32), dtype=np.float32)
        return centred
