"""Rooms: impulse responses simulated by the image-source method or recorded, and speech in them."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harken.audio.augment_config import RoomConfig
from harken.audio.level import keep_level
from harken.core import InputError, MissingPart, Waveform, keyed_generator
from harken.core.units import seconds_to_samples

SPEED_OF_SOUND = 343.0
"""Metres a second."""

_WALL_M = 0.5  # nearest that mouth and microphone come to a wall
_SIZES_M = ((5.0, 8.0), (4.0, 6.0), (2.6, 3.4))  # length, width, height
_HEIGHTS_M = (1.1, 1.8)  # of mouth and microphone
_KEPT = 0.85  # of the reverberation time is simulated in full: the decay's first 51 dB
_DIRECT_S = 0.0025
_TOLERANCE = 0.01
_MOST_TRIES = 8
_GRID = 2.0**20  # responses are rounded to 120 dB below the direct sound, so that last bits of exp and sqrt are lost
_MOST_KEPT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomResponse:
    """The impulse response of a room: (samples,) float32 with the direct sound, 1.0, at sample `direct`.

    `t60_s` and `direct_to_reverberant_db` (the direct sound ends 2.5 ms after its peak) are measured from it.
    `distance_m` and `size_m` are None for a recorded one.
    """

    taps: Waveform
    direct: int
    t60_s: float
    direct_to_reverberant_db: float
    distance_m: float | None = None
    size_m: tuple[float, float, float] | None = None


def reverberate(waveform: Waveform, response: RoomResponse, *, sample_rate_hz: int) -> Waveform:
    """(samples,) float32 as heard in a room: direct sound where it was, active level kept, the tail cut at the end."""
    if len(waveform) == 0:
        return waveform
    from scipy.signal import oaconvolve

    heard = oaconvolve(waveform, response.taps)[response.direct : response.direct + len(waveform)]
    return keep_level(heard.astype(np.float32, copy=False), waveform, sample_rate_hz=sample_rate_hz)


def bank_size(config: RoomConfig) -> int:
    """How many responses the bank of these settings holds."""
    return config.rooms + len(config.files)


def room_response(config: RoomConfig, index: int, *, sample_rate_hz: int) -> RoomResponse:
    """Response number `index` of a bank: first the simulated rooms, then the recorded files. Computed once, kept.

    Equal settings give equal bytes in every process, whatever the number of threads. Raises MissingPart without
    pyroomacoustics (simulated rooms), AudioDecodeError and InputError for a file that cannot be used.
    """
    return _bank.get(config, index, sample_rate_hz)


class _Bank:
    """Responses computed so far, the least recently used forgotten. Thread-safe: one is computed at a time."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], RoomResponse] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, config: RoomConfig, index: int, sample_rate_hz: int) -> RoomResponse:
        if index < config.rooms:
            key: tuple[Any, ...] = (config.t60_s, config.distance_m, index, sample_rate_hz)
        else:
            key = (config.files[index - config.rooms], sample_rate_hz)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = _simulate(*key) if index < config.rooms else _load(*key)
                while len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


_bank = _Bank()


def check_rooms() -> None:
    """Raises MissingPart without pyroomacoustics."""
    _pyroomacoustics()


def _simulate(
    t60_s: tuple[float, float], distance_m: tuple[float, float], index: int, sample_rate_hz: int
) -> RoomResponse:
    """A shoebox room with walls that absorb alike, its absorption fitted until the response decays as asked.

    Sabine's and Eyring's formulas miss by up to a third: a room whose height is small beside its length decays
    unevenly. The energy of n reflections is (1 - absorption)^n, so the next absorption follows from the last decay.
    """
    generator = keyed_generator("room", *(repr(float(value)) for value in (*t60_s, *distance_m)), index)
    wanted_s = float(generator.uniform(*t60_s))
    asked_m = float(generator.uniform(*distance_m))
    # A whole number of samples, so that the direct sound is one sample and no fraction of a delay is left.
    delay = max(1, round(asked_m / SPEED_OF_SOUND * sample_rate_hz))
    distance = delay / sample_rate_hz * SPEED_OF_SOUND
    size, mouth, microphone = _place(distance, generator)
    absorption = min(0.9, 0.161 * size.prod() / (wanted_s * _surface(size)))
    kept = seconds_to_samples(_KEPT * wanted_s, sample_rate_hz=sample_rate_hz)
    with _one_thread():
        room = _room(size, mouth, microphone, _KEPT * wanted_s, sample_rate_hz)
        for _ in range(_MOST_TRIES):
            taps = _response(room, absorption, delay)[: kept + 1]
            t60 = measure_t60(taps, sample_rate_hz=sample_rate_hz)
            if abs(t60 / wanted_s - 1) < _TOLERANCE:
                break
            absorption = 1 - (1 - absorption) ** (t60 / wanted_s)
    return RoomResponse(
        taps=taps,
        direct=0,
        t60_s=t60,
        direct_to_reverberant_db=measure_direct(taps, sample_rate_hz=sample_rate_hz),
        distance_m=distance,
        size_m=(float(size[0]), float(size[1]), float(size[2])),
    )


