"""A small random Whisper that hears 1.5 s, as a model folder and in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.audio.features import FeatureConfig, FeatureExtractor
from harken.core import Waveform
from harken.inference.whisper.backend import Alignment, Generated, Search
from harken.inference.whisper.torch_backend import TorchWhisperBackend
from harken.models.folder import describe, save_model
from harken.models.whisper import WhisperSeq2Seq, load_whisper
from harken.testing.random_models import random_whisper
from harken.text.whisper_tokenizer import WhisperTokenizer

WINDOW_S = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisper:
    """The parts of a random Whisper; `network` is transformers' own model of the same weights."""

    folder: Path
    network: Any
    model: WhisperSeq2Seq
    tokenizer: WhisperTokenizer
    features: FeatureConfig

    @property
    def backend(self) -> TorchWhisperBackend:
        return TorchWhisperBackend(self.model, self.tokenizer)


def make_whisper(folder: Path, **changes: Any) -> Whisper:
    """A model folder of a random Whisper at `folder`."""
    pretrained = folder.with_name(folder.name + "-pretrained")
    pretrained.mkdir(parents=True)
    network = random_whisper(pretrained, **{"seed": 1, "init_std": 0.15, "times_s": WINDOW_S, **changes})
    parts = load_whisper(pretrained)
    assert isinstance(parts.model, WhisperSeq2Seq)
    assert isinstance(parts.tokenizer, WhisperTokenizer)
    description = describe(
        parts.model,
        family=parts.family,
        settings=parts.settings,
        features=parts.features,
        tokenizer=parts.tokenizer,
        normalizer="basic",
        languages=["en"],
    )
    save_model(folder, model=parts.model, description=description, tokenizer=parts.tokenizer)
    return Whisper(
        folder=folder, network=network, model=parts.model, tokenizer=parts.tokenizer, features=parts.features
    )


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Whisper:
    return make_whisper(tmp_path_factory.mktemp("whisper") / "model")


@pytest.fixture(scope="session")
def untimed(tmp_path_factory: pytest.TempPathFactory) -> Whisper:
    """One without time tokens."""
    return make_whisper(tmp_path_factory.mktemp("untimed") / "model", times_s=0.0)


@pytest.fixture(scope="session")
def extractor(whisper: Whisper) -> FeatureExtractor:
    return FeatureExtractor(whisper.features)


@pytest.fixture(scope="session")
def noises() -> list[Waveform]:
    """Bursts of noise, some within the window and some longer, not in order of length."""
    draw = np.random.default_rng(5)
    lengths = [8_000, 61_000, 4_321, 23_999, 400, 24_000, 24_001, 90_000]
    return [(0.2 * draw.standard_normal(n) * (1 + np.sin(np.arange(n) / 700))).astype(np.float32) for n in lengths]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Windows of the scripted backend: their features."""

    features_BFM: np.ndarray

    def __len__(self) -> int:
        return len(self.features_BFM)

    def take(self, rows: Sequence[int]) -> "_Rows":
        return _Rows(self.features_BFM[list(rows)])


Script = Callable[[np.ndarray, list[int], Search], Generated]


class ScriptedBackend:
    """A backend whose texts a function of (features of a window, its prompt, search) makes; it keeps its calls."""

    window_frames, dimensions, longest_tokens = 150, 80, 200

    def __init__(self, tokenizer: WhisperTokenizer, script: Script, *, language: str = "uz") -> None:
        self.vocab_rows = tokenizer.vocab_size
        self._tokenizer, self._script, self._language = tokenizer, script, language
        self.calls: list[tuple[list[list[int]], Search]] = []
        self.encoded: list[int] = []
        self.languages: Callable[[np.ndarray], str] = lambda _features: language

    def encode(self, features_BFM: np.ndarray) -> _Rows:
        self.encoded.append(len(features_BFM))
        return _Rows(features_BFM)

    def detect(self, encoded: _Rows) -> list[dict[str, float]]:
        found = [self.languages(row) for row in encoded.features_BFM]
        return [{code: 0.8 if code == best else 0.1 for code in self._tokenizer.languages} for best in found]

    def generate(self, encoded: _Rows, prompts: Sequence[Sequence[int]], search: Search) -> list[Generated]:
        assert len(prompts) == len(encoded) == len(search.seeds)
        assert len({len(prompt) for prompt in prompts}) == 1
        self.calls.append(([list(prompt) for prompt in prompts], search))
        rows = zip(encoded.features_BFM, prompts, strict=True)
        return [self._script(row, list(prompt), search) for row, prompt in rows]

    def align(
        self, encoded: _Rows, prompt: Sequence[int], ids: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[Alignment]:
        """Tokens spread evenly over their window."""
        return [
            Alignment(
                positions=np.linspace(0, count // 2, len(row) + 1).astype(np.int64),
                probabilities=np.full(len(row), 0.5, np.float32),
            )
            for row, count in zip(ids, frames, strict=True)
        ]


@pytest.fixture
def scripted(whisper: Whisper) -> Callable[..., ScriptedBackend]:
    """Makes a scripted backend with the tokenizer of `whisper`."""

    def make(script: Script, **options: Any) -> ScriptedBackend:
        return ScriptedBackend(whisper.tokenizer, script, **options)

    return make
