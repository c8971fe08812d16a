"""Tiny CTC models whose outputs are far apart, and the folder of one of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from harken.audio.features import FeatureConfig, Normalization
from harken.core import Utterance, Waveform
from harken.data.manifest import write_manifest
from harken.models.adapters import AdapterConfig, add_adapter
from harken.models.family import CtcModel, find_family
from harken.models.folder import describe, save_model
from harken.text.tokenize import WordTokenizer

UNITS = ("<pad>", "one", "three", "two")
WAV2VEC2 = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "conv_dim": [32] * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "pad_token_id": 0, "bos_token_id": None,
    "eos_token_id": None,
}  # fmt: skip


def build_model(family: str, *, dimensions: int = 20, **settings: object) -> CtcModel:
    found = find_family(family)
    torch.manual_seed(3)
    model = found.build(found.parse(settings, source="test"), dimensions, len(UNITS))
    assert isinstance(model, CtcModel)
    with torch.no_grad():
        model.get_submodule(model.head).weight.mul_(15)  # greedy texts of noise are then not all empty, nor near ties
    return model.eval()


def save_folder(
    folder: Path, model: CtcModel, family: str, settings: object, *, normalize: Normalization = "mean-scale"
) -> Path:
    features = FeatureConfig(kind="nemo", dimensions=20, normalize=normalize)
    tokenizer = WordTokenizer(UNITS)
    description = describe(
        model,
        family=family,
        settings=settings,
        features=features,
        tokenizer=tokenizer,
        normalizer="basic",
        languages=["en"],
    )
    save_model(folder, model=model, description=description, tokenizer=tokenizer)
    return folder


@pytest.fixture(scope="session")
def build() -> Callable[..., CtcModel]:
    """`build(family, dimensions=20, **settings)`: a random model over four units."""
    return build_model


@pytest.fixture(scope="session")
def wav2vec2_config() -> dict[str, object]:
    return dict(WAV2VEC2)


@pytest.fixture(scope="session")
def noise_of() -> Callable[..., Waveform]:
    """`noise_of(seconds, seed=5)`: noise that swells and fades."""
    return noise


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A recurrent model: the one that exports fastest."""
    settings = find_family("recurrent-ctc").parse({"width": 32, "layers": 1}, source="test")
    return save_folder(tmp_path / "model", build_model("recurrent-ctc", width=32, layers=1), "recurrent-ctc", settings)


@pytest.fixture
def conformer_folder(tmp_path: Path) -> Path:
    settings = find_family("conformer-ctc").parse({"width": 32, "layers": 1, "heads": 2}, source="test")
    model = build_model("conformer-ctc", width=32, layers=1, heads=2)
    return save_folder(tmp_path / "conformer", model, "conformer-ctc", settings)


@pytest.fixture
def streaming_folder(tmp_path: Path) -> Path:
    """A Conformer with chunks of four frames, each seeing two before it."""
    values = {"width": 32, "layers": 2, "heads": 2, "chunk_frames": 4, "left_chunks": 2, "input_mean": -8.0}
    settings = find_family("conformer-ctc").parse(values, source="test")
    model = build_model("conformer-ctc", **values)
    return save_folder(tmp_path / "streaming", model, "conformer-ctc", settings, normalize="none")


@pytest.fixture
def adapted_folder(tmp_path: Path) -> Path:
    """A recurrent model with an active LoRA adapter that changes what it says."""
    settings = find_family("recurrent-ctc").parse({"width": 32, "layers": 1}, source="test")
    model = build_model("recurrent-ctc", width=32, layers=1)
    add_adapter(model, AdapterConfig(name="accent", targets=("output",), rank=2), seed=1)
    with torch.no_grad():
        model.get_submodule("output.adapter_accent.up").weight.add_(30.0)
    return save_folder(tmp_path / "adapted", model, "recurrent-ctc", settings)


def noise(seconds: float, *, seed: int = 5) -> Waveform:
    generator = np.random.default_rng(seed)
    samples = round(16_000 * seconds)
    loudness = 1 + np.sin(np.arange(samples) / 700)
    return (0.2 * generator.standard_normal(samples) * loudness).clip(-1, 1).astype(np.float32)


@pytest.fixture
def make_manifest(tmp_path: Path) -> Callable[..., Path]:
    """A manifest of noises with the texts given, each longer than the one before."""

    def make(texts: list[str]) -> Path:
        utterances = []
        for place, text in enumerate(texts):
            seconds = 0.6 + 0.3 * place
            soundfile.write(tmp_path / f"{place}.wav", noise(seconds, seed=place), 16_000, subtype="FLOAT")
            utterances.append(
                Utterance(id=f"u{place}", audio=str(tmp_path / f"{place}.wav"), duration_s=seconds, text=text)
            )
        write_manifest(tmp_path / "manifest.jsonl", utterances)
        return tmp_path / "manifest.jsonl"

    return make
