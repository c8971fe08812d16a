"""Utterances for benchmarks of training: noise of log-normal duration with texts of nonsense words, as WAV files."""

import math
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harken.core import Utterance

SAMPLE_RATE_HZ = 16_000
LETTERS = "abcdefghijklmnopqrstuvwxyz"
LANGUAGE = "en"
CHARACTERS_PER_S = {"wav2vec2": 14.0, "whisper": 4.0}  # speech has 14; Whisper's are bytes here, as many as its tokens
SHORTEST_S, MEDIAN_S, LONGEST_S, SPREAD = 0.5, 4.0, 15.0, 0.6


def durations_s(count: int) -> npt.NDArray[np.float64]:
    """Log-normal: median 4 s, mean 4.7 s, 0.5 to 15 s, in whole milliseconds."""
    draws = np.random.default_rng(0).lognormal(math.log(MEDIAN_S), SPREAD, count)
    return draws.clip(SHORTEST_S, LONGEST_S).round(3)


def write_clips(folder: Path, seconds: Sequence[float] | npt.NDArray[np.float64]) -> list[Utterance]:
    """One file of 16-bit noise for each duration, without texts."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(1)
    clips = []
    for number, duration_s in enumerate(map(float, seconds)):
        path = folder / f"{number}.wav"
        samples = generator.normal(0, 2_000, round(duration_s * SAMPLE_RATE_HZ)).clip(-32_768, 32_767)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
            file.writeframes(samples.astype("<i2").tobytes())
        clips.append(Utterance(id=path.stem, audio=str(path), duration_s=duration_s, language=LANGUAGE))
    return clips


def nonsense(duration_s: float, *, characters_per_s: float, seed: int) -> str:
    """Words of two to seven letters, spaces included in the count of characters."""
    generator = np.random.default_rng(seed)
    length, text = max(1, round(duration_s * characters_per_s)), ""
    while len(text) < length:
        text += "".join(generator.choice(list(LETTERS), generator.integers(2, 8))) + " "
    return text[:length].strip()
