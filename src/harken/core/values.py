"""Value types that several rooms exchange: utterances in, transcripts out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Waveform = npt.NDArray[np.float32]
"""(samples,) float32, mono, in [-1, 1], at a sample rate that travels beside it."""

Features = npt.NDArray[np.float32]
"""(frames, dimensions) float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One piece of audio with (maybe) its text: a manifest line.

    `audio` is an absolute path or a URL; manifests store it relative to themselves and the reader resolves it.
    `text` is None where nobody has transcribed the audio, which differs from "" (known to contain no words).
    `extra` holds the manifest keys Harken does not know, kept so that writing gives back what reading took.
    """

    id: str
    audio: str
    duration_s: float
    text: str | None = None
    offset_s: float = 0.0
    speaker: str | None = None
    language: str | None = None
    recording: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("id is empty; every utterance needs a name of its own")
        if not self.audio:
            raise ValueError("audio is empty; give a path or a URL")
        if not (math.isfinite(self.duration_s) and self.duration_s > 0):
            raise ValueError(f"duration_s is {self.duration_s}; use the length of the audio in seconds, above 0")
        if not (math.isfinite(self.offset_s) and self.offset_s >= 0):
            raise ValueError(f"offset_s is {self.offset_s}; use seconds from the start of the file, 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A recognised word with its span `[start_s, end_s)` and the probability the model gave it, if known."""

    text: str
    start_s: float
    end_s: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of a transcript: a sentence, a turn, or whatever the decoder cut.

    `language` is a BCP-47 tag where the model told it for this stretch.
    """

    text: str
    start_s: float
    end_s: float
    words: tuple[Word, ...] = ()
    speaker: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What a recognizer says about one piece of audio.

    `duration_s` is the length of the audio, `language` a BCP-47 tag or None when unknown.
    """

    text: str
    duration_s: float
    segments: tuple[Segment, ...] = ()
    language: str | None = None

    @property
    def words(self) -> tuple[Word, ...]:
        """Every timed word, in order; empty when the decoder gives no times."""
        return tuple(word for segment in self.segments for word in segment.words)
