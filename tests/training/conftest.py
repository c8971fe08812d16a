"""Fixtures for tests that train: a corpus of tones, and recipes that run in about a second."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from harken.core import Utterance, apply_overrides, parse_settings
from harken.data.manifest import read_manifest, write_manifest
from harken.training import run as training_run
from harken.training.picture import History
from harken.training.recipe import Recipe

RATE_HZ = 8_000
WORD_S = 0.15
TONES_HZ = {"ah": 400, "bo": 800, "ku": 1600, "zi": 3000}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToneCorpus:
    """A folder with train.jsonl and validation.jsonl. Every word is a tone of its own frequency in light noise."""

    folder: Path

    @property
    def train(self) -> Path:
        return self.folder / "train.jsonl"

    @property
    def validation(self) -> Path:
        return self.folder / "validation.jsonl"

    def change(self, name: str, changed: Callable[[list[Utterance]], Sequence[Utterance]]) -> None:
        """Rewrite a manifest, `train` or `validation`."""
        path = self.folder / f"{name}.jsonl"
        write_manifest(path, changed(read_manifest(path)))

    def edit(self, identifier: str, **fields: Any) -> None:
        """Change fields of one training utterance."""
        self.change(
            "train", lambda items: [dataclasses.replace(u, **fields) if u.id == identifier else u for u in items]
        )


def _speak(path: Path, words: Sequence[str], generator: np.random.Generator) -> float:
    count = round(WORD_S * RATE_HZ)
    times_s = np.arange(count) / RATE_HZ
    fade = np.hanning(count) ** 0.5
    waveform = np.concatenate([0.3 * fade * np.sin(2 * np.pi * TONES_HZ[word] * times_s) for word in words])
    waveform += 3e-3 * generator.standard_normal(waveform.size)
    soundfile.write(path, waveform, RATE_HZ, subtype="PCM_16")
    return waveform.size / RATE_HZ


def _write_manifest(folder: Path, name: str, count: int, generator: np.random.Generator) -> None:
    utterances = []
    for number in range(count):
        words = generator.choice(list(TONES_HZ), size=2 + number % 4).tolist()
        path = folder / f"{name}-{number:02d}.wav"
        duration_s = _speak(path, words, generator)
        utterances.append(Utterance(id=path.stem, audio=str(path), duration_s=duration_s, text=" ".join(words)))
    write_manifest(folder / f"{name}.jsonl", utterances)


@pytest.fixture
def tone_corpus(tmp_path: Path) -> ToneCorpus:
    """24 utterances of 0.3 to 0.75 s to train on (train-00 to train-23), 6 to validate with."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    generator = np.random.default_rng(5)
    _write_manifest(folder, "train", 24, generator)
    _write_manifest(folder, "validation", 6, generator)
    return ToneCorpus(folder=folder)


@pytest.fixture
def tiny_recipe(tone_corpus: ToneCorpus) -> Callable[..., Recipe]:
    """A recipe for the tones: `tiny_recipe("training.updates=5", …)`; 12 updates of 8 utterances by default."""

    def make(*overrides: str) -> Recipe:
        settings = {
            "name": "tones",
            "data": {"train": str(tone_corpus.train), "validation": str(tone_corpus.validation)},
            "features": {"sample_rate_hz": RATE_HZ, "dimensions": 16, "normalize": "mean-scale"},
            "tokenizer": {"kind": "word"},
            "model": {"family": "recurrent-ctc", "settings": {"width": 16, "layers": 1}},
            "batches": {"update_samples": 8, "buckets": 2},
            "optimizer": {"learning_rate": 2e-2},
            "training": {
                "updates": 12,
                "device": "cpu",
                "precision": "fp32",
                "threads": 1,
                "workers": 0,
                "evaluate_every": 4,
                "checkpoint_every": 2,
                "log_every": 2,
            },
        }
        return parse_settings(Recipe, apply_overrides(settings, overrides), source="tiny recipe")

    return make


@pytest.fixture(autouse=True)
def plain_picture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's picture takes as long as these trainings. It is drawn for tests that ask for `real_picture`."""

    def write(history: History, path: Path, *, title: str) -> None:
        notes = PngInfo()
        notes.add_text("drawn", f"{title} {len(history.train)} {len(history.evaluations)}")
        Image.new("L", (1, 1)).save(path, format="PNG", pnginfo=notes)

    if "real_picture" not in request.fixturenames:
        monkeypatch.setattr(training_run, "draw_history", write)


@pytest.fixture
def real_picture(plain_picture: None) -> None:
    """Runs of this test draw their picture."""
