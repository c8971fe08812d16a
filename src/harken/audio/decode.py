"""Audio files to waveforms: every importer and every server path goes through here.

What a file is, is decided by its first bytes, never by its name; limits hold while decoding, never after. Delays that
an encoder put before the first sample are removed where the container tells them (MP3 with a LAME header, Opus, AAC in
MP4), as FFmpeg and libsndfile do it.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from harken.audio.limits import (
    AudioDecodeError,
    AudioInfo,
    AudioLimitError,
    DecodeLimits,
    check_size,
    check_stream,
    frames_allowed,
    too_long,
)
from harken.audio.readers import BlockReader, open_reader
from harken.audio.resample import resample
from harken.audio.source import AudioSource, open_source
from harken.core import Waveform
from harken.core.units import seconds_to_samples

__all__ = [
    "AudioDecodeError",
    "AudioInfo",
    "AudioLimitError",
    "DecodeLimits",
    "decode_audio",
    "decode_native",
    "probe_audio",
]

Channels = npt.NDArray[np.float32]
"""(channels, samples) float32."""


def decode_audio(
    source: str | Path | bytes,
    *,
    sample_rate_hz: int = 16_000,
    offset_s: float = 0.0,
    duration_s: float | None = None,
    limits: DecodeLimits | None = None,
) -> Waveform:
    """Mono audio (samples,) float32 in [-1, 1] at `sample_rate_hz`, of a file, its bytes, or a URL.

    Channels are averaged; float samples beyond full scale are clipped. `offset_s` and `duration_s` take a part, cut at
    the native rate. Raises AudioDecodeError that names the file and what is wrong with it.
    """
    channels, rate = decode_native(source, offset_s=offset_s, duration_s=duration_s, limits=limits)
    mono = channels[0] if len(channels) == 1 else channels.mean(axis=0, dtype=np.float32)
    converted = resample(np.ascontiguousarray(mono), from_hz=rate, to_hz=sample_rate_hz)
    return np.clip(converted, -1.0, 1.0, out=converted if converted.flags.writeable else None)


def decode_native(
    source: str | Path | bytes,
    *,
    offset_s: float = 0.0,
    duration_s: float | None = None,
    limits: DecodeLimits | None = None,
) -> tuple[Channels, int]:
    """All channels (channels, samples) float32 at the file's own rate, and that rate in Hz.

    Raises AudioDecodeError for what is no audio, holds no samples, is damaged or cut short, or has samples that are
    NaN or infinite; its child AudioLimitError for what is beyond `limits`.
    """
    limits = limits or DecodeLimits()
    if offset_s < 0 or (duration_s is not None and duration_s <= 0):
        raise ValueError(f"offset_s is {offset_s} and duration_s {duration_s}; use 0 or more, and above 0")
    with open_source(source, limits) as audio:
        check_size(audio.name, audio.size, limits)
        reader = open_reader(audio, limits)
        try:
            return _read(audio, reader, offset_s, duration_s, limits), reader.facts.sample_rate_hz
        finally:
            reader.close()


def probe_audio(source: str | Path | bytes, *, limits: DecodeLimits | None = None) -> AudioInfo:
    """What a file says it holds, without decoding it. Raises as `decode_native` does, as far as the header tells."""
    limits = limits or DecodeLimits()
    with open_source(source, limits) as audio:
        check_size(audio.name, audio.size, limits)
        reader = open_reader(audio, limits)
        try:
            facts = reader.facts
            duration_s = reader.duration_s()
        finally:
            reader.close()
    if duration_s <= 0:
        raise _empty(audio.name)
    return AudioInfo(
        duration_s=duration_s,
        sample_rate_hz=facts.sample_rate_hz,
        channels=facts.channels,
        format=facts.format,
        codec=facts.codec,
    )


def _read(
    audio: AudioSource, reader: BlockReader, offset_s: float, duration_s: float | None, limits: DecodeLimits
) -> Channels:
    facts = reader.facts
    rate = facts.sample_rate_hz
    check_stream(audio.name, rate, facts.channels, limits)
    start = seconds_to_samples(offset_s, sample_rate_hz=rate)
    stop = None if duration_s is None else seconds_to_samples(offset_s + duration_s, sample_rate_hz=rate)
    allowed = frames_allowed(sample_rate_hz=rate, channels=facts.channels, limits=limits)
    wanted = None if stop is None else stop - start
    if wanted is not None and wanted > allowed:
        raise too_long(audio.name, wanted, sample_rate_hz=rate, allowed=allowed, certain=True)
    blocks: list[Channels] = []
    frames = 0
    for block in reader.blocks(start, stop):
        if not reader.exact:
            _require_finite(audio.name, block)
        frames += block.shape[1]
        if frames > allowed:
            raise too_long(audio.name, frames, sample_rate_hz=rate, allowed=allowed, certain=False)
        blocks.append(block)
    if not frames:
        raise _empty(audio.name) if start == 0 else _beyond(audio.name, offset_s)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)


def _require_finite(name: str, block: Channels) -> None:
    wrong = block.size - int(np.isfinite(block).sum())
    if wrong:
        raise AudioDecodeError(
            f"{name} holds {wrong} samples that are NaN or infinite in one block.", hint="Export the file again."
        )


def _empty(name: str) -> AudioDecodeError:
    return AudioDecodeError(f"{name} has 0 audio frames.", hint="Export it again, or leave it out of the manifest.")


def _beyond(name: str, offset_s: float) -> AudioDecodeError:
    return AudioDecodeError(f"{name} ends before {offset_s:.3f} s.", hint="Check offset_s in the manifest.")
