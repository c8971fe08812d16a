"""Rooms decay as asked, the direct sound stays in its place, and the bytes are always the same."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from scipy.signal import fftconvolve

from harken.audio.augment_config import RoomConfig
from harken.audio.level import active_power
from harken.audio.rooms import (
    RoomResponse,
    bank_size,
    measure_direct,
    measure_t60,
    reverberate,
    room_response,
)
from harken.core import InputError, MissingPart

pytest.importorskip("pyroomacoustics", reason="pip install 'harken[eval]'")

Wave = npt.NDArray[np.float32]
NEAR = RoomConfig(t60_s=(0.3, 0.3), distance_m=(0.5, 1.0), rooms=8)
FAR = RoomConfig(t60_s=(0.6, 0.6), distance_m=(3.0, 5.0), rooms=8)


def decaying(t60_s: float, rate: int, seconds: float = 2.0, seed: int = 0) -> Wave:
    """Coin tosses that fall by 60 dB in `t60_s`: their power has no chance in it."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).choice([-1.0, 1.0], len(time))
    return np.asarray(noise * 10 ** (-3 * time / t60_s), np.float32)


@pytest.mark.parametrize("t60_s", [0.15, 0.4, 1.0])
@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_the_measure_finds_a_decay_that_is_known(t60_s: float, rate: int) -> None:
    assert measure_t60(decaying(t60_s, rate), sample_rate_hz=rate) == pytest.approx(t60_s, rel=0.001)
    cut = decaying(t60_s, rate, seconds=0.55 * t60_s)  # ends 33 dB down: measured over the first 25
    assert measure_t60(cut, sample_rate_hz=rate) == pytest.approx(t60_s, rel=0.1)


def test_what_does_not_decay_is_no_response() -> None:
    for taps in (np.zeros(100, np.float32), np.ones(1, np.float32)):
        with pytest.raises(ValueError, match="response"):
            measure_t60(taps, sample_rate_hz=8_000)


def schroeder_t60(taps: Wave, rate: int) -> float:
    """The same by SciPy and a loop instead of an argmax: independent of ours."""
    from scipy.stats import linregress

    energy = np.array([np.square(taps[start:], dtype=np.float64).sum() for start in range(0, len(taps), 8)])
    db = 10 * np.log10(energy / energy[0] + 1e-30)
    inside = (db <= -5) & (db >= -35)
    return float(-60 / linregress(np.arange(len(db))[inside] * 8 / rate, db[inside]).slope)


@pytest.mark.parametrize(("config", "t60_s", "near", "far"), [(NEAR, 0.3, 0.5, 1.0), (FAR, 0.6, 3.0, 5.0)])
def test_simulated_rooms_decay_as_asked(config: RoomConfig, t60_s: float, near: float, far: float) -> None:
    for index in range(3):
        response = room_response(config, index, sample_rate_hz=8_000)
        assert response.t60_s == pytest.approx(t60_s, rel=0.02)
        assert schroeder_t60(response.taps, 8_000) == pytest.approx(t60_s, rel=0.03)
        assert near - 0.03 <= (response.distance_m or 0) <= far + 0.03
        assert (response.direct, response.taps[0]) == (0, 1.0)
        assert len(response.taps) / 8_000 <= t60_s


def test_the_direct_sound_is_alone_and_falls_with_distance() -> None:
    """Between the direct sound and the first reflection there is nothing but the tail of a filter."""
    near, far = (room_response(config, 0, sample_rate_hz=16_000) for config in (NEAR, FAR))
    assert near.direct_to_reverberant_db > 0 > far.direct_to_reverberant_db
    assert np.abs(near.taps[1:8]).max() < 0.15
    again = measure_direct(near.taps, sample_rate_hz=16_000)
    by_hand = 10 * np.log10(np.sum(near.taps[:40] ** 2.0) / np.sum(near.taps[40:] ** 2.0))
    assert again == near.direct_to_reverberant_db == pytest.approx(float(by_hand), abs=1e-3)


def test_rooms_of_a_bank_differ_and_do_not_depend_on_its_size() -> None:
    first = room_response(NEAR, 0, sample_rate_hz=8_000)
    second = room_response(NEAR, 1, sample_rate_hz=8_000)
    assert first.size_m != second.size_m
    assert (
        room_response(RoomConfig(t60_s=(0.3, 0.3), distance_m=(0.5, 1.0), rooms=2), 1, sample_rate_hz=8_000) is second
    )


