"""How fast audio passes through every condition of a test set: one core, contenders taking turns."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness import Timing, interleaved

NAME = "conditions"
ROUNDS = 7
RATE_HZ = 16_000
LONG_S, SHORT_S = 10, 2
AUDIO_S = 60

Wave = npt.NDArray[np.float32]


def run() -> dict[str, Any]:
    from harken.evaluation.conditions import CLEAN, CONDITIONS

    names = [name for name in CONDITIONS if name != CLEAN]
    facts = {name: CONDITIONS[name].facts(RATE_HZ) for name in names}  # simulates the rooms, which happens once
    times = {
        seconds: interleaved({name: _pass(name, utterances) for name in names} | _rivals(utterances), ROUNDS)
        for seconds in (LONG_S, SHORT_S)
        if (utterances := [_speech_like(index)[: seconds * RATE_HZ] for index in range(AUDIO_S // seconds)])
    }
    noises = [name for name in names if name.startswith("noise-")]
    slowest = min(AUDIO_S / times[LONG_S][name].median_cpu_s for name in noises)
    return {
        "name": NAME,
        "title": f"Conditions of a test set, {AUDIO_S} s of audio at 16 kHz",
        "target": "noise at least 500 times real time on one core",
        "met": slowest >= 500,
        "figures": {
            f"{name}, utterances of {seconds} s": _speed(times[seconds][name]) for seconds in times for name in names
        },
        "rivals": {
            f"{name}, utterances of {seconds} s": _speed(times[seconds][name])
            for seconds in times
            for name in times[seconds]
            if name not in names
        },
        "facts": json.loads(json.dumps(facts)),
    }


def _pass(name: str, utterances: list[Wave]) -> Callable[[], object]:
    from harken.evaluation.conditions import CONDITIONS, apply_condition

    condition = CONDITIONS[name]
    return lambda: [
        apply_condition(waveform, condition, sample_rate_hz=RATE_HZ, utterance_id=str(index))
        for index, waveform in enumerate(utterances)
    ]


def _rivals(utterances: list[Wave]) -> dict[str, Callable[[], object]]:
    """What people write by hand: noise against the power of the whole clip, and SciPy's convolution with a room."""
    from scipy.signal import fftconvolve

    from harken.audio.rooms import room_response
    from harken.evaluation.conditions import CONDITIONS

    room = CONDITIONS["room-far"].augmentation.room
    assert room is not None
    taps = room_response(room, 0, sample_rate_hz=RATE_HZ).taps
    generator = np.random.default_rng(0)

    def pink(waveform: Wave) -> Wave:
        spectrum = np.fft.rfft(generator.standard_normal(len(waveform)))
        noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), len(waveform))
        gain = np.sqrt(np.square(waveform).mean() / np.square(noise).mean() / 10)
        return np.asarray(waveform + gain * noise, np.float32)

    return {
        "NumPy by hand, pink noise at 10 dB of the whole clip": lambda: [pink(waveform) for waveform in utterances],
        "SciPy fftconvolve with a room": lambda: [
            fftconvolve(waveform, taps)[: len(waveform)] for waveform in utterances
        ],
    }


def _speed(time: Timing) -> dict[str, Any]:
    """Seconds of audio for a second of CPU time."""
    value = AUDIO_S / time.median_cpu_s
    return {
        "value": value,
        "unit": "× real time",
        "median": value,
        "spread": [AUDIO_S / max(time.cpu_s), AUDIO_S / min(time.cpu_s)],
        "cpu_s": time.median_cpu_s,
        "wall_s": time.median_wall_s,
    }


def _speech_like(seed: int) -> Wave:
    """Ten seconds of harmonics of a gliding pitch, in syllables, over noise."""
    generator = np.random.default_rng(seed)
    time = np.arange(LONG_S * RATE_HZ) / RATE_HZ
    phase = 2 * np.pi * ((90 + 3 * seed) * time + 15 * np.sin(2 * np.pi * 0.7 * time))
    voice = np.zeros(len(time))
    for harmonic in range(1, 25):
        voice += np.sin(harmonic * phase + harmonic) / harmonic
    voice *= 0.05 * (1 + np.sin(2 * np.pi * 3 * time))
    return np.asarray(voice + 0.005 * generator.standard_normal(len(time)), np.float32)
