"""What runs a Whisper's network: the same four questions to PyTorch, CTranslate2 and ONNX Runtime.

Shapes: B windows, F feature frames (the whole window), M mels, T tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

POSITION_S = 0.020
"""Seconds that one position of Whisper's encoder stands for: two feature frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How tokens are chosen in one call. `temperature` 0 is beam search (greedy with `beam_size` 1); above 0
    `best_of` sequences are drawn for each window and the likeliest is kept.

    Hypotheses are ranked by their summed log probability over length ** `length_penalty`. `suppress` are ids never
    chosen, besides those generation_config.json names. With `timestamps` (a prompt without <|notimestamps|>) time
    tokens come in pairs and never decrease, the first at most `latest_first` steps of 20 ms into the window. `seeds`
    has one number for each window; a sampling backend draws from them and from nothing else where it can.
    """

    max_tokens: int
    beam_size: int = 1
    temperature: float = 0.0
    best_of: int = 1
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    suppress: tuple[int, ...] = ()
    timestamps: bool = False
    latest_first: int = 50
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """Tokens of one window, without prompt and end.

    `average_log_prob` is the mean over the tokens and the end, under the distribution after suppression, at
    temperature 1. `no_speech_prob` is that of <|nospeech|> right after <|startoftranscript|>; 0 for a tokenizer
    without that token.
    """

    ids: list[int]
    average_log_prob: float
    no_speech_prob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Where the tokens of one window stand: `positions` (T + 1,) of the encoder where each begins, and where the last
    ends, never decreasing; `probabilities` (T,) of each under teacher forcing.
    """

    positions: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]

    def part(self, first: int, end: int) -> "Alignment":
        """That of the tokens [first, end) alone."""
        return Alignment(positions=self.positions[first : end + 1], probabilities=self.probabilities[first:end])


class Encoded(Protocol):
    """What the encoder made of some windows, wherever it lies; only its own backend can read it."""

    def __len__(self) -> int:
        """Number of windows."""
        ...

    def take(self, rows: Sequence[int]) -> Self:
        """Only these windows, in this order."""
        ...


EncodedT = TypeVar("EncodedT", bound=Encoded)


class WhisperBackend(Protocol[EncodedT]):
    """A Whisper's network. What a window gives does not depend on the windows that share its call."""

    @property
    def window_frames(self) -> int:
        """Feature frames the encoder reads, no more and no fewer."""
        ...

    @property
    def dimensions(self) -> int:
        """Mels of the features."""
        ...

    @property
    def longest_tokens(self) -> int:
        """Tokens of a sequence, the prompt and the end included."""
        ...

    @property
    def vocab_rows(self) -> int:
        """Scores of each token: at least the tokenizer's units."""
        ...

    def encode(self, features_BFM: npt.NDArray[np.float32]) -> EncodedT:
        """Raises InputError for features that do not fill the window."""
        ...

    def detect(self, encoded: EncodedT) -> list[dict[str, float]]:
        """Probability of each language the model knows, by its code, for each window; they sum to 1."""
        ...

    def generate(self, encoded: EncodedT, prompts: Sequence[Sequence[int]], search: Search) -> list[Generated]:
        """Tokens after each window's prompt. All prompts have one length and one place of <|startoftranscript|>."""
        ...

    def align(
        self, encoded: EncodedT, prompt: Sequence[int], ids: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[Alignment]:
        """Places of the text tokens `ids` of each window in its first `frames` feature frames.

        `prompt` ends before <|notimestamps|>; `ids` hold no special and no time token. A window of fewer than four
        frames has everything at position 0.
        """
        ...
