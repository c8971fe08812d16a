"""Decoding by FFmpeg (PyAV), closed in: a forced demuxer, no protocols, and no decoder but those for audio."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harken.audio.limits import AudioDecodeError, DecodeLimits, check_stream
from harken.audio.samples import Samples, StreamFacts, to_float
from harken.audio.sniff import Container
from harken.audio.source import AudioSource
from harken.core.units import format_duration

if TYPE_CHECKING:
    from av import AudioFrame
    from av.audio.stream import AudioStream

_BLOCK_SAMPLES = 1 << 16
# What the demuxers are called when they check the whitelist.
_DEMUXER_NAMES = {"mov": "mov,mp4,m4a,3gp,3g2,mj2", "matroska": "matroska,webm"}
# No decoder for pictures is ever started: a video track costs nothing and cannot be used to attack one.
_DECODERS = (
    "aac,aac_fixed,aac_latm,alac,amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,flac,mp1,mp1float,mp2,mp2float,mp3,"
    "mp3float,opus,libopus,vorbis,libvorbis,speex,libspeex,wavpack,wmav1,wmav2,wmapro,wmalossless,wmavoice,ac3,eac3,"
    "pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,"
    "pcm_f64le,pcm_f64be,adpcm_ima_wav,adpcm_ms,adpcm_ima_qt,adpcm_g722,g722,adpcm_g726,g726,gsm,gsm_ms,g723_1,g729,"
    "truespeech,qcelp,ilbc,libilbc"
)
# Containers whose declared length is the audio's own, so that a shorter decode means a cut file.
_SINGLE_STREAM_LENGTH = {"matroska", "asf"}  # declared for the whole file: trusted when audio is all there is
_SLACK_FRAMES = {"mp3": 2, "flac": 0, "wavpack": 0}  # codec frames that may be missing; encoder delay and padding
_DEFAULT_SLACK_FRAMES = 3
_INTEGER_FORMATS = {"u8", "u8p", "s16", "s16p", "s32", "s32p", "s64", "s64p"}
_TIME_BASE = 1_000_000  # FFmpeg's clock for whole containers


class AvReader:
    """The first audio stream of a container, decoded from its beginning.

    There is no seeking: a part is decoded from the start of the file and cut out, so that it equals the same slice of
    the whole. Encoder delay is whatever FFmpeg removes: MP3 with a LAME header and Opus come out at their original
    length, AAC keeps up to one frame of padding at the end, AMR its 5 ms delay.
    """

    def __init__(self, source: AudioSource, container: Container, limits: DecodeLimits) -> None:
        import av

        self._source, self._container_kind = source, container
        name = _DEMUXER_NAMES.get(container.demuxer, container.demuxer)
        try:
            self._container = av.open(
                source.open_file(),
                mode="r",
                format=container.demuxer,
                # Tags in other encodings than the declared one must not stop decoding; Latin-1 takes every byte.
                metadata_encoding="latin-1",
                options={"protocol_whitelist": "none", "format_whitelist": name, "codec_whitelist": _DECODERS},
            )
        except (av.FFmpegError, OSError, ValueError) as err:
            raise self._unusable(err) from err
        try:
            self._stream = self._audio_stream()
            context = self._stream.codec_context
            check_stream(source.name, context.sample_rate, context.channels, limits)
            context.thread_count = 1
        except BaseException:
            self._container.close()
            raise
        self.exact = context.format is not None and context.format.name in _INTEGER_FORMATS
        self._declared_s = self._find_declared_s()
        self.facts = StreamFacts(
            sample_rate_hz=context.sample_rate,
            channels=context.channels,
            format=container.format,
            codec=context.codec.canonical_name,
            frames=None if self._declared_s is None else round(self._declared_s * context.sample_rate),
        )

    def _unusable(self, err: Exception) -> AudioDecodeError:
        return AudioDecodeError(
            f"{self._source.name} begins like a {self._container_kind.format} file but cannot be decoded: "
            f"{_reason(err)}.",
            hint="It is cut off or damaged: copy or export it again.",
        )

    def _audio_stream(self) -> "AudioStream":
        if not self._container.streams.audio:
            kinds = sorted({str(stream.type) for stream in self._container.streams}) or ["nothing"]
            raise AudioDecodeError(
                f"{self._source.name} has no audio track; it holds {', '.join(kinds)}.", hint="Export it with sound."
            )
        stream = self._container.streams.audio[0]
        if stream.codec_context is None:
            raise AudioDecodeError(
                f"{self._source.name} holds audio of a codec that is not decoded here.",
                hint="Export it as WAV or FLAC.",
            )
        return stream

    def _find_declared_s(self) -> float | None:
        """The length the file claims, in seconds, where it is written down and not FFmpeg's estimate."""
        kind = self._container_kind.format
        if kind in _SINGLE_STREAM_LENGTH:
            alone = len(self._container.streams) == 1
            return self._container.duration / _TIME_BASE if alone and self._container.duration else None
        stated = kind in ("mp4", "flac", "wavpack", "caf") or (kind == "mp3" and self._has_mp3_length())
        if stated and self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        return None

    def _has_mp3_length(self) -> bool:
        """Whether the first MP3 frame is an information frame (Xing, Info or VBRI) that counts the others."""
        frame = self._source.read_at(self._container_kind.first_frame, 256)
        return b"Xing" in frame or b"Info" in frame or b"VBRI" in frame

    def blocks(self, start: int, stop: int | None) -> Iterator[Samples]:
        position, held, count = 0, list[Samples](), 0
        for samples in self._frames():
            first, last = max(0, start - position), len(samples[0])
            if stop is not None:
                last = min(last, stop - position)
            position += samples.shape[1]
            if first < last:
                held.append(samples[:, first:last])
                count += last - first
            if count >= _BLOCK_SAMPLES:
                yield np.concatenate(held, axis=1)
                held, count = [], 0
            if stop is not None and position >= stop:
                break
        else:
            self._check_whole(position)
        if held:
            yield np.concatenate(held, axis=1)

    def _frames(self) -> Iterator[Samples]:
        import av

        rate, channels, position = self.facts.sample_rate_hz, self.facts.channels, 0
        try:
            for frame in self._container.decode(self._stream):
                if frame.sample_rate != rate or frame.layout.nb_channels != channels:
                    raise AudioDecodeError(
                        f"{self._source.name} changes from {rate:,} Hz and {channels} channels to "
                        f"{frame.sample_rate:,} Hz and {frame.layout.nb_channels} after "
                        f"{format_duration(position / rate)}.",
                        hint="Export each part as a file of its own.",
                    )
                position += frame.samples
                yield frame_samples(frame)
        except (av.FFmpegError, EOFError) as err:
            declared = f" of {format_duration(self._declared_s)}" if self._declared_s else ""
            raise AudioDecodeError(
                f"{self._source.name} is cut off or damaged after {format_duration(position / rate)}{declared}: "
                f"{_reason(err)}.",
                hint="Copy or export it again.",
            ) from err

    def _check_whole(self, decoded: int) -> None:
        if self._declared_s is None:
            return
        rate = self.facts.sample_rate_hz
        frames = _SLACK_FRAMES.get(self._container_kind.format, _DEFAULT_SLACK_FRAMES)
        slack = frames * (self._stream.codec_context.frame_size or 1152)
        if frames == _DEFAULT_SLACK_FRAMES:
            slack = max(slack, rate // 10)
        if decoded + slack < round(self._declared_s * rate):
            raise AudioDecodeError(
                f"{self._source.name} is cut off: its header declares {format_duration(self._declared_s)}, "
                f"{format_duration(decoded / rate)} can be decoded.",
                hint="Copy or export it again.",
            )

    def duration_s(self) -> float:
        import av

        if self._declared_s is not None:
            return self._declared_s
        last = 0.0
        total = 0.0
        try:
            for packet in self._container.demux(self._stream):
                if packet.duration and packet.time_base:
                    length = float(packet.duration * packet.time_base)
                    total += length
                    if packet.pts is not None:
                        last = max(last, float(packet.pts * packet.time_base) + length)
        except (av.FFmpegError, EOFError) as err:
            raise self._unusable(err) from err
        return max(total, last)

    def close(self) -> None:
        self._container.close()


def frame_samples(frame: "AudioFrame") -> Samples:
    """A decoded frame as (channels, samples) float32; interleaved formats come apart, integers are scaled."""
    raw: npt.NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        raw = raw.reshape(-1, frame.layout.nb_channels).T
    return to_float(raw)


def _reason(err: Exception) -> str:
    text = getattr(err, "strerror", None) or str(err) or type(err).__name__
    return " ".join(str(text).split()).rstrip(".").lower()
