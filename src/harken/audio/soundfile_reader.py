"""Decoding by libsndfile (soundfile): the WAV family beyond plain PCM, AIFF, AU, CAF, FLAC, Ogg Vorbis and Opus."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harken.audio.limits import AudioDecodeError, DecodeLimits, check_stream
from harken.audio.samples import BLOCK_NUMBERS, Samples, StreamFacts
from harken.audio.sniff import Container
from harken.audio.source import AudioSource
from harken.core.units import format_duration

if TYPE_CHECKING:
    import soundfile

_UNKNOWN_FRAMES = 1 << 62  # libsndfile gives 2^63 - 1 for a FLAC stream of unknown length


class NotForSoundfile(Exception):
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
            raise NotForSoundfile(f"libsndfile says: {err.error_string.rstrip('.')}") from err
        file = self._file
        self.exact = file.subtype in _INTEGER_SUBTYPES
        is_flac = file.format == "FLAC"
        self._seeks = file.seekable() and (is_flac or self.exact or file.subtype in ("FLOAT", "DOUBLE"))
        # soundfile clips its idea of a read to this number, so it has to be the truth
        self._declared = file.frames if container.format != "ogg" else None
        if file.subtype.startswith("MPEG") or file.frames >= _UNKNOWN_FRAMES:
            file.close()
            raise NotForSoundfile(f"libsndfile does not read {file.subtype} of this length reliably")
        self.facts = StreamFacts(
            sample_rate_hz=file.samplerate,
            channels=file.channels,
            format=container.format,
            codec=codec or ("flac" if is_flac else _SUBTYPE_CODECS.get(file.subtype, file.subtype.lower())),
            frames=file.frames,
        )
        if codec == "opus":
            file.seek(0)  # libsndfile leaves out the encoder's delay (pre-skip) only after a seek
        try:
            check_stream(source.name, file.samplerate, file.channels, limits)
        except AudioDecodeError:
            file.close()
            raise

    def _open(self, soundfile: Any) -> "soundfile.SoundFile":
        handle = self._source.handle
        if handle is None:
            return soundfile.SoundFile(self._source.open_file())
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
        step = max(1, BLOCK_NUMBERS // self.facts.channels)
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
