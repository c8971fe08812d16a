"""Audio from a file, bytes or a URL to float32 samples. Every importer and every server path goes through here."""

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harken.audio.limits import (
    DEFAULT_LIMITS,
    AudioDecodeError,
    AudioInfo,
    AudioLimitError,
    DecodeLimits,
    frames_allowed,
    too_long,
)
from harken.audio.readers import open_reader
from harken.audio.resample import StreamResampler
from harken.audio.samples import BlockReader, Samples
from harken.audio.source import open_source
from harken.core import Waveform
from harken.core.units import DEFAULT_SAMPLE_RATE_HZ, format_duration, seconds_to_samples

__all__ = [
    "AudioDecodeError",
    "AudioInfo",
    "AudioLimitError",
    "DecodeLimits",
    "decode_audio",
    "decode_native",
    "probe_audio",
    "stream_audio",
]

# Float files may go past full scale by some decibels. Beyond this (18 dB) the numbers are on another scale, such as
# 16-bit integers that were stored as floats.
_LARGEST_SAMPLE = 8.0


def decode_audio(
    source: str | Path | bytes,
    *,
    sample_rate_hz: int = DEFAULT_SAMPLE_RATE_HZ,
    offset_s: float = 0.0,
    duration_s: float | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
) -> Waveform:
    """Audio as one channel at one rate: (samples,) float32 in [-1, 1] at `sample_rate_hz`.

    `source` is a path, the bytes of a file, a URL (`file:`, `http(s):`, `s3:`, `gs:`, `az:`) or a member of an
    uncompressed tar (`tar:shard.tar!name`). The kind of file is decided by its bytes, never by its name.

    `offset_s` and `duration_s` cut out a part, to the nearest sample of the file's own rate; a part that reaches past
    the end stops there, as a slice does. Channels become one by their mean. Samples beyond full scale, which only
    float files and lossy decoders have, are clipped, and `measure_quality` sees them as clipping. Other rates are
    converted by `resample`, as though the audio was silent outside the part.

    Raises AudioDecodeError (an InputError) for audio that is missing, damaged, cut off, empty, not finite, or not
    audio; its child AudioLimitError for what exceeds `limits`; MissingPart when a network store does not answer;
    ValueError for an offset, a duration or a rate that makes no sense. What is decoded is never cut or padded in
    silence.
    """
    return _join(list(_pieces(source, sample_rate_hz, offset_s, duration_s, limits, kept=True)))


def stream_audio(
    source: str | Path | bytes,
    *,
    sample_rate_hz: int = DEFAULT_SAMPLE_RATE_HZ,
    offset_s: float = 0.0,
    duration_s: float | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
) -> Iterator[Waveform]:
    """What `decode_audio` gives, in pieces (samples,) of about a million samples at most, as they are decoded.

    Errors are those of `decode_audio`, raised when they are met: pieces before a damaged place have been given by then.
    `max_bytes` of `limits` holds for the file alone: a piece is all that is in memory, however long the audio.
    """
    return _pieces(source, sample_rate_hz, offset_s, duration_s, limits, kept=False)


def _pieces(
    source: str | Path | bytes,
    sample_rate_hz: int,
    offset_s: float,
    duration_s: float | None,
    limits: DecodeLimits,
    *,
    kept: bool,
) -> Iterator[Waveform]:
    """Pieces of one channel at `sample_rate_hz`; `kept` says that all of them will be in memory at once."""
    if not 1 <= sample_rate_hz <= limits.max_sample_rate_hz:
        raise ValueError(f"sample_rate_hz is {sample_rate_hz}; use 1 to {limits.max_sample_rate_hz}")
    _check_part(offset_s, duration_s)
    with open_source(source, limits) as opened, closing(open_reader(opened, limits)) as reader:
        rate = reader.facts.sample_rate_hz
        higher = max(rate, sample_rate_hz)  # both the native and the converted mono signal stay within max_bytes
        allowed = math.floor(limits.max_duration_s * rate)
        if kept:
            allowed = frames_allowed(sample_rate_hz=higher, channels=1, limits=limits) * rate // higher
        blocks = _checked_blocks(opened.name, reader, offset_s, duration_s, allowed)
        mono = (block[0] if len(block) == 1 else block.mean(axis=0) for block in blocks)
        given = 0
        for piece in mono if rate == sample_rate_hz else _resampled(mono, rate, sample_rate_hz):
            given += len(piece)
            if len(piece):
                yield piece
        if given == 0:
            raise AudioDecodeError(
                f"{opened.name} is shorter than one sample at {sample_rate_hz:,} Hz.", hint="Record it again."
            )


def _resampled(pieces: Iterator[Waveform], from_hz: int, to_hz: int) -> Iterator[Waveform]:
    resampler = StreamResampler(from_hz=from_hz, to_hz=to_hz)
    for piece in pieces:
        yield np.clip(resampler.push(piece), -1.0, 1.0)  # the filter rings beyond full scale at hard edges
    yield np.clip(resampler.finish(), -1.0, 1.0)


