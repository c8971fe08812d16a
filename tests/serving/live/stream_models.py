"""What stands for the served models in tests of streams: one recognizer, counted in and out."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from harken.core import Recognizer, Transcript, Waveform
from harken.serving.contract import DEFAULT_MODEL, ModelInfo, TranscribeOptions
from harken.serving.errors import UnknownModel

NAME = "tiny"


class OneModel:
    """Serves one recognizer as `tiny` and `default`; a catalog, too. `in_use` are the leases that are held."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.recognizer, self.in_use = recognizer, 0
        self.asked: list[TranscribeOptions] = []

    def find(self, name: str) -> ModelInfo:
        if name not in (NAME, DEFAULT_MODEL, "whisper-1"):
            raise UnknownModel(f"The model {name!r} is not served.")
        return ModelInfo(
            name=NAME, family="test", sample_rate_hz=16_000, languages=("en",), created_s=1_700_000_000, loaded=True
        )

    def list(self) -> list[ModelInfo]:
        return [self.find(NAME)]

    @asynccontextmanager
    async def acquire(self, name: str, options: TranscribeOptions) -> AsyncIterator[Recognizer]:
        self.asked.append(options)
        self.in_use += 1
        try:
            yield self.recognizer
        finally:
            self.in_use -= 1


def pcm(waveform: Waveform) -> bytes:
    """As linear16."""
    return np.rint(np.clip(waveform, -1, 1) * 32_767).astype("<i2").tobytes()


def heard(raw: bytes) -> Waveform:
    """What a server hears of linear16."""
    return np.frombuffer(raw, "<i2").astype(np.float32) / np.float32(32_768)


class SlowReader:
    """A recognizer of no known kind that says the length of what it hears, and takes a while for it."""

    sample_rate_hz = 16_000

    def __init__(self, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.seconds, self.error = seconds, error
        self.calls = 0

    def transcribe(self, audio: str | Path | Waveform) -> Transcript:
        raise NotImplementedError

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        import time

        self.calls += 1
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return [Transcript(text="", duration_s=len(waveform) / 16_000) for waveform in waveforms]


async def until(condition, timeout_s: float = 5.0) -> None:
    """Waits until it is true."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)
