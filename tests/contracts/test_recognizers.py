"""Every engine keeps the recognizer's contract; the contract notices one that does not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harken.audio.features import FeatureConfig
from harken.core import Recognizer, Transcript, Waveform
from harken.inference.torch_engine import make_recognizer
from harken.models.conformer import ConformerCtc, ConformerSettings
from harken.models.family import CtcModel
from harken.models.recurrent import RecurrentCtc, RecurrentSettings
from harken.testing import check_recognizer
from harken.text.tokenize import TokenizerConfig, train_tokenizer

FEATURES = FeatureConfig(kind="nemo", dimensions=20, normalize="mean-scale")
TOKENIZER = train_tokenizer(TokenizerConfig(), ["abc de"])


def noise() -> list[Waveform]:
    draw = np.random.default_rng(0)
    return [(0.1 * draw.standard_normal(n)).astype(np.float32) for n in (16_000, 4_321, 24_000)]


def model(family: str) -> CtcModel:
    torch.manual_seed(0)
    if family == "conformer-ctc":
        return ConformerCtc(ConformerSettings(width=16, layers=1, heads=2), 20, TOKENIZER.vocab_size)
    return RecurrentCtc(RecurrentSettings(width=16, layers=1), 20, TOKENIZER.vocab_size)


@pytest.mark.parametrize("family", ["conformer-ctc", "recurrent-ctc"])
def test_torch_engine(family: str) -> None:
    recognizer = make_recognizer(model(family), features=FEATURES, tokenizer=TOKENIZER)
    assert isinstance(recognizer, Recognizer)
    check_recognizer(recognizer, noise())


class Forgetful:
    """Breaks one promise: transcripts come back in the wrong order."""

    sample_rate_hz = 16_000

    def transcribe(self, audio: Waveform | str | Path) -> Transcript:
        return Transcript(text=str(len(audio)), duration_s=len(audio) / 16_000)

    def transcribe_batch(self, waveforms: list[Waveform]) -> list[Transcript]:
        made = [self.transcribe(waveform) for waveform in waveforms]
        return [replace(item) for item in reversed(made)]


class Trusting(Forgetful):
    """Breaks another: takes whatever comes."""

    def transcribe_batch(self, waveforms: list[Waveform]) -> list[Transcript]:
        return [self.transcribe(waveform) for waveform in waveforms]

    def transcribe(self, audio: Waveform | str | Path) -> Transcript:
        return Transcript(text="a" if len(audio) > 1 else "", duration_s=len(audio) / 16_000)


def test_a_recognizer_that_takes_anything_is_found_out() -> None:
    with pytest.raises(AssertionError, match="audio with NaN is not refused"):
        check_recognizer(Trusting(), noise())


def test_a_broken_promise_is_named() -> None:
    with pytest.raises(AssertionError, match="waveform 0: '16000' alone, '24000' in a batch"):
        check_recognizer(Forgetful(), noise())
