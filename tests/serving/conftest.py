"""Small models and recordings for the tests of the server."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tests.serving.server_processes import Processes

from harken.audio.features import FeatureConfig
from harken.core import Waveform
from harken.models.folder import describe, save_model
from harken.models.recurrent import RecurrentCtc, RecurrentSettings
from harken.text.tokenize import CharTokenizer


def save_tiny_model(folder: Path, *, seed: int, languages: list[str], metrics: dict[str, Any] | None = None) -> Path:
    """A random CTC model over a, b, c whose texts of noise are not empty."""
    import torch

    settings = RecurrentSettings(width=16, layers=1)
    features = FeatureConfig(kind="nemo", dimensions=20, normalize="mean-scale")
    tokenizer = CharTokenizer(["<pad>", " ", "a", "b", "c"])
    torch.manual_seed(seed)
    model = RecurrentCtc(settings, features.dimensions, tokenizer.vocab_size)
    with torch.no_grad():
        model.output.weight.mul_(40)
    description = describe(
        model, family="recurrent-ctc", settings=settings, features=features, tokenizer=tokenizer, normalizer="basic",
        languages=languages, metrics=metrics or {},
    )  # fmt: skip
    save_model(folder, model=model, description=description, tokenizer=tokenizer)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder called `tiny`, of English, with a WER of 12.5 % in its description."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return save_tiny_model(folder, seed=3, languages=["en"], metrics={"test": {"wer": {"value": 0.125}}})


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder called `other` that says something else."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "other", seed=4, languages=["uz"])


@pytest.fixture(scope="session")
def noises() -> list[Waveform]:
    """Bursts of noise of many lengths, not in order of length."""
    generator = np.random.default_rng(5)
    lengths = [8_000, 31_000, 4_321, 16_000, 48_000, 24_017, 12_000, 40_000]
    return [(0.2 * generator.standard_normal(n) * (1 + np.sin(np.arange(n) / 700))).astype(np.float32) for n in lengths]


@pytest.fixture(scope="session")
def recordings(noises: list[Waveform], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The noises as files."""
    folder = tmp_path_factory.mktemp("recordings")
    for number, noise in enumerate(noises):
        soundfile.write(folder / f"{number}.wav", noise, 16_000, subtype="FLOAT")
    return [folder / f"{number}.wav" for number in range(len(noises))]


@pytest.fixture(scope="session")
def onnx_model(tiny_model: Path, recordings: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny` exported: it is loaded in a moment, without torch."""
    pytest.importorskip("onnxruntime")
    from harken.export import export_model

    folder = tmp_path_factory.mktemp("exported") / "tiny"
    shutil.copytree(tiny_model, folder)
    assert list(export_model(folder, ["onnx"], files=recordings))
    return folder


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Servers and workers of one test, all of one home; killed at its end."""
    started = Processes(tmp_path)
    yield started
    started.kill_all()
