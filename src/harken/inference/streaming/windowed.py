"""Policy `windowed`: any CTC model on a stream, each chunk scored with context on both sides.

Log probabilities of the chunks are joined and decoded once, so no word is lost or doubled at a seam (the buffered
inference of NVIDIA NeMo's FrameBatchASR). The frames of the right context are scored too soon to be final; they show
what is probably being said.

Shapes: F feature frames, M feature dimensions, T output frames, V vocab.
"""

from dataclasses import dataclass, replace

import numpy as np

from harken.audio.feature_config import FeatureConfig
from harken.audio.online import OnlineExtractor, OnlineState, RunningStatistics
from harken.core import Features, Waveform
from harken.inference.scoring import CtcScorer, LogProbs, pad_features
from harken.inference.streaming.config import WindowConfig
from harken.inference.streaming.frames import Frames
from harken.inference.windows import silent_scores


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowedState:
    """`held` features, of which `scored` have final scores and are context."""

    audio: OnlineState
    statistics: RunningStatistics
    held: Features
    scored: int = 0


class WindowedFrames:
    """Audio to output frames by a `CtcScorer`: a `FrameSource`."""

    def __init__(
        self,
        scorer: CtcScorer,
        features: FeatureConfig,
        *,
        subsampling: int,
        vocab_size: int,
        config: WindowConfig | None = None,
    ) -> None:
        """`subsampling` are the feature frames (samples, for models that hear those) of each output frame.

        Raises InputError for features without an online form.
        """
        config = config or WindowConfig()
        self._scorer, self._subsampling, self._vocab_size = scorer, subsampling, vocab_size
        self._extractor = OnlineExtractor(features)
        self.frame_s = subsampling * self._extractor.hop_s
        self._left, self._chunk, self._right = (
            self._aligned(seconds) for seconds in (config.left_s, config.chunk_s, config.right_s)
        )
        self._chunk = max(self._chunk, subsampling)
        self._horizon_frames = config.horizon_s / self._extractor.hop_s

    @property
    def latency_s(self) -> float:
        return (self._chunk + self._right) * self._extractor.hop_s + self._extractor.delay_s

    def start(self) -> WindowedState:
        dimensions = self._extractor.config.dimensions
        return WindowedState(
            audio=self._extractor.start(),
            statistics=RunningStatistics.empty(dimensions),
            held=np.zeros((0, dimensions), np.float32),
        )

    def step(self, state: WindowedState, waveform: Waveform) -> tuple[WindowedState, Frames]:
        audio, features = self._extractor.step(state.audio, waveform)
        state = self._heard(replace(state, audio=audio), features)
        found, ahead_TV = [silent_scores(0, self._vocab_size)], None
        while len(state.held) >= state.scored + self._chunk + self._right:
            until = state.scored + self._chunk
            scores_TV = self._scores(state, until + self._right)
            found.append(scores_TV[state.scored // self._subsampling : until // self._subsampling])
            ahead_TV = scores_TV[until // self._subsampling :]
            dropped = max(0, until - self._left)
            state = replace(state, held=state.held[dropped:].copy(), scored=until - dropped)
        return state, Frames(final_TV=np.concatenate(found), ahead_TV=ahead_TV)

    def finish(self, state: WindowedState) -> tuple[WindowedState, Frames]:
        audio, features = self._extractor.finish(state.audio)
        state = self._heard(replace(state, audio=audio), features)
        final_TV = silent_scores(0, self._vocab_size)
        if len(state.held) > state.scored:
            final_TV = self._scores(state, len(state.held))[state.scored // self._subsampling :]
        return replace(state, held=state.held[:0].copy(), scored=0), Frames(final_TV=final_TV, ahead_TV=final_TV[:0])

    def _aligned(self, seconds: float) -> int:
        """Feature frames in whole output frames, so that the frames of all windows fall on one grid."""
        return round(seconds / self.frame_s) * self._subsampling

    def _heard(self, state: WindowedState, features: Features) -> WindowedState:
        if not len(features):
            return state
        statistics = state.statistics
        if self._extractor.config.normalize != "none":
            statistics = statistics.update(features, horizon_frames=self._horizon_frames)
        return replace(state, statistics=statistics, held=np.concatenate([state.held, features]))

    def _scores(self, state: WindowedState, end: int) -> LogProbs:
        """(T, V) of the first `end` features held; digital silence says nothing and is not asked about."""
        window = state.held[:end]
        frames = -(-len(window) // self._subsampling)
        if len(window) > 1 and (window == window[0]).all():
            return silent_scores(frames, self._vocab_size)
        normalized = state.statistics.normalize(window, self._extractor.config.normalize)
        scores_BTV, lengths_B = self._scorer(*pad_features([normalized]))
        scores_TV = scores_BTV[0, : int(lengths_B[0])]
        # A front end that needs whole windows gives less at the edge of what it hears.
        missing = silent_scores(max(0, frames - len(scores_TV)), self._vocab_size)
        return np.concatenate([scores_TV, missing])
