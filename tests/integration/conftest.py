"""A corpus of tones that trains in a second: every word is a tone of its own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harken.audio.features import FeatureConfig
from harken.core import Utterance
from harken.data.manifest import write_manifest
from harken.text.tokenize import TokenizerConfig
from harken.training.recipe import (
    BatchConfig,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    TrainingConfig,
)

RATE_HZ = 8000
WORDS = {"low": 400.0, "middle": 900.0, "high": 1800.0}

MakeRecipe = Callable[..., Recipe]


def write_corpus(folder: Path, name: str, count: int, seed: int) -> Path:
    """A manifest of `count` utterances of one to three tones of 0.2 s in a little noise."""
    draw = np.random.default_rng(seed)
    utterances = []
    for number in range(count):
        words = draw.choice(list(WORDS), size=draw.integers(1, 4)).tolist()
        time = np.arange(int(0.2 * RATE_HZ)) / RATE_HZ
        tones = [0.3 * np.sin(2 * np.pi * WORDS[word] * time) * np.hanning(len(time)) for word in words]
        samples = np.concatenate(tones) + 0.003 * draw.standard_normal(len(time) * len(words))
        path = folder / f"{name}-{number:03d}.wav"
        soundfile.write(path, samples, RATE_HZ)
        utterances.append(
            Utterance(
                id=path.stem,
                audio=str(path),
                duration_s=len(samples) / RATE_HZ,
                text=" ".join(words),
                speaker=f"s{number % 3}",
            )
        )
    write_manifest(folder / f"{name}.jsonl", utterances)
    return folder / f"{name}.jsonl"


@pytest.fixture(scope="session")
def tone_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with train.jsonl (48 utterances) and validation.jsonl (9)."""
    folder = tmp_path_factory.mktemp("tones")
    write_corpus(folder, "train", 48, seed=1)
    write_corpus(folder, "validation", 9, seed=2)
    return folder


@pytest.fixture
def make_recipe(tone_corpus: Path) -> MakeRecipe:
    """Recipes on the tones; keywords are fields of TrainingConfig."""

    def make(**training: object) -> Recipe:
        defaults = {"updates": 24, "evaluate_every": 8, "checkpoint_every": 3, "log_every": 2, "threads": 1}
        recipe = Recipe(
            name="tones",
            data=DataConfig(train=str(tone_corpus / "train.jsonl"), validation=str(tone_corpus / "validation.jsonl")),
            features=FeatureConfig(kind="nemo", sample_rate_hz=RATE_HZ, dimensions=16, normalize="mean-scale"),
            tokenizer=TokenizerConfig(kind="word"),
            model=ModelConfig(family="recurrent-ctc", settings={"width": 16, "layers": 1, "dropout": 0.1}),
            batches=BatchConfig(update_s=4.0, batch_s=2.0, buckets=3),
            optimizer=OptimizerConfig(learning_rate=1e-2),
            training=TrainingConfig(updates=1),
        )
        return replace(recipe, training=TrainingConfig(**{**defaults, **training}))  # type: ignore[arg-type]

    return make
