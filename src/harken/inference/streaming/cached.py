"""Policy `cached`: a Conformer trained with chunks, run chunk by chunk with caches. Exact: no frame is ever revised.

Shapes: B streams (1 here), W window features, M feature dimensions, C chunk frames, T output frames, V vocab.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from harken.audio.feature_config import FeatureConfig
from harken.audio.online import OnlineExtractor, OnlineState
from harken.core import Features, InputError, Waveform
from harken.inference.scoring import LogProbs
from harken.inference.streaming.frames import Frames

Caches = Sequence[Any]
"""What the network carries, in whatever arrays it computes with."""


class ChunkNetwork(Protocol):
    """One step of a streaming Conformer, whatever runs it; see `models.conformer_stream` for what the sizes mean."""

    @property
    def window_features(self) -> int: ...

    @property
    def shift_features(self) -> int: ...

    @property
    def lead_features(self) -> int: ...

    @property
    def subsampling(self) -> int: ...

    @property
    def vocab_size(self) -> int: ...

    def start(self) -> Caches: ...

    def __call__(
        self, window_BWM: npt.NDArray[np.float32], frames_B: npt.NDArray[np.int64], caches: Caches
    ) -> tuple[LogProbs, Caches]:
        """(1, C, V) log probabilities and the caches after the chunk; `frames_B` are the window's real features from
        `lead_features` on. Only so many frames of the chunk are real as those give: ceil(frames / subsampling)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CachedState:
    """`pending` are the features of the next window that are there, its lead included."""

    audio: OnlineState
    pending: Features
    caches: Caches


class CachedFrames:
    """Audio to output frames by a `ChunkNetwork`: a `FrameSource`."""

    def __init__(self, network: ChunkNetwork, features: FeatureConfig) -> None:
        """Raises InputError for features that need the statistics of a whole utterance."""
        if features.normalize != "none":
            raise InputError(
                f"The model's features are normalised over each utterance ({features.normalize}), whose end a stream "
                "does not know.",
                hint="Use policy windowed, or train with features.normalize none and model.settings.input_mean.",
            )
        self.network = network
        self._extractor = OnlineExtractor(features)
        self.frame_s = network.subsampling * self._extractor.hop_s

    @property
    def latency_s(self) -> float:
        """The longest that a sound waits for the scores of its frame, computing aside."""
        ahead = self.network.window_features - self.network.lead_features - 1
        return ahead * self._extractor.hop_s + self._extractor.delay_s

    def start(self) -> CachedState:
        lead = np.zeros((self.network.lead_features, self._extractor.config.dimensions), np.float32)
        return CachedState(audio=self._extractor.start(), pending=lead, caches=self.network.start())

    def step(self, state: CachedState, waveform: Waveform) -> tuple[CachedState, Frames]:
        audio, features = self._extractor.step(state.audio, waveform)
        return self._score(replace(state, audio=audio), features)

    def finish(self, state: CachedState) -> tuple[CachedState, Frames]:
        audio, features = self._extractor.finish(state.audio)
        return self._finish(replace(state, audio=audio), features)

    def score(self, features: Features) -> LogProbs:
        """(T, V) of all the features of an utterance, as a stream of them would be scored."""
        return self._finish(self.start(), features)[1].final_TV

    def _finish(self, state: CachedState, features: Features) -> tuple[CachedState, Frames]:
        """The state after the last features, and the frames of all chunks, the last of them not full."""
        state, frames = self._score(state, features)
        found = [frames.final_TV]
        while (left := len(state.pending) - self.network.lead_features) > 0:
            window = np.zeros((self.network.window_features, state.pending.shape[1]), np.float32)
            window[: len(state.pending)] = state.pending
            state, chunk_TV = self._chunk(state, window, left)
            found.append(chunk_TV)
        return state, Frames(final_TV=np.concatenate(found))

    def _score(self, state: CachedState, features: Features) -> tuple[CachedState, Frames]:
        """The state after more features, and the frames of all chunks that they complete."""
        network = self.network
        found = [np.zeros((0, network.vocab_size), np.float32)]
        state = replace(state, pending=np.concatenate([state.pending, features]))
        while len(state.pending) >= network.window_features:
            window = state.pending[: network.window_features]
            state, chunk_TV = self._chunk(state, window, network.window_features - network.lead_features)
            found.append(chunk_TV)
        return state, Frames(final_TV=np.concatenate(found))

    def _chunk(self, state: CachedState, window: Features, frames: int) -> tuple[CachedState, LogProbs]:
        log_probs_BCV, caches = self.network(window[None], np.array([frames], np.int64), state.caches)
        real = -(-frames // self.network.subsampling)
        # A copy: what is left of the window must not keep alive all the features that came with it.
        pending = state.pending[self.network.shift_features :].copy()
        return replace(state, pending=pending, caches=caches), log_probs_BCV[0, :real]
