"""Fixtures of the tests of `harken.data`: small audio files and the utterances that name them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harken.core import Utterance

SaveTone = Callable[..., Path]
MakeUtterance = Callable[..., Utterance]


@pytest.fixture
def save_tone() -> SaveTone:
    """Write a tone in light noise: `save_tone(path, seconds=0.5, rate=16_000, hz=440, level=0.3, channels=1)`."""

    def save(
        path: Path, *, seconds: float = 0.5, rate: int = 16_000, hz: float = 440, level: float = 0.3, channels: int = 1
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        count = round(seconds * rate)
        tone = level * np.sin(2 * np.pi * hz * np.arange(count) / rate)
        noisy = tone + 1e-3 * np.random.default_rng(7).standard_normal(count)
        soundfile.write(
            path, np.stack([noisy] * channels, axis=1), rate, subtype="PCM_16" if path.suffix != ".mp3" else None
        )
        return path

    return save


@pytest.fixture
def make_utterance() -> MakeUtterance:
    """An utterance with defaults for everything: `make_utterance("a", speaker="x", …)`."""

    def make(name: str, **fields: Any) -> Utterance:
        given = {"audio": f"/corpus/{name}.wav", "duration_s": 1.0, "text": "a text", **fields}
        return Utterance(id=name, **given)

    return make
