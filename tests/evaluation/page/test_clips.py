"""Audio in the page decodes to the samples that were given."""

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import soundfile

from harken.core import InputError, Word
from harken.evaluation.page.clips import Clip, encode_clip


def decoded(encoded: str) -> tuple[np.ndarray[Any, Any], int]:
    file = io.BytesIO(base64.b64decode(encoded))
    assert soundfile.info(file).format == "FLAC"
    file.seek(0)
    return soundfile.read(file, dtype="int16")


def clip(samples: list[float], *, rate_hz: int = 16_000) -> Clip:
    return Clip(waveform=np.array(samples, dtype=np.float32), sample_rate_hz=rate_hz)


def test_samples_come_back_exactly() -> None:
    steps = np.array([0, 1, -1, 12345, -32768, 32767], dtype=np.int16)
    found, rate_hz = decoded(encode_clip("a", clip((steps / 32768).tolist()))[0])
    assert rate_hz == 16_000
    assert found.tolist() == steps.tolist()


def test_beyond_full_scale_is_held_at_full_scale() -> None:
    found, _ = decoded(encode_clip("a", clip([1.5, -1.5, 1.0]))[0])
    assert found.tolist() == [32767, -32768, 32767]


def test_one_sample() -> None:
    encoded, facts = encode_clip("a", clip([0.25]))
    assert decoded(encoded)[0].tolist() == [8192]
    assert facts == {"duration_s": 1 / 16_000, "sample_rate_hz": 16_000, "words": []}


def test_high_rates_are_lowered_and_keep_their_length_and_tone() -> None:
    time_s = np.arange(48_000) / 48_000
    tone = Clip(waveform=(0.5 * np.sin(2 * np.pi * 1000 * time_s)).astype(np.float32), sample_rate_hz=48_000)
    encoded, facts = encode_clip("a", tone)
    found, rate_hz = decoded(encoded)
    assert (rate_hz, len(found), facts["duration_s"]) == (16_000, 16_000, 1.0)
    assert np.argmax(np.abs(np.fft.rfft(found / 32768))) == 1000


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000])
def test_rates_of_speech_are_kept(rate_hz: int) -> None:
    assert decoded(encode_clip("a", clip([0.1] * 100, rate_hz=rate_hz))[0])[1] == rate_hz


def test_words_keep_their_times() -> None:
    spoken = replace(clip([0.0] * 16_000), words=(Word(text="да", start_s=0.25, end_s=0.5),))
    assert encode_clip("a", spoken)[1]["words"] == [["да", 0.25, 0.5]]


def test_equal_clips_give_equal_text() -> None:
    noise = np.random.default_rng(0).normal(scale=0.1, size=5000).tolist()
    assert encode_clip("a", clip(noise)) == encode_clip("b", clip(noise))


@pytest.mark.parametrize("samples", [[], [0.0, float("nan")], [float("inf")]])
def test_what_cannot_be_heard_is_refused_by_name(samples: list[float]) -> None:
    with pytest.raises(InputError, match="'call-7'"):
        encode_clip("call-7", clip(samples))


def test_two_channels_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(2, 5\)"):
        encode_clip("a", Clip(waveform=np.zeros((2, 5), dtype=np.float32), sample_rate_hz=16_000))
