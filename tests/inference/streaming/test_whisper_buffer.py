"""Whisper on a stream: words with times, and what was said before reaches the decoder."""

import numpy as np
import pytest

from harken.inference.config import EngineConfig
from harken.inference.engines import load
from harken.inference.streaming import StreamingASR
from harken.inference.streaming.events import Committed, Final
from harken.inference.streaming.whisper_buffer import WhisperBuffer
from harken.inference.whisper.config import WhisperDecodingConfig
from harken.inference.whisper.recognizer import WhisperRecognizer
from harken.models.pretrained import load_pretrained
from harken.models.pretrained_import import save_parts
from harken.testing import random_whisper

pytest.importorskip("transformers", reason="needs the extra `train`")
pytest.importorskip("silero_vad", reason="needs the extra `vad`")

GREEDY = WhisperDecodingConfig(beam_size=1, temperatures=(0.0,), max_tokens=12, language="en", initial_prompt="abc")


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> WhisperRecognizer:
    root = tmp_path_factory.mktemp("whisper")
    (root / "pretrained").mkdir()
    random_whisper(root / "pretrained", times_s=1.5, seed=1, init_std=0.15)
    parts = load_pretrained(root / "pretrained")
    save_parts(parts, root / "model", normalizer="basic")
    made = load(root / "model", engine="torch", config=EngineConfig(device="cpu", whisper=GREEDY))
    assert isinstance(made, WhisperRecognizer)
    return made


def test_words_are_timed_within_the_buffer(recognizer: WhisperRecognizer) -> None:
    noise = (0.2 * np.random.default_rng(0).standard_normal(20_000)).astype(np.float32)
    words = WhisperBuffer(recognizer).transcribe_buffer(noise, "")
    assert words
    assert all(0 <= word.start_s <= word.end_s <= 1.25 for word in words)


def test_what_was_said_before_follows_the_users_prompt(
    recognizer: WhisperRecognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str | None] = []
    with_config = WhisperRecognizer.with_config

    def spy(self: WhisperRecognizer, config: WhisperDecodingConfig) -> WhisperRecognizer:
        told.append(config.initial_prompt)
        assert (config.word_times, config.beam_size) == (True, 1)
        return with_config(self, config)

    monkeypatch.setattr(WhisperRecognizer, "with_config", spy)
    buffer = WhisperBuffer(recognizer)
    for prompt in ("def", ""):
        buffer.transcribe_buffer(np.zeros(8_000, np.float32), prompt)
    assert told == ["abc def", "abc"]


def test_auto_streams_whisper_by_local_agreement(recognizer: WhisperRecognizer) -> None:
    asr = StreamingASR(recognizer)
    assert asr.policy == "local-agreement"
    state = asr.start()
    state, events = asr.step(state, np.zeros(16_000, np.float32))
    assert not [event for event in events if isinstance(event, Committed)]  # silence never reaches the model
    final = asr.finish(state)[1][-1]
    assert isinstance(final, Final)
    assert final.text == ""