def _place(
    distance: float, generator: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The size of a room, and places of mouth and microphone in it that are `distance` apart."""
    while True:
        size = np.array([generator.uniform(*limits) for limits in _SIZES_M])
        inside = size - 2 * _WALL_M
        mouth = np.array([*(_WALL_M + inside[:2] * generator.random(2)), generator.uniform(*_HEIGHTS_M)])
        rise = float(generator.uniform(*_HEIGHTS_M) - mouth[2])
        if abs(rise) >= distance:
            continue
        angle = generator.uniform(0, 2 * np.pi)
        along = np.sqrt(distance**2 - rise**2)
        microphone = mouth + np.array([along * np.cos(angle), along * np.sin(angle), rise])
        if (microphone[:2] >= _WALL_M).all() and (microphone[:2] <= size[:2] - _WALL_M).all():
            return size, mouth, microphone


def _surface(size: npt.NDArray[np.float64]) -> float:
    length, width, height = size.tolist()
    return float(2 * (length * width + length * height + width * height))


def _room(
    size: npt.NDArray[np.float64],
    mouth: npt.NDArray[np.float64],
    microphone: npt.NDArray[np.float64],
    longest_s: float,
    sample_rate_hz: int,
) -> Any:
    """A room of pyroomacoustics with every image source whose sound arrives within `longest_s`."""
    pra = _pyroomacoustics()
    reflections = int(np.ceil(SPEED_OF_SOUND * longest_s * np.sqrt((1 / size**2).sum())))
    room = pra.ShoeBox(
        size, fs=sample_rate_hz, materials=pra.Material(0.5), max_order=reflections, air_absorption=False
    )
    room.set_sound_speed(SPEED_OF_SOUND)
    room.add_source(mouth)
    room.add_microphone(microphone)
    room.image_source_model()
    return room


def _response(room: Any, absorption: float, delay: int) -> Waveform:
    """From the direct sound on, which is 1."""
    source = room.sources[0]
    source.damping = np.sqrt(1 - absorption) ** source.orders[None]
    room.compute_rir()
    response = room.rir[0][0]
    start = delay + _room_offset()
    whole = response[start:] / response[start]
    taps: Waveform = (np.round(whole * _GRID) / _GRID).astype(np.float32)
    return taps


def _room_offset() -> int:
    """Samples that pyroomacoustics puts in front of every response, for its fractional delays."""
    return int(_pyroomacoustics().constants.get("frac_delay_length")) // 2


@contextmanager
def _one_thread() -> Iterator[None]:
    """pyroomacoustics with one thread, as sums in several depend on how many; then back to what was set before."""
    constants = _pyroomacoustics().constants
    before = constants.get("num_threads")
    constants.set("num_threads", 1)
    try:
        yield
    finally:
        constants.set("num_threads", before)


def measure_t60(taps: Waveform, *, sample_rate_hz: int) -> float:
    """Seconds in which a response decays by 60 dB: twice its decay from -5 to -35 dB (T30 of ISO 3382-2).

    The decay is Schroeder's backward integral; one that does not reach -35 dB is measured to -25 dB (T20). Raises
    ValueError for a response that does not even decay that far.
    """
    energy = np.cumsum(np.square(taps[::-1], dtype=np.float64))[::-1]
    energy = energy[energy > 0]
    if len(energy) == 0:
        raise ValueError("the response is silent")
    level_db = 10 * np.log10(energy / energy[0])
    end_db = -35 if level_db[-1] <= -35 else -25
    first, last = int(np.argmax(level_db <= -5)), int(np.argmax(level_db <= end_db))
    if last - first < 2:
        raise ValueError("the response has no decay to measure")
    slope = np.polyfit(np.arange(first, last) / sample_rate_hz, level_db[first:last], 1)[0]
    return float(-60 / slope)


def measure_direct(taps: Waveform, *, sample_rate_hz: int) -> float:
    """Decibels between the energy of a response's first 2.5 ms, the direct sound, and that of the rest."""
    end = seconds_to_samples(_DIRECT_S, sample_rate_hz=sample_rate_hz)
    energy = np.square(taps, dtype=np.float64)
    return float(10 * np.log10(energy[:end].sum() / max(energy[end:].sum(), 1e-12)))


def _load(path: str, sample_rate_hz: int) -> RoomResponse:
    from harken.audio.decode import decode_audio

    recorded = decode_audio(path, sample_rate_hz=sample_rate_hz)
    direct = int(np.argmax(np.abs(recorded)))
    if not recorded[direct]:
        raise InputError(f"The room response {path} holds only silence.", hint="Take it out of room.files.")
    taps = recorded / recorded[direct]
    try:
        t60_s = measure_t60(taps[direct:], sample_rate_hz=sample_rate_hz)
    except ValueError as err:
        raise InputError(f"{path} is no room response: {err}.", hint="Take it out of room.files.") from err
    return RoomResponse(
        taps=taps,
        direct=direct,
        t60_s=t60_s,
        direct_to_reverberant_db=measure_direct(taps[direct:], sample_rate_hz=sample_rate_hz),
    )


def _pyroomacoustics() -> Any:
    try:
        import pyroomacoustics
    except ImportError as err:
        raise MissingPart(
            "Simulated rooms need the package pyroomacoustics.", hint="Install it with: pip install 'harken[eval]'."
        ) from err
    return pyroomacoustics
