"""Readers: blocks of native samples out of an open source, by NumPy, libsndfile or FFmpeg.

A reader yields float32 blocks (channels, samples) of the part that was asked for, never more than about a million
numbers at a time, and raises AudioDecodeError when the data is damaged or ends before its header says.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from harken.audio.chunks import DataChunk, find_data
from harken.audio.limits import AudioDecodeError, DecodeLimits, StreamFacts, check_stream
from harken.audio.ogg import read_pages
from harken.audio.sniff import HEAD_BYTES, Container, identify
from harken.audio.source import AudioSource
from harken.core.units import format_duration

if TYPE_CHECKING:
    import soundfile

Samples = npt.NDArray[np.float32]

_BLOCK_NUMBERS = 1 << 20  # samples times channels in one block: 4 MiB of float32
_UNKNOWN_FRAMES = 1 << 62  # libsndfile gives 2^63 - 1 for a FLAC stream of unknown length


class BlockReader(Protocol):
    """One audio stream, open for reading. `exact` is True when its samples are integers, so in range and finite."""

    facts: StreamFacts
    exact: bool

    def blocks(self, start: int, stop: int | None) -> Iterator[Samples]:
        """Samples [start, stop) as blocks (channels, samples) in order; stop None is the end of the stream."""
        ...

    def duration_s(self) -> float:
        """Length of the stream in seconds, without decoding it."""
        ...

    def close(self) -> None: ...


def open_reader(source: AudioSource, limits: DecodeLimits) -> BlockReader:
    """The reader for what the first bytes of a source say it is; its rate and channels are within `limits`.

    Plain PCM in WAV is read by NumPy (twice as fast as libsndfile, and memory-safe), the rest of the WAV family, FLAC
    and Ogg by libsndfile where it can, everything else by FFmpeg. MP3 goes to FFmpeg: libsndfile's MP3 decoder gives
    wrong samples after the seek that soundfile makes behind every block.
    """
    head = source.read_at(0, HEAD_BYTES)
    container = identify(source, head)
    data = find_data(source, head, container.format)
    if data is not None:
        plain = _pcm_layout(container, data)
        if plain is not None:
            return PcmReader(source, container, data, plain, limits)
        if data.format is not None:
            check_stream(source.name, data.format.sample_rate_hz, data.format.channels, limits)
    pages = read_pages(source) if container.format == "ogg" else None
    refusal: Exception | None = None
    # libsndfile stops at the end of the first of several Ogg streams, and takes a data size of 0 for no audio.
    several_streams = pages is not None and pages.streams > 1
    open_ended = data is not None and not data.size_known
    if container.soundfile and not several_streams and not open_ended:
        try:
            return SoundfileReader(source, container, limits, codec=pages.codec if pages else None)
        except _NotForSoundfile as err:
            refusal = err
    from harken.audio.av_reader import AvReader

    try:
        return AvReader(source, container, limits)
    except AudioDecodeError as err:
        if refusal is not None and err.__cause__ is not None:  # both libraries refused it: say both reasons
            raise AudioDecodeError(
                f"{source.name} is a {container.format} file that cannot be decoded: {refusal}; {err.__cause__}.",
                hint="Export the file again.",
            ) from err.__cause__
        raise


_PCM_TYPES: dict[tuple[int, int], tuple[str, str]] = {
    # (format tag, bits) -> NumPy type, codec name; 24 bits have no NumPy type and are left to libsndfile
    (1, 8): ("u1", "pcm_u8"),
    (1, 16): ("<i2", "pcm_s16"),
    (1, 32): ("<i4", "pcm_s32"),
    (3, 32): ("<f4", "pcm_f32"),
    (3, 64): ("<f8", "pcm_f64"),
}


def _pcm_layout(container: Container, data: DataChunk) -> tuple[str, str] | None:
    wave = data.format
    if wave is None or container.format not in ("wav", "rf64"):
        return None
    found = _PCM_TYPES.get((wave.tag, wave.bits))
    return found if found and wave.channels and wave.block_bytes == wave.channels * wave.bits // 8 else None


class PcmReader:
    """Uncompressed little-endian samples, straight from the file: any part is one read away."""

    def __init__(
        self, source: AudioSource, container: Container, data: DataChunk, layout: tuple[str, str], limits: DecodeLimits
    ) -> None:
        wave = data.format
        assert wave is not None
        check_stream(source.name, wave.sample_rate_hz, wave.channels, limits)
        self._source, self._data, self._block_bytes = source, data, wave.block_bytes
        self._kind = np.dtype(layout[0])
        self._frames = data.size // wave.block_bytes
        self.exact = self._kind.kind != "f"
        self.facts = StreamFacts(
            sample_rate_hz=wave.sample_rate_hz,
            channels=wave.channels,
            format=container.format,
            codec=layout[1],
            frames=self._frames,
        )

    def blocks(self, start: int, stop: int | None) -> Iterator[Samples]:
        end = self._frames if stop is None else min(stop, self._frames)
        channels = self.facts.channels
        step = max(1, _BLOCK_NUMBERS // channels)
        for first in range(start, end, step):
            count = min(step, end - first)
            raw = self._source.read_at(self._data.offset + first * self._block_bytes, count * self._block_bytes)
            if len(raw) < count * self._block_bytes:  # it was whole when it was opened
                raise AudioDecodeError(f"{self._source.name} became shorter while it was read.", hint="Try again.")
            yield to_float(np.frombuffer(raw, dtype=self._kind)).reshape(count, channels).T

    def duration_s(self) -> float:
        return self._frames / self.facts.sample_rate_hz

    def close(self) -> None:
        pass


def to_float(samples: npt.NDArray[Any]) -> Samples:
    """Samples of any integer or float type as float32; integers are scaled so that full scale is [-1, 1)."""
    values = samples.astype(np.float32)
    kind = samples.dtype
    if kind.kind == "u":  # 8-bit audio is unsigned, with silence at 128
        values -= np.float32(1 << (8 * kind.itemsize - 1))
    if kind.kind in "iu":
        values *= np.float32(2.0 ** (1 - 8 * kind.itemsize))
    return values


class _NotForSoundfile(Exception):
    """libsndfile cannot read this stream, or not correctly."""


_SUBTYPE_CODECS = {
    "PCM_U8": "pcm_u8",
    "PCM_S8": "pcm_s8",
    "PCM_16": "pcm_s16",
    "PCM_24": "pcm_s24",
    "PCM_32": "pcm_s32",
    "FLOAT": "pcm_f32",
    "DOUBLE": "pcm_f64",
    "ULAW": "pcm_mulaw",
    "ALAW": "pcm_alaw",
}
_INTEGER_SUBTYPES = {"PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW"}


class SoundfileReader:
    """A stream that libsndfile decodes.

    It seeks where seeking is sample-exact (uncompressed audio and FLAC). Elsewhere it decodes from the start and drops
    what comes before the part: libsndfile's seek in Vorbis can land on the wrong samples.
    """

    def __init__(self, source: AudioSource, container: Container, limits: DecodeLimits, *, codec: str | None) -> None:
        import soundfile

        self._source = source
        try:
            self._file = self._open(soundfile)
        except soundfile.LibsndfileError as err:
            raise _NotForSoundfile(f"libsndfile says: {err.error_string.rstrip('.')}") from err
        file = self._file
        self.exact = file.subtype in _INTEGER_SUBTYPES
        is_flac = file.format == "FLAC"
        self._seeks = file.seekable() and (is_flac or self.exact or file.subtype in ("FLOAT", "DOUBLE"))
        # soundfile clips its idea of a read to this number, so it has to be the truth
        self._declared = file.frames if container.format != "ogg" else None
        if file.subtype.startswith("MPEG") or file.frames >= _UNKNOWN_FRAMES:
            file.close()
            raise _NotForSoundfile(f"libsndfile does not read {file.subtype} of this length reliably")
        self.facts = StreamFacts(
            sample_rate_hz=file.samplerate,
            channels=file.channels,
            format=container.format,
            codec=codec or ("flac" if is_flac else _SUBTYPE_CODECS.get(file.subtype, file.subtype.lower())),
            frames=file.frames,
        )
        try:
            check_stream(source.name, file.samplerate, file.channels, limits)
        except AudioDecodeError:
            file.close()
            raise

    def _open(self, soundfile: Any) -> "soundfile.SoundFile":
        handle = self._source.handle
        if handle is None:
            return soundfile.SoundFile(self._source.open_file())
        import os

        os.lseek(handle, 0, os.SEEK_SET)
        return soundfile.SoundFile(handle, closefd=False)

    def blocks(self, start: int, stop: int | None) -> Iterator[Samples]:
        frames = self.facts.frames
        assert frames is not None
        end = frames if stop is None else min(stop, frames)
        position = start if self._seeks else 0
        if start >= end:
            return
        if self._seeks and start:
            self._seek(start)
        step = max(1, _BLOCK_NUMBERS // self.facts.channels)
        while position < end:
            block = self._read(min(step, end - position), position)
            if len(block) == 0:
                break
            before = max(0, start - position)
            position += len(block)
            if before < len(block):
                yield block[before:].T
        if position < end and self._declared is not None:
            raise self._cut_off(position)

    def _seek(self, start: int) -> None:
        import soundfile

        try:
            self._file.seek(start)
        except soundfile.LibsndfileError as err:
            raise self._cut_off(self._count_readable(0)) from err

    def _read(self, count: int, position: int) -> npt.NDArray[np.float32]:
        import soundfile

        try:
            return np.asarray(self._file.read(count, dtype="float32", always_2d=True), dtype=np.float32)
        except soundfile.LibsndfileError as err:
            raise self._cut_off(self._count_readable(position)) from err

    def _count_readable(self, position: int) -> int:
        """Where the damage begins, to about a quarter of a second: a failed read does not tell."""
        import soundfile

        try:
            with self._open(soundfile) as file:
                if self._seeks:
                    file.seek(position)
                while len(block := file.read(4096, dtype="float32", always_2d=True)):
                    position += len(block)
        except soundfile.LibsndfileError:
            pass
        return position

    def _cut_off(self, position: int) -> AudioDecodeError:
        rate, frames = self.facts.sample_rate_hz, self.facts.frames or 0
        return AudioDecodeError(
            f"{self._source.name} is cut off or damaged: its header declares {format_duration(frames / rate)}, "
            f"{format_duration(position / rate)} can be decoded.",
            hint="Copy or export it again.",
        )

    def duration_s(self) -> float:
        return (self.facts.frames or 0) / self.facts.sample_rate_hz

    def close(self) -> None:
        self._file.close()
