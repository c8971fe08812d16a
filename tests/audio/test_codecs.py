"""Speech through MP3 and Opus: where it was, as loud as it was, at the bit rate that is named."""

import hashlib
import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from harken.audio import codecs
from harken.audio.codecs import codec_facts, coded_rate_hz, encode, transcode
from harken.audio.decode import decode_audio
from harken.audio.level import active_power
from harken.core import MissingPart

Wave = npt.NDArray[np.float32]
KINDS = [("mp3", 64), ("mp3", 16), ("opus", 16), ("opus", 32)]


def voice(seconds: float, rate: int, seed: int = 0) -> Wave:
    """Harmonics of a gliding pitch in syllables, over a little noise."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (110 * time + 6 * np.sin(2 * np.pi * 0.9 * time + seed))
    sound = sum(np.sin(k * phase + k * k) / k for k in range(1, 25))
    loud = np.clip(np.sin(2 * np.pi * 3.1 * time), 0, None)
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return np.asarray(0.1 * sound * loud + 1e-3 * noise * (0.1 + loud), np.float32)


def lag(first: Wave, second: Wave) -> int:
    """By how many samples `second` comes later, where the two are most alike."""
    size = 2 * max(len(first), len(second))
    likeness = np.fft.irfft(np.fft.rfft(second, size) * np.conj(np.fft.rfft(first, size)), size)
    place = int(np.argmax(likeness))
    return place if place < size // 2 else place - size


def level_db(waveform: Wave, rate: int) -> float:
    return 10 * np.log10(active_power(waveform, sample_rate_hz=rate))


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 48_000])
@pytest.mark.parametrize(("kind", "kbps"), KINDS)
def test_length_place_and_level_stay(kind: codecs.LossyKind, kbps: int, rate: int) -> None:
    waveform = voice(1.5, rate)
    coded = transcode(waveform, kind, kbps=kbps, sample_rate_hz=rate)
    assert (coded.dtype, coded.shape) == (np.float32, waveform.shape)
    assert not np.array_equal(coded, waveform)
    assert abs(lag(waveform, coded)) / rate < 30e-6  # none, or at 48 kHz a sample
    assert level_db(coded, rate) == pytest.approx(level_db(waveform, rate), abs=0.1)
    assert np.corrcoef(waveform, coded)[0, 1] > 0.9


@pytest.mark.shared
@pytest.mark.parametrize(("kind", "kbps"), KINDS)
def test_people_stay_where_they_were(kind: codecs.LossyKind, kbps: int, shared_fsdd: Path) -> None:
    for path in sorted((shared_fsdd / "recordings").glob("7_*_3.wav")):
        waveform = decode_audio(path, sample_rate_hz=8_000)
        coded = transcode(waveform, kind, kbps=kbps, sample_rate_hz=8_000)
        assert lag(waveform, coded) == 0, path.name
        assert level_db(coded, 8_000) == pytest.approx(level_db(waveform, 8_000), abs=0.1)


@pytest.mark.parametrize(("kind", "kbps"), KINDS)
def test_the_bit_rate_is_the_one_that_is_named(kind: codecs.LossyKind, kbps: int) -> None:
    """Packets counted by another way than ours: FFmpeg's demuxer, without headers and container."""
    waveform = voice(10, 16_000)
    data = encode(waveform, kind, kbps=kbps, sample_rate_hz=16_000)
    with av.open(io.BytesIO(data)) as container:
        size = sum(packet.size for packet in container.demux(audio=0))
    assert 8 * size / 10 / 1000 == pytest.approx(kbps, rel=0.03)


def test_opus_at_16_kbps_keeps_wideband_and_mp3_at_64_nearly_all() -> None:
    """Measured on white noise in pieces, where nothing can hide."""
    rate = 16_000
    noise = np.random.default_rng(1).standard_normal(4 * rate, dtype=np.float32) * np.float32(0.1)
    for kind, kbps, lowest_hz in (("opus", 16, 7_000), ("mp3", 64, 6_500)):
        coded = transcode(noise, kind, kbps=kbps, sample_rate_hz=rate)  # type: ignore[arg-type]
        power = np.square(np.abs(np.fft.rfft(coded))).cumsum()
        highest = np.fft.rfftfreq(len(coded), 1 / rate)[np.searchsorted(power, 0.99 * power[-1])]
        assert lowest_hz < highest <= 8_000, kind


@pytest.mark.parametrize("samples", [0, 1, 2, 160, 1_000])
@pytest.mark.parametrize(("kind", "kbps"), [("mp3", 64), ("opus", 16)])
def test_tiny_and_silent_waveforms(kind: codecs.LossyKind, kbps: int, samples: int) -> None:
    for waveform in (np.zeros(samples, np.float32), voice(1, 16_000)[:samples]):
        coded = transcode(waveform, kind, kbps=kbps, sample_rate_hz=16_000)
        assert coded.shape == waveform.shape
        assert np.isfinite(coded).all()
        assert np.abs(coded).max(initial=0) <= 1


def test_hot_recordings_stay_within_full_scale() -> None:
    loud = voice(1, 16_000)
    loud = loud / np.abs(loud).max() * np.float32(1.0)
    for kind, kbps in (("mp3", 64), ("opus", 16)):
        assert np.abs(transcode(loud, kind, kbps=kbps, sample_rate_hz=16_000)).max() <= 1  # type: ignore[arg-type]


def test_equal_bytes_in_threads_and_in_another_process() -> None:
    waveforms = [voice(0.7, 16_000, seed) for seed in range(6)]

    def work(waveform: Wave) -> str:
        mp3 = transcode(waveform, "mp3", kbps=64, sample_rate_hz=16_000)
        opus = transcode(waveform, "opus", kbps=16, sample_rate_hz=16_000)
        return hashlib.sha256(mp3.tobytes() + opus.tobytes()).hexdigest()

    alone = [work(waveform) for waveform in waveforms]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, waveforms)) == alone
    code = (
        "import hashlib, sys; import numpy as np; from harken.audio.codecs import transcode\n"
        "x = np.frombuffer(sys.stdin.buffer.read(), np.float32)\n"
        "parts = [transcode(x, k, kbps=b, sample_rate_hz=16_000) for k, b in (('mp3', 64), ('opus', 16))]\n"
        "print(hashlib.sha256(b''.join(p.tobytes() for p in parts)).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=waveforms[0].tobytes(),
        capture_output=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "4"},
    )
    assert done.stdout.decode().strip() == alone[0]


def test_rates_that_codecs_do_not_take_go_up() -> None:
    assert [coded_rate_hz("opus", sample_rate_hz=rate) for rate in (8_000, 16_000, 22_050, 44_100, 96_000)] == [
        16_000, 16_000, 24_000, 48_000, 48_000,
    ]  # fmt: skip
    assert coded_rate_hz("mp3", sample_rate_hz=22_050) == 22_050


def test_facts_are_json_and_name_the_library() -> None:
    facts = json.loads(json.dumps(codec_facts("opus", kbps=16, sample_rate_hz=16_000)))
    assert facts["pyav"] == av.__version__
    assert (facts["codec"], facts["kbps"], facts["encoder"]) == ("opus", 16, "libopus")


def test_a_build_without_the_encoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libopus"})
    with pytest.raises(MissingPart, match="no encoder libopus"):
        transcode(voice(0.5, 16_000), "opus", kbps=16, sample_rate_hz=16_000)
