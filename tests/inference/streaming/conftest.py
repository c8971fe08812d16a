"""Small models for streams: random Conformers whose outputs are far apart, so that they say something about noise."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from harken.audio.features import FeatureConfig, Normalization
from harken.core import Tokenizer, Waveform
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.torch_engine import make_recognizer
from harken.models.conformer import ConformerCtc, ConformerSettings
from harken.models.folder import describe, save_model
from harken.text.tokenize import CharTokenizer, WordTokenizer

WORDS = WordTokenizer(["<pad>", "one", "two", "three", "four"])
LETTERS = CharTokenizer(["<pad>", " ", "a", "b", "c"])


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A model in memory with its processor: what stands around it."""

    model: ConformerCtc
    features: FeatureConfig
    tokenizer: Tokenizer

    def recognizer(self) -> CtcRecognizer:
        recognizer = make_recognizer(self.model, features=self.features, tokenizer=self.tokenizer)
        assert isinstance(recognizer, CtcRecognizer)
        return recognizer


Make = Callable[..., Parts]


@pytest.fixture(scope="session")
def parts() -> Make:
    def make(
        tokenizer: Tokenizer = LETTERS, *, normalize: Normalization = "none", chunked: bool = True, seed: int = 0
    ) -> Parts:
        sizes = {"chunk_frames": 4, "left_chunks": 2} if chunked else {}
        settings = ConformerSettings(
            width=16, layers=2, heads=2, kernel=5, input_mean=-5.0 if chunked else 0.0, **sizes
        )
        torch.manual_seed(seed)
        model = ConformerCtc(settings, 20, tokenizer.vocab_size)
        with torch.no_grad():
            model.output.weight.mul_(30)
            model.output.bias[0] += 2
        features = FeatureConfig(kind="nemo", dimensions=20, normalize=normalize)
        return Parts(model=model, features=features, tokenizer=tokenizer)

    return make


def noise(seconds: float, seed: int = 0) -> Waveform:
    """Noise whose colour and level change all the time."""
    generator = np.random.default_rng(seed)
    count = int(seconds * 16_000)
    white = generator.standard_normal(count)
    mixed = white + np.sin(np.arange(count) / 3000) * np.roll(white, 1)
    return (0.1 * mixed * (1.1 + np.sin(np.arange(count) / 1700))).astype(np.float32)


@pytest.fixture
def folder(parts: Make, tmp_path: Path) -> Path:
    """A model folder of `parts`."""
    made = parts()
    description = describe(
        made.model, family="conformer-ctc", settings=made.model.settings, features=made.features,
        tokenizer=made.tokenizer, normalizer="basic", languages=["en"],
    )  # fmt: skip
    save_model(tmp_path / "model", model=made.model, description=description, tokenizer=made.tokenizer)
    return tmp_path / "model"
