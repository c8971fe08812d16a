"""Audio from a microphone, by PortAudio through the package sounddevice."""

import logging
import math
from collections.abc import Generator
from importlib import import_module
from typing import Any

import numpy as np

from harken.core import InputError, MissingPart, Waveform
from harken.core.units import seconds_to_samples
from harken.inference.streaming.config import chunk_samples

_log = logging.getLogger(__name__)


def open_microphone(
    sample_rate_hz: int, *, duration_s: float | None, chunk_s: float = 0.05
) -> Generator[Waveform, None, None]:
    """Chunks (samples,) float32 in [-1, 1] of what the default microphone hears, for `duration_s` seconds.

    The microphone is opened at once, so that what is missing is told before the first chunk is asked for. Raises
    MissingPart without the package, PortAudio or a microphone, InputError for a duration that is not a number above 0
    and for chunks as `chunk_samples` does.
    """
    if duration_s is not None and not (math.isfinite(duration_s) and duration_s > 0):
        raise InputError(f"The duration is {duration_s} s.", hint="Use seconds above 0, or none to go on until Ctrl-C.")
    samples = chunk_samples(chunk_s, sample_rate_hz=sample_rate_hz)
    sounddevice = _sounddevice()
    try:
        stream = sounddevice.InputStream(samplerate=sample_rate_hz, channels=1, dtype="float32", blocksize=samples)
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as err:
        raise MissingPart(
            f"No microphone can be opened at {sample_rate_hz} Hz: {err}.",
            hint="Connect one and look at `python -m sounddevice`, or stream a file.",
        ) from err
    total = None if duration_s is None else seconds_to_samples(duration_s, sample_rate_hz=sample_rate_hz)
    return _read(stream, samples, total, sample_rate_hz)


def _read(stream: Any, samples: int, total: int | None, sample_rate_hz: int) -> Generator[Waveform, None, None]:
    heard = 0
    try:
        while total is None or heard < total:
            count = samples if total is None else min(samples, total - heard)
            block, lost = stream.read(count)
            if lost:
                _log.warning(
                    "the microphone was read too late: some audio before %.1f s is lost", heard / sample_rate_hz
                )
            heard += count
            yield np.ascontiguousarray(block[:, 0], dtype=np.float32)
    finally:
        stream.stop()
        stream.close()


def _sounddevice() -> Any:
    try:
        sounddevice = import_module("sounddevice")  # it has no type information
    except ImportError as err:
        raise MissingPart("The microphone needs the package sounddevice.", hint="pip install 'harken[mic]'") from err
    except OSError as err:  # the package is there, PortAudio is not
        raise MissingPart(
            f"The microphone needs the library PortAudio: {err}.", hint="Install it, such as apt install libportaudio2."
        ) from err
    return sounddevice
