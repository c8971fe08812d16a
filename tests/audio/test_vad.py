"""Voice activity: rules by hand on made-up probabilities, and real digits between pauses."""

from pathlib import Path

import numpy as np
import pytest

from harken.audio import decode_audio
from harken.audio.resample import resample
from harken.audio.vad import WINDOW_SAMPLES, SpeechDetector, VadConfig, detect_speech, spans_of

RATE_HZ = 16_000
STEP_S = WINDOW_SAMPLES / RATE_HZ
BARE = VadConfig(min_speech_s=0.0, min_silence_s=0.0, pad_s=0.0)


def spans(probabilities: list[float], config: VadConfig = BARE) -> list[tuple[float, float]]:
    """Spans in windows of 32 ms."""
    samples = len(probabilities) * WINDOW_SAMPLES
    found = spans_of(np.array(probabilities, dtype=np.float32), config, samples=samples)
    return [(begin / STEP_S, end / STEP_S) for begin, end in found]


def test_speech_begins_at_the_threshold_and_ends_below_the_lower_one() -> None:
    assert spans([0.1, 0.5, 0.9, 0.4, 0.36, 0.34, 0.9]) == [(1, 5), (6, 7)]  # 0.4 is within the hysteresis
    assert spans([0.49, 0.45, 0.4]) == []
    assert spans([]) == []


def test_a_short_silence_does_not_end_speech() -> None:
    config = VadConfig(min_speech_s=0.0, min_silence_s=2 * STEP_S, pad_s=0.0)
    assert spans([0.9, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1], config) == [(0, 4)]
    assert spans([0.9, 0.1, 0.1, 0.1, 0.9], config) == [(0, 1), (4, 5)]


def test_speech_that_is_too_short_is_dropped() -> None:
    config = VadConfig(min_speech_s=1.5 * STEP_S, min_silence_s=0.0, pad_s=0.0)
    assert spans([0.9, 0.1, 0.9, 0.9, 0.1], config) == [(2, 4)]


def test_padding_stays_inside_the_audio_and_never_overlaps() -> None:
    config = VadConfig(min_speech_s=0.0, min_silence_s=0.0, pad_s=1.5 * STEP_S)
    assert spans([0.1, 0.9, 0.1, 0.9, 0.1], config) == [(0, 2.5), (2.5, 5)]
    assert spans([0.1, 0.1, 0.9, 0.1, 0.1], config) == [(0.5, 4.5)]


@pytest.mark.parametrize("samples", [0, 1, 511, 512, 16_000, 40_000])
def test_silence_holds_no_speech(samples: int) -> None:
    assert detect_speech(np.zeros(samples, dtype=np.float32)) == []


def test_noise_holds_no_speech() -> None:
    noise = 0.01 * np.random.default_rng(0).standard_normal(3 * RATE_HZ)
    assert detect_speech(noise.astype(np.float32)) == []


def test_a_stream_gives_the_probabilities_of_the_whole() -> None:
    noise = (0.1 * np.random.default_rng(1).standard_normal(10 * WINDOW_SAMPLES)).astype(np.float32)
    detector = SpeechDetector()
    state, streamed = detector.start(), []
    for window in noise.reshape(-1, WINDOW_SAMPLES):
        state, probability = detector.step(state, window)
        streamed.append(probability)
    np.testing.assert_array_equal(np.array(streamed, dtype=np.float32), detector.probabilities(noise))
    with pytest.raises(ValueError, match=r"shape \(100,\); use \(512,\)"):
        detector.step(state, noise[:100])


@pytest.mark.shared
def test_digits_between_pauses_are_found(shared_fsdd: Path) -> None:
    """Four spoken digits, each a second apart, are found where they were put; also at 8 kHz."""
    clips = [
        decode_audio(shared_fsdd / "recordings" / name)
        for name in ("3_jackson_0.wav", "7_george_0.wav", "9_lucas_0.wav", "1_nicolas_5.wav")
    ]
    pause = np.zeros(RATE_HZ, dtype=np.float32)
    pieces, places, position = [pause], [], RATE_HZ
    for clip in clips:
        scaled = (0.5 * clip / np.abs(clip).max()).astype(np.float32)
        pieces += [scaled, pause]
        places.append((position / RATE_HZ, (position + len(clip)) / RATE_HZ))
        position += len(clip) + RATE_HZ
    audio = np.concatenate(pieces)
    found = detect_speech(audio, VadConfig(min_speech_s=0.1))
    assert len(found) == len(places)
    for (begin, end), (first, last) in zip(found, places, strict=True):
        assert first - 0.1 <= begin < end <= last + 0.25
        assert end - begin > 0.4 * (last - first)
    telephone = detect_speech(
        resample(audio, from_hz=RATE_HZ, to_hz=8_000), VadConfig(min_speech_s=0.1), sample_rate_hz=8_000
    )
    np.testing.assert_allclose(telephone, found, atol=0.1)


@pytest.mark.parametrize(
    ("field", "value"), [("speech_threshold", 1.0), ("min_speech_s", -1.0), ("pad_s", -0.1), ("threads", 0)]
)
def test_settings_are_checked(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value}; use"):
        VadConfig(**{field: value})  # type: ignore[arg-type]


@pytest.mark.rival
@pytest.mark.shared
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_same_as_the_packages_own_wrapper(shared_fsdd: Path) -> None:
    """Probabilities of each window and spans in samples, by silero-vad's own code on the same network."""
    rival = pytest.importorskip("silero_vad", exc_type=ImportError)
    import torch

    names = [f"{digit}_{speaker}_{digit}.wav" for digit, speaker in enumerate(("jackson", "george", "lucas") * 3)]
    clips = [decode_audio(shared_fsdd / "recordings" / name) for name in names]
    gaps = [np.zeros(samples, dtype=np.float32) for samples in (1_000, 3_000, 9_000) * 3]
    audio = np.concatenate([part for clip, gap in zip(clips, gaps, strict=True) for part in (gap, clip)])
    network = rival.load_silero_vad(onnx=True)
    windows = np.pad(audio, (0, -len(audio) % WINDOW_SAMPLES)).reshape(-1, WINDOW_SAMPLES)
    theirs = [float(network(torch.from_numpy(window), RATE_HZ)) for window in windows]
    np.testing.assert_allclose(SpeechDetector().probabilities(audio), theirs, atol=1e-5)
    network.reset_states()
    stamps = rival.get_speech_timestamps(torch.from_numpy(audio), network, sampling_rate=RATE_HZ)
    ours = [(round(begin * RATE_HZ), round(end * RATE_HZ)) for begin, end in detect_speech(audio)]
    assert ours == [(stamp["start"], stamp["end"]) for stamp in stamps]
    assert len(ours) > 1
