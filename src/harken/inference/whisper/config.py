"""Settings of Whisper's decoding."""

from dataclasses import dataclass
from typing import Literal

from harken.core import Strict
from harken.text.whisper_tokenizer import Task

LongForm = Literal["sequential", "vad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhisperDecodingConfig(Strict):
    """The rules of Radford et al. 2022, section 4.5, with the thresholds found there.

    A window is decoded at the first of `temperatures`; where the text is more repetitive than
    `max_compression_ratio` or less likely than `min_average_log_prob`, at the next. A window whose no-speech
    probability is above `no_speech_threshold` and whose text is unlikely says nothing. None switches a test off.
    """

    language: str | None = None  # None: the model's own choice in each file
    task: Task | None = None  # None: what the model was trained for
    multilingual: bool = False  # the model chooses the language of each window anew
    long_form: LongForm = "sequential"  # audio beyond one window: follow the time tokens, or cut where nobody speaks
    timestamps: bool = False  # decode time tokens in audio of one window too (sequential long audio always has them)
    word_times: bool = False
    beam_size: int = 5
    best_of: int = 5  # sequences drawn at temperatures above 0
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    max_compression_ratio: float | None = 2.4
    min_average_log_prob: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    max_repeats: int = 4  # at most so many times the same few tokens at the end of a window; the rest is cut
    initial_prompt: str | None = None  # words the audio is likely to hold, or the text before it
    condition_on_previous: bool = False  # sequential only: each window is told the text before it
    max_initial_timestamp_s: float = 1.0
    max_tokens: int | None = None  # of one window; None: half of what the decoder has places for
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("beam_size", "best_of", "max_repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; use 1 or more")
        if not self.temperatures or any(not 0 <= t <= 2 for t in self.temperatures):
            raise ValueError(f"temperatures is {self.temperatures}; use one or more numbers from 0 to 2")
        if self.repetition_penalty <= 0:
            raise ValueError(f"repetition_penalty is {self.repetition_penalty}; use 1 (none) or more")
        if self.no_repeat_ngram < 0:
            raise ValueError(f"no_repeat_ngram is {self.no_repeat_ngram}; use 0 (off) or a number of tokens")
        if self.no_speech_threshold is not None and not 0 <= self.no_speech_threshold <= 1:
            raise ValueError(f"no_speech_threshold is {self.no_speech_threshold}; use a probability from 0 to 1")
        if self.min_average_log_prob is not None and self.min_average_log_prob > 0:
            raise ValueError(f"min_average_log_prob is {self.min_average_log_prob}; use 0 or less, such as -1")
        if self.max_compression_ratio is not None and self.max_compression_ratio <= 0:
            raise ValueError(f"max_compression_ratio is {self.max_compression_ratio}; use a ratio above 0, such as 2.4")
        if self.max_initial_timestamp_s < 0:
            raise ValueError(f"max_initial_timestamp_s is {self.max_initial_timestamp_s}; use seconds, 0 or more")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; use 1 or more")
        if self.multilingual and self.language is not None:
            raise ValueError(f"multilingual is set but language is {self.language}; use one of the two")
        if self.condition_on_previous and self.long_form == "vad":
            raise ValueError("condition_on_previous is set but long_form is vad; use it with sequential only")