@pytest.mark.parametrize("threads", ["1", "3"])
def test_equal_bytes_in_other_processes_with_other_numbers_of_threads(threads: str) -> None:
    code = (
        "import hashlib, pyroomacoustics as pra; from harken.audio.rooms import RoomConfig, room_response\n"
        f"pra.constants.set('num_threads', {threads})\n"
        "c = RoomConfig(t60_s=(0.25, 0.25), distance_m=(1.0, 2.0), rooms=2)\n"
        "r = [room_response(c, i, sample_rate_hz=16_000) for i in (1, 0)]\n"
        f"assert pra.constants.get('num_threads') == {threads}\n"
        "print(hashlib.sha256(r[1].taps.tobytes() + r[0].taps.tobytes()).hexdigest())"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "PRA_NUM_THREADS": threads}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    config = RoomConfig(t60_s=(0.25, 0.25), distance_m=(1.0, 2.0), rooms=2)
    here = b"".join(room_response(config, index, sample_rate_hz=16_000).taps.tobytes() for index in (0, 1))
    assert done.stdout.strip() == hashlib.sha256(here).hexdigest()


def test_reverberation_equals_a_convolution_and_keeps_the_level() -> None:
    speech = decaying(0.5, 8_000, seed=5) * np.float32(0.2)
    response = room_response(FAR, 0, sample_rate_hz=8_000)
    heard = reverberate(speech, response, sample_rate_hz=8_000)
    plain = fftconvolve(speech.astype(np.float64), response.taps.astype(np.float64))[: len(speech)]
    gain = heard @ plain / (plain @ plain)
    np.testing.assert_allclose(heard, gain * plain, atol=1e-5)
    before, after = (active_power(x, sample_rate_hz=8_000) for x in (speech, heard))
    assert 10 * np.log10(after / before) == pytest.approx(0, abs=0.1)
    assert (heard.dtype, heard.shape) == (np.float32, speech.shape)


def test_an_impulse_stays_where_it_is() -> None:
    click = np.zeros(4_000, np.float32)
    click[1_000] = 0.5
    for config in (NEAR, FAR):
        heard = reverberate(click, room_response(config, 0, sample_rate_hz=8_000), sample_rate_hz=8_000)
        assert np.abs(heard[:1_000]).max() < 1e-6  # nothing comes before it
        assert heard[1_000] > 0.05


@pytest.mark.parametrize("samples", [0, 1, 10])
def test_tiny_waveforms(samples: int) -> None:
    response = RoomResponse(taps=decaying(0.3, 8_000), direct=0, t60_s=0.3, direct_to_reverberant_db=0.0)
    heard = reverberate(np.full(samples, 0.1, np.float32), response, sample_rate_hz=8_000)
    assert heard.shape == (samples,)


def test_recorded_responses(tmp_path: Path) -> None:
    """The direct sound is the largest sample; what comes before it stays before it."""
    taps = np.concatenate([np.zeros(37, np.float32), decaying(0.4, 16_000, 1.0) * np.float32(0.05)])
    taps[37] = -0.8
    path = tmp_path / "hall.wav"
    soundfile.write(path, taps, 16_000, subtype="FLOAT")
    config = RoomConfig(rooms=0, files=(str(path),))
    assert bank_size(config) == 1
    response = room_response(config, 0, sample_rate_hz=16_000)
    assert (response.direct, response.taps[37]) == (37, 1.0)
    assert (response.distance_m, response.size_m) == (None, None)
    click = np.zeros(2_000, np.float32)
    click[500] = 0.1
    heard = reverberate(click, response, sample_rate_hz=16_000)
    assert int(np.abs(heard).argmax()) == 500


def test_a_recording_that_is_no_response_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(800, np.float32), 8_000)
    config = RoomConfig(rooms=0, files=(str(tmp_path / "silence.wav"),))
    with pytest.raises(InputError, match=r"silence\.wav holds only silence"):
        room_response(config, 0, sample_rate_hz=8_000)


def test_without_the_package_the_install_line_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"t60_s": (0.31, 0.31), "distance_m": (0.5, 1.0), "rooms": 1}
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(MissingPart, match=r"harken\[eval\]"):
        room_response(RoomConfig(**settings), 0, sample_rate_hz=8_000)