def decode_native(
    source: str | Path | bytes,
    *,
    offset_s: float = 0.0,
    duration_s: float | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
) -> tuple[npt.NDArray[np.float32], int]:
    """Audio as it is in the file: (channels, samples) float32 in [-1, 1], and its sample rate in Hz.

    Sources, parts, limits and errors are those of `decode_audio`. Opus in Ogg comes at the rate it was recorded at
    where the file tells, else at 48 kHz. FFmpeg leaves up to a frame of padding at the end of AAC and the 5 ms
    encoder delay of AMR; MP3 with a LAME header, Opus, Vorbis, and everything lossless keep their original length.
    """
    _check_part(offset_s, duration_s)
    with open_source(source, limits) as opened, closing(open_reader(opened, limits)) as reader:
        facts = reader.facts
        allowed = frames_allowed(sample_rate_hz=facts.sample_rate_hz, channels=facts.channels, limits=limits)
        blocks = list(_checked_blocks(opened.name, reader, offset_s, duration_s, allowed))
        return _join(blocks), facts.sample_rate_hz


def probe_audio(source: str | Path | bytes, *, limits: DecodeLimits = DEFAULT_LIMITS) -> AudioInfo:
    """What a file says about itself, without decoding it. `max_duration_s` is not applied: nothing is decoded.

    Where no length is written down (AAC, AMR, MP3 without an information frame, recorded WebM) the packets are
    counted. Raises as `decode_audio` does for what can be seen without decoding.
    """
    with open_source(source, limits) as opened, closing(open_reader(opened, limits)) as reader:
        facts = reader.facts
        duration_s = reader.duration_s()
        if duration_s <= 0:
            raise _no_frames(opened.name)
        return AudioInfo(
            duration_s=duration_s,
            sample_rate_hz=facts.sample_rate_hz,
            channels=facts.channels,
            format=facts.format,
            codec=facts.codec,
        )


def _check_part(offset_s: float, duration_s: float | None) -> None:
    if not (math.isfinite(offset_s) and offset_s >= 0):
        raise ValueError(f"offset_s is {offset_s}; use seconds from the start of the file, 0 or more")
    if duration_s is not None and not (math.isfinite(duration_s) and duration_s > 0):
        raise ValueError(f"duration_s is {duration_s}; use a number of seconds above 0, or None for the rest")


def _checked_blocks(
    name: str, reader: BlockReader, offset_s: float, duration_s: float | None, allowed: int
) -> Iterator[Samples]:
    """The blocks of a part, in range and finite; raises when there are none, or more than `allowed` samples."""
    facts = reader.facts
    rate = facts.sample_rate_hz
    start = seconds_to_samples(offset_s, sample_rate_hz=rate)
    stop = None if duration_s is None else seconds_to_samples(offset_s + duration_s, sample_rate_hz=rate)
    ends = [end for end in (stop, facts.frames) if end is not None]
    if ends and min(ends) - start > allowed:
        raise too_long(name, min(ends) - start, sample_rate_hz=rate, allowed=allowed, certain=True)
    count = bad = 0
    furthest = start + allowed + 1  # one sample more than allowed shows that the limit is passed
    for block in reader.blocks(start, furthest if stop is None else min(stop, furthest)):
        count += block.shape[1]
        if count > allowed:
            raise too_long(name, count, sample_rate_hz=rate, allowed=allowed, certain=False)
        if reader.exact:
            yield block
        else:
            bad += _count_not_finite(block)
            if not bad:
                yield _within_full_scale(name, block)
    if bad:
        raise AudioDecodeError(
            f"{name} has {bad:,} samples that are not numbers (NaN or infinite), of {count * facts.channels:,}.",
            hint="The program that wrote it failed: export it again.",
        )
    if count == 0:
        if start:
            length = format_duration(reader.duration_s())
            raise AudioDecodeError(
                f"{name} has nothing at offset {offset_s} s: it is {length} long.", hint="Correct the offset."
            )
        raise _no_frames(name)


def _no_frames(name: str) -> AudioDecodeError:
    return AudioDecodeError(f"{name} has 0 audio frames.", hint="Record or export it again.")


def _count_not_finite(block: Samples) -> int:
    finite = np.isfinite(block)
    return 0 if finite.all() else int(block.size - np.count_nonzero(finite))


def _within_full_scale(name: str, block: Samples) -> Samples:
    largest = max(float(block.max()), -float(block.min()))
    if largest <= 1.0:
        return block
    if largest > _LARGEST_SAMPLE:
        raise AudioDecodeError(
            f"{name} has float samples up to {largest:,.6g}; full scale is 1.",
            hint="Divide by the right full scale (32768 for 16-bit numbers) and write it again.",
        )
    return np.clip(block, -1.0, 1.0)


def _join(pieces: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Concatenate along time, letting go of each piece as it is copied, so that the peak is one copy and a piece."""
    if len(pieces) == 1:
        return np.ascontiguousarray(pieces[0])
    length = sum(piece.shape[-1] for piece in pieces)
    whole = np.empty((*pieces[0].shape[:-1], length), dtype=np.float32)
    end = length
    while pieces:
        piece = pieces.pop()
        whole[..., end - piece.shape[-1] : end] = piece
        end -= piece.shape[-1]
    return whole
