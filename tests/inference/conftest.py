"""A tiny random recognizer for the tests of this room, in memory and as a model folder."""

from pathlib import Path

import numpy as np
import pytest
import torch

from harken.audio.features import FeatureConfig
from harken.core import Waveform
from harken.inference.config import EngineConfig
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.inference.torch_engine import load_engine
from harken.models.folder import describe, save_model
from harken.models.recurrent import RecurrentCtc, RecurrentSettings
from harken.text.tokenize import WordTokenizer


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose random model says something about noise: its outputs are made far apart."""
    folder = tmp_path_factory.mktemp("run") / "model"
    settings = RecurrentSettings(width=16, layers=1)
    features = FeatureConfig(kind="nemo", dimensions=20, normalize="mean-scale")
    tokenizer = WordTokenizer(["<pad>", "one", "three", "two"])
    torch.manual_seed(3)
    model = RecurrentCtc(settings, features.dimensions, tokenizer.vocab_size)
    with torch.no_grad():
        model.output.weight.mul_(40)
    description = describe(
        model,
        family="recurrent-ctc",
        settings=settings,
        features=features,
        tokenizer=tokenizer,
        normalizer="basic",
        languages=["en"],
    )
    save_model(folder, model=model, description=description, tokenizer=tokenizer)
    return folder


@pytest.fixture(scope="session")
def recognizer(model_folder: Path) -> CtcRecognizer:
    recognizer = load_engine(model_folder, config=EngineConfig(device="cpu"))
    assert isinstance(recognizer, CtcRecognizer)
    return recognizer


@pytest.fixture(scope="session")
def noises() -> list[Waveform]:
    """Bursts of noise of many lengths, not in order of length."""
    generator = np.random.default_rng(5)
    lengths = [8_000, 31_000, 4_321, 16_000, 400, 24_017, 12_000]
    return [(0.2 * generator.standard_normal(n) * (1 + np.sin(np.arange(n) / 700))).astype(np.float32) for n in lengths]
